"""Policy-gradient losses on `reinforce` branches: one token formula, three ways to average.

| name    | ratio    | clip            | averaged over                                   | paper            |
|---------|----------|-----------------|-------------------------------------------------|------------------|
| grpo    | token    | 0.2 / 0.2       | tokens of a branch, then branches               | arXiv 2402.03300 |
| dr_grpo | token    | 0.2 / 0.2       | a constant length, then branches                | arXiv 2503.20783 |
| dapo    | token    | 0.2 / 0.28      | all tokens alike                                | arXiv 2503.14476 |
| gspo    | sequence | 3e-4 / 4e-4     | branches                                        | arXiv 2507.18071 |
| cispo   | token    | weight, up to 5 | all tokens alike                                | arXiv 2506.13585 |

The averaging is only stated here, by the choice of unit (token or branch) and `divide_U`; `reduce` does it.
With r = p / p_old, the clipped value is -min(min(r, ratio_cap) A, clip(r, 1 - low, 1 + high) A); `beta` adds
beta (exp(d) - d - 1) with d = log ref - log p per token (the k3 estimate of KL). `old_T=None` means that
the tokens were sampled by this very policy, so r = 1 with the gradient of log p. `importance_T` multiplies
the value before the KL term. Shape suffixes: T tokens, B branches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .contract import LossInputs, LossOutput, is_kind_T
from .pieces import branch_sums, check_inputs, kept, need, widen


@dataclass(frozen=True)
class _Terms:
    """What every formula starts from; masked tokens hold zeros."""

    mask_T: Tensor
    logprobs_T: Tensor
    log_ratio_T: Tensor
    advantage_T: Tensor
    length_B: Tensor


def grpo(
    inputs: LossInputs,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    ratio_cap: float | None = None,
) -> LossOutput:
    """Group relative policy optimisation: mean over the tokens of a branch, then over branches."""
    terms = _terms(inputs, "grpo")
    values_T, metrics = _clipped(terms, terms.log_ratio_T, clip_low, clip_high, ratio_cap)
    return _output(inputs, "grpo", terms, values_T, metrics, beta, "branch")


def dr_grpo(
    inputs: LossInputs,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    ratio_cap: float | None = None,
    max_tokens: int = 384,
) -> LossOutput:
    """GRPO without its length bias: a branch's sum is divided by the constant `max_tokens` (the sampler's
    limit).

    Use it with advantages that are not scaled by a standard deviation (`group_advantages(scale="none")`).
    """
    if max_tokens < 1:
        raise ValueError(f"dr_grpo: found max_tokens={max_tokens}, expected at least 1")
    terms = _terms(inputs, "dr_grpo")
    values_T, metrics = _clipped(terms, terms.log_ratio_T, clip_low, clip_high, ratio_cap)
    return _output(inputs, "dr_grpo", terms, values_T, metrics, beta, max_tokens)


def dapo(
    inputs: LossInputs,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    beta: float = 0.0,
    ratio_cap: float | None = None,
) -> LossOutput:
    """Clip-higher and one mean over all tokens. Dynamic sampling is the caller's: drop the groups that
    `group_advantages` flags."""
    terms = _terms(inputs, "dapo")
    values_T, metrics = _clipped(terms, terms.log_ratio_T, clip_low, clip_high, ratio_cap)
    return _output(inputs, "dapo", terms, values_T, metrics, beta, "token")


def gspo(inputs: LossInputs, *, clip_low: float = 3e-4, clip_high: float = 4e-4, beta: float = 0.0) -> LossOutput:
    """Sequence-level ratio: exp of the mean log-ratio over the branch (that mean is the ratio, not a
    reduction).
    """
    terms = _terms(inputs, "gspo")
    sums_B = branch_sums(terms.log_ratio_T, inputs.branch_T, inputs.n_branches)
    log_ratio_T = (sums_B / terms.length_B.clamp(min=1))[inputs.branch_T]
    values_T, metrics = _clipped(terms, log_ratio_T, clip_low, clip_high, None)
    return _output(inputs, "gspo", terms, values_T, metrics, beta, "branch")


def cispo(inputs: LossInputs, *, weight_max: float = 5.0, beta: float = 0.0) -> LossOutput:
    """Clipped importance weight, detached, on the policy gradient: every token keeps a gradient."""
    terms = _terms(inputs, "cispo")
    ratio_T = terms.log_ratio_T.detach().exp()
    values_T = -ratio_T.clamp(max=weight_max) * terms.advantage_T * terms.logprobs_T
    clipped_T = (ratio_T > weight_max) & (terms.advantage_T > 0)
    metrics = _metrics(terms, ratio_T, clipped_T)
    return _output(inputs, "cispo", terms, values_T, metrics, beta, "token")


@dataclass(frozen=True)
class Advantages:
    """advantage_B; flat_B: branches of groups without variance (nothing to learn); unscored_B: reward was
    NaN.
    """

    advantage_B: Tensor
    flat_B: Tensor
    unscored_B: Tensor


def group_advantages(
    rewards_B: Tensor,
    group_B: Tensor,
    scale: Literal["group", "batch", "none"] = "group",
    epsilon: float = 1e-4,
) -> Advantages:
    """Reward minus the mean of its group, divided by (standard deviation + epsilon).

    scale "group": the group's standard deviation (GRPO); "batch": that of all rewards; "none": no division
    (Dr. GRPO). Standard deviations are unbiased (n - 1). A NaN reward (the grader could not say) leaves the
    group's statistics and gets advantage 0. Groups whose rewards are all equal, or that have fewer than
    two, are flagged. Raises ValueError for an unknown scale or unequal lengths.
    """
    if scale not in ("group", "batch", "none"):
        raise ValueError(f"group_advantages: found scale {scale!r}, expected group, batch or none")
    if rewards_B.ndim != 1 or rewards_B.shape != group_B.shape:
        raise ValueError(
            f"group_advantages: found rewards {tuple(rewards_B.shape)} and groups {tuple(group_B.shape)}, "
            "expected the same (B,) for both"
        )
    rewards_B = widen(rewards_B.detach())
    unscored_B = rewards_B.isnan()
    scored_B = (~unscored_B).to(rewards_B.dtype)
    filled_B = kept(rewards_B, ~unscored_B)
    group_ids_G, index_B = group_B.unique(return_inverse=True)
    n_groups = group_ids_G.shape[0]
    count_G = branch_sums(scored_B, index_B, n_groups)
    mean_G = branch_sums(filled_B, index_B, n_groups) / count_G.clamp(min=1)
    centred_B = kept(filled_B - mean_G[index_B], ~unscored_B)
    variance_G = branch_sums(centred_B**2, index_B, n_groups) / (count_G - 1).clamp(min=1)
    flat_B = torch.isclose(variance_G.sqrt(), torch.zeros_like(variance_G))[index_B]
    if scale == "group":
        advantage_B = centred_B / (variance_G.sqrt()[index_B] + epsilon)
    elif scale == "batch":
        advantage_B = centred_B / (_deviation(rewards_B[~unscored_B]) + epsilon)
    else:
        advantage_B = centred_B
    return Advantages(advantage_B=kept(advantage_B, ~flat_B), flat_B=flat_B, unscored_B=unscored_B)


def _deviation(values_N: Tensor) -> Tensor:
    return values_N.std() if values_N.numel() > 1 else values_N.new_zeros(())


def _terms(inputs: LossInputs, name: str) -> _Terms:
    check_inputs(inputs)
    advantage_B = need(inputs.advantage_B, "advantage_B", name)
    mask_T = inputs.mask_T & is_kind_T(inputs, "reinforce")
    logprobs_T = kept(widen(inputs.logprobs_T), mask_T)
    old_T = logprobs_T if inputs.old_T is None else kept(inputs.old_T.to(logprobs_T.dtype), mask_T)
    return _Terms(
        mask_T=mask_T,
        logprobs_T=logprobs_T,
        log_ratio_T=logprobs_T - old_T.detach(),
        advantage_T=kept(advantage_B.detach().to(logprobs_T.dtype)[inputs.branch_T], mask_T),
        length_B=branch_sums(mask_T.to(logprobs_T.dtype), inputs.branch_T, inputs.n_branches),
    )


def _clipped(
    terms: _Terms, log_ratio_T: Tensor, low: float, high: float, cap: float | None
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """The clipped surrogate of each token and its metrics."""
    ratio_T = log_ratio_T.exp()
    free_T = ratio_T if cap is None else ratio_T.clamp(max=cap)
    values_T = -torch.minimum(free_T * terms.advantage_T, ratio_T.clamp(1 - low, 1 + high) * terms.advantage_T)
    below_T = (ratio_T < 1 - low) & (terms.advantage_T < 0)
    above_T = (ratio_T > 1 + high) & (terms.advantage_T > 0)
    return values_T, _metrics(terms, ratio_T, below_T | above_T)


def _metrics(terms: _Terms, ratio_T: Tensor, clipped_T: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    count = terms.mask_T.to(ratio_T.dtype).sum()
    return {
        "ratio": (kept(ratio_T.detach(), terms.mask_T).sum(), count),
        "clipped": ((clipped_T & terms.mask_T).to(ratio_T.dtype).sum(), count),
    }


def _output(
    inputs: LossInputs,
    name: str,
    terms: _Terms,
    values_T: Tensor,
    metrics: dict[str, tuple[Tensor, Tensor]],
    beta: float,
    per: Literal["token", "branch"] | int,
) -> LossOutput:
    """Add importance, KL and weight, and choose the unit: tokens, or branches divided by their length or
    `per`.
    """
    dtype = terms.logprobs_T.dtype
    if inputs.importance_T is not None:
        values_T = values_T * kept(inputs.importance_T.detach().to(dtype), terms.mask_T)
    if beta:
        reference_T = need(inputs.reference_T, "reference_T", f"{name} with beta={beta}")
        gap_T = kept(reference_T.detach().to(dtype), terms.mask_T) - terms.logprobs_T
        kl_T = gap_T.exp() - gap_T - 1
        values_T = values_T + beta * kl_T
        metrics = metrics | {"kl": (kl_T.detach().sum(), terms.mask_T.to(dtype).sum())}
    values_T = kept(values_T, terms.mask_T) * inputs.weight_B.to(dtype)[inputs.branch_T]
    if per == "token":
        kind_T = inputs.kind_B[inputs.branch_T]
        return LossOutput(values_T, terms.mask_T, kind_T, terms.mask_T.to(dtype), metrics)
    mask_B = terms.length_B > 0
    divide_B = terms.length_B.clamp(min=1) if per == "branch" else torch.full_like(terms.length_B, float(per))
    return LossOutput(
        values_U=branch_sums(values_T, inputs.branch_T, inputs.n_branches),
        mask_U=mask_B,
        kind_U=inputs.kind_B,
        count_U=mask_B.to(dtype),
        metrics=metrics,
        divide_U=divide_B,
    )
