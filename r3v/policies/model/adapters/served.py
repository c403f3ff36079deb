"""An adapter that another program will load: what can be known of it without the base."""

from __future__ import annotations

from pathlib import Path

from r3v.policies.model.adapters.reading import read_config, read_shapes
from r3v.policies.model.adapters.taught import Base, Usage, check_taught, taught_by
from r3v.settings.config import ModelConfig


def check_served(folder: str | Path, model: ModelConfig, usage: Usage) -> None:
    """Raise ModelError for a folder that is no adapter, or whose adapter was taught with something else than `model`
    and `usage` say, its base apart."""
    read_config(Path(folder))
    read_shapes(Path(folder))
    check_taught(folder, taught_by(model, usage, Base()), force=model.force)
