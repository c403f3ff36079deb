"""From a recipe (YAML) and flags to one `Config`, and back to YAML.

jsonargparse reads and type-checks the tree; unknown names are caught before it, so that the message can name the
nearest field. `explicit` remembers what the user wrote, because a preset fills only the fields the user left alone.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from r3v.errors import ConfigError
from r3v.io import atomic_write
from r3v.settings.config import Config
from r3v.settings.places import path_fields, placed

T = TypeVar("T")


def field_types(cls: type = Config, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> type, for every leaf of the tree."""
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(cls).items():
        dotted = f"{prefix}{name}"
        found |= field_types(kind, f"{dotted}.") if is_dataclass(kind) else {dotted: kind}  # type: ignore[arg-type]
    return found


def flatten(config: Any) -> dict[str, Any]:
    """Dotted name -> value, tuples as lists; groups within groups are gone through, mappings are values."""
    flat: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            flat |= {f"{f.name}.{name}": leaf for name, leaf in flatten(value).items()}
        else:
            flat[f.name] = list(value) if isinstance(value, tuple) else value
    return flat


def to_yaml(config: Any) -> str:
    """Every field, in the order of the tree; `read` gives the same config back."""
    import yaml

    tree: dict[str, Any] = {}
    for name, value in flatten(config).items():
        *groups, leaf = name.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def write_beside(config: Config, artefact: str | Path) -> None:
    """Write the effective config as `<artefact>.config.yaml`."""
    path = Path(artefact)
    atomic_write(path.with_name(f"{path.name}.config.yaml"), to_yaml(config))


def set_field(config: T, name: str, value: Any) -> T:
    """The same config with one dotted field, or a whole group, replaced."""
    head, _, rest = name.partition(".")
    new = set_field(getattr(config, head), rest, value) if rest else value
    return replace(config, **{head: new})  # type: ignore[type-var]


def get_field(config: Any, name: str) -> Any:
    """The value of one dotted field, or a whole group."""
    return functools.reduce(getattr, name.split("."), config)


def fill(config: T, values: Mapping[str, Any], flags: Sequence[str]) -> T:
    """The same config with `values` (by dotted name) for all fields that the command line does not name."""
    given = names_of(flags)
    for name, value in values.items():
        if name not in given:
            config = set_field(config, name, value)
    return config


def names_of(flags: Sequence[str]) -> set[str]:
    """The dotted names that a command line sets."""
    return {flag.removeprefix("--").partition("=")[0] for flag in flags if flag.startswith("--")}


RENAMED = {"guard.alpha": "run.gate_alpha, a one-sided level: set it to half of what it was"}
"""Fields of 0.1 -> where they are now."""


def _unknown(name: str, known: Mapping[str, Any], where: str) -> ConfigError:
    if name in RENAMED:
        return ConfigError(f"{where}: found {name}, which is now {RENAMED[name]}")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not near:  # the right leaf under the wrong group, or with no group at all
        leaf = name.rsplit(".", 1)[-1]
        leaves: dict[str, list[str]] = {}
        for field in known:
            leaves.setdefault(field.split(".", 1)[1], []).append(field)
        near = [field for m in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.75) for field in leaves[m]]
    hint = f"did you mean {' or '.join(near)}?" if near else "`--help` lists every field"
    return ConfigError(f"{where}: found {name}, expected a field of the config; {hint}")


def _leaf_of(name: str, known: Mapping[str, Any]) -> str | None:
    """The field that `name` sets: itself, or the mapping field it is a key of."""
    if name in known:
        return name
    return next((k for k, kind in known.items() if name.startswith(f"{k}.") and "dict" in str(kind)), None)


