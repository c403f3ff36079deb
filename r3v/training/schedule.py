"""The learning rate over a fit."""

from __future__ import annotations

import math

from r3v.settings.config import TrainConfig


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
