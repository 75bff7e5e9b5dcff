"""Runs and judgments to measures: per query, and one comparison of systems."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ir_measures
import numpy as np
import pandas as pd

from ragkit.errors import RagkitError
from ragkit.retrieve import Run

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
    ranked = results.sort_values(["query_id", "score", "doc_id"], ascending=[True, False, True])
    # Ties are in the order of document ids, as the index returns them; ir-measures' providers break
    # them in two other ways, so they are given scores without ties.
    ranked = ranked.assign(score=-ranked.groupby("query_id").cumcount().astype(float))
    values = [(m.query_id, parsed[m.measure], m.value) for m in ir_measures.iter_calc(list(parsed), qrels, ranked)]
    table = pd.DataFrame(values, columns=["query_id", "measure", "value"])
    table = table.pivot(index="query_id", columns="measure", values="value")
    order = pd.unique(qrels["query_id"])
    return table.reindex(index=order, columns=list(measures)).rename_axis(columns=None)


@dataclass(frozen=True)
class SystemResult:
    """One system's quality, per query, beside what it costs.

    values: one row a query, one column a measure; results: the run; ms: engine time of each query;
    bytes_per_document: of the float32 vectors that the system needs, on average.
    """

    system: str
    values: pd.DataFrame
    results: pd.DataFrame
    ms: pd.Series
    bytes_per_document: float

    @property
    def means(self) -> pd.Series:
        return self.values.mean()


@dataclass(frozen=True)
class Comparison:
    """Systems on one collection, the same queries and judgments for all.

    config: everything that the numbers depend on; notes: what was left out or is unusual.
    """

    collection: str
    documents: int
    queries: int
    config: dict[str, Any]
    systems: list[SystemResult]
    notes: tuple[str, ...] = field(default=())

    def table(self) -> pd.DataFrame:
        """Return one row a system: the measures' means, ms a query (p50, p95), bytes a document."""
        rows = [
            {
                "system": s.system,
                **s.means.to_dict(),
                "p50_ms": float(np.percentile(s.ms, 50)),
                "p95_ms": float(np.percentile(s.ms, 95)),
                "bytes_per_document": s.bytes_per_document,
            }
            for s in self.systems
        ]
        return pd.DataFrame(rows)

    def __getitem__(self, system: str) -> SystemResult:
        """Return the result of the system of that name ("dense→colbert"); RagkitError if it was not compared."""
        for result in self.systems:
            if result.system == system:
                return result
        raise RagkitError(f"{system!r} was not compared; this has {', '.join(s.system for s in self.systems)}.")

    def values(self, measure: str = "nDCG@10") -> pd.DataFrame:
        """Return one row a query and one column a system, of one measure.

        Raises RagkitError for a measure that was not computed.
        """
        known = list(self.systems[0].values.columns)
        if measure not in known:
            raise RagkitError(f"{measure!r} was not computed; this comparison has {', '.join(known)}.")
        return pd.DataFrame({s.system: s.values[measure] for s in self.systems})

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as the JSON that the command line writes."""
        rows = self.table().to_dict("records")
        for row, system in zip(rows, self.systems, strict=True):
            row["per_query"] = {name: column.to_dict() for name, column in system.values.items()}
        return {
            "collection": self.collection,
            "documents": self.documents,
            "queries": self.queries,
            "notes": list(self.notes),
            "config": self.config,
            "systems": rows,
        }


def system_result(
    run: Run, qrels: pd.DataFrame, bytes_per_document: float, measures: Sequence[str] = MEASURES
) -> SystemResult:
    """Return the run's measures and cost together."""
    return SystemResult(run.system, per_query(run.results, qrels, measures), run.results, run.ms, bytes_per_document)
