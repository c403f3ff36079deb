"""Intervals and tests against values from published tables or worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from r3v import stats
from r3v.errors import DataError, EngineError
from r3v.records import Outcome, Verdict


def test_wilson_against_hand_computed_values():
    """8 of 10 at z = 1.96: z^2 = 3.8416; centre .8 + .19208 = .99208; half 1.96 sqrt(.016 + .009604) =
    .313628; scale 1.38416; (.678452 / 1.38416, 1.305708 / 1.38416) = (.49015, .94332). 0 of 10: 2(.19208) /
    1.38416 = .27754."""
    assert stats.wilson(8, 10) == pytest.approx((0.49015, 0.94332), abs=1e-4)
    assert stats.wilson(0, 10) == pytest.approx((0.0, 0.27754), abs=1e-4)
    assert stats.wilson(10, 10) == pytest.approx((1 - 0.27754, 1.0), abs=1e-4)
    assert stats.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
        stats.wilson(k, n)


@pytest.mark.parametrize(
    ("p", "df", "expected"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.975, 30, 2.042),
        (0.975, 120, 1.980),
        (0.95, 5, 2.015),
        (0.995, 2, 9.925),
        (0.75, 1, 1.000),
    ],
)
def test_t_quantile_against_the_published_table(p, df, expected):
    assert stats.t_quantile(p, df) == pytest.approx(expected, abs=6e-4)


def test_mean_interval_of_three_seeds():
    """1, 2, 3: mean 2, standard deviation 1, half width 4.3027 / sqrt(3) = 2.48414."""
    assert stats.mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2, 2 - 2.48414, 2 + 2.48414), abs=1e-4)
    assert stats.mean_interval([5.0]) == (5.0, -math.inf, math.inf)
    with pytest.raises(ValueError, match="at least one"):
        stats.mean_interval([])


def test_mcnemar_counts_only_the_items_that_differ():
    """a alone right on 5, b alone on none: 2 / 2^5 = .0625. 1 against 9: 2 (1 + 10) / 1024 = .021484. 2
    against 2: 1."""

    def pair(only_a, only_b, both=7):
        return [1] * only_a + [0] * only_b + [1] * both, [0] * only_a + [1] * only_b + [1] * both

    assert stats.mcnemar_exact(*pair(5, 0)) == pytest.approx(0.0625)
    assert stats.mcnemar_exact(*pair(1, 9)) == pytest.approx(22 / 1024)
    assert stats.mcnemar_exact(*pair(2, 2)) == 1.0
    assert stats.mcnemar_exact(*pair(0, 0)) == 1.0
    large = stats.mcnemar_exact(*pair(950, 1050))
    """Normal approximation with continuity: z = (100 - 1) / sqrt(2000) = 2.2137, p = .0268."""
    assert large == pytest.approx(0.0268, abs=3e-4)
    with pytest.raises(ValueError, match="right or wrong"):
        stats.mcnemar_exact([0.5], [1])


def test_paired_bootstrap_is_about_the_normal_interval():
    """100 items, +1 on 30, -1 on 10, 0 on 60: mean .2, variance .4 - .04 = .36, s.e. .06, interval .2 +-
    .1176."""
    a = np.array([1] * 30 + [0] * 10 + [1] * 60)
    b = np.array([0] * 30 + [1] * 10 + [1] * 60)
    difference, low, high = stats.paired_bootstrap(a, b)
    assert difference == pytest.approx(0.2)
    assert low == pytest.approx(0.2 - 0.1176, abs=0.015)
    assert high == pytest.approx(0.2 + 0.1176, abs=0.015)
    assert stats.paired_bootstrap(a, b) == (difference, low, high)
    assert stats.paired_bootstrap(a, b, seed=1)[0] == difference


def test_paired_bootstrap_uses_the_pairing():
    """Equal differences on all items: no spread, whatever the items' own variance."""
    a = np.arange(50.0)
    assert stats.paired_bootstrap(a + 3, a, n_boot=200) == pytest.approx((3, 3, 3))


def test_paired_bootstrap_resamples_large_inputs_in_parts(monkeypatch):
    """The draws do not depend on how many fit into one part, except in their order."""
    rng = np.random.default_rng(0)
    a, b = rng.random(40), rng.random(40)
    whole = stats.paired_bootstrap(a, b, n_boot=400)
    monkeypatch.setattr(stats, "_CHUNK", 40 * 7)
    assert stats.paired_bootstrap(a, b, n_boot=400) == pytest.approx(whole)


@pytest.mark.parametrize(("a", "b"), [([1], [1, 0]), ([], []), ([[1]], [[1]]), ([float("nan")], [1])])
def test_paired_inputs_must_fit(a, b):
    with pytest.raises(ValueError, match="found"):
        stats.paired_bootstrap(a, b)


def test_proportion_report_leaves_unavailable_out_and_counts_unparsed_as_not_correct():
    """3 right, 1 wrong, 1 unparsed, 2 unavailable: 3 / 5, unparsed 1 / 5."""
    names = ["CORRECT"] * 3 + ["WRONG", "UNPARSED"] + ["UNAVAILABLE"] * 2
    report = stats.proportion_report("greedy", [Verdict(Outcome[name]) for name in names], 1.5, 20)
    assert (report.value, report.n, report.unparsed, report.unavailable) == (0.6, 5, 0.2, 2)
    assert report.ci95 == stats.wilson(3, 5)
    assert (report.metric, report.seconds, report.tokens) == ("greedy", 1.5, 20)


def test_proportion_report_refuses_to_report_nothing():
    with pytest.raises(DataError, match="no verdicts"):
        stats.proportion_report("greedy", [])
    with pytest.raises(EngineError, match=r"all 1 items are UNAVAILABLE.*server gone"):
        stats.proportion_report("greedy", [Verdict(Outcome.UNAVAILABLE, None, "server gone")])
