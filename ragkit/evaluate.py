"""Runs and judgments to measures: per query, and one comparison of systems."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import ir_measures
import numpy as np
import pandas as pd

from ragkit import stats
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
    found = {name: {} for name in measures}
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


@dataclass(frozen=True)
class Cost:
    """What a system costs beside its quality; NaN where it was not measured.

    bytes_per_document: of the vectors it needs, on average; disk_bytes_per_document: of its index on
    disk; index_s: seconds to store the vectors in the engine; memory_bytes: how much the process grew
    at most while it indexed and searched, the vectors it was given not included.
    """

    bytes_per_document: float = float("nan")
    disk_bytes_per_document: float = float("nan")
    index_s: float = float("nan")
    memory_bytes: float = float("nan")


@dataclass(frozen=True)
class SystemResult:
    """One system's quality, per query, beside what it costs.

    values: one row a query, one column a measure; results: the run; ms: engine time of each query.
    """

    system: str
    values: pd.DataFrame
    results: pd.DataFrame
    ms: pd.Series
    cost: Cost = Cost()

    @property
    def means(self) -> pd.Series:
        return self.values.mean()


@dataclass(frozen=True)
class Comparison:
    """Systems on one collection, the same queries and judgments for all; the first is the baseline.

    config: everything that the numbers depend on; notes: what was left out or is unusual.
    """

    collection: str
    documents: int
    queries: int
    config: dict[str, Any]
    systems: list[SystemResult]
    notes: tuple[str, ...] = field(default=())

    @property
    def measures(self) -> list[str]:
        return list(self.systems[0].values.columns)

    def __getitem__(self, system: str) -> SystemResult:
        """Return the result of the system of that name ("dense→colbert"); RagkitError if it was not compared."""
        for result in self.systems:
            if result.system == system:
                return result
        raise RagkitError(f"{system!r} was not compared; this has {', '.join(s.system for s in self.systems)}.")

    def table(self) -> pd.DataFrame:
        """Return one row a system: the measures' means, then what it costs (see Cost; ms and queries a second)."""
        return pd.DataFrame(
            {
                "system": s.system,
                **s.means.to_dict(),
                "p50_ms": float(s.ms.quantile(0.50)),
                "p95_ms": float(s.ms.quantile(0.95)),
                "queries_per_s": float(1000 / s.ms.mean()),
                **asdict(s.cost),
            }
            for s in self.systems
        )

    def values(self, measure: str = "nDCG@10") -> pd.DataFrame:
        """Return one row a query and one column a system, of one measure.

        Raises RagkitError for a measure that was not computed.
        """
        if measure not in self.measures:
            raise RagkitError(f"{measure!r} was not computed; this comparison has {', '.join(self.measures)}.")
        return pd.DataFrame({s.system: s.values[measure] for s in self.systems})

    def evidence(self, measure: str = "nDCG@10", baseline: str | None = None) -> pd.DataFrame:
        """Return one row a system: mean and 95 % interval, and the difference to the baseline with all that
        tells what it is worth (see stats.Paired); NaN in the baseline's own row.

        baseline: a system's name, the first one if None. p_holm is corrected for the number of systems
        compared with the baseline. Raises RagkitError for an unknown measure or baseline.
        """
        values = self.values(measure)
        baseline = self[baseline].system if baseline else self.systems[0].system
        others = [name for name in values.columns if name != baseline]
        pairs = {name: stats.paired(values[name], values[baseline]) for name in others}
        compared = [name for name in others if not name.endswith("→oracle")]  # an oracle is no system
        corrected = dict(zip(compared, stats.holm([pairs[name].p for name in compared]), strict=True))
        rows = []
        for name in values.columns:
            mean = stats.mean_interval(values[name])
            row = {"system": name, "mean": mean.value, "low": mean.low, "high": mean.high}
            if name in pairs:
                pair = pairs[name]
                row |= {"difference": pair.difference.value, "difference_low": pair.difference.low}
                row |= {
                    "difference_high": pair.difference.high,
                    "p": pair.p,
                    "p_holm": corrected.get(name, float("nan")),
                }
                row |= {"exact": pair.exact, "wins": pair.wins, "ties": pair.ties, "losses": pair.losses}
                row |= {"detectable": pair.detectable}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as the JSON that the command line writes; what is not known is None."""
        rows = self.table().to_dict("records")
        evidence = {measure: self.evidence(measure).to_dict("records") for measure in self.measures}
        for i, (row, system) in enumerate(zip(rows, self.systems, strict=True)):
            row["evidence"] = {m: {k: v for k, v in evidence[m][i].items() if k != "system"} for m in self.measures}
            row["per_query"] = {name: column.to_dict() for name, column in system.values.items()}
        return _without_nan(
            {
                "collection": self.collection,
                "documents": self.documents,
                "queries": self.queries,
                "notes": list(self.notes),
                "config": self.config,
                "systems": rows,
            }
        )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def system_result(run: Run, qrels: pd.DataFrame, cost: Cost, measures: Sequence[str] = MEASURES) -> SystemResult:
    """Return the run's measures and cost together."""
    return SystemResult(run.system, per_query(run.results, qrels, measures), run.results, run.ms, cost)
