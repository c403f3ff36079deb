"""The key-value memory of the slots: one preallocated block that transformers models read and write as their
cache.

All slots write at the same column `now`; a slot's own tokens are the columns `start .. now`, and what lies
before belongs to an earlier, longer sample and is masked. Columns run out only because `now` moves on, so
from time to time the block is shifted back. With every row ending at the same column, masks are those of
left-padded batches, which every family supports, sliding windows included.

Where the model can attend to shared blocks, the block holds the slots' own tokens only; prompts are in `prefixes`.

Suffixes: N layers, S slots, H key-value heads, C columns, P prompt length, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from r3v.policies.model.calls import bias_of

SLACK = 64
"""Spare columns, so that shifting the block is rare."""
OWN_ROWS, OWN_COLUMNS = 8, 16
"""On a CPU that many slots at once read no further back than the oldest of them began, unless that saves fewer columns
than these beside its neighbours."""


def zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros of the type and device of `like`. On a CPU pages that nothing is written to cost nothing, which no
    `torch.zeros` can say: it writes them all.
    """
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    return torch.from_numpy(np.zeros(math.prod(shape) * like.element_size(), np.uint8)).view(like.dtype).view(shape)


class SlotMemory:
    """Keys and values of all layers and slots, shape N S H C D, and which columns belong to whom."""

    def __init__(self, like_NHPD: Tensor, slots: int, columns: int) -> None:
        n, h, _, d = like_NHPD.shape
        self.keys, self.values = (zeros((n, slots, h, columns, d), like_NHPD) for _ in range(2))
        self.start_S = [0] * slots
        self.now = 0
        self.low = 0
        self.busy: set[int] = set()

    @property
    def columns(self) -> int:
        return int(self.keys.shape[3])

    def place(self, slot: int, keys_NHPD: Tensor, values_NHPD: Tensor) -> None:
        """Put a prompt's keys and values into a slot so that they end at the current column."""
        size = int(keys_NHPD.shape[2])
        if size > self.now:
            self._move(size)
        self.keys[:, slot, :, self.now - size : self.now] = keys_NHPD
        self.values[:, slot, :, self.now - size : self.now] = values_NHPD
        self.start_S[slot] = self.now - size
        self.busy.add(slot)
        self._find_low()

    def release(self, slots: list[int]) -> None:
        """Slots whose content is no longer needed. Their columns stay finite and masked."""
        self.busy.difference_update(slots)
        self._find_low()

    def keep(self, slots: list[int]) -> None:
        """Only these slots remain, renumbered from 0; each keeps its place or moves to a lower one."""
        moved = [(at, slot) for at, slot in enumerate(slots) if at != slot]
        if any(slot < len(slots) for _, slot in moved):
            raise ValueError(f"found slots {slots}, expected those below {len(slots)} at their own place")
        live = slice(self.low, self.now)
        for memory in (self.keys, self.values):
            for at, slot in moved:
                memory[:, at, :, live] = memory[:, slot, :, live]
        self.keys, self.values = self.keys[:, : len(slots)], self.values[:, : len(slots)]
        self.start_S = [self.start_S[slot] for slot in slots]
        self.busy = {i for i, slot in enumerate(slots) if slot in self.busy}
        self._find_low()

    def make_room(self) -> None:
        """At least one free column: shift the block back, or enlarge it where nothing can be shifted out."""
        if self.now < self.columns:
            return
        self._move(self.now - self.low if self.low >= SLACK // 2 else self.now)

    def mask(self) -> Tensor:
        """Boolean S C': columns `low .. now` that each slot may see, the one about to be written included."""
        columns = torch.arange(self.low, self.now + 1)
        return (columns >= torch.tensor(self.start_S)[:, None]).to(self.keys.device)

    def bias(self) -> Tensor | None:
        """`mask` as what attention adds to its scores, S 1 1 C'; None where every slot sees every column."""
        if max(self.start_S) <= self.low:
            return None
        return bias_of(self.mask(), self.keys.dtype)[:, None, None, :]

    def spans(self) -> tuple[tuple[int, int, int], ...]:
        """Slots [a, b) and the first of the columns `low .. now` that any of them needs."""
        rows = len(self.start_S)
        if self.keys.device.type != "cpu":
            return ((0, rows, 0),)
        found: list[tuple[int, int, int]] = []
        for a in range(0, rows, OWN_ROWS):
            b = min(a + OWN_ROWS, rows)
            first = min((self.start_S[s] for s in range(a, b) if s in self.busy), default=self.now) - self.low
            if found and abs(first - found[-1][2]) < OWN_COLUMNS:
                before, _, other = found.pop()
                a, first = before, min(first, other)
            found.append((a, b, first))
        return tuple(found)

    def _find_low(self) -> None:
        self.low = min((self.start_S[slot] for slot in self.busy), default=self.now)

    def _move(self, now: int) -> None:
        """Shift the live columns so that the current one becomes `now`, enlarging the block if need be."""
        live = slice(self.low, self.now)
        size, columns = self.now - self.low, self.columns
        # One after the other, so that the new block of one is all there is beside the two old ones.
        for name in ("keys", "values"):
            old = getattr(self, name)
            moved = old[:, :, :, live]
            if now + SLACK > columns:
                shape = list(old.shape)
                shape[3] = now + max(SLACK, columns // 4)
                setattr(self, name, zeros(shape, old))
            else:
                moved = moved.clone()
            getattr(self, name)[:, :, :, now - size : now] = moved
        # Idle slots may have had columns before the live ones; they only need to stay inside.
        self.start_S = [max(0, start + now - self.now) for start in self.start_S]
        self.now = now
        self._find_low()


class _SlotLayer(CacheLayerMixin):
    """One layer of the memory as transformers sees it: a batch of rows that all end at the same column."""

    is_sliding = False

    def __init__(self, memory: SlotMemory, index: int) -> None:
        super().__init__()
        self.memory, self.index = memory, index
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the block exists."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        m = self.memory
        keys, values = m.keys[self.index], m.values[self.index]
        end = m.now + key_states.shape[2]
        keys[:, :, m.now : end] = key_states
        values[:, :, m.now : end] = value_states
        return keys[:, :, m.low : end], values[:, :, m.low : end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self.memory.now - self.memory.low

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):
    """`SlotMemory` behind the transformers `Cache` interface."""

    def __init__(self, memory: SlotMemory) -> None:
        super().__init__(layers=[_SlotLayer(memory, i) for i in range(memory.keys.shape[0])])
