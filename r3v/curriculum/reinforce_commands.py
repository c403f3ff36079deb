"""`r3v reinforce RECIPE`: reads the settings, runs the loop, prints the table. Only argparse at import."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r3v.curriculum.reinforce_config import ReinforceConfig

DRY: dict[str, Any] = {
    "data.n_train": 4,
    "data.n_gate": 2,
    "data.n_eval": 2,
    "run.iterations": 2,
    "run.eval_every": 1,
    "group.problems": 2,
    "group.n": 3,
    "group.dynamic": False,
    "group.overlong": "none",
    "group.max_new_tokens": 12,
    "select.max_new_tokens": 12,
}
"""What `--dry-run` makes small. Random weights solve nothing, so flat and cut-off groups stay in, with advantage 0."""


class _FieldsHelp(argparse.Action):
    """`--help`: the command's own flags, then every field of its config tree with its default."""

    def __call__(self, parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        from r3v.curriculum.reinforce_config import ReinforceConfig
        from r3v.settings import parser as fields_parser

        print(parser.format_help())
        print(fields_parser(ReinforceConfig, "reinforce").format_help())
        parser.exit()


def register(commands: Any) -> None:
    """Add `reinforce` to the subparsers of the command line."""
    text = "reinforce a model on any data spec by group relative policy optimisation; resumed if it was interrupted"
    p = commands.add_parser("reinforce", help=text, description=text, allow_abbrev=False, add_help=False)
    p.set_defaults(handler=run, takes_fields=True)
    p.add_argument("-h", "--help", nargs=0, action=_FieldsHelp, help="show this and every field")
    p.add_argument("recipe", help="a YAML file, or the name of one that comes with the library")
    p.add_argument("--dry-run", action="store_true", help="random tiny weights of the same family, a few problems")
    p.add_argument("--print_config", action="store_true", help="print the effective config and stop")
    p.add_argument("--no-report", action="store_true", help="leave report.html out")


def effective(recipe: str | None, flags: Sequence[str], dry_run: bool) -> ReinforceConfig:
    """Recipe, then flags; a dry run is small and in a folder of its own unless the command line names one."""
    from r3v.curriculum.reinforce_config import ReinforceConfig
    from r3v.settings import read_tree, set_field

    config, _ = read_tree(ReinforceConfig, recipe, flags, "reinforce")
    if not dry_run:
        return config
    given = {flag.lstrip("-").partition("=")[0] for flag in flags if flag.startswith("--")}
    for name, value in {**DRY, "run.dir": f"{config.run.dir}-dry-run"}.items():
        if name not in given:
            config = set_field(config, name, value)
    return config


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """The handler of the command."""
    from r3v.commands import note, run_table
    from r3v.settings import to_yaml

    config = effective(args.recipe, rest, args.dry_run)
    if args.print_config:
        print(to_yaml(config), end="")
        return 0
    from r3v.curriculum.reinforce import real_parts, reinforce

    value = reinforce(config, real_parts(args.dry_run, note), recipe=str(args.recipe), say=note)
    print(run_table(value))
    if not args.no_report:
        from r3v.report import write_report

        print(f"report: {write_report(config.run.dir)}")
    return 0
