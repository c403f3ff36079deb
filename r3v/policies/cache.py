"""The key-value memory of the slots: one preallocated block that transformers models read and write as their
cache.

All slots write at the same column `now`; a slot's own tokens are the columns `start .. now`, and what lies
before belongs to an earlier, longer sample and is masked. Columns run out only because `now` moves on, so
from time to time the block is shifted back. With every row ending at the same column, masks are those of
left-padded batches, which every family supports, sliding windows included.

Suffixes: N layers, S slots, H key-value heads, C columns, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

SLACK = 64
"""Spare columns, so that shifting the block is rare."""


class SlotMemory:
    """Keys and values of all layers and slots, shape N S H C D, and which columns belong to whom."""

    def __init__(self, like_NHPD: Tensor, slots: int, columns: int) -> None:
        n, h, _, d = like_NHPD.shape
        self.keys = like_NHPD.new_zeros(n, slots, h, columns, d)
        self.values = torch.zeros_like(self.keys)
        self.start_S = torch.zeros(slots, dtype=torch.long)
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
        """Only these slots remain, renumbered from 0."""
        at = torch.tensor(slots, device=self.keys.device)
        self.keys, self.values = self.keys.index_select(1, at), self.values.index_select(1, at)
        self.start_S = self.start_S[slots]
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
        return (columns >= self.start_S[:, None]).to(self.keys.device)

    def _find_low(self) -> None:
        self.low = min((int(self.start_S[slot]) for slot in self.busy), default=self.now)

    def _move(self, now: int) -> None:
        """Shift the live columns so that the current one becomes `now`, enlarging the block if need be."""
        live = slice(self.low, self.now)
        keys, values = self.keys[:, :, :, live].clone(), self.values[:, :, :, live].clone()
        size = self.now - self.low
        if now + SLACK > self.columns:
            shape = list(self.keys.shape)
            shape[3] = now + max(SLACK, shape[3] // 4)
            self.keys, self.values = self.keys.new_zeros(shape), self.values.new_zeros(shape)
        self.keys[:, :, :, now - size : now] = keys
        self.values[:, :, :, now - size : now] = values
        self.start_S += now - self.now
        # Idle slots may have had columns before the live ones; they only need to stay inside.
        self.start_S.clamp_(min=0)
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
