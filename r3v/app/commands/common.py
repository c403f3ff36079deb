"""What several commands share: the config of `--model`, `--run` and `--recipe`, progress lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from r3v.app.trees import check_whose
from r3v.reflection.asked import model_settings
from r3v.settings.config import Config


def note(line: str) -> None:
    """Progress goes to stderr, so that stdout holds results only."""
    print(line, file=sys.stderr, flush=True)


def model_config(args: argparse.Namespace, rest: Sequence[str]) -> Config:
    """The config of a command that takes --model, --adapter, --run and --recipe. Raises ConfigError."""
    if args.recipe:
        check_whose(args.recipe, "train")
    return model_settings(args.model, args.adapter, args.run, args.recipe, rest, note)
