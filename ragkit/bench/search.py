"""The time of a query: ColBERT's first stage and reranks on Edge, beside local mode and NumPy, on the same vectors."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ragkit.bench.race import race, refuse_passages
from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.encoders.variants import load_encoders
from ragkit.engines.edge import EdgeIndex
from ragkit.engines.index import Index, Prefetch
from ragkit.engines.ingest import build_index
from ragkit.engines.opening import TEMPORARY
from ragkit.evaluation.measures import per_query
from ragkit.evaluation.systems import System
from ragkit.maxsim import maxsim_scores
from ragkit.vectors import Hits

LIMIT = 100
# System and depth. The first is what all are compared with.
SYSTEMS = (
    ("colbert", 0),
    ("colbert-int8", 0),
    ("colbert-pool3", 0),
    ("colbert-pool3-turbo8", 0),
    ("colbert-small", 0),
    ("colbert-pool4+colbert", 500),
    ("muvera+colbert", 100),
    ("muvera-binary+colbert", 100),
    ("muvera-binary-hnsw+colbert", 100),
    ("muvera-turbo4+colbert-small", 100),
    ("dense+colbert", 100),
    ("dense-small+colbert-small", 100),
)
LOCAL = (("colbert", 0), ("dense+colbert", 100))
_BATCH = 8


@public("The bench cannot be run")
def bench_search(dataset: Dataset, rounds: int = 20) -> list[dict]:
    """Return milliseconds a query of every contestant, interleaved, beside the quality of its results.

    rounds: a query each. The rival of the ratios is ColBERT's first stage in local mode, and for dense→colbert,
    local mode's. nDCG@10 and how many queries have the ten documents of exact ColBERT, in its order, are over all
    queries. Raises RagkitError as build_index does, AssertionError if an exact contestant's scores differ.
    """
    refuse_passages(dataset)
    names = list(dict.fromkeys(name for text, _ in SYSTEMS for name in System.parse(text).vectors))
    encoders = load_encoders(names)
    texts = dataset.queries["text"].tolist()
    vectors = {name: encoder.encode_queries(texts) for name, encoder in encoders.items()}
    for encoder in encoders.values():
        encoder.prepare(dataset.passages)
    numpy_product = _numpy(dataset, encoders["colbert"], vectors["colbert"])
    rows = []
    both = {name: encoders[name] for name in ("dense", "colbert")}
    with (
        build_index(dataset, encoders, TEMPORARY)[0] as edge,
        build_index(dataset, both, ":memory:")[0] as local,
    ):
        assert isinstance(edge, EdgeIndex)
        on_edge = {title(text, depth): searcher(edge, text, depth, vectors) for text, depth in SYSTEMS}
        in_local = {title(text, depth): searcher(local, text, depth, vectors) for text, depth in LOCAL}
        _same_scores(on_edge["colbert"], in_local["colbert"], numpy_product)
        quality = _quality(dataset, on_edge)
        first: dict[str, Callable] = {f"{name}, local mode": run for name, run in in_local.items() if "→" not in name}
        first |= {"colbert, NumPy product": numpy_product}
        first |= {name: run for name, run in on_edge.items() if not name.startswith("dense")}
        first[f"colbert, {_BATCH} queries at once"] = _batched(edge, vectors["colbert"])
        rerank = {f"{name}, local mode": run for name, run in in_local.items() if "→" in name}
        rerank |= {name: run for name, run in on_edge.items() if name.startswith("dense")}
        for rivals in (first, rerank):
            for row in race(rivals, rounds, next(iter(rivals))):
                if "at once" in row["what"]:
                    row = {k: _each(k, v) for k, v in row.items()}
                rows.append(row | quality.get(row["what"].partition(",")[0], {}))
    return rows


def _each(name: str, value):
    """Return the time, or the ratio, of one query of a batch."""
    if name.startswith("ms"):
        return value / _BATCH
    return value * _BATCH if name.startswith("times") else value


def title(text: str, depth: int) -> str:
    """Return what a system at a depth is called in a table.

    >>> title("dense+colbert", 100)
    'dense→colbert @100'
    """
    name = System.parse(text).name
    return f"{name} @{depth}" if depth else name


def searcher(index: Index, text: str, depth: int, vectors: Mapping[str, list]) -> Callable[[int], Hits]:
    """Return a function that answers query number i with a system; vectors: the queries', by name."""
    system = System.parse(text)
    using = system.rerank or system.first

    def run(i: int) -> Hits:
        prefetch = [Prefetch(vectors[system.first][i], system.first, depth)] if system.rerank else []
        return index.search(vectors[using][i], using, LIMIT, prefetch)

    return run


def _batched(edge: EdgeIndex, queries: list) -> Callable[[int], list[Hits]]:
    def run(i: int) -> list[Hits]:
        start = i * _BATCH % (len(queries) - _BATCH + 1)
        return edge.search_batch(queries[start : start + _BATCH], "colbert", LIMIT)

    return run


def _numpy(dataset: Dataset, encoder, queries: list) -> Callable[[int], list[float]]:
    lengths = encoder.rows(dataset.passages)[0]
    rows = np.empty((sum(lengths), encoder.dim), np.float32)  # filled as it streams: never all twice
    start = 0
    for document in encoder.stream(dataset.passages):
        rows[start : start + len(document)] = document
        start += len(document)
    starts = np.cumsum([0, *lengths])[:-1]

    def run(i: int) -> list[float]:
        scores = maxsim_scores(queries[i] @ rows.T, starts)
        return np.sort(scores)[::-1][:LIMIT].tolist()

    return run


def _same_scores(edge, local, numpy_product) -> None:
    for i in range(3):
        expected = [score for _, score in edge(i)]
        np.testing.assert_allclose([score for _, score in local(i)][:10], expected[:10], atol=1e-3)
        np.testing.assert_allclose(numpy_product(i)[:10], expected[:10], atol=1e-3)


def _quality(dataset: Dataset, runs: Mapping[str, Callable[[int], Hits]]) -> dict[str, dict]:
    """Return nDCG@10 of each run over all queries, its share of the first's, and how many tops are the first's."""
    found, exact, rows = {}, None, {}
    for name, run in runs.items():
        found[name] = [run(i) for i in range(len(dataset.queries))]
        frame = [
            (q, doc_id, score)
            for q, hits in zip(dataset.queries["query_id"], found[name], strict=True)
            for doc_id, score in hits
        ]
        results = pd.DataFrame(frame, columns=["query_id", "doc_id", "score"])
        mean = float(per_query(results, dataset.qrels, ["nDCG@10"])["nDCG@10"].mean())
        exact = exact if exact is not None else mean
        first = next(iter(found.values()))
        same = sum([d for d, _ in a[:10]] == [d for d, _ in b[:10]] for a, b in zip(found[name], first, strict=True))
        rows[name] = {"nDCG@10": mean, "of_exact": mean / exact, "same_top_10": f"{same} of {len(first)}"}
    return rows
