"""What several commands share: the config of `--model`, `--run` and `--recipe`, progress lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from r3v.app.trees import check_whose
from r3v.errors import ConfigError
from r3v.reflection.settings import read
from r3v.reflection.stages import read_json, with_adapter
from r3v.settings.config import Config


def note(line: str) -> None:
    """Progress goes to stderr, so that stdout holds results only."""
    print(line, file=sys.stderr, flush=True)


def model_config(args: argparse.Namespace, rest: Sequence[str]) -> Config:
    """The config of a command that takes --model, --adapter, --run and --recipe. Raises ConfigError."""
    flags, recipe, run = list(rest), args.recipe, args.run
    if run and recipe:
        raise ConfigError("found --run and --recipe, expected one of them: a run has its settings with it")
    for name, value in (("model.path", args.model), ("model.adapter", args.adapter)):
        if value is not None:
            flags.append(f"--{name}={value}")
    if recipe:
        check_whose(recipe, "train")
    if not run:
        return read(recipe, flags).config
    config = run_settings(Path(run), flags)
    accepted = read_json(Path(run) / "run.json")["accepted_round"]
    if accepted and args.adapter is None:
        config = with_adapter(config, Path(run) / f"round_{accepted:02d}" / "adapter")
    return _with_chooser(config, Path(run), args)


def _with_chooser(config: Config, run: Path, args: argparse.Namespace) -> Config:
    """With the run's chooser where it has one, unless another adapter answers or another one is to choose."""
    from r3v.reflection.chooser import choosing
    from r3v.reflection.loop import CHOOSER

    report = run / CHOOSER / "report.json"
    if args.adapter or config.select.adapter or not report.exists():
        return config
    found, accepted = read_json(report), read_json(run / "run.json")["accepted_round"]
    if not found.get("accepted", True):
        note(f"{run}: the chooser is not used: {found['reason']}")
        return config
    if (of := found["accepted_round"]) != accepted:
        note(f"{run}: the chooser was taught on round {of} and round {accepted} is accepted, so it is not used")
        return config
    return choosing(config, run / CHOOSER / "adapter")


MEASURED = ("data", "model", "select", "server")
"""The settings that every kind of run shares, and that measuring its model needs."""


def run_settings(run: Path, flags: Sequence[str]) -> Config:
    """The settings of a run folder, with flags on top. Of a run with a config tree of its own (`r3v reinforce`), the
    sections in `MEASURED`. Raises ConfigError."""
    import tempfile

    import yaml

    path = run / "config.yaml"
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError):
        tree = None  # the reader below says what is wrong
    if not isinstance(tree, dict) or "build" in tree:
        return read(path, flags).config
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder) / "config.yaml"
        shared.write_text(yaml.safe_dump({name: tree[name] for name in MEASURED if name in tree}))
        return read(shared, flags).config
