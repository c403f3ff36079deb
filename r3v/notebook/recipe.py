"""A tree of frozen dataclasses from a YAML recipe and flags, as `r3v.settings` does it for the main config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from r3v.errors import ConfigError

T = TypeVar("T")


def read_tree(
    cls: type[T], recipe: str | Path | None, flags: Sequence[str], *, command: str
) -> tuple[T, frozenset[str]]:
    """The config and the dotted names the user set. Raises ConfigError: unknown names (with the nearest match), wrong
    types, unreadable files."""
    import argparse

    from jsonargparse import ArgumentParser

    from r3v.settings import field_types, find_recipe, flag_names, recipe_names

    known = field_types(cls)
    args: list[str] = []
    explicit: set[str] = set()
    if recipe is not None:
        path = find_recipe(recipe)
        explicit |= recipe_names(path, known)
        args.append(f"--config={path}")
    tokens, names = flag_names(flags, known)
    parser = ArgumentParser(prog=command, exit_on_error=False, default_env=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(cls, None, fail_untyped=True)
    try:
        values = parser.instantiate(parser.parse_args([*args, *tokens]))
    except argparse.ArgumentError as error:
        where = f"{recipe}: " if recipe is not None and not flags else ""
        raise ConfigError(f"{where}{' '.join(str(error).split())}") from error
    built: dict[str, Any] = {f.name: getattr(values, f.name) for f in fields(cls)}  # type: ignore[arg-type]
    return cls(**built), frozenset(explicit | names)


def to_yaml(config: Any) -> str:
    """Every field, in the order of the tree."""
    import yaml

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return yaml.safe_dump(plain(asdict(config)), sort_keys=False, allow_unicode=True)
