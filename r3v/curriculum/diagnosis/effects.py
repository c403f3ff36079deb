"""Each skill's own effect, when a problem needs several: a shrunken logistic model over the skill tags.

A skill that often occurs beside a weak one has a low accuracy of its own without being weak; the model tells them
apart as far as the data can: log-odds of a right answer = overall level + difficulty + sum of the effects of the
problem's skills, effects from N(0, tau squared) with tau estimated (empirical Bayes on a Laplace approximation, MacKay
1992). Skills that always occur together cannot be told apart and form one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_ROUNDS, _NEWTON = 30, 25
_FLAT, _LEVEL = 100.0, 1.0
"""Prior variances of the overall level (no shrinkage to speak of) and of the effect of one step of difficulty."""


@dataclass(frozen=True)
class Effects:
    """Effects in log-odds against what stands in the place of a skill on other problems, one per group of skills [G].

    `group_S`: the group of each skill, -1 for a skill that is on every problem or on none, whose effect cannot be
    separated from the overall level. `own`: chance of a right answer on a problem that needs the group and, for
    the rest, what an average problem needs; `lost`: accuracy that the group costs on its problems, in shares of 1.
    """

    group_S: np.ndarray
    effect: np.ndarray
    sd: np.ndarray
    own: np.ndarray
    own_sd: np.ndarray
    lost: np.ndarray
    tau: float
    typical: float
    icc: float

    def interval(self, group: int, level: float = 0.95) -> tuple[float, float]:
        half = NormalDist().inv_cdf(0.5 + level / 2) * float(self.sd[group])
        return float(self.effect[group]) - half, float(self.effect[group]) + half


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -40, 40)))


def groups_of(tags_PS: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """Group of each skill [S] and the skills of each group. `tags_PS`: whether problem P needs skill S."""
    problems = tags_PS.shape[0]
    group_S = np.full(tags_PS.shape[1], -1)
    members: list[list[int]] = []
    seen: dict[bytes, int] = {}
    for s in range(tags_PS.shape[1]):
        column = tags_PS[:, s]
        if not 0 < int(column.sum()) < problems:
            continue
        key = np.packbits(column).tobytes()
        if key not in seen:
            seen[key] = len(members)
            members.append([])
        group_S[s] = seen[key]
        members[seen[key]].append(s)
    return group_S, members


def skill_effects(
    tags_PS: np.ndarray, correct_P: np.ndarray, n_P: np.ndarray, level_P: Sequence[float] | np.ndarray | None = None
) -> Effects:
    """Fit the model. `tags_PS` [P, S] bool; `correct_P`, `n_P`: right and all samples of each problem; `level_P`:
    difficulty of each problem, None to leave it out.

    Samples of one problem are more alike than its skills and level explain; a first fit measures by how much, and the
    second one counts them for less (`icc`). Problems without samples take no part, in the grouping either.
    """
    keep = n_P > 0
    tags_PS, correct_P, n_P = tags_PS[keep].astype(bool), correct_P[keep].astype(float), n_P[keep].astype(float)
    level = np.zeros(len(n_P)) if level_P is None else np.asarray(level_P, float)[keep]
    group_S, members = groups_of(tags_PS)
    x_PG = tags_PS[:, [g[0] for g in members]].astype(float)
    if not members or not len(n_P):
        none = np.zeros(0)
        typical = float((correct_P.sum() + 0.5) / (n_P.sum() + 1))
        return Effects(group_S, none, none, none, none, none, 0.0, typical, 0.0)
    spread = float(level.std())
    z = (level - level.mean()) / spread if spread > 0 else level * 0
    x_PD = np.column_stack([np.ones(len(n_P)), z, x_PG])
    # Problems with the same tags and difficulty are one binomial observation: the fit then costs what they cost.
    rows, index = np.unique(x_PD, axis=0, return_inverse=True)
    index = index.reshape(-1)

    def fit(deff_P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        n_R = np.bincount(index, n_P / deff_P, len(rows))
        return (n_R, *_fit(rows, np.bincount(index, correct_P / deff_P, len(rows)), n_R))

    _, beta_D, _, _ = fit(np.ones(len(n_P)))
    icc = _left_over(correct_P, n_P, sigmoid(rows @ beta_D)[index])
    n_R, beta_D, covariance_DD, tau2 = fit(1 + (n_P - 1).clip(0) * icc)
    place_GG, share_G = _in_place(x_PG, n_P)
    return _effects(group_S, place_GG, share_G, covariance_DD, beta_D, rows, n_R, tau2, icc)


def _in_place(x_PG: np.ndarray, n_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What stands in the place of a group where it is absent [G, G], and how frequent each group is [G].

    Row g: by how much more frequent every other group is on problems without g, scaled down to a sum of at most 1.
    Where each problem has one skill, these are the other skills; where skills are independent, next to nothing.
    """
    weight_P = n_P / n_P.sum()
    share_G = weight_P @ x_PG
    both_GG = (x_PG * weight_P[:, None]).T @ x_PG
    more_GG = (share_G - both_GG) / (1 - share_G)[:, None] - both_GG / share_G[:, None]
    np.fill_diagonal(more_GG, 0.0)
    more_GG = more_GG.clip(0)
    return more_GG / np.maximum(1.0, more_GG.sum(1, keepdims=True)), share_G


