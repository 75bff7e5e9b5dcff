"""In sentences: what an inspection found, and which system is better, by how much, at what cost."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ragkit.boundary import public
from ragkit.datasets.inspecting import Inspection
from ragkit.display.tables import interval, number, p_value, signed, spread
from ragkit.evaluation import statistics
from ragkit.evaluation.comparison import Comparison
from ragkit.evaluation.systems import is_oracle

_WIDTH = 116
_SHORT = {
    "Texts": ("language", "truncation"),
    "Judgments": ("judgments", "duplicates", "queries", "empty", "ids"),
    "Power": ("power",),
}


@public("The comparison cannot be put in words")
def verdicts(comparison: Comparison, measure: str | None = None) -> list[str]:
    """Return one sentence for each system but the baseline: whether it is better, by how much, at what cost.

    A difference is shown if its p, corrected for the family by Holm's method, is below 0.05. The interval in
    brackets is that of the pair alone: it says how much, the test whether. There is no verdict on a system that ranks
    otherwise in each build of its index, if one build was measured. measure: as Comparison.named takes it.
    """
    measure = comparison.named(measure)
    frame = comparison.evidence(measure)
    baseline = comparison.systems[0].system
    costs = comparison.table().set_index("system")
    if not comparison.config.get("engine_times_are_qdrants"):
        costs = costs.drop(columns=["p50_ms", "with_encoding_ms"])
    once = [result.system for result in comparison.systems if result.of_one_build]
    sentences = []
    for row in frame.to_dict("records")[1:]:
        name = row["system"]
        if is_oracle(name):
            first = name.removesuffix("→oracle")
            sentences.append(
                f"{name} is no system: {number(row['mean'])} is the most that any reranker of {first}'s "
                f"{comparison.config.get('depth')} candidates could reach."
            )
        else:
            said = verdict(row, baseline, measure) if row["p"] == row["p"] else _none(row, baseline, once)
            if between := spread(row):
                said += f"; over {row['builds']:.0f} builds of its index {measure} is {between}"
            sentences.append(said + _price(costs, name, baseline) + ".")
    return sentences


def verdict(row: Mapping[str, Any], baseline: str, measure: str) -> str:
    """Return what one row of Comparison.evidence says of a system and the baseline, without a full stop.

    >>> row = {"system": "a", "difference": 0.03, "difference_low": 0.01, "difference_high": 0.05, "p": 0.02}
    >>> row |= {"p_holm": 0.02, "wins": 9, "losses": 1, "family": "1 comparison with b"}
    >>> verdict(row, "b", "RR")
    'a beats b by 0.030 RR (0.010 to 0.050), p = 0.020 (Holm, 1 comparison with b)'
    """
    name, difference, family = row["system"], row["difference"], row["family"]
    low, high = row["difference_low"], row["difference_high"]
    if not row["wins"] and not row["losses"]:
        return f"{name} and {baseline} tie in {measure} on every query"
    p, alone = _p(row["p_holm"]), row["p"] < statistics.ALPHA
    apart = low > 0 or high < 0
    ends = interval(*sorted((abs(low), abs(high)))) if apart else interval(low, high, signed)
    amount = f"by {number(abs(difference))} {measure} ({ends})"
    if row["p_holm"] < statistics.ALPHA:
        said = f"{name} {'beats' if difference > 0 else 'loses to'} {baseline} {amount}, {p} (Holm, {family})"
    elif alone:
        said = (
            f"{name} is {'ahead of' if difference > 0 else 'behind'} {baseline} {amount}: shown alone, "
            f"{_p(row['p'])}, but not among {family}, {p} (Holm)"
        )
    else:
        said = (
            f"{name} and {baseline}: no difference shown ({signed(difference)} {measure}), {p} (Holm, {family}), "
            f"but the pair's interval leaves room from {signed(low)} to {signed(high)}"
        )
    # A bootstrap and a test: near the border, or with a handful of queries that differ, they need not agree.
    return said if apart == alone else f"{said} (here interval and test disagree: more queries would tell)"


def _none(row: Mapping[str, Any], baseline: str, once: Sequence[str]) -> str:
    """Return why there is no verdict on a row and the baseline, one of which is of one build of its index."""
    hanging = next(name for name in (row["system"], baseline) if name in once)
    why = f"{hanging} ranks otherwise in each build of its index, and this is one"
    return f"{row['system']} and {baseline}: no verdict, since {why}"


def _p(value: float) -> str:
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _price(costs: pd.DataFrame, name: str, baseline: str) -> str:
    ratios: dict[str, str] = {}
    for column in ("bytes_per_document", "with_encoding_ms", "p50_ms"):
        if column in costs:
            ratio = costs.loc[name, column] / costs.loc[baseline, column]
            ratios |= {} if pd.isna(ratio) else {column: _times(ratio)}
    parts = [f"{ratios['bytes_per_document']} the bytes"] if "bytes_per_document" in ratios else []
    engine = f"{ratios['p50_ms']} the engine's time" if "p50_ms" in ratios else ""
    if "with_encoding_ms" in ratios:  # what somebody who asks waits for; the engine's part stays beside it
        waited = f"{ratios['with_encoding_ms']} the time with encoding"
        parts.append(f"{waited} ({engine})" if engine else waited)
    elif engine:
        parts.append(engine)
    return f"; it takes {' and '.join(parts)}" if parts else ""


def _times(ratio: float) -> str:
    """Return a ratio in words, with two figures at least where it is small.

    >>> _times(110.4), _times(1.46), _times(0.0234)
    ('110 times', '1.5 times', '0.023 times')
    """
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.1f} times" if ratio >= 0.1 else f"{ratio:.2g} times"


def inspection_in_full(inspection: Inspection) -> str:
    """Return every check as a line; under a fault, marked by "!", its examples and what to do."""
    counts = f"{inspection.documents:,} documents, {inspection.queries:,} queries, {inspection.judgments:,} judgments"
    lines = [f"{inspection.dataset}: {counts}", *(f"Note: {note}." for note in inspection.notes), ""]
    for check in inspection.checks:
        lines += _wrapped(f"{'!' if check.found else ' '} {check.kind:<11} ", f"{check.what}.")
        lines += [line for example in check.examples for line in _wrapped(" " * 16, example)]
        lines += _wrapped(f"{'':14}Do: ", f"{check.advice}.") if check.found else []
    many = len(inspection.findings)
    lines += ["", f"{many} of {len(inspection.checks)} checks found something." if many else "Nothing was found."]
    return "\n".join(lines)


def inspection_in_short(inspection: Inspection, command: str = "") -> str:
    """Return three lines: the texts as the models read them, judgments and ids, and what the queries could show.

    Where something is wrong with judgments and ids, only that is told. command: what tells more of what is wrong.
    """
    lines = []
    for title, kinds in _SHORT.items():
        checks = [inspection[kind] for kind in kinds]
        found = [check for check in checks if check.found]
        told = found if found and title == "Judgments" else checks
        text = "; ".join(check.what for check in told)
        more = f" More: {command}" if found and command else ""
        lines.append(f"{'! ' if found else ''}{title}: {text}.{more}")
    return "\n".join(lines)


def _wrapped(lead: str, text: str) -> list[str]:
    indent = " " * len(lead)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=lead, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
