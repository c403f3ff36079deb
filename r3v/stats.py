"""Intervals and paired tests for measured numbers. Only numpy and the standard library.

Every accuracy gets a Wilson interval, every comparison of two systems on the same items a paired one, and
every mean over seeds a Student t interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from r3v.errors import DataError, EngineError
from r3v.records import Outcome, Report, Verdict

_CHUNK = 4_000_000  # resampled items held at a time, 32 MB of indices


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); (0, 1) for n = 0. Raises ValueError for impossible
    counts."""
    if not 0 <= successes <= n:
        raise ValueError(f"found {successes} successes of {n}, expected 0 <= successes <= n")
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _pair(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a_N, b_N = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a_N.ndim != 1 or a_N.shape != b_N.shape or a_N.size == 0:
        raise ValueError(
            f"found shapes {a_N.shape} and {b_N.shape}, expected two lists of one value per item, same items"
        )
    if not (np.isfinite(a_N).all() and np.isfinite(b_N).all()):
        raise ValueError("found nan or infinity; leave out the items that either system could not be measured on")
    return a_N, b_N


def paired_bootstrap(a: Any, b: Any, *, n_boot: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a - b over the items with its 95 % percentile interval: (difference, low, high).

    `a` and `b` hold one value per item [N], for the same items in the same order (1 and 0, or rewards). Items
    are resampled with replacement, both systems together (Efron and Tibshirani 1993)."""
    a_N, b_N = _pair(a, b)
    if n_boot < 100:
        raise ValueError(f"found n_boot={n_boot}, expected at least 100 for a 95 % interval")
    difference_N = a_N - b_N
    n, rng = difference_N.size, np.random.default_rng(seed)
    means = []
    for start in range(0, n_boot, per := max(1, _CHUNK // n)):
        index_RN = rng.integers(0, n, size=(min(per, n_boot - start), n))
        means.append(difference_N[index_RN].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(difference_N.mean()), float(low), float(high)


def mcnemar_exact(a: Any, b: Any) -> float:
    """Two-sided exact McNemar test: the p-value that two systems, right (1) or wrong (0) on the same items,
    are equal.

    Only the items on which they differ count: min(1, 2 P(X <= min)) for X ~ Binomial(differing, 1/2).
    """
    a_N, b_N = _pair(a, b)
    if not (np.isin(a_N, (0, 1)).all() and np.isin(b_N, (0, 1)).all()):
        raise ValueError("found values other than 0 and 1, expected right or wrong for each item")
    only_a, only_b = int(((a_N == 1) & (b_N == 0)).sum()), int(((a_N == 0) & (b_N == 1)).sum())
    n = only_a + only_b
    return min(1.0, 2 * binomial_tail(max(only_a, only_b), n))


def binomial_tail(least: int, n: int) -> float:
    """P(at least `least` heads in `n` throws of a fair coin), exact whatever n. Raises ValueError for impossible
    counts."""
    if not 0 <= least <= n:
        raise ValueError(f"found {least} of {n}, expected 0 <= least <= n")
    tail = sum(math.comb(n, k) for k in range(n - least + 1))  # exact integers: n may be thousands
    return float(tail / 2**n) if n < 1000 else _ratio(tail, n)


def _ratio(count: int, n: int) -> float:
    """count / 2**n for numbers beyond the range of floats."""
    shift = max(0, count.bit_length() - 64)
    return math.ldexp(float(count >> shift), shift - n)


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high): Student t interval of the mean of independent runs (seeds).

    One value has no interval: low and high are minus and plus infinity. Raises ValueError for none.
    """
    if len(values) == 0:
        raise ValueError("found no values, expected at least one")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, -math.inf, math.inf
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = t_quantile(0.5 + level / 2, len(values) - 1) * math.sqrt(variance / len(values))
    return mean, mean - half, mean + half


def t_quantile(p: float, df: int) -> float:
    """Quantile of Student's t distribution for p in (0.5, 1), by bisection of its distribution function."""
    if not 0.5 < p < 1 or df < 1:
        raise ValueError(f"found p={p}, df={df}, expected 0.5 < p < 1 and df >= 1")
    low, high = 0.0, 1.0
    while _t_cdf(high, df) < p:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def _t_cdf(t: float, df: int) -> float:
    """P(T <= t) for t >= 0, by the finite trigonometric series (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    theta = math.atan(t / math.sqrt(df))
    cosine_squared, total, term = math.cos(theta) ** 2, 0.0, 1.0
    if df % 2:
        term = math.cos(theta)
        for k in range(1, df - 1, 2):
            total += term
            term *= cosine_squared * (k + 1) / (k + 2)
        inside = 2 / math.pi * (theta + math.sin(theta) * total)
    else:
        for k in range(0, df - 1, 2):
            total += term
            term *= cosine_squared * (k + 1) / (k + 2)
        inside = math.sin(theta) * total
    return 0.5 + inside / 2


def proportion_report(metric: str, outcomes: Sequence[Verdict], seconds: float = 0.0, tokens: int = 0) -> Report:
    """The share of CORRECT verdicts with its Wilson interval.

    UNAVAILABLE items leave the denominator and are counted in `unavailable`; UNPARSED ones stay in it as not
    correct, and their share is `unparsed`. Raises DataError for no outcomes, EngineError if all are
    UNAVAILABLE."""
    if not outcomes:
        raise DataError(f"{metric}: found no verdicts, expected at least one", fix="Check the split and the limit")
    counts = {outcome: sum(v.outcome is outcome for v in outcomes) for outcome in Outcome}
    n = len(outcomes) - counts[Outcome.UNAVAILABLE]
    if n == 0:
        raise EngineError(f"{metric}: all {len(outcomes)} items are UNAVAILABLE; the first says: {outcomes[0].reason}")
    return Report(
        metric=metric,
        value=counts[Outcome.CORRECT] / n,
        n=n,
        ci95=wilson(counts[Outcome.CORRECT], n),
        unparsed=counts[Outcome.UNPARSED] / n,
        unavailable=counts[Outcome.UNAVAILABLE],
        seconds=seconds,
        tokens=tokens,
    )
