"""Adapters compute in the type of their base while sampling and scoring, as autocast makes them do in training.

A float32 adapter on a 16-bit or quantised base is rounded to 16 bit in every product of training, so the policy that
samples must round it too: else the log-probabilities that a sample was drawn with are not those it is trained from, and
every product of the adapter takes the slow way of float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def as_in_training(model: Any) -> Iterator[None]:
    """LoRA weights in the type their base computes in; bit by bit as before afterwards."""
    kept: list[tuple[Tensor, Tensor]] = []
    for layer in model.modules():
        if not (hasattr(layer, "lora_A") and hasattr(layer, "get_base_layer")):
            continue
        dtype = computes_in(layer.get_base_layer())
        for name, weight in layer.named_parameters():
            if ".lora_" in f".{name}" and weight.dtype == torch.float32 and dtype != torch.float32:
                kept.append((weight, weight.data))
                weight.data = weight.data.to(dtype)
    try:
        yield
    finally:
        for weight, own in kept:
            weight.data = own


def computes_in(base: Any) -> torch.dtype:
    """The type of a linear layer's products: that of its weight, or what a quantised one is opened to."""
    weight = base.weight
    if weight.dtype.is_floating_point and weight.dtype.itemsize > 1:
        return weight.dtype
    return getattr(base, "compute_dtype", None) or torch.bfloat16
