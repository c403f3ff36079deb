"""The commands that take a recipe, and the tree of its fields; only names at import."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError
from r3v.settings.help import add_fields_help, named

TREES: dict[str, tuple[str, str | None]] = {
    "train": ("r3v.settings.config:Config", "r3v.reflection.presets:apply_preset"),
    "reinforce": ("r3v.curriculum.reinforce.config:ReinforceConfig", None),
    "evolve": ("r3v.curriculum.spiral.config:SpiralConfig", "r3v.curriculum.spiral.config:with_preset"),
    "notebook evolve": ("r3v.notebook.evolve.config:NotebookConfig", None),
}
"""Command, as in `r3v COMMAND RECIPE`; the class of its config tree; and the function that fills in its preset."""


def fields_help(parser: argparse.ArgumentParser, command: str, listed: bool = True) -> None:
    """`--help [FIELD]` for a parser made with `add_help=False`, by the tree of a command."""
    tree, preset = TREES[command]
    add_fields_help(parser, tree, preset, listed)


def tree_of(command: str) -> type[Any]:
    """The dataclass of a command's settings."""
    return named(TREES[command][0])


def check_whose(recipe: str | Path, command: str) -> None:
    """Raise ConfigError where a recipe has fields that `command` does not know and another command knows them all. What
    else is wrong with a recipe is told when it is read."""
    import yaml

    from r3v.settings.tree import find_recipe, fits

    try:
        tree = yaml.safe_load(find_recipe(recipe).read_text(encoding="utf-8-sig"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return
    if not isinstance(tree, dict) or fits(tree, tree_of(command)):
        return
    for other in TREES:
        if other != command and fits(tree, tree_of(other)):
            raise ConfigError(f"{recipe}: found a recipe of `r3v {other}`; run `r3v {other} {recipe}`")
