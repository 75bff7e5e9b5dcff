"""What a difference between two systems is worth: interval, test, correction, power."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit  # scipy.stats takes half a second to import

from ragkit.errors import RagkitError

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
POWER = 0.8
RESAMPLES = 10_000  # of a bootstrap
ASSIGNMENTS = 100_000  # of signs: the standard error of a p of 0.05 is then 0.0007
SEED = 20_000
_BATCH = 1000  # drawn at a time: what the processor's cache holds of a few hundred queries
TIE = 1e-9  # below this a difference is a tie: float rounding, not a ranking


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """One system against the baseline, over the same queries.

    All of it is for this pair alone; `holm` and `detectable` know of a family of pairs. difference: mean of
    system − baseline, with its interval; p: two-sided; exact: whether p counts every assignment of signs or
    a sample of them; wins, ties, losses: queries.
    """

    difference: Interval
    p: float
    exact: bool
    wins: int
    ties: int
    losses: int


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the mean of the queries' values and its 95 % bootstrap interval (expanded percentile, seeded).

    A plain percentile interval is too narrow for few queries, by about the factor that separates a normal from a t
    distribution; it is expanded by that factor. Most queries tie between two systems, and on such values the better
    known BCa interval covers less. Values that are all equal have an interval of no width. Raises RagkitError for no
    values, or one that is not finite.

    Source: Hesterberg, What teachers should know about the bootstrap (The American Statistician 2015);
    scipy.stats.bootstrap gives the same interval from the same seed.

    >>> mean_interval([0.5, 0.5, 0.5])
    Interval(value=0.5, low=0.5, high=0.5)
    """
    x = _checked(values)
    return _mean_interval(x.tobytes(), RESAMPLES)


@functools.lru_cache(maxsize=1024)  # a table, its verdicts and its pictures ask for the same
def _mean_interval(data: bytes, resamples: int) -> Interval:
    x = np.frombuffer(data)
    mean = float(x.mean())
    if len(x) < 2 or np.ptp(x) <= TIE:
        return Interval(mean, mean, mean)
    rng = np.random.default_rng(SEED)
    batches = (rng.integers(0, len(x), (count, len(x))) for count in _batches(resamples))
    means = np.concatenate([x[drawn].mean(axis=1) for drawn in batches])
    tail = (1 - _expanded(len(x))) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def _batches(count: int) -> list[int]:
    """Return the sizes of the batches that `count` is drawn in.

    >>> _batches(2500)
    [1000, 1000, 500]
    """
    return [min(_BATCH, count - done) for done in range(0, count, _BATCH)]


def _expanded(n: int) -> float:
    """Return the confidence level at which a percentile interval of n values covers 95 %."""
    reach = np.sqrt(n / (n - 1)) * stdtrit(n - 1, 1 - ALPHA / 2)
    return float(1 - 2 * ndtr(-reach))


def paired(system: Sequence[float], baseline: Sequence[float]) -> Paired:
    """Return what the differences of two systems over the same queries are worth.

    The test is a paired randomization test of the mean: under the null hypothesis each query's
    difference is as likely to have either sign. Queries without a difference do not change it, so it
    is exact while at most 16 queries differ (2^16 assignments), and 100,000 seeded assignments beyond.
    Raises RagkitError if the two have not the same number of values.

    Source: Smucker, Allan and Carterette, A comparison of statistical significance tests for
    information retrieval evaluation (CIKM 2007); scipy.stats.permutation_test, ten times slower, agrees.

    >>> result = paired([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    >>> result.p, result.exact, result.wins
    (0.25, True, 3)
    """
    a, b = _checked(system), _checked(baseline)
    if len(a) != len(b):
        raise RagkitError(f"A paired test needs the same queries for both systems; got {len(a)} and {len(b)}.")
    return _paired((a - b).tobytes(), ASSIGNMENTS)


@functools.lru_cache(maxsize=1024)
def _paired(data: bytes, assignments: int) -> Paired:
    difference = np.frombuffer(data)
    differing = difference[np.abs(difference) > TIE]
    exact = 2 ** len(differing) <= assignments
    return Paired(
        difference=mean_interval(difference),
        p=_p(differing, exact, assignments),
        exact=exact,
        wins=int((difference > TIE).sum()),
        ties=int(len(difference) - len(differing)),
        losses=int((difference < -TIE).sum()),
    )


def _p(differing: np.ndarray, exact: bool, assignments: int) -> float:
    """Return the share of assignments of signs whose sum is at least as far from 0 as the one that was seen."""
    count, total = len(differing), differing.sum()
    kept: Iterable[np.ndarray]
    if exact:
        kept = [np.arange(2**count)[:, None] >> np.arange(count) & 1]
    else:
        rng = np.random.default_rng(SEED)
        kept = (rng.integers(0, 2**32, (n, count), dtype=np.uint32) & 1 for n in _batches(assignments))
    extreme = 0
    for batch in kept:  # 1 where a difference keeps its sign, else 0
        sums = 2 * (batch.astype(float) @ differing) - total
        # Sums that are equal but for float rounding are ties, so they count as no less extreme.
        extreme += int(np.count_nonzero(np.abs(sums) >= abs(total) - TIE))
    # A sample of assignments holds the one that was seen, too, so that no p is 0.
    return extreme / 2**count if exact else (extreme + 1) / (assignments + 1)


def detectable(differences: Sequence[float] | np.ndarray, comparisons: int = 1) -> float:
    """Return the smallest true mean difference that a two-sided test would show in 80 % of such samples.

    By the normal approximation (z(1 − α / 2) + z(0.8)) · s / √n, from the spread s of the n differences. α is
    0.05 / comparisons (Bonferroni): the level that Holm's first step asks of the smallest p in a family of that
    many. His later steps ask less, so that in a family this is never too small. NaN for fewer than two queries.
    Raises RagkitError as mean_interval does.

    >>> round(detectable([0.1, -0.1] * 50), 4), round(detectable([0.1, -0.1] * 50, comparisons=5), 4)
    (0.0282, 0.0343)
    """
    x = _checked(differences)
    if len(x) < 2:
        return float("nan")
    return detectable_by(float(x.std(ddof=1)), len(x), comparisons)


def detectable_by(spread: float, queries: int, comparisons: int = 1) -> float:
    """Return what `detectable` does for so many queries whose differences have that standard deviation.

    >>> round(detectable_by(0.1, 100), 4)
    0.028
    """
    z = ndtri(1 - ALPHA / comparisons / 2) + ndtri(POWER)
    return float(z * spread / np.sqrt(queries))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number, in the same order.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(raised, 1.0)
    return corrected.tolist()


def _checked(values: Sequence[float] | np.ndarray) -> np.ndarray:
    x = np.asarray(values, float)
    if not len(x):
        raise RagkitError("There are no queries, so there is nothing to average.")
    if not np.isfinite(x).all():
        raise RagkitError("A query's value is not finite; check the run.")
    return x
