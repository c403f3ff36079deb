"""Whether this machine can do what the settings of a model ask: looked at before anything is loaded or written."""

from __future__ import annotations

import re
from importlib.util import find_spec

import torch

from r3v.errors import ModelError
from r3v.settings.config import ModelConfig

ATTENTION = {"flash_attention_2": ("flash_attn", "pip install flash-attn (CUDA only), or use model.attention sdpa")}
"""Implementation -> the package it needs, and what to do without it."""
_DEVICE = re.compile(r"cpu|cuda(:\d+)?|auto")


def check_model(model: ModelConfig) -> None:
    """Raise ModelError for a device that is not there, and for an attention or a quantisation without its package."""
    check_device(model.device)
    package, fix = ATTENTION.get(model.attention, ("", ""))
    if package and find_spec(package) is None:
        raise ModelError(f"found model.attention {model.attention}, and no package {package}; {fix}")
    if model.quantization != "none" and find_spec("bitsandbytes") is None:
        raise ModelError(
            f"found model.quantization {model.quantization}, and no package bitsandbytes; pip install bitsandbytes, or "
            "use model.quantization none"
        )


def check_device(name: str) -> None:
    """Raise ModelError for a device that torch does not know or this machine does not have."""
    if not _DEVICE.fullmatch(name):
        raise ModelError(f"found model.device {name!r}, expected auto, cpu, cuda or cuda:N")
    if not name.startswith("cuda"):
        return
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name.partition(":")[2] or 0) >= there:
        why = "is built without CUDA" if torch.version.cuda is None else f"sees {there} CUDA devices"
        raise ModelError(f"found model.device {name!r}, but this torch ({torch.__version__}) {why}; use auto or cpu")
