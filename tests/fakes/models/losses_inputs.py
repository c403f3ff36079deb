"""Inputs that the tests of the losses share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from r3v.losses import LossInputs, kind_index

LN2 = math.log(2.0)


def make_inputs(
    logprobs: list[float],
    branch: list[int],
    kinds: list[str],
    mask: list[bool] | None = None,
    weights: list[float] | None = None,
    **more: Tensor,
) -> LossInputs:
    n = len(logprobs)
    return LossInputs(
        logprobs_T=torch.tensor(logprobs, dtype=torch.float64, requires_grad=True),
        branch_T=torch.tensor(branch),
        mask_T=torch.tensor([True] * n if mask is None else mask),
        kind_B=torch.tensor([kind_index(kind) for kind in kinds]),
        weight_B=torch.tensor([1.0] * len(kinds) if weights is None else weights, dtype=torch.float64),
        **more,
    )


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def full_inputs() -> LossInputs:
    """Inputs on which every loss counts something: 4 reinforce, 4 imitated and 2 preference branches."""
    kinds = ["answer", "refine", "select", "keep", "prefer", "prefer", *["reinforce"] * 4]
    n = len(kinds)
    generator = torch.Generator().manual_seed(0)
    branch_T = torch.arange(n).repeat_interleave(3)
    logprobs_T = -torch.rand(3 * n, generator=generator, dtype=torch.float64) - 0.1
    return LossInputs(
        logprobs_T=logprobs_T.requires_grad_(),
        branch_T=branch_T,
        mask_T=torch.rand(3 * n, generator=generator) > 0.2,
        kind_B=torch.tensor([kind_index(kind) for kind in kinds]),
        weight_B=torch.rand(n, generator=generator, dtype=torch.float64) + 0.5,
        group_B=torch.zeros(n, dtype=torch.long),
        reference_T=logprobs_T.detach() + 0.3 * torch.randn(3 * n, generator=generator, dtype=torch.float64),
        old_T=logprobs_T.detach() + 0.05 * torch.randn(3 * n, generator=generator, dtype=torch.float64),
        advantage_B=torch.randn(n, generator=generator, dtype=torch.float64),
        pair_P2=torch.tensor([[4, 5]]),
    )
