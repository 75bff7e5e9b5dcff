"""How large a difference the queries of a dataset could show: estimated before any work, corrected once measured."""

import math

from ragkit.datasets.inspecting import Check, count
from ragkit.evaluation.comparison import Comparison
from ragkit.evaluation.statistics import ALPHA, detectable_by
from ragkit.evaluation.systems import is_oracle

# Standard deviations of the queries' differences in nDCG@10, from docs/results/scifact-full.json and movies.json.
SPREADS = {
    ("dense", "colbert"): {"scifact": 0.234, "movies": 0.150},
    ("dense", "bm25"): {"scifact": 0.320, "movies": 0.383},
}
# A difference that is large: the largest between two systems on the whole of SciFact is 0.084.
LARGE = 0.1
_SMALL = 0.05


def estimated(queries: int, comparisons: int = 1) -> Check:
    """Return what so many queries could show, if systems differ on them as on SciFact or the movies.

    comparisons: how many systems are compared with the baseline (see statistics.detectable).

    A fault where even systems as alike as dense and colbert on the movies would have to differ by more than 0.1.

    >>> estimated(300).what[:47]
    '300 queries could show a difference of 0.038 nD'
    >>> estimated(300).found, estimated(10).found
    (False, True)
    """
    if not queries:
        return Check("power", "no query is judged, so nothing can be compared yet")
    alike, unlike = _by(queries, comparisons)
    movies = _by(queries, comparisons, "movies")
    among = f", among {comparisons} comparisons," if comparisons > 1 else ""
    what = (
        f"{count(queries, 'query', 'queries')} could show{among} a difference of {alike:.3f} nDCG@10 between dense "
        f"and colbert, {unlike:.3f} between dense and bm25, if they differ as on SciFact "
        f"({movies[0]:.3f} and {movies[1]:.3f} if as on the movies)"
    )
    return Check("power", what, _advice() if min(alike, movies[0]) > LARGE else "")


def _by(queries: int, comparisons: int, dataset: str = "scifact") -> list[float]:
    return [detectable_by(spreads[dataset], queries, comparisons) for spreads in SPREADS.values()]


def measured(estimate: Check, comparison: Comparison, measure: str = "nDCG@10") -> Check:
    """Return the check with what these systems' queries show in place of the estimate, which it still tells.

    As it was where nothing is compared with anything, or by another measure. A fault where no difference is shown, and
    even the system that is most like the baseline would have to differ by more than 0.1.
    """
    if len(comparison.systems) < 2 or measure not in comparison.measures or comparison.queries < 2:
        return estimate
    rows = [row for row in comparison.evidence(measure).to_dict("records")[1:] if not is_oracle(row["system"])]
    if not rows:
        return estimate
    before = _by(comparison.queries, len(rows))
    each = ", ".join(f"{row['detectable']:.3f} for {row['system']}" for row in rows)
    nothing = all(row["p_holm"] >= ALPHA and row["detectable"] > LARGE for row in rows)
    what = (
        f"{comparison.queries:,} queries show a difference to {comparison.systems[0].system} of {each} (nDCG@10, "
        f"measured; estimated before by SciFact's: {' and '.join(f'{value:.3f}' for value in before)})"
    )
    return Check("power", what, _advice() if nothing else "")


def _advice() -> str:
    factor = detectable_by(max(SPREADS["dense", "colbert"].values()), 1) / _SMALL
    return (
        f"Judge more queries: a difference of {_SMALL} between dense and colbert takes about {math.ceil(factor**2)}; "
        "until then a comparison that shows nothing says nothing"
    )
