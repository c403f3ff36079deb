"""A model that is ready to use, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from r3v.policies.model.adapters.taught import Base, Usage
from r3v.policies.model.encode import Encoder
from r3v.settings.config import ModelConfig


@dataclass(frozen=True)
class Loaded:
    """A model ready to use. `name` identifies weights and adapter; caches and candidates carry it. `base`: which
    weights lie under an adapter; `usage`: what the config says beside its section on the model."""

    model: Any
    processor: Any
    encoder: Encoder
    name: str
    config: ModelConfig
    base: Base = field(default_factory=Base)
    usage: Usage = field(default_factory=Usage)
