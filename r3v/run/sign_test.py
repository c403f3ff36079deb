"""The exact one-sided sign test on paired outcomes, and the loss it can notice.

Two models answer the same n problems. Only problems that one of them gets right and the other wrong say anything: the
wins and losses of the new model. If it is no worse, each of them is a win with probability one half at least, so the
losses are at most as many as heads of a fair coin.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from r3v.stats import binomial_tail

POWER = 0.8
"""Share of cases in which a loss of the stated size is noticed."""


def worse(wins: int, losses: int) -> float:
    """P(at least `losses` heads in `wins` + `losses` throws of a fair coin): the p-value against "no worse"."""
    return binomial_tail(losses, wins + losses)


@functools.lru_cache(maxsize=8192)
def least_losses(differing: int, level: float) -> int:
    """How many losses among `differing` problems have a p-value of at most `level`; `differing` + 1 where not even all
    do."""
    tail_M = np.cumsum(_binomial(differing, 0.5)[::-1])[::-1]
    return int((tail_M > level * (1 + 1e-9)).sum())


def power(n: int, differing: float, loss: float, level: float) -> float:
    """How often a loss of accuracy `loss` is noticed on n problems, of which a share `differing` (at least `loss`) is
    answered right by one model alone: exact, over how many differ and which way they go. `loss` 0: how often a model
    that is no worse is refused."""
    if not 0 <= loss <= differing <= 1:
        raise ValueError(f"found differing {differing} and loss {loss}, expected 0 <= loss <= differing <= 1")
    if differing == 0:
        return 0.0
    many_M = _binomial(n, differing)
    likely = np.nonzero(many_M > 1e-12)[0]
    share = (differing + loss) / (2 * differing)
    return float(sum(many_M[m] * _binomial(m, share)[least_losses(m, level) :].sum() for m in map(int, likely)))


def loss_noticed(n: int, differing: float, level: float) -> float | None:
    """The smallest loss of accuracy that n problems notice with `POWER`, where a share `differing` of them is answered
    right by one model alone (and by more where the loss itself is larger). None: not even a loss of all is noticed."""

    def seen(loss: float) -> bool:
        return power(n, max(differing, loss), loss, level) >= POWER

    if n == 0 or not seen(1.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(12):  # to 1 / 4096
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high


def _binomial(n: int, p: float) -> np.ndarray:
    """P(X = 0 ... n) for n throws with probability p above 0. [n + 1]"""
    if p >= 1:
        only_N = np.zeros(n + 1)
        only_N[n] = 1.0
        return only_N
    logs_N = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k_N = np.arange(n + 1)
    choose_N = logs_N[n] - logs_N - logs_N[::-1]
    return np.exp(choose_N + k_N * math.log(p) + (n - k_N) * math.log1p(-p))
