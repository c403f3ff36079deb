"""Every `r3v ...` line of docs/*.md is taken by the real parser, with real fields and real recipes."""

from __future__ import annotations

import re
import shlex

import pytest
from places import ROOT

from r3v.app.cli import build_parser, split_fields
from r3v.app.commands.evolve import effective
from r3v.curriculum.spiral.config import check
from r3v.reflection.settings import read
from r3v.settings.tree import find_recipe

DOCS = ROOT / "docs"
TREE = ("train", "eval", "select", "sample", "export", "compare", "serve")
"""Commands whose fields are those of `r3v.settings.config.Config`."""


def commands() -> list[tuple[str, str]]:
    """(file, line) of every command in a shell block; lines that end with a backslash are joined."""
    found = []
    for path in sorted(DOCS.glob("*.md")):
        for block in re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(path.name, line.strip()) for line in lines if line.strip().startswith("r3v ")]
    return found


def taken(line: str) -> None:
    own, fields = split_fields(shlex.split(line, comments=True)[1:])
    args, rest = build_parser().parse_known_args(own)
    rest = [*rest, *fields]
    assert not rest or args.takes_fields, f"{args.command} takes no {' '.join(rest)}"
    recipe = getattr(args, "recipe", None)
    assert recipe is None or find_recipe(recipe).is_file(), f"no recipe {recipe}"
    if args.command in TREE:
        read(recipe, rest)
    if args.command == "evolve":
        check(effective(recipe, rest))


@pytest.mark.parametrize(("file", "line"), commands())
def test_a_command_of_the_docs_exists(file: str, line: str) -> None:
    taken(line)


@pytest.mark.parametrize(
    "line",
    ["r3v smaple --data a", "r3v train no_such.yaml", "r3v train geoworld_tiny.yaml --policy.ray.adress auto"],
)
def test_the_check_notices_what_does_not_exist(line: str) -> None:
    with pytest.raises((SystemExit, AssertionError, ValueError)):
        taken(line)


def test_there_is_something_to_check() -> None:
    assert {file for file, _ in commands()} >= {
        "servers.md",
        "cluster.md",
        "agents.md",
        "serve.md",
        "harness.md",
        "share.md",
    }
