"""`r3v reinforce RECIPE`: reads the settings, runs the loop, prints the table. Only argparse at import."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from r3v.app.trees import check_whose, fields_help

if TYPE_CHECKING:
    from r3v.curriculum.reinforce.config import ReinforceConfig

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


def register(commands: Any) -> None:
    """Add `reinforce` to the subparsers of the command line."""
    text = "reinforce a model on any data spec by group relative policy optimisation; resumed if it was interrupted"
    p = commands.add_parser("reinforce", help=text, description=text, allow_abbrev=False, add_help=False)
    p.set_defaults(handler=run, takes_fields=True)
    fields_help(p, "reinforce")
    p.add_argument("recipe", help="a YAML file, or the name of one that comes with the library")
    p.add_argument("--dry-run", action="store_true", help="random tiny weights of the same family, a few problems")
    p.add_argument("--print_config", action="store_true", help="print the effective config and stop")
    p.add_argument("--no-report", action="store_true", help="leave report.html out")


def effective(recipe: str | None, flags: Sequence[str], dry_run: bool) -> ReinforceConfig:
    """Recipe, then flags; a dry run is small and in a folder of its own unless the command line names one."""
    from r3v.curriculum.reinforce.config import ReinforceConfig
    from r3v.settings.tree import fill, read_tree

    if recipe:
        check_whose(recipe, "reinforce")
    config, _ = read_tree(ReinforceConfig, recipe, flags, "reinforce")
    if not dry_run:
        return config
    return fill(config, {**DRY, "run.dir": f"{config.run.dir}-dry-run"}, flags)


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """The handler of the command."""
    from r3v.app.commands.common import note
    from r3v.app.commands.tables import run_table
    from r3v.precision import decided_for_run
    from r3v.settings.tree import to_yaml

    config = decided_for_run(effective(args.recipe, rest, args.dry_run))
    if args.print_config:
        print(to_yaml(config), end="")
        return 0
    from r3v.curriculum.reinforce.reinforce import real_parts, reinforce

    value = reinforce(config, real_parts(args.dry_run, note), recipe=str(args.recipe), say=note)
    print(run_table(value))
    if not args.no_report:
        from r3v.pages.report import write_report

        print(f"report: {write_report(config.run.dir)}")
    return 0
