"""Runs and judgments to measures, query by query, by ir-measures."""

from collections.abc import Sequence
from typing import Any

import ir_measures
import numpy as np
import pandas as pd

from ragkit.errors import RagkitError

MEASURES = ("nDCG@10", "R@100", "RR@10")


def per_query(results: pd.DataFrame, qrels: pd.DataFrame, measures: Sequence[str] = MEASURES) -> pd.DataFrame:
    """Return one row a judged query and one column a measure, computed by ir-measures.

    results: query_id, doc_id, score, ties ranked by doc_id; qrels: query_id, doc_id, relevance. A judged query without
    results counts as 0; results of a query without judgments are ignored. Raises RagkitError for
    a measure that ir-measures does not know, no judgments, a score that is not finite, or a
    document that a query returned twice.

    Source: https://ir-measur.es

    >>> results = pd.DataFrame({"query_id": ["q"] * 2, "doc_id": ["a", "b"], "score": [2.0, 1.0]})
    >>> qrels = pd.DataFrame({"query_id": ["q"], "doc_id": ["b"], "relevance": [1]})
    >>> per_query(results, qrels, ["RR@10"])["RR@10"].tolist()
    [0.5]
    """
    if qrels.empty:
        raise RagkitError("There are no judgments, so there is nothing to evaluate.")
    if not np.isfinite(results["score"].to_numpy(float)).all():
        raise RagkitError("The run holds a score that is not finite; a rank cannot be made of it.")
    twice = results.duplicated(["query_id", "doc_id"])
    if twice.any():
        query_id, doc_id = results.loc[twice, ["query_id", "doc_id"]].iloc[0]
        raise RagkitError(f"The run returns document {doc_id!r} twice for query {query_id!r}.")
    parsed = {}
    for name in measures:
        try:
            parsed[ir_measures.parse_measure(name)] = name
        except (NameError, ValueError, SyntaxError) as error:
            raise RagkitError(f"ir-measures knows no measure {name!r} ({error}); see https://ir-measur.es.") from error
    found: dict[str, dict[str, float]] = {name: {} for name in measures}
    for metric in ir_measures.iter_calc(list(parsed), _by_query(qrels, "relevance"), _ranked(results)):
        found[parsed[metric.measure]][metric.query_id] = metric.value
    return pd.DataFrame(found, index=pd.Index(pd.unique(qrels["query_id"]), name="query_id"), dtype=float)


def _by_query(frame: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    """Return query_id → doc_id → value: ir-measures takes frames too, but reads them row by row."""
    table: dict[str, dict[str, Any]] = {}
    for query_id, doc_id, value in zip(*(frame[name].tolist() for name in ("query_id", "doc_id", column)), strict=True):
        table.setdefault(query_id, {})[doc_id] = value
    return table


def _ranked(results: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return query_id → doc_id → a score without ties, by the score and, where it ties, by doc_id.

    The index returns ties in the order of document ids; ir-measures' providers break them in two other ways.

    >>> _ranked(pd.DataFrame({"query_id": ["q"] * 2, "doc_id": ["b", "a"], "score": [1.0, 1.0]}))
    {'q': {'a': 0.0, 'b': -1.0}}
    """
    found = _by_query(results, "score")
    ordered = {query_id: sorted(of, key=lambda doc_id: (-of[doc_id], doc_id)) for query_id, of in found.items()}
    return {query_id: {doc_id: float(-i) for i, doc_id in enumerate(ids)} for query_id, ids in ordered.items()}
