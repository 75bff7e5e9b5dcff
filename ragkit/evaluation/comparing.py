"""The main job: one collection, several systems, one comparison."""

import gc
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from ragkit.datasets.dataset import Dataset
from ragkit.encoders.variants import Variant, load_encoders
from ragkit.engines.index import Index
from ragkit.engines.ingest import build_index, plan
from ragkit.errors import RagkitError
from ragkit.evaluation.comparison import Comparison, Cost, SystemResult, system_result
from ragkit.evaluation.measures import MEASURES, per_query
from ragkit.evaluation.memory import peak_growth
from ragkit.evaluation.rescoring import cross_encoder, oracle
from ragkit.evaluation.retriever import WARM_UP, Retriever
from ragkit.evaluation.systems import Run, System

SYSTEMS = ("dense", "colbert", "dense+colbert")
# A first stage returns this many documents, so that R@100 can be computed.
LIMIT = 100


def compare(
    dataset: Dataset,
    systems: Sequence[str] = SYSTEMS,
    depth: int = 100,
    where: str | Path | None = None,
    measures: Sequence[str] = MEASURES,
    runs: Mapping[str, pd.DataFrame] | None = None,
    separate: bool = True,
) -> Comparison:
    """Return the systems' quality and cost on one collection, on the same engine and queries.

    systems: as System.parse reads them; the first is the baseline. depth: the candidates that a rerank
    gets. where: see open_index. separate: give every set of vectors an index of its own, so that its
    seconds, disk and memory are a system's own; otherwise, and always if `where` is given, all share one
    index, and those costs are told only of a system that needs all its vectors. runs: others' runs by
    name (query_id, doc_id, score), to stand in the same table.
    Searches are exact. Raises RagkitError for a system named twice or unknown, and for bad runs.

    >>> from ragkit.datasets import load_movies
    >>> compare(load_movies(), ["dense"], where=":memory:").queries
    40
    """
    parsed = [System.parse(text) for text in systems]
    names = [system.name for system in parsed] + list(runs or {})
    if not names or len(set(names)) < len(names):
        raise RagkitError(f"Expected at least one system, each once; got {', '.join(names) or 'none'}.")
    encoders = load_encoders(list(dict.fromkeys(name for system in parsed for name in system.vectors)))
    shared = not separate or where is not None or bool(os.environ.get("QDRANT_URL"))
    groups: dict[tuple[str, ...], list[System]] = {}
    for system in parsed:
        groups.setdefault(tuple(encoders) if shared else tuple(sorted(system.vectors)), []).append(system)
    found: dict[str, SystemResult] = {}
    engine = {"engine": "no engine: runs made elsewhere", "engine_times_are_qdrants": True}
    for group, members in groups.items():
        results, engine = _measure(dataset, {n: encoders[n] for n in group}, members, depth, where, measures)
        found |= {result.system: result for result in results}
    notes = list(dataset.notes)
    for name, frame in (runs or {}).items():
        found[name], note = _external(name, frame, dataset, measures)
        notes += note
    config = _config(dataset, encoders, depth, "shared by all systems" if shared else "one a set of vectors") | engine
    results = [found[name] for name in names]
    return Comparison(dataset.name, len(dataset.documents), len(dataset.queries), config, results, tuple(notes))


def _measure(dataset, encoders, systems: list[System], depth, where, measures) -> tuple[list[SystemResult], dict]:
    """Return the results of systems that share an index, and which engine answered."""
    plan(dataset, encoders, where).check()
    for encoder in encoders.values():  # so that a model's own time and memory are not counted as the engine's
        encoder.prepare(dataset.passages)
        encoder.encode_queries(dataset.queries["text"].tolist())
    gc.collect()
    with peak_growth() as grown:
        start = time.perf_counter()
        index, size = build_index(dataset, encoders, where)
        index_s = time.perf_counter() - start if not index.reopened else float("nan")
        with index:
            runs = [_run(index, encoders, system, depth, dataset) for system in systems]
            disk = index.bytes_on_disk()
            engine = {"engine": index.engine, "engine_times_are_qdrants": index.measurable}
    count = len(dataset.documents)
    results = []
    for system, run in zip(systems, runs, strict=True):
        cost = Cost(sum(size[name] for name in system.vectors))
        if set(system.vectors) == set(encoders):  # else the index holds more than this system needs
            on_disk = float("nan") if disk is None else disk / count
            cost = replace(cost, disk_bytes_per_document=on_disk)
            if engine["engine_times_are_qdrants"]:
                cost = replace(cost, index_s=index_s, memory_bytes=float(grown()))
        results.append(system_result(run, dataset.qrels, cost, measures))
    return results, engine


