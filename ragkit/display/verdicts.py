"""A comparison in sentences: which system is better, by how much, at what cost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ragkit.display.tables import interval, number, p_value, signed
from ragkit.evaluation import statistics
from ragkit.evaluation.comparison import Comparison
from ragkit.evaluation.systems import is_oracle


def verdicts(comparison: Comparison, measure: str = "nDCG@10") -> list[str]:
    """Return one sentence for each system but the baseline: whether it is better, by how much, at what cost.

    A difference is shown if its p, corrected for the family by Holm's method, is below 0.05. The interval in
    brackets is that of the pair alone: it says how much, the test whether.
    """
    frame = comparison.evidence(measure)
    baseline = comparison.systems[0].system
    costs = comparison.table().set_index("system")
    if not comparison.config.get("engine_times_are_qdrants"):
        costs = costs.drop(columns=["p50_ms", "with_encoding_ms"])
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
            sentences.append(verdict(row, baseline, measure) + _price(costs, name, baseline) + ".")
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
