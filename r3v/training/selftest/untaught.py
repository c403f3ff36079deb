"""Adapters that learn nothing: named once, at the second optimiser step, when every part of one should have a gradient
(in the first, the update of a fresh adapter is zero, and so is the gradient of its first factor)."""

from __future__ import annotations

import logging
from typing import Any

import torch

log = logging.getLogger(__name__)
SHOWN = 4


def tell_untaught(model: Any) -> list[str]:
    """Full names of adapted layers one of whose factors has no gradient, or one of zero; warns where there are any."""
    found = [
        name
        for name, layer in model.named_modules()
        if hasattr(layer, "lora_A")
        and any(
            weight.requires_grad and (weight.grad is None or not bool(torch.count_nonzero(weight.grad)))
            for part, weight in layer.named_parameters()
            if part.startswith("lora_")
        )
    ]
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        log.warning(
            "%d adapted layers have no gradient after two steps: %s%s. They learn nothing: the batches may not use "
            "them (a vision tower without pictures), or something cuts the graph before them",
            len(found), ", ".join(found[:SHOWN]), more,
        )  # fmt: skip
    return found
