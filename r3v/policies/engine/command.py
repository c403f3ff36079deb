"""The command line and environment of `vllm serve` for a model and its settings."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError
from r3v.settings.config import ModelConfig
from r3v.settings.engine import VllmConfig

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be."""
ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",  # on loopback and with a key that nobody else has
    "VLLM_NO_USAGE_STATS": "1",
}


def command(config: VllmConfig, model: ModelConfig, folder: str, port: int) -> list[str]:
    """The words that start vLLM on `folder` (a folder or a hub name), which answers at loopback's `port`.

    Raises ConfigError where the program is not found, or the adapters' rank is above what vLLM takes.
    """
    flags: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "dtype": config.dtype,
        "enable-lora": True,
        "max-loras": 2,  # the round's adapter, and one that chooses
        "generation-config": "vllm",  # what a checkpoint would sample by is not what the run says
        "enable-prefix-caching": True,
    }
    pixels = {name: value for name in ("max_pixels", "min_pixels") if (value := getattr(model, name)) is not None}
    for name, value in (
        ("quantization", config.quantization or None),
        ("max-model-len", config.max_len),
        ("gpu-memory-utilization", config.memory),
        ("data-parallel-size", config.replicas if config.replicas > 1 else None),
        ("revision", model.revision),
        ("mm-processor-kwargs", pixels or None),
        *config.args.items(),
    ):
        if value is not None:
            flags[name] = value
    if flags["enable-lora"]:
        flags["max-lora-rank"] = _rank(model.lora_r)
    else:
        del flags["max-loras"]
    return [*_program(config.command), "serve", folder, *_words(flags)]


def _words(flags: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in flags.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", json.dumps(value) if isinstance(value, dict | list) else str(value)]
    return words


def _program(text: str) -> list[str]:
    first, *rest = shlex.split(text)
    found = shutil.which(str(Path(first).expanduser()))
    if found is None:
        raise ConfigError(
            f"found policy.vllm.command {text!r}, but there is no program {first}; install vLLM in an environment of "
            "its own and name its program, such as ~/vllm/bin/vllm"
        )
    return [found, *rest]


def _rank(r: int) -> int:
    fitting = [rank for rank in RANKS if rank >= r]
    if not fitting:
        raise ConfigError(f"found model.lora_r {r}, expected at most {RANKS[-1]}, the most that vLLM serves")
    return fitting[0]
