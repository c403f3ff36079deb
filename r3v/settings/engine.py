"""Settings of vLLM as a run's own engine. Plain values only: the command line reads them without an import."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any, Literal

from r3v.errors import ConfigError

OURS = ("model", "host", "port", "api-key", "revision", "served-model-name", "max-lora-rank", "data-parallel-size")
"""Flags of `vllm serve` that the run sets itself."""


@dataclass(frozen=True)
class VllmConfig:
    """How the run starts vLLM for the stages that sample, evaluate or select, and stops it before a fit."""

    command: str = "vllm"
    """How vLLM is called: a program on the PATH, or that of another virtual environment (`~/vllm/bin/vllm`)."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Precision of the weights it serves, whatever precision they are trained in; `auto` is the checkpoint's."""
    quantization: str = ""
    """Its `--quantization`; empty serves the weights as they are."""
    max_len: int | None = None
    """Most tokens of a prompt and its answer; None is what the model was made for."""
    memory: float | None = None
    """Share of the card's memory it may take; None is its default. It is alone on the card while it runs."""
    replicas: int = 1
    """Engines on cards of their own that share the requests (`--data-parallel-size`)."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further flags of `vllm serve` without their dashes: `enforce-eager: true`, `max-num-seqs: 256`; false is
    `--no-...`, and a mapping is written as JSON."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables that its environment gets besides this process's."""
    concurrency: int = 128
    """Requests in flight at once."""
    start: float = 1800.0
    """Seconds until it must answer after its start."""
    logs: str = ""
    """Folder of its output; empty is `engine` in the run's folder, or the temporary folder where there is no run."""


def check(config: VllmConfig) -> None:
    """Raises ConfigError where a value cannot be used, naming the field and what was expected."""
    try:
        words = shlex.split(config.command)
    except ValueError as error:
        raise ConfigError(f"found policy.vllm.command {config.command!r} ({error}), expected a program") from error
    if not words:
        raise ConfigError("found policy.vllm.command empty, expected how vLLM is called, such as vllm")
    for name, least in (("replicas", 1), ("concurrency", 1), ("max_len", 1)):
        value = getattr(config, name)
        if value is not None and value < least:
            raise ConfigError(f"found policy.vllm.{name} {value}, expected at least {least}")
    if config.memory is not None and not 0 < config.memory <= 1:
        raise ConfigError(f"found policy.vllm.memory {config.memory}, expected a share above 0 and up to 1")
    if not 0 < config.start < float("inf"):
        raise ConfigError(f"found policy.vllm.start {config.start}, expected a number of seconds above 0")
    for name in config.args:
        if name.startswith("-") or "_" in name:
            plain = name.lstrip("-").replace("_", "-")
            raise ConfigError(f"found policy.vllm.args.{name}, expected the flag without its dashes: {plain}")
        if name in OURS:
            raise ConfigError(f"found policy.vllm.args.{name}, which the run sets itself; leave it out")
