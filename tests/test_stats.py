import itertools
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap, kstest, norm, permutation_test
from scipy.stats import t as student_t

from ragkit import RagkitError
from ragkit.evaluation import statistics

ROOT = Path(__file__).resolve().parent.parent


def ir_differences(rng, n):
    """n per-query differences as two retrieval systems give them: most queries tie, and the rest are skewed."""
    kind = rng.choice(3, n, p=[0.55, 0.28, 0.17])
    return np.where(kind == 0, 0.0, np.where(kind == 1, rng.beta(0.8, 2, n), -rng.beta(0.8, 3, n)))


def ir_values(rng, n):
    """n reciprocal ranks: half of the queries are answered at rank 1, and a tenth not at all."""
    ranks = np.array([1, 2, 3, 4, 5, 7, 10, np.inf])
    return 1 / rng.choice(ranks, n, p=[0.5, 0.14, 0.08, 0.06, 0.05, 0.04, 0.03, 0.1])


def expanded_shares(n):
    """Hesterberg's expansion: the shares of resamples below the ends of a 95 % percentile interval of n values."""
    reach = (n / (n - 1)) ** 0.5 * student_t.isf(0.025, n - 1)
    return norm.cdf(-reach), norm.cdf(reach)


@pytest.mark.parametrize("n", [4, 5, 6])
def test_a_small_interval_is_the_one_of_all_resamples(n, rng):
    for _ in range(5):
        x = rng.exponential(size=n).tolist()
        means = np.sort([sum(resample) / n for resample in itertools.product(x, repeat=n)])
        found = statistics.mean_interval(x)
        assert found.value == pytest.approx(sum(x) / n)
        # So few values make means with gaps between, so the ends are compared as shares of all resamples.
        for end, share in zip((found.low, found.high), expanded_shares(n), strict=True):
            assert (means < end - 1e-12).mean() - 0.01 < share < (means <= end + 1e-12).mean() + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("make", [ir_differences, ir_values])
def test_a_larger_interval_is_the_one_of_a_naive_bootstrap(make, rng):
    x = make(rng, 60).tolist()
    means = np.sort([np.mean(rng.choice(x, len(x))) for _ in range(60_000)])
    low, high = (means[int(share * len(means))] for share in expanded_shares(60))
    found = statistics.mean_interval(x)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03 * (high - low))


@pytest.mark.parametrize("n", [2, 5, 40, 300])
def test_the_interval_is_scipys_bootstrap_from_the_same_seed(n, rng):
    x = rng.exponential(size=n)
    low, high = expanded_shares(n)
    drawn = {"n_resamples": statistics.RESAMPLES, "rng": statistics.SEED, "batch": 700}
    theirs = bootstrap((x,), np.mean, confidence_level=high - low, method="percentile", **drawn).confidence_interval
    found = statistics.mean_interval(x)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_whole_numbers_are_measured_as_what_they_are():
    ones = [1, 0, 1, 1]
    assert statistics.mean_interval(ones) == statistics.mean_interval([float(x) for x in ones])
    assert statistics.paired(ones, [0] * 4) == statistics.paired([1.0, 0.0, 1.0, 1.0], [0.0] * 4)


def test_the_interval_is_the_same_every_time(rng):
    x = ir_differences(rng, 50)
    assert statistics.mean_interval(x) == statistics.mean_interval(list(x))
    np.random.seed(1)
    assert statistics.mean_interval(x) == statistics.paired(x, np.zeros(50)).difference


def test_equal_values_have_an_interval_of_no_width(rng):
    baseline = rng.random(300)
    assert statistics.mean_interval([0.25]) == statistics.Interval(0.25, 0.25, 0.25)
    # Equal but for float rounding: a bootstrap of them would show only the rounding.
    for values in (np.full(300, 0.3), baseline + 0.1 - baseline, [0.1 + 0.2, 0.3, 0.3]):
        found = statistics.mean_interval(values)
        assert found.low == found.value == found.high


