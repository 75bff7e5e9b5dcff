"""Time, memory and disk against the number of documents."""

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import psutil

from ragkit.bench.race import race, refuse_passages
from ragkit.bench.search import searcher, title
from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.encoders.variants import AnyEncoder, load_encoders, vector_spec
from ragkit.engines.opening import temporary_index
from ragkit.evaluation.systems import System
from ragkit.vectors import Vector

SIZES = (5000, 50_000, 200_000)
SYSTEMS = (
    ("colbert-small", 0),
    ("dense-small", 0),
    ("dense-small-hnsw", 0),
    ("dense-small+colbert-small", 100),
    ("dense-small-hnsw+colbert-small", 100),
    ("muvera-turbo4+colbert-small", 100),
)
# A copy's rows are moved by noise of this length, so that no two documents are the same (cosine about 0.95).
_NOISE = 0.33


@public("The bench cannot be run")
def bench_scale(dataset: Dataset, sizes: Sequence[int] = SIZES, rounds: int = 20) -> list[dict]:
    """Return for each size and system the milliseconds a query, the seconds to index, memory and disk.

    Above the dataset's own size its documents are repeated under other ids, with noise added to every vector
    (seeded), so that nothing but time, memory and disk can be read from those rows. All systems share one temporary
    index of Edge, so seconds, memory and disk are of all their vectors. Raises RagkitError as open_index does.
    """
    refuse_passages(dataset)
    names = list(dict.fromkeys(name for text, _ in SYSTEMS for name in System.parse(text).vectors))
    encoders = load_encoders(names)
    texts = dataset.queries["text"].tolist()[: rounds + 5]
    queries = {name: encoder.encode_queries(texts) for name, encoder in encoders.items()}
    specs = {name: vector_spec(name, encoder) for name, encoder in encoders.items()}
    for encoder in encoders.values():
        encoder.prepare(dataset.passages)
    rows = []
    for size in sizes:
        start = time.perf_counter()
        with temporary_index(specs, "scale") as index:
            index.stream([f"{i}" for i in range(size)], _documents(dataset.passages, encoders, size))
            seconds = time.perf_counter() - start
            contestants = {title(text, depth): searcher(index, text, depth, queries) for text, depth in SYSTEMS}
            laps = race(contestants, rounds, "colbert-small", warm_up=5)
            whole = {"index_s": seconds, "memory_mb": psutil.Process().memory_info().rss / 1e6}
            whole["disk_mb"] = (index.bytes_on_disk() or 0) / 1e6
        rows += [{"documents": size} | row | whole for row in laps]
    return rows


def _documents(passages: list[str], encoders: Mapping[str, AnyEncoder], size: int) -> Iterator[dict[str, Vector]]:
    rng = np.random.default_rng(0)
    for copy in range(-(-size // len(passages))):
        part = passages[: size - copy * len(passages)]
        streams = {name: encoder.stream(part) for name, encoder in encoders.items()}
        for row in zip(*streams.values(), strict=True):
            vectors = dict(zip(streams, row, strict=True))
            yield {name: _moved(vector, rng) for name, vector in vectors.items()} if copy else vectors


def _moved(vector: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    lengths = np.linalg.norm(vector, axis=-1, keepdims=True)
    noise = rng.standard_normal(vector.shape, np.float32) * (_NOISE / np.sqrt(vector.shape[-1]))
    return vector + noise * lengths
