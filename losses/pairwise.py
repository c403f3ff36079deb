"""Preference losses: one unit per (chosen, rejected) pair of branches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .contract import LossInputs, LossOutput, kind_index
from .pieces import branch_sums, check_inputs, kept, need, widen


def dpo(inputs: LossInputs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> LossOutput:
    """Direct preference optimisation (arXiv 2305.18290), conservative with `label_smoothing` > 0.

    h = beta [(log p(chosen) - log ref(chosen)) - (log p(rejected) - log ref(rejected))], sums over the
    branch; value = -(1 - s) log sigmoid(h) - s log sigmoid(-h), times the chosen branch's weight. A pair
    with a branch in which no token counts is masked. Only the branches named in `pair_P2` take part, and
    each unit is of kind `prefer`. Raises ValueError without `reference_T` or `pair_P2`, or when
    `label_smoothing` is not in [0, 0.5).
    """
    if not 0.0 <= label_smoothing < 0.5:
        raise ValueError(f"dpo: found label_smoothing={label_smoothing}, expected 0 <= label_smoothing < 0.5")
    check_inputs(inputs)
    reference_T = need(inputs.reference_T, "reference_T", "dpo")
    pair_P2 = _pairs(inputs, "dpo")
    logprobs_T = kept(widen(inputs.logprobs_T), inputs.mask_T)
    reference_T = kept(reference_T.detach().to(logprobs_T.dtype), inputs.mask_T)
    gain_B = branch_sums(logprobs_T - reference_T, inputs.branch_T, inputs.n_branches)
    margin_P = beta * (gain_B[pair_P2[:, 0]] - gain_B[pair_P2[:, 1]])
    value_P = -(1 - label_smoothing) * logsigmoid(margin_P) - label_smoothing * logsigmoid(-margin_P)
    return _of_pairs("dpo", inputs, pair_P2, margin_P, value_P)


def simpo(inputs: LossInputs, *, beta: float = 10.0, gamma: float = 0.0) -> LossOutput:
    """Simple preference optimisation (arXiv 2405.14734): no reference, and every branch counted per token.

    h = beta [mean log p(chosen) - mean log p(rejected)] - gamma, means over the branch's tokens; value = -log
    sigmoid(h), times the chosen branch's weight. What it trains is what a selector by log-probability per token
    compares. Masks, units and kinds as in `dpo`. Raises ValueError without `pair_P2`.
    """
    check_inputs(inputs)
    pair_P2 = _pairs(inputs, "simpo")
    logprobs_T = kept(widen(inputs.logprobs_T), inputs.mask_T)
    mean_B = branch_sums(logprobs_T, inputs.branch_T, inputs.n_branches) / _tokens(inputs, logprobs_T).clamp_min(1)
    margin_P = beta * (mean_B[pair_P2[:, 0]] - mean_B[pair_P2[:, 1]]) - gamma
    return _of_pairs("simpo", inputs, pair_P2, margin_P, -logsigmoid(margin_P))


def _pairs(inputs: LossInputs, loss: str) -> Tensor:
    pair_P2 = need(inputs.pair_P2, "pair_P2", loss)
    if pair_P2.ndim != 2 or pair_P2.shape[1] != 2:
        raise ValueError(f"LossInputs.pair_P2: found shape {tuple(pair_P2.shape)}, expected (pairs, 2)")
    return pair_P2


def _tokens(inputs: LossInputs, like: Tensor) -> Tensor:
    """Counted tokens of each branch."""
    return branch_sums(inputs.mask_T.to(like.dtype), inputs.branch_T, inputs.n_branches)


def _of_pairs(name: str, inputs: LossInputs, pair_P2: Tensor, margin_P: Tensor, value_P: Tensor) -> LossOutput:
    mask_P = (_tokens(inputs, margin_P)[pair_P2] > 0).all(dim=1)
    count_P = mask_P.to(margin_P.dtype)
    weight_P = inputs.weight_B.to(margin_P.dtype)[pair_P2[:, 0]]
    preferred_P = (margin_P.detach() > 0).to(margin_P.dtype) * count_P
    return LossOutput(
        values_U=kept(value_P, mask_P) * weight_P,
        mask_U=mask_P,
        kind_U=torch.full_like(pair_P2[:, 0], kind_index("prefer")),
        count_U=count_P,
        metrics={
            f"{name}_margin": (kept(margin_P.detach(), mask_P).sum(), count_P.sum()),
            f"{name}_accuracy": (preferred_P.sum(), count_P.sum()),
        },
    )
