"""Small samples, honestly: shrunken rates and means with intervals. numpy and the standard library only.

Rates get a Beta prior fitted to all cells (empirical Bayes, beta-binomial); means of paired differences a normal one
(DerSimonian and Laird 1986). Samples of one problem are alike, so k of them count as fewer (design effect, Kish 1965).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

STRENGTHS = tuple(2.0 ** (e / 2) for e in range(19))
"""Prior strengths tried, in problems' worth of samples: 1, 1.4, 2, ... 512."""


def intraclass(correct_P: np.ndarray, n_P: np.ndarray) -> float:
    """How alike samples of one problem are: 0 independent, 1 all the same. One-way analysis of variance.

    `correct_P`, `n_P`: right samples and samples of each problem [P]. 0 where no problem was sampled twice; then the
    samples are as good as independent, because no two share a problem.
    """
    keep = n_P > 0
    c, n = correct_P[keep].astype(float), n_P[keep].astype(float)
    total, groups = n.sum(), len(n)
    if groups < 2 or total <= groups:
        return 0.0
    mean = c.sum() / total
    p = c / n
    between = float((n * (p - mean) ** 2).sum() / (groups - 1))
    within = float((n * p * (1 - p)).sum() / (total - groups))
    size = (total - (n**2).sum() / total) / (groups - 1)
    if between + (size - 1) * within <= 0:
        return 0.0
    return float(min(1.0, max(0.0, (between - within) / (between + (size - 1) * within))))


def design_effect(icc: float, samples: float, problems: float) -> float:
    """By how much `samples` of `problems` problems count less than independent ones: 1 + (k - 1) icc, k the mean
    number of samples per problem."""
    return 1.0 if problems <= 0 else 1.0 + max(0.0, samples / problems - 1.0) * icc


def fit_beta(successes_S: Sequence[float], n_S: Sequence[float]) -> tuple[float, float]:
    """Beta(a, b) of the rates of all cells: mean by pooling, strength a + b by the largest marginal likelihood.

    Counts may be fractions (effective counts). Cells without samples are ignored. Where all cells are 0, or all are 1,
    nothing is known of their spread, and each keeps its own interval under Jeffreys' Beta(1/2, 1/2).
    """
    pairs = [(float(c), float(n)) for c, n in zip(successes_S, n_S, strict=True) if n > 0]
    if pairs and (all(c <= 0 for c, _ in pairs) or all(c >= n for c, n in pairs)):
        return 0.5, 0.5
    mean = (sum(c for c, _ in pairs) + 0.5) / (sum(n for _, n in pairs) + 1.0)
    if len(pairs) < 2:
        return mean * 2.0, (1 - mean) * 2.0

    def likelihood(strength: float) -> float:
        a, b = mean * strength, (1 - mean) * strength
        known = math.lgamma(strength) - math.lgamma(a) - math.lgamma(b)
        return sum(known + math.lgamma(a + c) + math.lgamma(b + n - c) - math.lgamma(strength + n) for c, n in pairs)

    strength = max(STRENGTHS, key=likelihood)
    return mean * strength, (1 - mean) * strength


def beta_cdf(x: Any, a: Any, b: Any) -> np.ndarray:
    """P(X <= x) for X ~ Beta(a, b), arrays [N] or numbers: the regularised incomplete beta function, by Lentz's
    continued fraction."""
    x, a, b = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in (x, a, b)))
    flip = x > (a + 1) / (a + b + 2)  # the fraction converges fast on the other side only
    x, a, b = np.where(flip, 1 - x, x).clip(1e-300, 1), np.where(flip, b, a), np.where(flip, a, b)
    front = np.exp(_log_gamma(a + b) - _log_gamma(a) - _log_gamma(b) + a * np.log(x) + b * np.log1p(-x)) / a
    c, d = np.ones_like(x), 1 / _away(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 500):
        for top in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                    -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):  # fmt: skip
            d, c = 1 / _away(1 + top * d), _away(1 + top / c)
            fraction = fraction * c * d
        if np.abs(c * d - 1).max() < 1e-10:
            break
    return np.where(flip, 1 - front * fraction, front * fraction)


def _away(value: np.ndarray) -> np.ndarray:
    """The value, never 0."""
    return np.where(np.abs(value) < 1e-300, 1e-300, value)


def _log_gamma(value: np.ndarray) -> np.ndarray:
    return np.array([math.lgamma(v) for v in value.ravel()]).reshape(value.shape)


def beta_intervals(a_N: Any, b_N: Any, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Equal-tailed intervals (low [N], high [N]) of Beta(a, b), by bisection."""
    a_N, b_N = np.atleast_1d(np.asarray(a_N, float)), np.atleast_1d(np.asarray(b_N, float))
    return _beta_quantile((1 - level) / 2, a_N, b_N), _beta_quantile((1 + level) / 2, a_N, b_N)


def _beta_quantile(q: float, a_N: np.ndarray, b_N: np.ndarray) -> np.ndarray:
    low, high = np.zeros_like(a_N), np.ones_like(a_N)
    for _ in range(34):  # 2 ** -34 is far below what is shown
        middle = (low + high) / 2
        below = beta_cdf(middle, a_N, b_N) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def shrink_means(
    mean_S: np.ndarray, variance_S: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior means with interval [S], [S], [S] of cell means that have sampling variances `variance_S` > 0.

    Cells come from N(mu, tau squared), both estimated from them (DerSimonian and Laird). The interval holds the
    uncertainty of mu, so that a single cell keeps its own mean and interval. Empty input gives empty output.
    """
    if len(mean_S) == 0:
        return mean_S, mean_S, mean_S
    weight_S = 1 / variance_S
    pooled = (weight_S * mean_S).sum() / weight_S.sum()
    spread = (weight_S * (mean_S - pooled) ** 2).sum()
    scale = weight_S.sum() - (weight_S**2).sum() / weight_S.sum()
    tau2 = max(0.0, (spread - (len(mean_S) - 1)) / scale) if scale > 0 else 0.0
    outer_S = 1 / (variance_S + tau2)
    mu = (outer_S * mean_S).sum() / outer_S.sum()
    keep_S = tau2 / (tau2 + variance_S)
    posterior_S = keep_S * mean_S + (1 - keep_S) * mu
    var_S = keep_S * variance_S + (1 - keep_S) ** 2 / outer_S.sum()
    half_S = NormalDist().inv_cdf(0.5 + level / 2) * np.sqrt(var_S)
    return posterior_S, posterior_S - half_S, posterior_S + half_S