def _left_over(correct_P: np.ndarray, n_P: np.ndarray, p_P: np.ndarray) -> float:
    """Correlation of samples of one problem beyond what the fit explains, from Pearson's chi-squared: the square of
    a standardised residual is 1 + (n - 1) icc in the mean (Williams 1982)."""
    pairs = float((n_P - 1).clip(0).sum())
    if pairs == 0:
        return 0.0
    residual_P = (correct_P - n_P * p_P) ** 2 / np.maximum(n_P * p_P * (1 - p_P), 1e-12)
    return float(min(1.0, max(0.0, (residual_P - 1)[n_P > 1].sum() / pairs)))


def _fit(rows: np.ndarray, c_R: np.ndarray, n_R: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior mode, its covariance, and tau squared."""
    groups = rows.shape[1] - 2
    beta = np.zeros(rows.shape[1])
    rate = (c_R.sum() + 0.5) / (n_R.sum() + 1)
    beta[0], tau2 = np.log(rate / (1 - rate)), 1.0
    covariance = np.eye(rows.shape[1])
    for _ in range(_ROUNDS):
        precision = np.concatenate([[1 / _FLAT, 1 / _LEVEL], np.full(groups, 1 / tau2)])
        for _ in range(_NEWTON):
            p = sigmoid(rows @ beta)
            gradient = rows.T @ (c_R - n_R * p) - precision * beta
            hessian = (rows * (n_R * p * (1 - p))[:, None]).T @ rows + np.diag(precision)
            step = np.linalg.solve(hessian, gradient)
            beta = beta + step * min(1.0, 4.0 / max(1e-12, float(np.abs(step).max())))
            if np.abs(step).max() < 1e-7:
                break
        covariance = np.linalg.inv(hessian)
        # MacKay's fixed point: sum of squares over the number of effects that the data determine
        determined = max(0.1, groups - float(np.trace(covariance[2:, 2:])) / tau2)
        new = min(25.0, max(1e-3, float((beta[2:] ** 2).sum()) / determined))
        done = abs(np.log(new / tau2)) < 0.01
        tau2 = new
        if done:
            break
    return beta, covariance, tau2


def _effects(
    group_S: np.ndarray,
    place_GG: np.ndarray,
    share_G: np.ndarray,
    covariance: np.ndarray,
    beta: np.ndarray,
    rows: np.ndarray,
    n_R: np.ndarray,
    tau2: float,
    icc: float,
) -> Effects:
    """The numbers people read: effect against what stands in its place, own accuracy, and accuracy lost."""
    groups = len(share_G)
    contrast_GD = np.column_stack([np.zeros((groups, 2)), np.eye(groups) - place_GG])
    effect = contrast_GD @ beta
    sd = np.sqrt(np.einsum("gd,de,ge->g", contrast_GD, covariance, contrast_GD))
    # own: the group for certain, every other skill as on an average problem but for what the group takes the place of
    design_GD = np.column_stack([np.ones(groups), np.zeros(groups), (share_G - place_GG).clip(0)])
    design_GD[np.arange(groups), 2 + np.arange(groups)] = 1.0
    own = sigmoid(design_GD @ beta)
    own_sd = own * (1 - own) * np.sqrt(np.einsum("gd,de,ge->g", design_GD, covariance, design_GD))
    eta_R = rows @ beta
    lost = np.zeros(groups)
    for g in range(groups):
        has = rows[:, 2 + g] > 0
        drop = sigmoid(eta_R[has] - effect[g]) - sigmoid(eta_R[has])
        lost[g] = float((n_R[has] * drop).sum() / n_R[has].sum())
    typical = float(sigmoid(beta[:1] + share_G @ beta[2:])[0])
    return Effects(group_S, effect, sd, own, own_sd, lost, float(np.sqrt(tau2)), typical, icc)
