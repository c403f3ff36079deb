"""`--help` of commands whose flags are the fields of a config tree: short, by group, or one field with its meaning.

    r3v train --help              the command's own flags, then each group with its fields and their values
    r3v train --help train        one group: every field with what it takes and means
    r3v train --help train.lr     one field

Only argparse is imported here; a tree is imported when help is asked for. The page docs/fields.md says the same.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import textwrap
from collections.abc import Sequence
from typing import Any

from r3v.errors import ConfigError

WIDTH = 110


class FieldsHelp(argparse.Action):
    """Shows the help of a command, or of the group or field that is named after it.

    tree: "module:Class" of the config tree; preset: "module:function" that fills a tree as the command does, or None;
    listed: the groups are shown under the command's own flags, for commands that are mostly about them.
    """

    def __init__(self, *args: Any, tree: str, preset: str | None, listed: bool, **kwargs: Any) -> None:
        super().__init__(*args, nargs="?", metavar="FIELD", **kwargs)
        self.tree, self.preset, self.listed = tree, preset, listed

    def __call__(self, parser: argparse.ArgumentParser, space: Any, wanted: Any, option: str | None = None) -> None:
        if wanted is None and not self.listed:
            print(parser.format_help().rstrip())
            parser.exit()
        config, effective = defaults(self.tree, self.preset)
        if wanted is not None:
            print(explained(str(wanted).removeprefix("--"), config, effective))
        else:
            print(parser.format_help())
            print(overview(config, effective, parser.prog))
        parser.exit()


def add_fields_help(parser: argparse.ArgumentParser, tree: str, preset: str | None = None, listed: bool = True) -> None:
    """Add `-h` and `--help` to a parser made with `add_help=False`."""
    text = "show this, or what a group or field means: --help train, --help train.lr"
    parser.add_argument("-h", "--help", action=FieldsHelp, tree=tree, preset=preset, listed=listed, help=text)


def named(place: str) -> Any:
    """The object that "module:name" says."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def defaults(tree: str, preset: str | None) -> tuple[Any, Any]:
    """The tree with the defaults of its classes, and with what the command's preset makes of them."""
    config = named(tree)()
    return config, named(preset)(config) if preset else config


def overview(config: Any, effective: Any, prog: str) -> str:
    """Each group, what it is about, and its fields with the values they have where nobody sets them."""
    from r3v.settings.fields import fields_of, groups_of, shown

    values: dict[str, list[str]] = {}
    for field in fields_of(config, effective):
        group, _, leaf = field.name.partition(".")
        values.setdefault(group, []).append(f"{leaf} {shown(field.effective)}")
    lines = [f"fields, each a flag (--train.lr 1e-4) or a line of the recipe; `{prog} --help train.lr` explains one:"]
    for group, (_, text) in groups_of(config).items():
        lines += ["", f"{group}.*  {_first(text)}", *_wrapped(", ".join(values[group]), "    ")]
    return "\n".join(lines)


def explained(name: str, config: Any, effective: Any) -> str:
    """One field, or every field of a group. Raises ConfigError with the nearest name."""
    from r3v.settings.fields import fields_of, groups_of, shown

    every, groups = list(fields_of(config, effective)), groups_of(config)
    wanted = [f for f in every if f.name == name or f.name.startswith(f"{name}.")]
    if not wanted:
        leaves: dict[str, list[str]] = {}
        for f in every:
            leaves.setdefault(f.name.rpartition(".")[2], []).append(f.name)
        raise ConfigError(
            f"--help {name}: no such field or group{_hint(name, [f.name for f in every], groups, leaves)}"
        )
    lines = [*_wrapped(groups[name][1], ""), ""] if name in groups else []
    for f in wanted:
        filled = f", filled by the preset; {shown(f.default)} without it" if f.effective != f.default else ""
        lines += [f"--{f.name}  {f.kind} (default {shown(f.effective)}{filled})", *_wrapped(f.text, "    ")]
    return "\n".join(lines)


def _hint(name: str, fields: Sequence[str], groups: Any, leaves: dict[str, list[str]]) -> str:
    same = leaves.get(name.rpartition(".")[2], [])
    near = same or difflib.get_close_matches(name, [*fields, *groups], n=1)
    return f"; did you mean {' or '.join(near)}?" if near else "; --help lists them"


def _first(text: str) -> str:
    return text.partition(". ")[0].rstrip(".") + "."


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
