"""The main job: one collection, several systems, one comparison."""

import hashlib
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ragkit.datasets import Dataset
from ragkit.encoders import Encoder, load_encoder
from ragkit.errors import RagkitError
from ragkit.evaluate import MEASURES, Comparison, system_result
from ragkit.index import Index, VectorSpec, open_index
from ragkit.retrieve import Retriever, System

SYSTEMS = ("dense", "colbert", "dense+colbert")
# A first stage returns this many documents, so that R@100 can be computed.
LIMIT = 100


def build_index(
    dataset: Dataset, encoders: dict[str, Encoder], where: str | Path | None = None
) -> tuple[Index, dict[str, float]]:
    """Return the index of a collection, and the bytes a document takes under each vector name.

    encoders: one for each vector name. where: see open_index. A kept index of the same documents
    and models is continued, or used as it is. Raises RagkitError as open_index does.
    """
    passages = dataset.passages
    vectors = {name: encoder.encode_documents(passages) for name, encoder in encoders.items()}
    specs = {name: VectorSpec(encoder.dim, encoder.multivector) for name, encoder in encoders.items()}
    doc_ids = dataset.documents["doc_id"].tolist()
    content = hashlib.sha256(repr([doc_ids, passages, *(encoders[n].fingerprint for n in encoders)]).encode())
    index = open_index(where, specs, f"ragkit-{dataset.name}", content.hexdigest())
    done = len(index.doc_ids)
    if index.doc_ids != doc_ids[:done]:
        index.close()
        raise RagkitError(f"The index at {where} holds other documents in other places; choose another place.")
    if done < len(doc_ids):
        index.add(doc_ids[done:], {name: arrays[done:] for name, arrays in vectors.items()})
    return index, {name: float(np.mean([array.nbytes for array in arrays])) for name, arrays in vectors.items()}


def compare(
    dataset: Dataset,
    systems: Sequence[str] = SYSTEMS,
    depth: int = 100,
    where: str | Path | None = None,
    measures: Sequence[str] = MEASURES,
) -> Comparison:
    """Return the systems' quality and cost on one collection, on the same engine and queries.

    systems: as System.parse reads them. depth: the candidates that a rerank gets. where: see
    open_index. Searches are exact. Raises RagkitError for a system named twice or unknown.

    >>> from ragkit.datasets import load_movies
    >>> compare(load_movies(), ["dense"], where=":memory:").queries
    40
    """
    parsed = [System.parse(text) for text in systems]
    if not parsed or len(set(parsed)) < len(parsed):
        raise RagkitError(f"Expected at least one system, each once; got {', '.join(systems) or 'none'}.")
    names = list(dict.fromkeys(name for system in parsed for name in system.vectors))
    encoders = {name: load_encoder(name) for name in names}
    index, size = build_index(dataset, encoders, where)
    with index:
        results = []
        for system in parsed:
            run = Retriever(index, encoders, system, depth, LIMIT).run(dataset.queries)
            needed = sum(size[name] for name in system.vectors)
            results.append(system_result(run, dataset.qrels, needed, measures))
        config = _config(dataset, encoders, index, depth)
    return Comparison(dataset.name, len(dataset.documents), len(dataset.queries), config, results, dataset.notes)


def _config(dataset: Dataset, encoders: dict[str, Encoder], index: Index, depth: int) -> dict:
    packages = ("fastembed", "qdrant-client", "qdrant-edge-py", "onnxruntime", "ir-measures", "numpy")
    return {
        "models": {
            name: {"model": encoder.name, "dim": encoder.dim, "sha256": encoder.checksums}
            for name, encoder in encoders.items()
        },
        "embedded_text": "title + text" if dataset.with_titles else "text",
        "engine": index.engine,
        "engine_times_are_qdrants": index.measurable,
        "search": "exact",
        "depth": depth,
        "limit": LIMIT,
        "times": "engine only, per query, one at a time; encoding the query not included",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
