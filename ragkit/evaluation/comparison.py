"""Systems on one dataset side by side: quality by query, evidence and costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ragkit.datasets.inspecting import Inspection
from ragkit.errors import RagkitError, shorten
from ragkit.evaluation import statistics
from ragkit.evaluation.measures import JUDGED, MEASURES, find_measure, per_query
from ragkit.evaluation.systems import Run, is_oracle
from ragkit.html_table import html_table


@dataclass(frozen=True)
class Cost:
    """What a system costs beside its quality; NaN where it was not measured.

    bytes_per_document: of the vectors it needs, on average; disk_bytes_per_document: of its index on
    disk; index_s: seconds to store the vectors in the engine, if none were there; memory_bytes: how much the
    process grew at most while it indexed and searched, the vectors it was given not included; beside a server by how
    much that grew, if it tells and the vectors were stored in this run.
    """

    bytes_per_document: float = float("nan")
    disk_bytes_per_document: float = float("nan")
    index_s: float = float("nan")
    memory_bytes: float = float("nan")


@dataclass(frozen=True, eq=False)
class SystemResult:
    """One system's quality, per query, beside what it costs.

    values: one row a query, one column a measure; results: the run; ms: engine time of each query; judged: the share
    of its first ten documents that somebody judged, a mean over queries (Judged@10 of ir-measures); encoding_ms: what
    the models took for some of the queries. builds: of a system that ranks otherwise in each build of its index, the
    means, one row a build, this one's first, and one column a measure.
    """

    system: str
    values: pd.DataFrame
    results: pd.DataFrame
    ms: pd.Series
    cost: Cost = Cost()
    judged: float = float("nan")
    encoding_ms: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    builds: pd.DataFrame | None = None

    @property
    def of_one_build(self) -> bool:
        """Whether its numbers are those of one build of its index, and another would have others."""
        return self.builds is not None and len(self.builds) == 1

    @property
    def waited_ms(self) -> pd.Series:
        """What somebody who asks waits for: encoding and search of each query whose encoding was timed."""
        return self.encoding_ms + self.ms.reindex(self.encoding_ms.index)

    @property
    def means(self) -> pd.Series:
        return self.values.mean()

    def __repr__(self) -> str:
        means = ", ".join(f"{measure} {mean:.3f}" for measure, mean in self.means.items())
        return f"SystemResult of {shorten(self.system, 60)!r}: {len(self.values):,} queries, {means}"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Systems on one dataset, the same queries and judgments for all; the first is the baseline.

    dataset: its name; config: everything that the numbers depend on; notes: what was left out or is unusual;
    inspection: what was found in the dataset before, if that was asked for.
    """

    dataset: str
    documents: int
    queries: int
    config: dict[str, Any]
    systems: list[SystemResult]
    notes: tuple[str, ...] = field(default=())
    inspection: Inspection | None = None

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
        """Return one row a system: means of the measures and Judged@10, then what it costs (see Cost), and times."""
        return pd.DataFrame(
            {
                "system": s.system,
                **s.means.to_dict(),
                JUDGED: s.judged,
                "with_encoding_ms": float(s.waited_ms.quantile(0.50)),
                "p50_ms": float(s.ms.quantile(0.50)),
                "p95_ms": float(s.ms.quantile(0.95)),
                "queries_per_s": float(1000 / s.ms.mean()),
                **asdict(s.cost),
            }
            for s in self.systems
        )

    def named(self, measure: str | None = None) -> str:
        """Return the name under which a measure is here, be it asked for by an alias (RR@10 is MRR@10).

        None: the one that is told first, which is nDCG@10 where it was computed, else the first. Raises RagkitError for
        a measure that was not computed.
        """
        if measure is None:
            return find_measure("nDCG@10", self.measures) or self.measures[0]
        found = find_measure(measure, self.measures)
        if found is None:
            raise RagkitError(f"{measure!r} was not computed; this comparison has {', '.join(self.measures)}.")
        return found

    def values(self, measure: str | None = None) -> pd.DataFrame:
        """Return one row a query and one column a system, of one measure, named as `named` takes it.

        Raises RagkitError for a measure that was not computed.
        """
        measure = self.named(measure)
        return pd.DataFrame({s.system: s.values[measure] for s in self.systems})

    def evidence(self, measure: str | None = None, baseline: str | None = None) -> pd.DataFrame:
        """Return one row a system: its mean, and what its difference to the baseline is worth.

        mean, low, high: with a 95 % interval. difference and its interval, p, wins, ties, losses: of this pair
        alone (see statistics.Paired). p_holm: p corrected for the family, which is every system compared with
        this baseline by this measure, near-copies too, and no oracle; family: its name. detectable: the smallest
        true difference that these queries would show in the family (see statistics.detectable). Of a system that
        ranks otherwise in each build of its index, builds: how many were measured, builds_low and builds_high: the
        ends of their means, the row being the first's; of a single build there is neither interval nor p. What a row
        does not have is NaN. measure: as `named` takes it; baseline: a system's name, the first one if None. Raises
        RagkitError for an unknown measure or baseline.
        """
        values = self.values(measure)
        baseline = self[baseline].system if baseline else self.systems[0].system
        pairs = {name: statistics.paired(values[name], values[baseline]) for name in values if name != baseline}
        once = {system.system for system in self.systems if system.of_one_build}
        compared = [name for name in pairs if not is_oracle(name) and not once & {name, baseline}]
        corrected = dict(zip(compared, statistics.holm([pairs[name].p for name in compared]), strict=True))
        family = f"{len(compared)} comparison{'s' if len(compared) > 1 else ''} with {baseline}"
        rows = []
        for name in values:
            mean = statistics.mean_interval(values[name])
            row: dict[str, Any] = {"system": name, "mean": mean.value, "low": mean.low, "high": mean.high}
            if name in pairs:
                pair = pairs[name]
                row |= {"difference": pair.difference.value}
                row |= {"difference_low": pair.difference.low, "difference_high": pair.difference.high}
                row |= {"p": pair.p, "p_holm": corrected.get(name, float("nan"))}
                row |= {"exact": pair.exact, "wins": pair.wins, "ties": pair.ties, "losses": pair.losses}
            # Between builds they may differ by more than queries do, and one build does not show by how much.
            if name in once:
                row |= {"low": float("nan"), "high": float("nan")}
            if name in pairs and once & {name, baseline}:
                row |= dict.fromkeys(("difference_low", "difference_high", "p", "exact"), float("nan"))
            if (builds := self[name].builds) is not None and name not in once:
                means = builds[self.named(measure)]
                row |= {"builds": len(means), "builds_low": means.min(), "builds_high": means.max()}
            if name in corrected:
                row["detectable"] = statistics.detectable(values[name] - values[baseline], len(compared))
                row["family"] = family
            rows.append(row)
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        means = self.table()[self.measures].set_axis([shorten(system.system, 40) for system in self.systems])
        table = means.to_string(float_format="{:.3f}".format, max_rows=10)
        return f"Comparison on {shorten(self.dataset, 60)}: {self._counts()}\n{table}"

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
        return html_table(f"Comparison on {self.dataset}", about, rows, [f"Note: {note}." for note in self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as the JSON that the command line writes; what is not known is None."""
        rows = self.table().to_dict("records")
        evidence = {measure: self.evidence(measure).to_dict("records") for measure in self.measures}
        for i, (row, system) in enumerate(zip(rows, self.systems, strict=True)):
            row["evidence"] = {m: {k: v for k, v in evidence[m][i].items() if k != "system"} for m in self.measures}
            row["per_query"] = {name: column.to_dict() for name, column in system.values.items()}
        inspection = {"inspection": self.inspection.to_dict()} if self.inspection else {}
        return without_nan(
            {
                "dataset": self.dataset,
                "documents": self.documents,
                "queries": self.queries,
                "notes": list(self.notes),
                "config": self.config,
                "systems": rows,
            }
            | inspection
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
    values = per_query(run.results, qrels, [*measures, JUDGED])
    asked = find_measure(JUDGED, measures)
    judged = values[asked].mean() if asked else values.pop(JUDGED).mean()
    return SystemResult(run.system, values, run.results, run.ms, cost, judged, run.encoding_ms)
