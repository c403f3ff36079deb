"""How a GPU multiplies float32 numbers: exactly, or by TF32, which reads 10 bits of each and is several times as fast.

It is one switch for the process. Models in bf16 or nf4 have few such products; on a processor nothing changes.
"""

from __future__ import annotations

from typing import Any

import torch

from r3v.settings.config import ModelConfig


def set_products(config: ModelConfig, device: torch.device) -> None:
    """Set it as the config says, where the model lies on a GPU."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision(config.matmul)


def rounded(model: Any) -> bool:
    """Whether the model's arithmetic is coarser than float32: its weights are, or its device multiplies by TF32."""
    if any(p.dtype not in (torch.float32, torch.float64) for p in model.parameters()):
        return True
    return next(model.parameters()).device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
