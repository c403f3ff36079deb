"""Which settings a model is asked with: those of a recipe, of flags, or of the run that it came from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError
from r3v.reflection.settings import read
from r3v.reflection.stages import read_json, with_adapter
from r3v.settings.config import Config

MEASURED = ("data", "model", "select", "server")
"""The settings that every kind of run shares, and that measuring its model needs."""


def model_settings(
    model: str | None = None,
    adapter: str | None = None,
    run: str | Path | None = None,
    recipe: str | Path | None = None,
    flags: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Config:
    """The config of what is asked: a model with its adapter, or a run with the adapter of its accepted round and its
    chooser; `flags` win. Raises ConfigError, RunError."""
    flags = list(flags)
    if run and recipe:
        raise ConfigError("found --run and --recipe, expected one of them: a run has its settings with it")
    for name, value in (("model.path", model), ("model.adapter", adapter)):
        if value is not None:
            flags.append(f"--{name}={value}")
    if not run:
        return read(recipe, flags).config
    config = run_settings(Path(run), flags)
    accepted = read_json(Path(run) / "run.json")["accepted_round"]
    if accepted and adapter is None:
        config = with_adapter(config, Path(run) / f"round_{accepted:02d}" / "adapter")
    return config if adapter else _with_chooser(config, Path(run), say)


def _with_chooser(config: Config, run: Path, say: Callable[[str], None]) -> Config:
    """With the run's chooser where it has one, unless another one is to choose."""
    from r3v.reflection.chooser import choosing
    from r3v.reflection.loop import CHOOSER

    report = run / CHOOSER / "report.json"
    if config.select.adapter or not report.exists():
        return config
    found, accepted = read_json(report), read_json(run / "run.json")["accepted_round"]
    if not found.get("accepted", True):
        say(f"{run}: the chooser is not used: {found['reason']}")
        return config
    if (of := found["accepted_round"]) != accepted:
        say(f"{run}: the chooser was taught on round {of} and round {accepted} is accepted, so it is not used")
        return config
    return choosing(config, run / CHOOSER / "adapter")


def run_settings(run: Path, flags: Sequence[str]) -> Config:
    """The settings of a run folder, with flags on top. Of a run with a config tree of its own (`r3v reinforce`), the
    sections in `MEASURED`. Raises ConfigError."""
    import yaml

    path = run / "config.yaml"
    try:
        tree: Any = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError):
        tree = None  # the reader below says what is wrong
    if not isinstance(tree, dict) or "build" in tree:
        return read(path, flags).config
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder) / "config.yaml"
        shared.write_text(yaml.safe_dump({name: tree[name] for name in MEASURED if name in tree}))
        return read(shared, flags).config
