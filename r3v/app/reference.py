"""The page docs/fields.md, made of what the config trees say of themselves: `python -m r3v.app.reference`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from r3v.app.trees import TREES
from r3v.settings.fields import Field, fields_of, groups_of, shown
from r3v.settings.help import defaults

HEAD = """# Fields

Every field of a recipe, by command and group. Each is a flag too: `--train.lr 1e-4`. In a terminal,
`r3v train --help train.lr` tells the same. The default is what a run uses where nobody sets the field; where a preset
fills it in, the value without the preset stands behind it. A group that several commands share is told once.

This page is made by `python -m r3v.app.reference > docs/fields.md`.
"""


def page() -> str:
    """The whole page, Markdown."""
    parts, told = [HEAD], {}
    for command, (tree, preset) in TREES.items():
        config, effective = defaults(tree, preset)
        parts.append(f"## r3v {command}\n")
        rows: dict[str, list[Field]] = {}
        for field in fields_of(config, effective):
            rows.setdefault(field.name.partition(".")[0], []).append(field)
        for group, (_, text) in groups_of(config).items():
            parts.append(_group(command, group, text, rows[group], told))
    return "\n".join(parts).rstrip() + "\n"


def _group(command: str, group: str, text: str, rows: list[Field], told: dict[Any, str]) -> str:
    """A group with its table, or where the same table stands already."""
    key = tuple(replace(field, name=field.name.partition(".")[2]) for field in rows)
    same = told.get(repr(key))
    if same is not None:
        return f"### {group}\n\n{text} The same as {same}.\n"
    told[repr(key)] = f"`{group}` of `r3v {command}`"
    lines = [f"### {group}\n", f"{text}\n", "| field | takes | default | what it means |", "|---|---|---|---|"]
    for f in rows:
        without = f" ({shown(f.default)} without the preset)" if f.default != f.effective else ""
        lines.append(f"| `{f.name}` | {f.kind} | {shown(f.effective)}{without} | {f.text.replace('|', '/')} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")
