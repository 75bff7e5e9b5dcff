"""Exact by proof: for how many queries pooled rows prove that a rerank's first ten are those of the exact search."""

import numpy as np

from ragkit.bench.race import refuse_passages
from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.encoders.encoder import load_encoder
from ragkit.encoders.token_pooling import grouped
from ragkit.maxsim import maxsim_scores
from ragkit.progress import progress

FACTORS = (1.25, 1.5, 2.0, 3.0)
DEPTHS = (100, 300, 1000)
TOP = 10


@public("The bench cannot be run")
def bench_proof(dataset: Dataset) -> list[dict]:
    """Return for each pooling factor, bound and depth the share of queries whose first ten are proven.

    Documents are ranked by an upper bound of their MaxSim; a query is proven if the tenth best exact score among the
    first `depth` is no less than the bound of the next one. A query row's product with a row is at most its product
    with the mean of the row's group plus the group's radius ("radius": one more number a row, so an engine can compute
    it), and at most the cosine of the angle to the mean less the group's widest angle ("angle": tighter, no product).
    Raises AssertionError if a bound is below what it bounds.
    """
    refuse_passages(dataset)
    encoder = load_encoder("colbert")
    documents = [_units(rows) for rows in encoder.stream(dataset.passages)]
    queries = [_units(rows) for rows in encoder.encode_queries(dataset.queries["text"].tolist())]
    starts = _starts([len(rows) for rows in documents])
    flat = np.concatenate(documents)
    found = []
    with progress((1 + len(FACTORS)) * len(queries), "bounding", "query") as bar:
        exact = []
        for query in queries:
            exact.append(maxsim_scores(query @ flat.T, starts))
            bar.update()
        for factor in FACTORS:
            groups = [_groups(rows, factor) for rows in documents]
            starts_of = _starts([len(means) for means, _, _ in groups])
            means, radius, angle = (np.concatenate(part) for part in zip(*groups, strict=True))
            lengths = np.linalg.norm(means, axis=1)
            proven = {(bound, depth): 0 for bound in ("radius", "angle") for depth in DEPTHS}
            for query, scores in zip(queries, exact, strict=True):
                products = query @ means.T
                away = np.arccos(np.clip(products / lengths, -1, 1)) - angle
                bounds = {"radius": products + radius, "angle": np.cos(np.maximum(away, 0))}
                for name, of_rows in bounds.items():
                    bound = maxsim_scores(of_rows, starts_of)
                    assert (bound >= scores - 1e-3).all(), "a bound is below the score that it bounds"
                    order = np.argsort(-bound)
                    for depth in DEPTHS:
                        tenth = np.sort(scores[order[:depth]])[-TOP]
                        proven[name, depth] += bool(depth >= len(order) or tenth >= bound[order[depth]])
                bar.update()
            rows_kept = len(means) / len(flat)
            found += [
                {"what": f"pooled by {factor:g}", "rows": rows_kept, "bound": bound, "depth": depth}
                | {"proven": count / len(queries)}
                for (bound, depth), count in proven.items()
            ]
    return found


def _groups(rows: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of each group of unit rows, the farthest row's distance from it, and the widest angle to it."""
    labels = grouped(rows, factor)
    members = labels[None, :] == np.arange(labels.max() + 1)[:, None]
    means = members.astype(np.float64) @ rows / members.sum(axis=1, keepdims=True)
    own = means[labels]
    cosines = (rows * own).sum(axis=1) / np.linalg.norm(own, axis=1)
    distances = np.linalg.norm(rows - own, axis=1)
    radius = np.where(members, distances, 0).max(axis=1)
    angle = np.where(members, np.arccos(np.clip(cosines, -1, 1)), 0).max(axis=1)
    return tuple(part.astype(np.float32) for part in (means, radius, angle))  # type: ignore[return-value]


def _units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _starts(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
