"""Every forward that is exchanged for the length of a fit: decoder layers, LoRA layers, frozen linear layers."""

from __future__ import annotations

from typing import Any

from r3v.policies.model import linears
from r3v.training import blocks, lora


def quicken(model: Any) -> None:
    """Exchange them, until `restore`. Whether one can stand in for a layer is decided at each call."""
    linears.quicken(model)
    lora.quicken(model)
    blocks.quicken(model)


def restore(model: Any) -> None:
    """Put the layers' own forward back."""
    blocks.restore(model)
    lora.restore(model)
    linears.restore(model)
