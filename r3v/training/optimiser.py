"""AdamW on what is trained, and its learning rate over a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from r3v.errors import ConfigError, ModelError
from r3v.settings.config import TrainConfig


def optimiser(parameters: Sequence[nn.Parameter], config: TrainConfig, *, total: float, mixed: bool) -> dict[str, Any]:
    """AdamW and its schedule, stepped with it, as Lightning takes them. total: optimiser steps, infinite where nobody
    knows. mixed: under autocast. Raises ModelError for nothing to train, ConfigError for a schedule without an end."""
    if not parameters:
        raise ModelError("found no trainable parameter, expected a LoRA adapter or unfrozen weights")
    # Few kernels for many small tensors. Lightning refuses to clip under autocast with the fused one.
    made = torch.optim.AdamW(
        parameters,
        config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=not mixed,
        foreach=True if mixed else None,
    )
    if math.isinf(total) and (config.schedule != "constant" or config.warmup):
        raise ConfigError(
            f"schedule {config.schedule!r} with warm-up {config.warmup} needs a known number of steps, found an "
            "endless Trainer; give it max_steps or max_epochs, or use schedule 'constant' with warmup 0"
        )
    schedule = torch.optim.lr_scheduler.LambdaLR(made, lambda step: lr_factor(step, total, config))
    return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def lr_factor(step: int, total: float, config: TrainConfig) -> float:
    """Factor on the learning rate at optimiser step `step` (from 0) of `total`: linear warm-up over the first
    `warmup` share, which ends at 1, then constant, linear to 0, or half a cosine to 0."""
    warm = math.ceil(config.warmup * total) if math.isfinite(total) else 0
    if step < warm:
        return (step + 1) / warm
    if config.schedule == "constant":
        return 1.0
    share = min(1.0, (step - warm) / max(1.0, total - warm))
    return 1.0 - share if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))