def missed(make, n, rng, times=1500):
    """How often the true mean lies below and above the interval of n values."""
    truth = make(np.random.default_rng(0), 4_000_000).mean()
    found = [statistics.mean_interval(make(rng, n)) for _ in range(times)]
    return np.mean([truth < one.low for one in found]), np.mean([truth > one.high for one in found])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("make", "n"),
    [(ir_values, 40), (ir_values, 300), (ir_differences, 40), (ir_differences, 100), (ir_differences, 300)],
)
def test_95_percent_intervals_hold_the_true_mean_about_95_times_in_100(make, n, rng, monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    below, above = missed(make, n, rng)
    assert 0.93 < 1 - below - above < 0.97
    assert 0.01 < below < 0.05 and 0.01 < above < 0.05  # in the right place, too


def test_the_architecture_tells_how_often_intervals_held_the_true_mean_in_the_appendix_lesson():
    lesson = json.loads((ROOT / "notebooks" / "appendix" / "tests_at_length.ipynb").read_text("utf8"))
    printed = "".join("".join(out.get("text", "")) for cell in lesson["cells"] for out in cell.get("outputs", []))
    films = re.search(r"films, 40 queries +(0\.\d+) +(0\.\d+)\n", printed)
    scifact = re.search(r"SciFact, 300 queries +0\.\d+ +(0\.\d+)\n", printed)
    bca = re.search(r"BCa held the true mean in (0\.\d+)", printed)
    measured = [films[2], films[1], bca[1], scifact[1]]
    text = (ROOT / "docs" / "architecture.md").read_text("utf8")
    told = re.search(r"- \*\*Intervals are expanded(.*?)\n- ", text, re.DOTALL)[1]
    assert re.findall(r"(\d+) %", told) == [f"{100 * float(share):.0f}" for share in measured]


def enumerated_p(differences):
    """Two-sided p over every assignment of signs, in exact fractions."""
    observed = abs(sum(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in SIGNS[len(differences)]]
    return sum(value >= observed for value in sums) / len(sums)


SIGNS = {n: list(itertools.product((1, -1), repeat=n)) for n in range(1, 10)}
TENTHS = [Fraction(i, 10) for i in range(11)]
RECIPROCAL_RANKS = [Fraction(1, i) for i in range(1, 11)] + [Fraction(0)]


@pytest.mark.parametrize("grid", [TENTHS, RECIPROCAL_RANKS, [Fraction(0), Fraction(1)]])
def test_p_is_the_share_of_all_assignments_of_signs_ties_and_zeros_included(grid, rng):
    zeros = 0
    for _ in range(60):
        n = int(rng.integers(1, 10))
        a, b = ([grid[i] for i in rng.integers(0, len(grid), n)] for _ in range(2))
        found = statistics.paired([float(x) for x in a], [float(x) for x in b])
        assert found.exact and found.p == pytest.approx(enumerated_p([x - y for x, y in zip(a, b, strict=True)]))
        zeros += found.ties
    assert zeros > 5


@pytest.mark.parametrize(
    "sevenths",
    [[6, -5, -4, 1, 1, 6, -3, -2], [1, 2, -3, 4, -4, 6, -6, 0], [5, 4, -6, -3, 2, -2, 1, -1]],
)
def test_float_rounding_does_not_tell_equal_sums_apart(sevenths):
    assert sum(sevenths) == 0
    for order in itertools.islice(itertools.permutations(sevenths), 0, None, 997):
        assert statistics.paired([s / 7 for s in order], [0.0] * 8).p == 1.0


@pytest.mark.slow
def test_p_beyond_16_differing_queries_is_that_of_a_naive_monte_carlo_loop(rng):
    for n, shift in ((17, 0.1), (40, 0.05), (200, 0.03)):
        a, b = rng.random(n) + shift, rng.random(n)
        observed, extreme = abs(sum(a - b)), 0
        for _ in range(20_000):
            swap = rng.random(n) < 0.5
            extreme += abs(np.where(swap, b, a).sum() - np.where(swap, a, b).sum()) >= observed
        naive = extreme / 20_000
        found = statistics.paired(a, b)
        error = 4 * np.sqrt(naive * (1 - naive) * (1 / 20_000 + 1 / statistics.ASSIGNMENTS))
        assert not found.exact and found.p == pytest.approx(naive, abs=error + 2 / statistics.ASSIGNMENTS)
        assert 0.001 < found.p < 0.999


@pytest.mark.parametrize("n", [2, 9, 16, 40])
def test_p_is_that_of_scipys_permutation_test(n, rng):
    a, b = rng.random(n) + 0.1, rng.random(n)
    theirs = permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf if n <= 16 else 20_000,
        batch=5000,
        rng=rng,
    ).pvalue
    error = 0 if n <= 16 else 4 * np.sqrt(theirs * (1 - theirs) * (1 / 20_000 + 1 / statistics.ASSIGNMENTS))
    assert statistics.paired(a, b).p == pytest.approx(theirs, rel=1e-12, abs=error)


def test_p_is_exact_while_at_most_16_queries_differ():
    for n, exact in ((16, True), (17, False)):
        found = statistics.paired([1.0] * n + [0.5] * 30, [0.0] * n + [0.5] * 30)
        assert (found.exact, found.wins, found.ties, found.losses) == (exact, n, 30, 0)
        assert found.p == (pytest.approx(2 / 2**16) if exact else pytest.approx(2 / 2**17, abs=5e-5))


@pytest.mark.slow
def test_no_sampled_p_is_zero():
    assert statistics.paired(np.ones(500), np.zeros(500)).p == pytest.approx(1 / (statistics.ASSIGNMENTS + 1))


def test_one_differing_query_proves_nothing():
    found = statistics.paired([1.0, 0.5, 0.5], [0.0, 0.5, 0.5])
    assert (found.p, found.exact, found.wins, found.ties, found.losses) == (1.0, True, 1, 2, 0)


def test_equal_systems_differ_by_nothing_and_rounding_is_a_tie():
    found = statistics.paired([0.3, 0.7, 0.1 + 0.2], [0.3, 0.7, 0.3])
    assert (found.p, found.exact, found.wins, found.ties, found.losses) == (1.0, True, 0, 3, 0)
    assert found.difference.value == pytest.approx(0)


@pytest.mark.parametrize("n", [8, 60])
def test_swapping_the_systems_mirrors_all_but_p(n, rng):
    a = rng.random(n).round(1)
    b = rng.random(n).round(1)
    there, back = statistics.paired(a, b), statistics.paired(b, a)
    assert there.p == back.p and there.exact == back.exact == (n == 8)
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
    assert there.wins == sum(x - y > 1e-6 for x, y in zip(a, b, strict=True)) and there.wins != there.losses
    assert statistics.detectable(a - b) == pytest.approx(statistics.detectable(b - a))
    assert there.difference.value == pytest.approx(-back.difference.value)
    width = there.difference.high - there.difference.low
    assert there.difference.low == pytest.approx(-back.difference.high, abs=0.03 * width)


def test_p_is_uniform_where_the_systems_are_alike(rng, monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 10)  # the interval is not looked at
    monkeypatch.setattr(statistics, "ASSIGNMENTS", 1000)
    monkeypatch.setattr(statistics, "mean_interval", lambda values: None)  # not tested here, and most of the time
    found = []
    for _ in range(2000):
        shared = rng.random(30)  # queries are harder or easier for both
        found.append(statistics.paired(shared + rng.normal(0, 0.2, 30), shared + rng.normal(0, 0.2, 30)).p)
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.015)


