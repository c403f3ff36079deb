"""Settings are fixed stage by stage: a field may be corrected until the first stage that reads it has begun.

Each learner gives a `Table`: which stage reads a field first, and which files say that a stage has begun. A stage that
left nothing behind, because it failed at once, has read nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r3v.errors import RunError
from r3v.settings.tree import field_types, flatten

ALWAYS = ""
"""In the place of a stage: the field may change at any time."""
SERVER_ALWAYS = {
    f"server.{name}": ALWAYS
    for name in ("prices", "api_key_env", "concurrency", "timeout", "retries", "max_wait", "cache")
}
"""What of a server changes cost and speed, and no answer."""
POLICY = {
    "policy": ALWAYS, "policy.engine": "evaluate", "policy.vllm.dtype": "evaluate",
    "policy.vllm.quantization": "evaluate",
}  # fmt: skip
"""Another engine, or another precision of it, draws and measures a little otherwise; where it runs changes nothing."""
Changed = Mapping[str, tuple[Any, Any]]
"""Dotted name -> old and new value."""


@dataclass(frozen=True)
class Table:
    """What a learner says of its settings.

    `first`: field, group or dotted prefix -> the stage that reads it first (`ALWAYS`: it may change at any time); the
    longest name that fits counts. `begun`: stage -> globs in the run folder, of which any file says that it has begun.
    `length`: the field that says how long the run is. `renamed`: fields of older versions -> new name and value.
    """

    first: Mapping[str, str]
    begun: Mapping[str, Sequence[str]]
    length: str = "run.rounds"
    renamed: Mapping[str, Callable[[Any], tuple[str, Any]]] = field(default_factory=dict)

    def reader(self, name: str) -> str:
        """The stage that reads a field first. Raises KeyError for a field that the table does not cover."""
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            if (prefix := ".".join(parts[:end])) in self.first:
                return self.first[prefix]
        raise KeyError(name)


def changed(path: Path, config: Any, table: Table) -> dict[str, tuple[Any, Any]]:
    """The fields in which `config` differs from the one kept in `path`; a field that an older version did not have has
    its default there. Raises RunError where the file is damaged."""
    old = flatten(type(config)()) | kept(path, type(config), table.renamed)
    new = flatten(config)
    return {name: (old[name], new[name]) for name in new if _plain(old[name]) != _plain(new[name])}


def check(folder: Path, changed: Changed, table: Table) -> None:
    """Raise RunError naming each changed field whose first stage has begun, with that stage."""
    begun = stages_begun(folder, table)
    late = {name: values for name, values in changed.items() if (reader := table.reader(name)) and reader in begun}
    if not late:
        return
    told = "; ".join(f"{name}: {old!r} -> {new!r} (read by {table.reader(name)})" for name, (old, new) in late.items())
    raise RunError(
        f"{folder}: this run was started with other settings, which its stages have already read: {told}. Use the old "
        "values to go on, or another --run.dir for a new run"
    )


def stages_begun(folder: Path, table: Table) -> Collection[str]:
    return [name for name, patterns in table.begun.items() if any(any(folder.glob(p)) for p in patterns)]


def kept(path: Path, cls: type, renamed: Mapping[str, Callable[[Any], tuple[str, Any]]]) -> dict[str, Any]:
    """Dotted name -> value of a `config.yaml` that a run wrote. Raises RunError where it cannot be read, or names a
    field that this version does not have."""
    import yaml

    fix = "put the file back as it was, or use another --run.dir"
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise RunError(f"{path}: damaged ({told}); {fix}") from error
    if not isinstance(tree, dict):
        raise RunError(f"{path}: found {type(tree).__name__}, expected the settings of a run; {fix}")
    known, found = field_types(cls), {}
    for name, value in _leaves(tree, known):
        if name in renamed:
            name, value = renamed[name](value)
        if name not in known:
            raise RunError(
                f"{path}: found {name}, which this version of r3v does not know; go on with the version that made the "
                "run, or use another --run.dir"
            )
        found[name] = value
    return found


def _leaves(tree: Mapping[str, Any], known: Collection[str], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        inside = isinstance(value, Mapping) and name not in known
        found += _leaves(value, known, f"{name}.") if inside else [(name, value)]
    return found


def _plain(value: Any) -> Any:
    """Tuples within a value as YAML gives them back."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
