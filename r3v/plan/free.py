"""How many tokens a pass may have, by what is free on the device now and the formulas of a plan."""

from __future__ import annotations

from typing import Any

import torch

from r3v.plan.activations import (
    CHUNK_LOGITS,
    Arithmetic,
    adapter_copies,
    fit_bytes_per_token,
    head_bytes,
)
from r3v.plan.shape import shape_of
from r3v.settings.config import ModelConfig, TrainConfig

FRAGMENTS = 0.04
"""Share of a card that the allocator holds and cannot give out; an estimate."""
TREE = 1.1
"""Bytes of a token with those that tree attention copies for it, over those without; an assumption."""


def free_bytes(device: torch.device) -> float | None:
    """Bytes that tensors may still take on a device; None on a CPU, where the system would swap rather than refuse."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + cached - FRAGMENTS * total


def pass_tokens(model: Any, train: TrainConfig, config: ModelConfig, device: torch.device) -> int | None:
    """Most padded tokens in a forward and backward pass: the setting, or what the free memory holds; None: no limit."""
    if train.max_batch_tokens is not None:
        return train.max_batch_tokens
    free = free_bytes(device)
    if free is None:
        return None
    shape = shape_of(model)
    mixed = "mixed" in train.precision
    sixteen = config.quantization != "none" or config.dtype != "float32"
    a = Arithmetic(2 if mixed or sixteen else 4, mixed, config.lora_r, config.lora_dropout, device.type)
    adapter = shape.adapter(config.lora_r)
    # Gradients of the pass and of those before it, both moments of the optimiser: nothing of it is there yet.
    later = 16 * adapter + adapter_copies(shape, a) + head_bytes(shape, CHUNK_LOGITS[a.device] // shape.vocabulary, a)
    one = fit_bytes_per_token(shape, a, checkpointing=train.gradient_checkpointing, fused=train.fuse)
    one += 2 * shape.hidden * a.size  # hidden states of targets and their slopes
    return max(1, int((free - later) / (TREE * one)))
