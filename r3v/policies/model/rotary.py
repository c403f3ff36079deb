"""Rotary positions in two products: turned = heads * cos + swapped(heads) * signed(sin)."""

from __future__ import annotations

import torch
from torch import Tensor


def swapped(heads: Tensor) -> Tensor:
    """The halves of the last dimension, exchanged."""
    half = heads.shape[-1] // 2
    return torch.cat((heads[..., half:], heads[..., :half]), -1)


def signed(sin: Tensor) -> Tensor:
    """Sines for halves that are swapped without changing signs."""
    half = sin.shape[-1] // 2
    return torch.cat((-sin[..., :half], sin[..., half:]), -1)
