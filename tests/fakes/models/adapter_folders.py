"""Adapters on disk, sound and spoilt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from r3v.policies.model.adapters.files import save_adapter
from r3v.policies.model.adapters.taught import taught_with
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import add_lora
from r3v.settings.config import ModelConfig

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def shaken(loaded: Loaded, config: ModelConfig, std: float = 0.1) -> Any:
    """The model with a fresh adapter whose B matrices are not zero."""
    model = add_lora(loaded.model, config, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(std * torch.randn(weight.shape, generator=generator))
    return model


def written(loaded: Loaded, config: ModelConfig, folder: Path, std: float = 0.1) -> Path:
    """An adapter of a freshly loaded model, in a folder."""
    save_adapter(shaken(loaded, config, std), folder, taught_with(loaded))
    return folder


def changed(
    folder: Path,
    target: Path,
    *,
    weights: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None,
    **config: Any,
) -> Path:
    """A copy of an adapter with other weights, and with other fields in its configuration."""
    shutil.copytree(folder, target)
    if weights is not None:
        save_file(weights(load_file(folder / WEIGHTS)), target / WEIGHTS)
    value = json.loads((folder / CONFIG).read_text()) | config
    (target / CONFIG).write_text(json.dumps(value))
    return target


def taught_otherwise(folder: Path, target: Path, **fields: Any) -> Path:
    """A copy of an adapter whose `r3v_adapter.json` says something else; `base` is merged into what it says of the
    base."""
    shutil.copytree(folder, target)
    path = target / "r3v_adapter.json"
    value = json.loads(path.read_text())
    base: Mapping[str, Any] = fields.pop("base", {})
    path.write_text(json.dumps({**value, **fields, "base": {**value["base"], **base}}))
    return target
