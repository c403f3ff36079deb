"""How a transformers model is called: which arguments its forward has, its memory, its device.

Suffixes: N layers, R rows, L padded length, H heads, D head width.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from r3v.policies.model.encode import has_three_positions
from r3v.policies.model.structure import base_model


def takes(model: Any, name: str) -> bool:
    """Whether the model's forward has this argument."""
    return name in inspect.signature(base_model(model).forward).parameters


def past_of(model: Any, memory: Cache) -> dict[str, Any]:
    """The memory as a forward argument: `cache` from transformers 5.24 on, `past_key_values` before."""
    return {"cache" if takes(model, "cache") else "past_key_values": memory}


def device_of(model: Any) -> torch.device:
    """Where token ids go: the device of the embedding."""
    return base_model(model).get_input_embeddings().weight.device


def step_positions(model: Any, position_R: Tensor) -> Tensor:
    """Positions of one new token per row: R 1, or 3 R 1 with M-RoPE."""
    return position_R[None, :, None].expand(3, -1, 1) if has_three_positions(model) else position_R[:, None]


def bias_of(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where visible, elsewhere a finite number so low that the weight becomes exactly 0."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(
        ~visible, torch.finfo(dtype).min / 4
    )


def stacked(cache: DynamicCache) -> tuple[Tensor, Tensor]:
    """Keys and values of all layers, N R H L D."""
    layers = [layer for layer in cache.layers if isinstance(layer, DynamicLayer)]
    keys = torch.stack([layer.keys for layer in layers if layer.keys is not None])
    return keys, torch.stack([layer.values for layer in layers if layer.values is not None])
