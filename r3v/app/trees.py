"""The commands that take a recipe, and the tree of its fields; only names at import."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError

TREES = {
    "train": "r3v.settings.config:Config",
    "reinforce": "r3v.curriculum.reinforce.config:ReinforceConfig",
    "evolve": "r3v.curriculum.spiral.config:SpiralConfig",
    "notebook evolve": "r3v.notebook.evolve.config:NotebookConfig",
}
"""Command, as in `r3v COMMAND RECIPE`, and the class of its config tree."""


def tree_of(command: str) -> type[Any]:
    """The dataclass of a command's settings."""
    module, _, name = TREES[command].partition(":")
    return getattr(import_module(module), name)


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
