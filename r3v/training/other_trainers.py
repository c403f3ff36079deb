"""The fused trie in other people's trainers, without `R3VModule`: a collator, a loss, a self-test.

    collator = TrieCollator(model, encoder)
    collator.check(groups)                      # fused only where it computes what the model itself computes
    loss = TrieLoss(make_loss("reflection"))

`collator` turns groups of examples (one problem each) into what `model(**inputs)` takes, with the tree mask as its 4-D
`attention_mask` and the `Batch` itself as `labels`; `loss` is a `compute_loss_func`. The model is called whole, by the
trainer, so its DDP, PEFT and mixed precision are as they always are. For `transformers.Trainer` see
recipes/plug_hf_fused.py; `KindCounts` gives it the denominators of a step, over accumulation and processes.

On a GPU the mask arrives as a plain tensor, so attention is dense over the row; `R3VModule` computes it run by run.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from r3v.errors import DataError
from r3v.losses import KINDS, Loss, reduce
from r3v.policies.model.encode import Encoder
from r3v.records import Example
from r3v.training.forward import logprobs_of, whole_inputs, why_not_fusable
from r3v.training.layout.batching import Batch, collate, counts
from r3v.training.layout.trie import Trie, TrieStats, build_trie
from r3v.training.selftest.parity import Parity, ParityWarning, check_parity, half_precision
from r3v.training.selftest.tries import ENOUGH, chosen


class TrieCollator:
    """Groups of examples, each of one problem and its pictures, to the inputs of one forward pass.

    `fused`: one row per group under a tree mask; otherwise one row per example, with the same loss. It is False from
    the start, with a ParityWarning, where the model's attention takes no tree mask. Branches longer than `max_tokens`
    (pictures included) are left out whole. Raises DataError when nothing of a batch is left.
    """

    def __init__(self, model: Any, encoder: Encoder, *, max_tokens: int = 2048) -> None:
        self.model, self.encoder, self.max_tokens = model, encoder, max_tokens
        reason = why_not_fusable(model)
        self.fused = reason is None
        if reason:
            _warn(f"branches are trained one per row, with the same loss, because {reason}")

    def __call__(self, groups: Sequence[Sequence[Example]]) -> dict[str, Any]:
        tries = [trie for group in groups if (trie := self._build(group)[0]) is not None]
        batch = self._collate(self._some(tries), self.fused)
        return {**whole_inputs(self.model, batch), "labels": replace(batch, tries=())}

    def check(self, groups: Sequence[Sequence[Example]]) -> Parity | None:
        """Compare fused and unfused log-probabilities and gradients on the smallest groups that say enough; where they
        differ by more than rounding, `fused` goes off with a ParityWarning. None where nothing is fused.

        Call it before the trainer wraps the model; gradients and weights stay as they are.
        """
        if not self.fused:
            return None
        half = half_precision(self.model)
        enough = ENOUGH["half" if half else "full"]
        tries = self._some(chosen([], groups, self._build, cap=self.max_tokens, enough=enough))
        found = check_parity(self.model, tries, self._moved, "whole", half=half)
        if not found.ok:
            self.fused = False
            _warn(f"fusing is off: it disagrees with the model's own forward ({found.describe()})")
        return found

    def _build(self, group: Sequence[Example]) -> tuple[Trie | None, TrieStats]:
        return build_trie(group, self.encoder, model=self.model, max_tokens=self.max_tokens)

    def _some(self, tries: list[Trie]) -> list[Trie]:
        if not tries:
            raise DataError(f"found no branch of at most {self.max_tokens} tokens, expected one; raise max_tokens")
        return tries

    def _collate(self, tries: Sequence[Trie], fused: bool) -> Batch:
        pad_id = self.encoder.tokenizer.pad_token_id or 0
        return collate(tries, fused=fused, pad_id=pad_id, collate_images=self.encoder.collate_images)

    def _moved(self, tries: Sequence[Trie], fused: bool) -> Batch:
        return self._collate(tries, fused).to(next(self.model.parameters()).device)


@dataclass(frozen=True)
class TrieLoss:
    """A loss on the batches of `TrieCollator`, with the signature of `compute_loss_func`.

    Losses that need a reference (dpo, KL) raise ValueError naming what is missing.
    """

    loss: Loss
    mode: Literal["kind", "tokens"] = "kind"
    kind_weights: Mapping[str, float] | None = None

    def counts(self, labels: Batch) -> Tensor:
        """What a batch adds to each kind's denominator, shape K; `KindCounts` adds it up over the step."""
        return counts(self.loss, labels)

    def __call__(self, outputs: Any, labels: Batch, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """The scalar with gradient. Raises ValueError for a trainer's own count, which knows no branches."""
        if num_items_in_batch is not None and torch.as_tensor(num_items_in_batch).shape != (len(KINDS),):
            raise ValueError(
                f"TrieLoss: found num_items_in_batch={num_items_in_batch}, expected counts of {len(KINDS)} kinds; mix "
                "KindCounts into the trainer class"
            )
        batch = labels.to(outputs.logits.device)
        output = self.loss(batch.loss_inputs(logprobs_of(outputs.logits, batch)))
        denominators_K = None if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        return reduce(output, denominators_K, self.mode, self.kind_weights)[0]


def _warn(message: str) -> None:
    warnings.warn(message, ParityWarning, stacklevel=3)
