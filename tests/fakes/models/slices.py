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


def text_sizes(kind: str, *, layers: int, vocabulary: int, widths: tuple[int, int, int, int, int]) -> dict[str, Any]:
    """Fields of a text configuration. widths: hidden, inner, heads, key heads, width of a head."""
    hidden, inner, heads, key_heads, width = widths
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e6}
    rope["mrope_section"] = [width // 8, width * 3 // 16, width * 3 // 16]
    sizes: dict[str, Any] = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "vocab_size": vocabulary,
        "rope_parameters": rope,
    }
    if kind == "qwen3_vl":
        sizes["head_dim"], rope["mrope_interleaved"] = width, True
    return sizes


def vision_sizes(kind: str, *, blocks: int, out: int, widths: tuple[int, int, int]) -> dict[str, Any]:
    """Fields of a vision configuration without windows. widths: hidden, inner, heads."""
    hidden, inner, heads = widths
    common: dict[str, Any] = {"depth": blocks, "num_heads": heads}
    if kind == "qwen2_vl":
        return {**common, "embed_dim": hidden, "hidden_size": out, "mlp_ratio": inner // hidden}
    common |= {"hidden_size": hidden, "intermediate_size": inner, "out_hidden_size": out}
    if kind == "qwen2_5_vl":
        return {**common, "fullatt_block_indexes": list(range(blocks))}
    return {**common, "deepstack_visual_indexes": []}


def decoded(model: Any, tokens: int, on: bool) -> torch.Tensor:
    """Hidden states of so many tokens of text, shape 1 T H, under autocast where `on`."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    noise = torch.randn(1, tokens, config.hidden_size, generator=torch.Generator().manual_seed(0))
    places = torch.arange(tokens)[None].expand(3, 1, -1)
    with autocast(on):
        text = base.model.language_model
        return text(inputs_embeds=noise.to(base.dtype), position_ids=places, use_cache=False).last_hidden_state


def looked_at(model: Any, grid: tuple[int, int], on: bool) -> Any:
    """What the vision tower makes of a picture of so many patches."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    tower = base.model.visual
    values = 3 * tower.config.temporal_patch_size * tower.config.patch_size**2
    noise = torch.randn(grid[0] * grid[1], values, generator=torch.Generator().manual_seed(0))
    with autocast(on):
        return tower(noise.to(base.dtype), torch.tensor([[1, *grid]]))