def naive_holm(p_values):
    """Holm's steps as he wrote them: the smallest p against m, the next against m − 1, and never below the last."""
    corrected, last, left = {}, 0.0, len(p_values)
    for i in sorted(range(len(p_values)), key=p_values.__getitem__):
        last = min(1.0, max(last, p_values[i] * left))
        corrected[i] = last
        left -= 1
    return [corrected[i] for i in range(len(p_values))]


def test_holm_is_the_step_down_procedure(rng):
    for n in range(1, 12):
        p = (rng.random(n) ** 3).round(2).tolist()  # some equal
        found = statistics.holm(p)
        assert found == pytest.approx(naive_holm(p))
        assert all(1 >= high >= low for low, high in zip(p, found, strict=True))
        assert [found[i] for i in np.argsort(p)] == sorted(found)  # monotone


def test_holm_gives_the_known_examples():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Wikipedia's
    assert statistics.holm([0.6, 0.9, 0.5]) == [1.0, 1.0, 1.0]
    assert statistics.holm([0.04]) == [0.04]
    assert statistics.holm([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("comparisons", [1, 9])
def test_a_detectable_difference_is_detected_about_80_times_in_100_at_its_familys_level(comparisons, rng, monkeypatch):
    monkeypatch.setattr(statistics, "ASSIGNMENTS", 1999)
    monkeypatch.setattr(statistics, "mean_interval", lambda values: None)  # not looked at
    pilot = ir_differences(rng, 120)
    shift = statistics.detectable(pilot, comparisons)
    assert 0 < shift < 0.2
    others = [1.0] * (comparisons - 1)  # systems that show nothing, so that this one meets Holm's first step
    detected = []
    for _ in range(1000):
        sample = rng.choice(pilot - pilot.mean(), 120) + shift  # queries like the pilot's, their true mean the shift
        p = statistics.paired(sample, np.zeros(120)).p
        detected.append(statistics.holm([p, *others])[0] < 0.05)
    assert 0.75 < np.mean(detected) < 0.85


@pytest.mark.parametrize("comparisons", [1, 4])
def test_what_is_detectable_is_the_normal_approximation(comparisons, rng):
    for n in (2, 3, 50):
        x = rng.normal(size=n).tolist()
        variance = sum((value - sum(x) / n) ** 2 for value in x) / (n - 1)
        expected = (norm.isf(0.025 / comparisons) + norm.ppf(0.8)) * (variance / n) ** 0.5
        assert statistics.detectable(x, comparisons) == pytest.approx(expected)
        assert statistics.detectable(x) == statistics.detectable(x, 1)


def test_four_times_the_queries_show_half_the_difference(rng):
    x = rng.normal(size=100)
    assert statistics.detectable(np.tile(x, 4)) == pytest.approx(statistics.detectable(x) / 2, rel=0.01)
    assert np.isnan(statistics.detectable([0.5]))


@pytest.mark.parametrize("call", [statistics.mean_interval, statistics.detectable, lambda x: statistics.paired(x, x)])
@pytest.mark.parametrize(
    ("values", "message"),
    [([], "no queries"), ([0.1, float("nan")], "not finite"), ([0.1, float("inf")], "not finite")],
)
def test_values_that_no_mean_can_be_made_of_are_refused(call, values, message):
    with pytest.raises(RagkitError, match=message):
        call(values)


def test_systems_over_other_numbers_of_queries_are_refused():
    with pytest.raises(RagkitError, match="same queries for both systems; got 2 and 1"):
        statistics.paired([0.1, 0.2], [0.1])


def test_nothing_changes_its_input(rng):
    a, b = rng.random(20), rng.random(20)
    copies = a.copy(), b.copy()
    statistics.paired(a, b)
    assert (a == copies[0]).all() and (b == copies[1]).all()
