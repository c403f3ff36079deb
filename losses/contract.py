"""The contract between a batch and a loss: `LossInputs` -> loss function -> `LossOutput` -> `reduce` ->
scalar.

Shape suffixes: T supervised target tokens of all branches, laid end to end; B branches; P preference pairs.
A loss never divides and never sees a model, a tokenizer or a configuration. Only `reduce` divides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

KINDS: tuple[str, ...] = ("answer", "refine", "select", "keep", "prefer", "reinforce")


@dataclass(frozen=True)
class LossInputs:
    """Per-token log-probabilities of the target tokens and what each branch is for.

    logprobs_T: log p(token | branch before it), with gradient.
    branch_T: index of the branch each token belongs to, 0 <= branch < B, long.
    mask_T: True where the token counts; masked tokens contribute exactly zero, to value and gradient.
    kind_B: index into KINDS, long.
    weight_B: multiplies the branch's tokens.
    group_B: the problem a branch belongs to (branches of one problem form a GRPO group), long.
    reference_T: log-probabilities under the frozen reference (dpo, KL), or None.
    old_T: log-probabilities under the policy that sampled the tokens (policy gradient), or None.
    advantage_B: group-normalised advantage per branch (policy gradient), or None.
    pair_P2: branch indices (chosen, rejected) of preference pairs, long, or None.
    importance_T: multiplies the policy-gradient values, to correct for a sampling engine whose probabilities
        differ from the trainer's (detached), or None.
    """

    logprobs_T: Tensor
    branch_T: Tensor
    mask_T: Tensor
    kind_B: Tensor
    weight_B: Tensor
    group_B: Tensor | None = None
    reference_T: Tensor | None = None
    old_T: Tensor | None = None
    advantage_B: Tensor | None = None
    pair_P2: Tensor | None = None
    importance_T: Tensor | None = None

    @property
    def n_branches(self) -> int:
        return int(self.kind_B.shape[0])


@dataclass(frozen=True)
class LossOutput:
    """Unreduced values: one per unit, where a unit is a token, a branch or a pair.

    values_U: weighted loss of each unit; exactly zero where `mask_U` is False.
    mask_U: which units count.
    kind_U: index into KINDS of each unit, so that `reduce` can give each kind its own denominator.
    count_U: what each unit adds to its kind's denominator (1 for a counted token or pair, 0 for a masked one;
        never the weight, so that a weight changes the size of a gradient and not the size of the batch).
    metrics: detached scalars, name -> (sum, count), so that they add up over batches and devices.
    divide_U: what `reduce` divides each value by before it adds them up, or None for nothing. This is how a
    loss
        that averages within a branch first says so (grpo: the branch's tokens; dr_grpo: a constant) without
        dividing itself. A branch is never split over batches, so this stays exact under accumulation.
    """

    values_U: Tensor
    mask_U: Tensor
    kind_U: Tensor
    count_U: Tensor
    metrics: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    divide_U: Tensor | None = None


class Loss(Protocol):
    """A loss: pure, no division, no state."""

    def __call__(self, inputs: LossInputs) -> LossOutput: ...


def kind_index(name: str) -> int:
    """Index of a kind in KINDS. Raises ValueError naming the kinds there are."""
    if name not in KINDS:
        raise ValueError(f"found loss kind {name!r}, expected one of {', '.join(KINDS)}")
    return KINDS.index(name)


def is_kind_T(inputs: LossInputs, *names: str) -> Tensor:
    """Boolean T: tokens whose branch is of one of these kinds."""
    wanted = torch.zeros(len(KINDS), dtype=torch.bool, device=inputs.kind_B.device)
    wanted[[kind_index(name) for name in names]] = True
    return wanted[inputs.kind_B][inputs.branch_T]
