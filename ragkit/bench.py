"""Speed beside its rivals, in one run on the same vectors: medians, and the ratio between them."""

import time
from collections.abc import Callable

import numpy as np

from ragkit.datasets import Dataset
from ragkit.encoders import load_encoder
from ragkit.experiment import build_index
from ragkit.index import Prefetch

LIMIT = 100


def search(dataset: Dataset, queries: int = 20, depth: int = 100) -> list[dict]:
    """Return milliseconds a query of Qdrant Edge, of local mode and of a NumPy product, interleaved.

    queries: how many of the collection's queries are timed, after one that is not. Every row holds
    the minimum, median and maximum, and how many times as fast as local mode Edge is (medians).
    Raises AssertionError if the engines disagree on the ten best documents' scores.
    """
    encoders = {name: load_encoder(name) for name in ("dense", "colbert")}
    texts = dataset.queries["text"].tolist()[: queries + 1]
    dense, colbert = (encoders[name].encode_queries(texts) for name in encoders)
    rows = np.concatenate(encoders["colbert"].encode_documents(dataset.passages))
    starts = np.cumsum([0] + [len(a) for a in encoders["colbert"].encode_documents(dataset.passages)])[:-1]

    def numpy_product(i: int) -> list[float]:
        scores = np.maximum.reduceat(colbert[i] @ rows.T, starts, axis=1).sum(axis=0)
        return np.sort(scores)[::-1][:LIMIT].tolist()

    with build_index(dataset, encoders)[0] as edge, build_index(dataset, encoders, ":memory:")[0] as local:

        def first_stage(index) -> Callable[[int], list[float]]:
            return lambda i: [score for _, score in index.search(colbert[i], "colbert", LIMIT)]

        def rerank(index) -> Callable[[int], list[float]]:
            def run(i: int) -> list[float]:
                prefetch = Prefetch(dense[i], "dense", depth)
                return [score for _, score in index.search(colbert[i], "colbert", LIMIT, [prefetch])]

            return run

        work = {
            "colbert": {"edge": first_stage(edge), "local mode": first_stage(local), "NumPy": numpy_product},
            "dense→colbert": {"edge": rerank(edge), "local mode": rerank(local)},
        }
        return [row for system, rivals in work.items() for row in _race(system, rivals, len(texts))]


def _race(system: str, rivals: dict[str, Callable[[int], list[float]]], queries: int) -> list[dict]:
    ms: dict[str, list[float]] = {name: [] for name in rivals}
    for i in range(queries):
        scores = {}
        for name, run in rivals.items():
            start = time.perf_counter()
            scores[name] = run(i)
            if i:  # the first query warms up
                ms[name].append(1000 * (time.perf_counter() - start))
        for name in rivals:
            np.testing.assert_allclose(scores[name][:10], scores["edge"][:10], atol=1e-3)
    slowest = np.median(ms["local mode"])
    return [
        {
            "system": system,
            "engine": name,
            "min_ms": min(values),
            "p50_ms": float(np.median(values)),
            "max_ms": max(values),
            "times_as_fast_as_local_mode": float(slowest / np.median(values)),
        }
        for name, values in ms.items()
    ]
