"""In which precision this processor computes best: bf16 where it multiplies bf16, float32 elsewhere.

`model.dtype auto` is decided once, when a run begins, and stands in its config from then on: a run
resumed on another processor goes on in the run's precision.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

M = TypeVar("M", bound=Any)

UNITS = frozenset({"amx_bf16", "avx512_bf16", "bf16", "svebf16"})
"""Flags of processors that multiply bf16: Intel's AMX, AVX512-BF16 of Intel and AMD, and their like on Arm."""


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor says it can do; nothing where the system does not tell (macOS, Windows)."""
    try:
        line = re.search(r"^(?:flags|Features)\s*:(.*)$", path.read_text(), re.M)
    except OSError:
        return frozenset()
    return frozenset(line.group(1).split()) if line else frozenset()


def best_dtype(flags: Collection[str], cuda: bool = False) -> Literal["bfloat16", "float32"]:
    return "bfloat16" if cuda or UNITS & set(flags) else "float32"


def decided(model: M) -> M:
    """The model's config with `auto` replaced by what this machine does best."""
    if model.dtype != "auto":
        return model
    return replace(model, dtype=best_dtype(cpu_flags(), _cuda(model.device)))


def decided_for_run(config: Any) -> Any:
    """A run's config with `auto` replaced: by the precision its folder was begun with, else as `decided`."""
    import yaml

    if config.model.dtype != "auto":
        return config
    try:
        begun = yaml.safe_load((Path(config.run.dir) / "config.yaml").read_text())["model"]["dtype"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        begun = "auto"
    model = replace(config.model, dtype=begun) if begun in ("float32", "bfloat16", "float16") else decided(config.model)
    return replace(config, model=model)


def _cuda(device: str) -> bool:
    if device == "cpu":
        return False
    import torch

    return torch.cuda.is_available()
