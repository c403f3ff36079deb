"""Where the files that a recipe names lie: beside the recipe, or from where the command runs; `~` is the home folder.

What is beside the recipe wins, so that a folder with recipe and data can be moved and used from anywhere.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from r3v.errors import ConfigError
from r3v.spec import at, parse_spec

T = TypeVar("T")

READ = ("model.path", "model.adapter", "model.prompt_style", "select.adapter", "supervisor.path", "note.start")
"""Fields that name a file or folder to be read, or something else: a hub name, a style."""
WRITTEN = ("run.dir", "evolve.notebook", "server.cache", "teacher.cache")
"""Fields that name what is written: as given, from where the command runs."""


def placed(value: Any, name: str, beside: Path | None) -> Any:
    """The value of a field, with its place found. `beside`: the recipe's folder, for a value that stands there."""
    if not isinstance(value, str) or not value:
        return value
    if name in WRITTEN:
        return _home(value)
    if name in READ:
        return _found(value, beside)
    return _of_spec(value, beside) if name.startswith(("data.", "probe.")) else value


def _home(value: str) -> str:
    return str(Path(value).expanduser()) if value.startswith("~") else value


def _found(value: str, beside: Path | None) -> str:
    value = _home(value)
    here = None if beside is None or Path(value).is_absolute() else beside / value
    return str(here) if here is not None and here.exists() else value


def _of_spec(value: str, beside: Path | None) -> str:
    """A data spec whose path is a file or folder that is found."""
    if ":" not in value:
        return value
    try:
        path = parse_spec(value).path
    except ConfigError:
        return value  # told when it is loaded
    found = _found(path, beside)
    return value if found == path else at(value, found)


def path_fields(known: Collection[str]) -> list[str]:
    """Those of the fields `known` that name places."""
    data = [name for name in known if name.startswith("data.") or name == "probe.data"]
    return [*data, *(name for name in (*READ, *WRITTEN) if name in known)]