def _run(index: Index, encoders, system: System, depth: int, dataset: Dataset) -> Run:
    rescore = None
    if system.rerank == "oracle":
        rescore = oracle(dataset.qrels)
    elif system.rerank == "cross-encoder":
        rescore = cross_encoder(dict(zip(dataset.documents["doc_id"], dataset.passages, strict=True)))
    run = Retriever(index, encoders, system, depth, LIMIT, rescore).run(dataset.queries)
    # An oracle has no price: it knows the judgments. And local mode's time is not Qdrant's: better none than that.
    priced = system.rerank != "oracle" and index.measurable
    return run if priced else Run(run.system, run.results, run.ms * float("nan"))


def _external(name: str, frame: pd.DataFrame, dataset: Dataset, measures) -> tuple[SystemResult, list[str]]:
    """Return the result of a run made elsewhere, and notes that count what does not fit the collection."""
    missing = [column for column in ("query_id", "doc_id", "score") if column not in frame]
    if missing:
        raise RagkitError(f"The run {name!r} has no column {', '.join(missing)}.")
    queries = set(dataset.queries["query_id"])
    notes = []
    for count, what in (
        ((~frame["query_id"].isin(queries)).sum(), "results are for queries without judgments here and are ignored"),
        ((~frame["doc_id"].isin(set(dataset.documents["doc_id"]))).sum(), "results name documents that are not here"),
        (len(queries - set(frame["query_id"])), "judged queries have no result and count as 0"),
    ):
        if count:
            notes.append(f"run {name}: {count:,} {what}")
    frame = frame.sort_values(["query_id", "score", "doc_id"], ascending=[True, False, True])
    frame = frame.assign(rank=frame.groupby("query_id").cumcount() + 1)[["query_id", "doc_id", "score", "rank"]]
    values = per_query(frame, dataset.qrels, measures)
    return SystemResult(name, values, frame.reset_index(drop=True), pd.Series(float("nan"), values.index)), notes


def _search(names: Sequence[str]) -> str:
    """Return how the vectors are searched, in words.

    >>> _search(["dense", "colbert-int8", "muvera-hnsw"])
    'exact, but colbert-int8 (int8, 2 × oversampled, rescored) and muvera-hnsw (graph, m 16, ef 128)'
    """
    others = []
    for name in names:
        storage = Variant.parse(name).storage
        how = [f"graph, m {storage.hnsw_m}, ef {storage.hnsw_ef}"] if storage.hnsw_m else []
        if storage.quantization:
            scored = f"{storage.oversampling:g} × oversampled, rescored" if storage.rescore else "not rescored"
            how = [storage.quantization, scored, *how]
        others += [f"{name} ({', '.join(how)})"] if how else []
    return f"exact, but {' and '.join(others)}" if others else "exact"


def _config(dataset: Dataset, encoders: Mapping, depth: int, indexes: str) -> dict:
    packages = ("fastembed", "qdrant-client", "qdrant-edge-py", "onnxruntime", "ir-measures", "scipy", "numpy")
    return {
        "models": {
            name: {"model": encoder.name, "dim": encoder.dim, "sha256": encoder.checksums}
            for name, encoder in encoders.items()
        },
        "embedded_text": "title + text" if dataset.with_titles else "text",
        "truncation": "256 tokens for the embedded models, else the model's own; bm25 reads the whole text",
        "search": _search(encoders),
        "depth": depth,
        "limit": LIMIT,
        "hybrid": "dense and bm25, 100 of each; rrf with k = 2, or dbsf; a rerank takes half its depth from each",
        "indexes": indexes,
        "times": f"engine only, per query, one at a time, {WARM_UP} to warm up; encoding the query not included",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
