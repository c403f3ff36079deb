"""Settings of who is asked for answers: this process, vLLM, a Ray cluster. Plain values only, so that the command line
can read them without an import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from r3v.errors import ConfigError
from r3v.settings.engine import VllmConfig
from r3v.settings.engine import check as check_vllm


@dataclass(frozen=True)
class RayConfig:
    """Workers on a Ray cluster, each holding the model (or a connection to the server) of the run."""

    address: str = ""
    """`HOST:PORT` of the head node, `auto` for the cluster this machine belongs to, `local` to start one on this
    machine; empty is no cluster."""
    actors: int | None = None
    """Workers; None is as many as the cluster has room for when the command starts."""
    gpus: float | None = None
    """GPUs of each worker, a fraction (0.5) to put several on one; None is 1, and 0 on a cluster without any."""
    cpus: float = 1.0
    """CPU cores of each worker."""
    wait: float = 900.0
    """Seconds until the first worker must have loaded its model."""
    retries: int = 3
    """Further attempts at work whose worker died."""


@dataclass(frozen=True)
class PolicyConfig:
    """Where the model is asked."""

    engine: Literal["own", "vllm"] = "own"
    """`own` asks the model in this process; `vllm` starts vLLM for each stretch of sampling, evaluating and selecting,
    and stops it before the fit, so that one card holds one of them at a time."""
    vllm: VllmConfig = field(default_factory=VllmConfig)
    ray: RayConfig = field(default_factory=RayConfig)


def check_engine(config: PolicyConfig, url: str) -> None:
    """Raises ConfigError where vLLM is to be the engine and a setting of it cannot be used, or somebody else (a
    cluster, a server at `url`) is to be asked too."""
    if config.engine != "vllm":
        return
    check_vllm(config.vllm)
    if url:
        raise ConfigError(f"found policy.engine vllm and server.url {url}, expected one of them")
    if config.ray.address:
        raise ConfigError(
            f"found policy.engine vllm and policy.ray.address {config.ray.address}, expected one of them; for several "
            "cards set policy.vllm.replicas"
        )


def check(config: RayConfig) -> None:
    """Raises ConfigError where a value cannot be used, naming the field and what was expected."""
    for name, least in (("actors", 1), ("retries", 0), ("gpus", 0), ("cpus", 0)):
        value = getattr(config, name)
        if value is not None and not least <= value < float("inf"):
            raise ConfigError(f"found policy.ray.{name} {value}, expected at least {least}")
    if config.gpus is not None and config.gpus > 1 and config.gpus != int(config.gpus):
        raise ConfigError(f"found policy.ray.gpus {config.gpus}, expected a share up to 1, or whole GPUs")
    if config.gpus == 0 and config.cpus == 0:
        raise ConfigError("found policy.ray.gpus 0 and policy.ray.cpus 0, expected one of them above 0")
    if not 0 < config.wait < float("inf"):
        raise ConfigError(f"found policy.ray.wait {config.wait}, expected a number of seconds above 0")
