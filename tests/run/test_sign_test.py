"""The sign test and its power against counts of coin throws done by hand, and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from r3v.run.sign_test import POWER, least_losses, loss_noticed, power, worse
from r3v.stats import binomial_tail


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),
        (0, 5, 1 / 32),  # all five
        (1, 3, 5 / 16),  # (4 over 3) + (4 over 4)
        (3, 1, 15 / 16),  # all but none
        (2, 8, 56 / 1024),  # 45 + 10 + 1
    ],
)
def test_p_values_by_hand(wins: int, losses: int, p: float) -> None:
    assert worse(wins, losses) == pytest.approx(p, rel=1e-12)


def test_tails_of_thousands_of_throws_are_exact() -> None:
    """2000 throws: at least 1000 heads is one half and half the chance of exactly 1000, 0.0178390111459."""
    assert binomial_tail(1000, 2000) == pytest.approx(0.5 + 0.0178390111459 / 2, rel=1e-10)
    assert binomial_tail(2000, 2000) == pytest.approx(2.0**-1000 * 2.0**-1000, abs=1e-300)
    with pytest.raises(ValueError, match="found 3 of 2"):
        binomial_tail(3, 2)


def test_least_losses_by_hand() -> None:
    """Level 0.05: of 4 not even all (1/16), of 5 all (1/32), of 8 seven (9/256 = 0.035; six: 37/256), of 10 nine
    (11/1024; eight: 56/1024 = 0.0547)."""
    assert [least_losses(m, 0.05) for m in (0, 4, 5, 8, 10)] == [1, 5, 5, 7, 9]


def test_power_by_hand() -> None:
    """Five problems, all of which differ: refused if all are lost. A loss of 1 is noticed always; one of 0.6 (losses
    with probability 0.8) in 0.8^5 = 0.32768; none at all in 1/32. Half of them differ: only where all five do,
    (1/2)^5."""
    assert power(5, 1.0, 1.0, 0.05) == 1.0
    assert power(5, 1.0, 0.6, 0.05) == pytest.approx(0.32768)
    assert power(5, 1.0, 0.0, 0.05) == pytest.approx(1 / 32)
    assert power(5, 0.5, 0.0, 0.05) == pytest.approx(1 / 32 / 32)
    assert power(5, 0.0, 0.0, 0.05) == 0.0
    with pytest.raises(ValueError, match=r"loss 0\.3"):
        power(5, 0.2, 0.3, 0.05)


def test_the_loss_that_n_notices() -> None:
    """Five problems need all five lost in 80 % of cases: 0.8 ** (1 / 5) = 0.9564. Four problems notice nothing."""
    found = loss_noticed(5, 0.0, 0.05)
    assert found is not None
    assert found == pytest.approx(0.8**0.2, abs=1 / 2048)
    assert loss_noticed(4, 1.0, 0.05) is None
    assert loss_noticed(0, 0.0, 0.05) is None
    assert loss_noticed(400, 0.2, 0.0) is None, "at level 0 nothing is refused"


@pytest.mark.parametrize(("n", "differing"), [(50, 0.2), (200, 0.1), (400, 0.3)])
def test_simulated_error_rates_are_those_stated(n: int, differing: float) -> None:
    """4,000 simulated comparisons each: a model that is no worse is refused in at most 5 %, and one that loses what is
    called noticeable is refused in 80 %, within four standard errors (0.025)."""
    rng = np.random.default_rng(n)
    loss = loss_noticed(n, differing, 0.05)
    assert loss is not None
    for effect, low, high in ((0.0, 0.0, 0.05), (loss, POWER - 0.03, POWER + 0.06)):
        d = max(differing, effect)
        counts_T3 = rng.multinomial(n, [(d - effect) / 2, (d + effect) / 2, 1 - d], size=4000)
        refused = np.mean([losses >= least_losses(int(wins + losses), 0.05) for wins, losses, _ in counts_T3])
        assert low <= refused <= high, (effect, refused)
        assert refused == pytest.approx(power(n, d, effect, 0.05), abs=0.026)
