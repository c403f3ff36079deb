"""Padded rows, as other trainers batch them: one branch per row, its kind and weight written into the labels.

Other trainers hand a loss `(outputs, labels)` and nothing else. Position 0 of a causal language model's
labels is never a target, so the kind and the weight of a row travel there, as one integer below every
label; they survive worker processes, devices and padding, and the trainer's own count of `labels[:, 1:] !=
-100` stays right. A row without such a tag is an `answer` of weight 1, so ordinary batches work as they
are.

A packed row is several tagged rows laid end to end: each tag begins the next branch. (Keeping their attention
apart is the model's part: transformers does it by `position_ids` that begin anew, without a mask and without a cache.)

Shape suffixes: R rows, S positions, B branches (rows, or the examples of packed rows), V vocabulary, T supervised
tokens, K kinds.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .contract import KINDS, Loss, LossInputs, kind_index
from .logprobs import from_logits
from .reduce import reduce

IGNORE = -100
_WORD = 1 << 32


def tag_rows(labels_RS: Tensor, kinds: Sequence[str], weights: Sequence[float] | None = None) -> Tensor:
    """A copy of the labels with each row's kind and weight (float32) in position 0. Tag rows before they are packed.

    Raises ValueError for an unknown kind, unequal lengths, or a row whose position 0 is a target already.
    """
    weights = [1.0] * len(kinds) if weights is None else weights
    if not len(kinds) == len(weights) == labels_RS.shape[0]:
        raise ValueError(
            f"tag_rows: found {len(kinds)} kinds and {len(weights)} weights for {labels_RS.shape[0]} rows of "
            "labels, expected one of each per row"
        )
    if bool((labels_RS[:, 0] != IGNORE).any()):
        raise ValueError(f"tag_rows: found a target or a tag at position 0, expected {IGNORE} in every row")
    tagged_RS = labels_RS.clone()
    for row, (kind, weight) in enumerate(zip(kinds, weights, strict=True)):
        bits = struct.unpack("<I", struct.pack("<f", weight))[0]
        tagged_RS[row, 0] = -((kind_index(kind) + 1) * _WORD + bits)
    return tagged_RS


def untag_rows(labels_RS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(kind_B, weight_B, branch_RS) of tagged labels: what each branch is, and the branch each position belongs to.

    A branch begins at each row's position 0 and at each tag behind it; one without a tag is `answer` with weight 1.
    """
    begins_RS = _is_tag(labels_RS)
    begins_RS[:, 0] = True
    code_B = -labels_RS[begins_RS]
    tagged_B = code_B >= _WORD
    bits_B = code_B % _WORD
    signed_B = torch.where(bits_B >= _WORD // 2, bits_B - _WORD, bits_B).to(torch.int32)
    weight_B = torch.where(tagged_B, signed_B.view(torch.float32), torch.ones((), device=labels_RS.device))
    kind_B = torch.where(tagged_B, code_B // _WORD - 1, torch.full_like(code_B, kind_index("answer")))
    return kind_B, weight_B, begins_RS.flatten().cumsum(0).view_as(labels_RS) - 1


def packed(labels_RS: Tensor) -> bool:
    """Whether a tag stands anywhere behind position 0: the host's own count of targets is then too large."""
    return bool(_is_tag(labels_RS[:, 1:]).any())


def row_counts(labels_RS: Tensor) -> Tensor:
    """Target tokens of each kind, shape K: add them up over micro-batches and devices to get denominators."""
    kind_B, _, branch_RS = untag_rows(labels_RS)
    kind_T = kind_B[branch_RS[:, 1:][_is_target(labels_RS)]]
    return torch.bincount(kind_T, minlength=len(KINDS)).float()


def rows_to_inputs(logits_RSV: Tensor, labels_RS: Tensor) -> LossInputs:
    """LossInputs of padded or packed rows: position s predicts label s + 1; only supervised positions are kept.

    Raises ValueError when logits and labels differ in rows or positions.
    """
    if logits_RSV.ndim != 3 or logits_RSV.shape[:2] != labels_RS.shape:
        raise ValueError(
            f"rows_to_inputs: found logits {tuple(logits_RSV.shape)} and labels {tuple(labels_RS.shape)}, "
            "expected (R, S, V) and (R, S); switch off options that make the model keep only some logits"
        )
    labels_RS = labels_RS.to(logits_RSV.device)
    kind_B, weight_B, branch_RS = untag_rows(labels_RS)
    target_RS = _is_target(labels_RS)
    branch_T = branch_RS[:, 1:][target_RS]
    return LossInputs(
        logprobs_T=from_logits(logits_RSV[:, :-1][target_RS], labels_RS[:, 1:][target_RS]),
        branch_T=branch_T,
        mask_T=torch.ones_like(branch_T, dtype=torch.bool),
        kind_B=kind_B,
        weight_B=weight_B,
    )


def _is_tag(labels_RS: Tensor) -> Tensor:
    return labels_RS <= -_WORD


def _is_target(labels_RS: Tensor) -> Tensor:
    """Boolean, shape R (S - 1): label s + 1 is to be predicted."""
    return (labels_RS[:, 1:] != IGNORE) & ~_is_tag(labels_RS[:, 1:])


@dataclass(frozen=True)
class RowLoss:
    """A token-wise loss and how to reduce it, applied to the logits and (tagged) labels of padded or
    packed rows.

    For losses that need log-probabilities, kinds and weights only (nll, refine, select, reflection); the
    others raise ValueError naming what is missing.
    """

    loss: Loss
    mode: Literal["kind", "tokens"] = "kind"
    kind_weights: Mapping[str, float] | None = None

    def __call__(
        self, logits_RSV: Tensor | None, labels_RS: Tensor, denominators_K: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(scalar with gradient, metrics); `denominators_K` is `row_counts` over the whole optimiser step.

        Raises ValueError in mode "tokens" for rows of a kind that this loss does not train: they are in those
        counts and would dilute the others.
        """
        if logits_RSV is None:
            raise ValueError(
                "RowLoss: found outputs without logits (a fused or chunked loss drops them), expected "
                "logits; switch that patch off, or use `from_hidden` on the hidden states"
            )
        output = self.loss(rows_to_inputs(logits_RSV, labels_RS))
        if self.mode == "tokens" and denominators_K is not None:
            counted, targets = float(output.count_U.sum()), float(row_counts(labels_RS).sum())
            if counted != targets:
                raise ValueError(
                    f"RowLoss: found {targets:.0f} target tokens of which this loss trains {counted:.0f}, "
                    "expected all; take rows of other kinds out of the batch, or use mode='kind'"
                )
        return reduce(output, denominators_K, self.mode, self.kind_weights)