def _walk(tree: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and dotted not in known:
            yield from _walk(value, known, f"{dotted}.")
        else:
            yield dotted


def _recipe_names(path: Path, known: Mapping[str, Any]) -> set[str]:
    """The dotted names a YAML recipe sets. Raises ConfigError for unknown names and unreadable files."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        tree = yaml.safe_load(text)
        _no_repeats(yaml.compose(text, yaml.SafeLoader), str(path))
    except OSError as error:
        near = difflib.get_close_matches(path.stem, [found.stem for found in recipes(path)], n=1)
        hint = f"did you mean {near[0]}?" if near else "check the path"
        raise ConfigError(f"{path}: cannot read the recipe: {error.strerror}; {hint}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error}; save the recipe as UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: found {type(tree).__name__}, expected a mapping of groups such as `train:`")
    names = set()
    for name in _walk(tree, known):
        leaf = _leaf_of(name, known)
        if leaf is None:
            raise _unknown(name, known, str(path))
        names.add(leaf)
    return names


def fits(tree: Mapping[str, Any], cls: type) -> bool:
    """Whether every field of a recipe's `tree` is one of `cls`."""
    known = field_types(cls)
    return all(_leaf_of(name, known) for name in _walk(tree, known))


def _no_repeats(node: Any, where: str, prefix: str = "") -> None:
    """Raise ConfigError for a name given twice in one mapping, of which YAML would silently take the last."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name in seen:
            line = key.start_mark.line + 1
            raise ConfigError(f"{where}: found {name} a second time in line {line}; put its fields together")
        seen.add(name)
        _no_repeats(value, where, f"{name}.")


def _flags(args: Sequence[str], known: Mapping[str, Any]) -> tuple[list[str], set[str]]:
    """`--a.b v` and `--a.b=v` as `--a.b=v`; lists may be written a,b,c. Raises ConfigError for unknown names."""
    out, names, rest = [], set(), list(args)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--"):
            raise ConfigError(f"command line: found {token!r}, expected a flag such as --train.lr 1e-4")
        name, equals, value = token[2:].partition("=")
        leaf = _leaf_of(name, known)
        if leaf is None:
            raise _unknown(name, known, "command line")
        if not equals:
            if known[leaf] is bool and (not rest or rest[0].startswith("--")):
                value = "true"
            elif not rest or rest[0].startswith("--"):
                raise ConfigError(f"command line: --{name} has no value; write --{name} VALUE")
            else:
                value = rest.pop(0)
        if "tuple" in str(known[leaf]) and not value.startswith("["):
            value = f"[{value}]"
        out.append(f"--{name}={value}")
        names.add(leaf)
    return out, names


def parser(cls: type = Config, command: str = "train") -> Any:
    """The jsonargparse parser of a config tree; its help lists every field with its default."""
    from jsonargparse import ArgumentParser

    p = ArgumentParser(prog=f"r3v {command} RECIPE.yaml", exit_on_error=False, default_env=False)
    p.add_argument("--config", action="config", help="a recipe; flags after it win")
    p.add_class_arguments(cls, None, fail_untyped=True)
    return p


def recipe_folder() -> Path:
    """Where the recipes of the library lie, in a checkout and in an installed wheel."""
    from importlib import import_module

    return Path(next(iter(import_module("r3v.recipes").__path__)))


def recipes(near: Path) -> list[Path]:
    """The recipes of the library, and those in the folder where `near` would lie."""
    folder = near.parent if near.parent.is_dir() else Path(".")
    return sorted([*recipe_folder().glob("*.yaml"), *folder.glob("*.yaml")])


def find_recipe(name: str | Path) -> Path:
    """A path as given, or a recipe of the library by its file name."""
    path = Path(name)
    if not path.exists() and path.parent in (Path("."), Path("recipes")):
        for candidate in (recipe_folder() / path.name, recipe_folder() / f"{path.name}.yaml"):
            if candidate.is_file():
                return candidate
    return path


def read_tree(
    cls: type[T], recipe: str | Path | None = None, flags: Sequence[str] = (), command: str = "train"
) -> tuple[T, frozenset[str]]:
    """Any config tree (a dataclass of dataclasses): defaults, then the recipe, then the flags; and the fields set.

    Files that the recipe names are looked for beside it first (`r3v.settings.places`).
    geoworld-tiny and smolgeo get the short prompt style, the only one they were trained on, unless the user set one.
    Raises ConfigError: unknown names (with the nearest match), wrong types, unreadable files.
    """
    import argparse

    known = field_types(cls)
    args: list[str] = []
    explicit: set[str] = set()
    if recipe is not None:
        path = find_recipe(recipe)
        explicit |= _recipe_names(path, known)
        args.append(f"--config={path}")
    tokens, names = _flags(flags, known)
    explicit |= names
    p = parser(cls, command)
    try:
        values = p.instantiate(p.parse_args([*args, *tokens]))
    except argparse.ArgumentError as error:
        where = f"{recipe}: " if recipe is not None and not flags else ""
        raise ConfigError(f"{where}{' '.join(str(error).split())}") from error
    config = cls(**{f.name: getattr(values, f.name) for f in fields(cls)})  # type: ignore[arg-type]
    for name in sorted(n for n in names if n.startswith("data.") and known[n] is str):
        if ":" not in get_field(config, name):
            base = p.instantiate(p.parse_args(args))
            config = set_field(config, name, _local_copy(get_field(base, name), get_field(config, name), name))
    folder = None if recipe is None else find_recipe(recipe).parent
    for name in path_fields(known):
        value = get_field(config, name)
        found = placed(value, name, None if name in names else folder)
        if found != value:
            config = set_field(config, name, found)
    model = getattr(config, "model", None)
    if model is not None and model.path in ("geoworld-tiny", "smolgeo") and "model.prompt_style" not in explicit:
        config = set_field(config, "model.prompt_style", "short")
    if model is not None and model.path == "smolgeo" and "model.dtype" not in explicit:
        config = set_field(config, "model.dtype", "auto")
    return config, frozenset(explicit)


def _local_copy(spec: str, place: str, name: str) -> str:
    """The data set of the recipe, read from a file or folder here. Raises ConfigError where there is none."""
    from r3v.spec import at

    if not Path(place).expanduser().exists():
        raise ConfigError(
            f"command line: --{name} {place}: found neither a data spec such as jsonl:mine.jsonl nor a file or folder"
        )
    return at(spec, str(Path(place).expanduser()))


def differences(old: Any, new: Any) -> list[str]:
    """`field: old -> new` for every field that differs, in the order of the tree."""
    a, b = flatten(old), flatten(new)
    return [f"{name}: {a[name]!r} -> {b[name]!r}" for name in a if a[name] != b[name]]
