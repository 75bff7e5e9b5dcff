"""A comparison in sentences: which system is better, by how much, at what cost."""

import pandas as pd

from ragkit.display.tables import interval, number, p_value, signed
from ragkit.evaluation import statistics
from ragkit.evaluation.comparison import Comparison


def verdicts(comparison: Comparison, measure: str = "nDCG@10") -> list[str]:
    """Return one sentence for each system but the baseline: whether it is better, by how much, at what cost.

    A difference counts if its p, corrected by Holm's method, is below 0.05. Otherwise the sentence says
    what these queries could have shown.
    """
    frame = comparison.evidence(measure)
    baseline = comparison.systems[0].system
    costs = comparison.table().set_index("system")
    if not comparison.config.get("engine_times_are_qdrants"):
        costs = costs.drop(columns="p50_ms")
    sentences = []
    for row in frame.to_dict("records")[1:]:
        name, difference = row["system"], row["difference"]
        if name.endswith("→oracle"):
            first = name.removesuffix("→oracle")
            sentences.append(
                f"{name} is no system: {number(row['mean'])} is the most that any reranker of {first}'s "
                f"{comparison.config.get('depth')} candidates could reach."
            )
            continue
        amount = f"{number(abs(difference))} {measure}"
        low, high = row["difference_low"], row["difference_high"]
        near, far = sorted((low, high), key=abs)
        shown = interval(abs(near), abs(far)) if low * high > 0 else interval(low, high, signed)
        p = p_value(row["p_holm"])
        p = p if p.startswith("<") else f"= {p}"
        if row["p_holm"] < statistics.ALPHA:
            verb = "beats" if difference > 0 else "loses to"
            sentence = f"{name} {verb} {baseline} by {amount} ({shown}), p {p}"
        else:
            alone = f" with all systems compared, {p_value(row['p'])} alone" if row["p"] < statistics.ALPHA else ""
            sentence = (
                f"{name} and {baseline}: no difference that {comparison.queries} queries could show "
                f"({signed(difference)}, {interval(low, high, signed)}, p {p}{alone}); "
                f"the smallest one they could is about {number(row['detectable'])}"
            )
        sentences.append(sentence + _price(costs, name, baseline) + ".")
    return sentences


def _price(costs: pd.DataFrame, name: str, baseline: str) -> str:
    parts = []
    for column, what in (("bytes_per_document", "bytes"), ("p50_ms", "time")):
        if column in costs:
            ratio = costs.loc[name, column] / costs.loc[baseline, column]
            parts += [] if pd.isna(ratio) else [f"{_times(ratio)} the {what}"]
    return f"; it takes {' and '.join(parts)}" if parts else ""


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.1f} times"
