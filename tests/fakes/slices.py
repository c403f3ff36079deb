"""Slices of real families: a few layers of any width, with the vocabulary and vision blocks asked for, filled cheaply,
and what torch keeps of them for the backward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn


def slice_of(
    kind: str, *, text: dict[str, Any], vision: dict[str, Any], dtype: torch.dtype = torch.bfloat16, attention="sdpa"
) -> Any:
    """A vision-language model of these sizes, its weights filled with small numbers, frozen, in evaluation mode."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.for_model(kind, text_config=copy.deepcopy(text), vision_config=copy.deepcopy(vision))
    config._attn_implementation = attention
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation=attention)
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for p in model.parameters():
            p.requires_grad_(False)
            p.copy_(torch.arange(p.shape[-1]) % 7 / 700 - 0.004 if p.dim() > 1 else torch.ones(p.shape[-1]))
    _buffers(model, config)
    model.tie_weights()
    return model.eval()


def _buffers(model: nn.Module, config: Any) -> None:
    """Rotary tables are buffers, which `to_empty` leaves unset."""
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if "Rotary" in type(child).__name__:
                given = getattr(child, "config", None)
                made = type(child)(given) if given is not None else type(child)(2 * child.inv_freq.shape[0])  # type: ignore[union-attr]
                setattr(owner, name, made)


@contextmanager
def saved(model: nn.Module) -> Iterator[Callable[[], int]]:
    """Bytes that are saved for the backward pass inside, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its address might be given to another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield lambda: sum(seen.values())


def autocast(on: bool) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if on else nullcontext()
