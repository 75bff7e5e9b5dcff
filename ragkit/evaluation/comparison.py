"""Systems on one collection side by side: quality by query, evidence and costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ragkit.errors import RagkitError, shorten
from ragkit.evaluation import statistics
from ragkit.evaluation.measures import MEASURES, per_query
from ragkit.evaluation.systems import Run
from ragkit.html_table import html_table


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


@dataclass(frozen=True, eq=False)
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

    def __repr__(self) -> str:
        means = ", ".join(f"{measure} {mean:.3f}" for measure, mean in self.means.items())
        return f"SystemResult of {shorten(self.system, 60)!r}: {len(self.values):,} queries, {means}"


@dataclass(frozen=True, eq=False)
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
        tells what it is worth (see statistics.Paired); NaN in the baseline's own row.

        baseline: a system's name, the first one if None. p_holm is corrected for the number of systems
        compared with the baseline. Raises RagkitError for an unknown measure or baseline.
        """
        values = self.values(measure)
        baseline = self[baseline].system if baseline else self.systems[0].system
        others = [name for name in values.columns if name != baseline]
        pairs = {name: statistics.paired(values[name], values[baseline]) for name in others}
        compared = [name for name in others if not name.endswith("→oracle")]  # an oracle is no system
        corrected = dict(zip(compared, statistics.holm([pairs[name].p for name in compared]), strict=True))
        rows = []
        for name in values.columns:
            mean = statistics.mean_interval(values[name])
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

    def __repr__(self) -> str:
        means = self.table()[self.measures].set_axis([shorten(system.system, 40) for system in self.systems])
        table = means.to_string(float_format="{:.3f}".format, max_rows=10)
        return f"Comparison on {shorten(self.collection, 60)}: {self._counts()}\n{table}"

    def _counts(self) -> str:
        return f"{self.documents:,} documents, {self.queries:,} queries"

    def _repr_html_(self) -> str:
        frame = self.table()
        rows = frame[["system", *self.measures]].to_dict("records")
        rows = [row | {"system": shorten(row["system"], 60)} for row in rows]
        for column, title in (("p50_ms", "ms a query (p50)"), ("bytes_per_document", "bytes a document")):
            if not frame[column].isna().all():
                for row, value in zip(rows, frame[column], strict=True):
                    row[title] = round(value) if column == "bytes_per_document" and value == value else value
        about = f"{self._counts()}; the baseline is {self.systems[0].system}"
        return html_table(f"Comparison on {self.collection}", about, rows, [f"Note: {note}." for note in self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as the JSON that the command line writes; what is not known is None."""
        rows = self.table().to_dict("records")
        evidence = {measure: self.evidence(measure).to_dict("records") for measure in self.measures}
        for i, (row, system) in enumerate(zip(rows, self.systems, strict=True)):
            row["evidence"] = {m: {k: v for k, v in evidence[m][i].items() if k != "system"} for m in self.measures}
            row["per_query"] = {name: column.to_dict() for name, column in system.values.items()}
        return without_nan(
            {
                "collection": self.collection,
                "documents": self.documents,
                "queries": self.queries,
                "notes": list(self.notes),
                "config": self.config,
                "systems": rows,
            }
        )


def without_nan(value: Any) -> Any:
    """Return dicts and lists as JSON can hold them: None in place of NaN.

    >>> without_nan({"ms": [1.5, float("nan")]})
    {'ms': [1.5, None]}
    """
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def system_result(run: Run, qrels: pd.DataFrame, cost: Cost, measures: Sequence[str] = MEASURES) -> SystemResult:
    """Return the run's measures and cost together."""
    return SystemResult(run.system, per_query(run.results, qrels, measures), run.results, run.ms, cost)
