"""Runs and judgments to measures, query by query, by ir-measures."""

import numbers
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ir_measures
import numpy as np
import pandas as pd

from ragkit.boundary import public, whole_number
from ragkit.datasets.qrels import grade
from ragkit.errors import RagkitError, given, shorten

MEASURES = ("nDCG@10", "R@100", "RR@10")
# The share of the first ten documents that have a judgment: what is found and unjudged is not worse, it is unknown.
JUDGED = "Judged@10"
_LARGEST = 1_000_000  # cutoff of a measure, and grade that it counts from


@public("The run cannot be measured")
def per_query(results: pd.DataFrame, qrels: pd.DataFrame, measures: Sequence[str] = MEASURES) -> pd.DataFrame:
    """Return one row a judged query and one column a measure, computed by ir-measures.

    A measure that is asked for twice, by an alias too (MRR@10 is RR@10), is one column, named as first asked for.
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
    _columns(qrels, "The judgments", "relevance")
    if qrels.empty:
        raise RagkitError("There are no judgments, so there is nothing to evaluate.")
    check_results(results)
    qrels, parsed = _graded(qrels), parsed_measures(measures)
    found: dict[str, dict[str, float]] = {name: {} for name in parsed.values()}
    for metric in ir_measures.iter_calc(list(parsed), _by_query(qrels, "relevance"), _ranked(results)):
        found[parsed[metric.measure]][metric.query_id] = metric.value
    return pd.DataFrame(found, index=pd.Index(pd.unique(qrels["query_id"]), name="query_id"), dtype=float)


def parsed_measures(names: Sequence[str]) -> dict[Any, str]:
    """Return ir-measures' measures, each once, and how it was first named.

    Raises RagkitError for a name that it does not know, or cannot compute.

    >>> list(parsed_measures(["RR@10", "MRR@10"]).values())
    ['RR@10']
    """
    parsed: dict[Any, str] = {}
    for name in names:
        try:
            measure = ir_measures.parse_measure(name)
            measure.validate_params()
        except (NameError, ValueError, SyntaxError, AssertionError, RecursionError, MemoryError) as error:
            told = shorten(str(error), 100)
            raise RagkitError(
                f"ir-measures knows no measure {given(name)} ({told}); see https://ir-measur.es."
            ) from error
        for setting in ("cutoff", "rel"):  # trec_eval ends the process, or wraps, beyond these
            if setting in measure.params:
                whole_number(f"{setting} of the measure {given(name)}", measure.params[setting], 1, _LARGEST)
        parsed.setdefault(measure, name)
    return parsed


def find_measure(name: str, names: Sequence[str]) -> str | None:
    """Return which of the names is that measure's, an alias too; None if none is.

    Raises RagkitError as parsed_measures does.

    >>> find_measure("RR@10", ["nDCG@10", "MRR@10"])
    'MRR@10'
    """
    return name if name in names else parsed_measures(names).get(next(iter(parsed_measures([name]))))


def check_results(results: pd.DataFrame, what: str = "The run") -> None:
    """Raise RagkitError, which begins with `what`, unless a table is a run that can be measured."""
    _columns(results, what, "score")
    scores = results["score"]
    numeric = pd.api.types.is_float_dtype(scores) or pd.api.types.is_integer_dtype(scores)
    for score in () if numeric else scores:
        if not isinstance(score, numbers.Real):
            raise RagkitError(f"{what} holds the score {given(score)}; expected numbers.")
    with suppress(OverflowError):  # a whole number beyond every float
        if np.isfinite(scores.to_numpy(float, na_value=np.nan)).all():
            twice = results.duplicated(["query_id", "doc_id"])
            if twice.any():
                query_id, doc_id = results.loc[twice, ["query_id", "doc_id"]].iloc[0]
                raise RagkitError(f"{what} returns document {doc_id!r} twice for query {query_id!r}.")
            return
    raise RagkitError(f"{what} holds a score that is not finite; a rank cannot be made of it.")


def _columns(table: pd.DataFrame, what: str, value: str) -> None:
    """Raise RagkitError, which begins with `what`, unless a table has the two ids and a column of values, each once."""
    if not isinstance(table, pd.DataFrame):
        raise RagkitError(f"{what}: {given(table)} is no DataFrame; expected one of query_id, doc_id and {value}.")
    for name in ("query_id", "doc_id", value):
        count = list(table.columns).count(name)
        if count != 1:
            there = shorten(", ".join(map(str, table.columns)) or "none", 200)
            raise RagkitError(f"{what} has {f'{count} columns' if count else 'no column'} {name}; there are: {there}.")


def _graded(qrels: pd.DataFrame) -> pd.DataFrame:
    """Return judgments with whole numbers that trec_eval can count in, each pair judged once."""
    grades = [
        grade(value, f"The judgment of {given(doc_id)} for {given(query_id)}")
        for query_id, doc_id, value in zip(qrels["query_id"], qrels["doc_id"], qrels["relevance"], strict=True)
    ]
    qrels = qrels.assign(relevance=pd.Series(grades, index=qrels.index, dtype="int64"))
    both = qrels[["query_id", "doc_id", "relevance"]].drop_duplicates()
    twice = both.duplicated(["query_id", "doc_id"])
    if twice.any():
        query_id, doc_id = both.loc[twice, ["query_id", "doc_id"]].iloc[0]
        raise RagkitError(f"The judgments of {doc_id!r} for {query_id!r} are two, and differ; keep one.")
    return qrels


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
