"""`--help` of a command whose flags are the fields of a config tree. Only argparse at import."""

from __future__ import annotations

import argparse
import importlib
from typing import Any


class FieldsHelp(argparse.Action):
    """The command's own flags, then every field of the tree with its default.

    tree: "module:Class" of the config tree, imported when help is asked for; command: as in `r3v COMMAND`.
    """

    def __init__(self, *args: Any, tree: str, command: str, **kwargs: Any) -> None:
        super().__init__(*args, nargs=0, **kwargs)
        self.tree, self.command = tree, command

    def __call__(self, parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        from r3v.settings.tree import parser as fields_parser

        module, _, name = self.tree.partition(":")
        print(parser.format_help())
        print(fields_parser(getattr(importlib.import_module(module), name), self.command).format_help())
        parser.exit()


def add_fields_help(parser: argparse.ArgumentParser, tree: str, command: str) -> None:
    """Add `-h` and `--help` to a parser made with `add_help=False`."""
    parser.add_argument("-h", "--help", action=FieldsHelp, tree=tree, command=command, help="show this and every field")
