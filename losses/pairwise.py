"""Preference losses: one unit per (chosen, rejected) pair of branches."""

from __future__ import annotations

import torch
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
    pair_P2 = need(inputs.pair_P2, "pair_P2", "dpo")
    if pair_P2.ndim != 2 or pair_P2.shape[1] != 2:
        raise ValueError(f"LossInputs.pair_P2: found shape {tuple(pair_P2.shape)}, expected (pairs, 2)")

    n = inputs.n_branches
    logprobs_T = kept(widen(inputs.logprobs_T), inputs.mask_T)
    reference_T = kept(reference_T.detach().to(logprobs_T.dtype), inputs.mask_T)
    gain_B = branch_sums(logprobs_T - reference_T, inputs.branch_T, n)
    tokens_B = branch_sums(inputs.mask_T.to(logprobs_T.dtype), inputs.branch_T, n)
    mask_P = (tokens_B[pair_P2] > 0).all(dim=1)
    margin_P = beta * (gain_B[pair_P2[:, 0]] - gain_B[pair_P2[:, 1]])
    value_P = -(1 - label_smoothing) * logsigmoid(margin_P) - label_smoothing * logsigmoid(-margin_P)
    count_P = mask_P.to(logprobs_T.dtype)
    weight_P = inputs.weight_B.to(logprobs_T.dtype)[pair_P2[:, 0]]
    preferred_P = (margin_P.detach() > 0).to(logprobs_T.dtype) * count_P
    return LossOutput(
        values_U=kept(value_P, mask_P) * weight_P,
        mask_U=mask_P,
        kind_U=torch.full_like(pair_P2[:, 0], kind_index("prefer")),
        count_U=count_P,
        metrics={
            "dpo_margin": (kept(margin_P.detach(), mask_P).sum(), count_P.sum()),
            "dpo_accuracy": (preferred_P.sum(), count_P.sum()),
        },
    )
