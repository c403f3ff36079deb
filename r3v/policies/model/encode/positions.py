"""Positions of a prompt's tokens: they count, or go by time, height and width (M-RoPE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def positions_of(model: Any, ids: Sequence[int], images: Mapping[str, Tensor], image_token_id: int | None) -> Tensor:
    """Position ids, shape L, or 3 L for models with M-RoPE (time, height, width)."""
    inner = _rope_owner(model)
    if inner is None:
        return torch.arange(len(ids))
    if not images:
        return torch.arange(len(ids)).expand(3, -1).clone()
    ids_1L = torch.tensor([list(ids)])
    kinds_1L = (ids_1L == image_token_id).int()
    positions_31L, _ = inner.get_rope_index(
        ids_1L, mm_token_type_ids=kinds_1L, image_grid_thw=images["image_grid_thw"].cpu()
    )
    return positions_31L[:, 0].long()


def has_three_positions(model: Any) -> bool:
    """Whether the model counts time, height and width apart (M-RoPE)."""
    return _rope_owner(model) is not None


def _rope_owner(model: Any) -> Any:
    """The module with `get_rope_index`, or None for models whose positions simply count."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    for module in (base, getattr(base, "model", None)):
        if hasattr(module, "get_rope_index"):
            return module
    return None
