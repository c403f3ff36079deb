"""How much a sampler and a scorer take at once: at most these numbers, less where the free memory holds less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from r3v.plan.activations import key_value_bytes, passing
from r3v.plan.free import free_bytes
from r3v.plan.shape import shape_of

GROWTH = 1.6
"""Keys and values of slots while their block grows by a quarter: the old block, and half of the new one at a time."""
LOGIT_BYTES = 10
"""Bytes of a logit while continuations are scored: in 16 bit, in float32, and their sum's terms."""


@dataclass(frozen=True)
class Serving:
    """prefill_tokens, score_tokens: padded prompt tokens in one prefill and in one scoring batch. score_logits: held at
    once while scoring (512 MB in float32). kept_bytes: of keys and values of sampled prompts, for who asks again.
    slots: sequences decoded at once, at most."""

    prefill_tokens: int = 8192
    score_tokens: int = 16384
    score_logits: int = 2**27
    kept_bytes: int = 256 * 2**20
    slots: int = 2**20


MOST = Serving()
KEPT_SHARE = 0.05
"""Share of the free memory for prompts that are kept; 256 MB of a 7B's keys and values are 4,500 tokens."""


def serving(model: Any, new_tokens: int, device: torch.device) -> Serving:
    """What fits beside the weights: half of the free memory for the slots' answers of `new_tokens`, a quarter for a
    prefill or a scoring batch, an eighth for its logits. On a CPU always `MOST`."""
    free = free_bytes(device)
    if free is None:
        return MOST
    shape, size = shape_of(model), next(p for p in model.parameters() if p.is_floating_point()).element_size()
    kv = key_value_bytes(shape, size)
    token = 2 * kv + size * passing(shape.decoder)
    return Serving(
        prefill_tokens=_within(MOST.prefill_tokens, free / 4 / token),
        score_tokens=_within(MOST.score_tokens, free / 4 / token),
        score_logits=_within(MOST.score_logits, free / 8 / LOGIT_BYTES),
        kept_bytes=max(0, int(KEPT_SHARE * free)),
        slots=_within(MOST.slots, free / 2 / (GROWTH * (new_tokens + 64) * kv)),
    )


def _within(most: int, held: float) -> int:
    return max(1, min(most, int(held)))
