"""Padded rows, as other trainers batch them: one branch per row, its kind and weight written into the labels.

Other trainers hand a loss `(outputs, labels)` and nothing else. Position 0 of a causal language model's
labels is never a target, so the kind and the weight of a row travel there, as one integer below every
label; they survive worker processes, devices and padding, and the trainer's own count of `labels[:, 1:] !=
-100` stays right. A row without such a tag is an `answer` of weight 1, so ordinary batches work as they
are.

Shape suffixes: B rows, S positions, V vocabulary, T supervised tokens, K kinds.
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


def tag_rows(labels_BS: Tensor, kinds: Sequence[str], weights: Sequence[float] | None = None) -> Tensor:
    """A copy of the labels with each row's kind and weight (float32) in position 0.

    Raises ValueError for an unknown kind, unequal lengths, or a row whose position 0 is a target already.
    """
    weights = [1.0] * len(kinds) if weights is None else weights
    if not len(kinds) == len(weights) == labels_BS.shape[0]:
        raise ValueError(
            f"tag_rows: found {len(kinds)} kinds and {len(weights)} weights for {labels_BS.shape[0]} rows of "
            "labels, expected one of each per row"
        )
    if bool((labels_BS[:, 0] != IGNORE).any()):
        raise ValueError(f"tag_rows: found a target or a tag at position 0, expected {IGNORE} in every row")
    tagged_BS = labels_BS.clone()
    for row, (kind, weight) in enumerate(zip(kinds, weights, strict=True)):
        bits = struct.unpack("<I", struct.pack("<f", weight))[0]
        tagged_BS[row, 0] = -((kind_index(kind) + 1) * _WORD + bits)
    return tagged_BS


def untag_rows(labels_BS: Tensor) -> tuple[Tensor, Tensor]:
    """(kind_B, weight_B) of tagged labels; untagged rows are `answer` with weight 1."""
    code_B = -labels_BS[:, 0]
    tagged_B = code_B >= _WORD
    bits_B = code_B % _WORD
    signed_B = torch.where(bits_B >= _WORD // 2, bits_B - _WORD, bits_B).to(torch.int32)
    weight_B = torch.where(tagged_B, signed_B.view(torch.float32), torch.ones((), device=labels_BS.device))
    kind_B = torch.where(tagged_B, code_B // _WORD - 1, torch.full_like(code_B, kind_index("answer")))
    return kind_B, weight_B


def row_counts(labels_BS: Tensor) -> Tensor:
    """Target tokens of each kind, shape K: add them up over micro-batches and devices to get denominators."""
    kind_B, _ = untag_rows(labels_BS)
    counts_B = (labels_BS[:, 1:] != IGNORE).sum(dim=1).float()
    return torch.zeros(len(KINDS), device=labels_BS.device).index_add(0, kind_B, counts_B)


def rows_to_inputs(logits_BSV: Tensor, labels_BS: Tensor) -> LossInputs:
    """LossInputs of padded rows: position s predicts label s + 1; only supervised positions are kept.

    Raises ValueError when logits and labels differ in rows or positions.
    """
    if logits_BSV.ndim != 3 or logits_BSV.shape[:2] != labels_BS.shape:
        raise ValueError(
            f"rows_to_inputs: found logits {tuple(logits_BSV.shape)} and labels {tuple(labels_BS.shape)}, "
            "expected (B, S, V) and (B, S); switch off options that make the model keep only some logits"
        )
    labels_BS = labels_BS.to(logits_BSV.device)
    kind_B, weight_B = untag_rows(labels_BS)
    targets_BS = labels_BS[:, 1:]
    row_T, column_T = (targets_BS != IGNORE).nonzero(as_tuple=True)
    return LossInputs(
        logprobs_T=from_logits(logits_BSV[row_T, column_T], targets_BS[row_T, column_T]),
        branch_T=row_T,
        mask_T=torch.ones_like(row_T, dtype=torch.bool),
        kind_B=kind_B,
        weight_B=weight_B,
    )


@dataclass(frozen=True)
class RowLoss:
    """A token-wise loss and how to reduce it, applied to the logits and (tagged) labels of padded rows.

    For losses that need log-probabilities, kinds and weights only (nll, refine, select, reflection); the
    others raise ValueError naming what is missing.
    """

    loss: Loss
    mode: Literal["kind", "tokens"] = "kind"
    kind_weights: Mapping[str, float] | None = None

    def __call__(
        self, logits_BSV: Tensor | None, labels_BS: Tensor, denominators_K: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(scalar with gradient, metrics); `denominators_K` is `row_counts` over the whole optimiser step.

        Raises ValueError in mode "tokens" for rows of a kind that this loss does not train: they are in those
        counts and would dilute the others.
        """
        if logits_BSV is None:
            raise ValueError(
                "RowLoss: found outputs without logits (a fused or chunked loss drops them), expected "
                "logits; switch that patch off, or use r3v.losses.from_hidden on the hidden states"
            )
        output = self.loss(rows_to_inputs(logits_BSV, labels_BS))
        if self.mode == "tokens" and denominators_K is not None:
            counted, targets = float(output.count_U.sum()), float(row_counts(labels_BS).sum())
            if counted != targets:
                raise ValueError(
                    f"RowLoss: found {targets:.0f} target tokens of which this loss trains {counted:.0f}, "
                    "expected all; take rows of other kinds out of the batch, or use mode='kind'"
                )
        return reduce(output, denominators_K, self.mode, self.kind_weights)
