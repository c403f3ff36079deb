"""`r3v evolve RECIPE`: reads the settings, runs the spiral, prints the table. Only argparse at import."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from r3v.app.trees import check_whose, fields_help

if TYPE_CHECKING:
    from r3v.curriculum.spiral.config import SpiralConfig

SMALL: dict[str, Any] = {
    "run.iterations": 1,
    "data.n_gate": 4,
    "data.n_eval": 4,
    "data.n_seeds": 12,
    "probe.n": 12,
    "probe.k": 2,
    "practice.items": 6,
    "practice.overdraw": 1.0,
    "practice.score_k": 2,
    "practice.low": 0.0,
    "practice.high": 1.0,
    "ask.max_new_tokens": 12,
    "learn.steps": 1,
    "learn.rounds": 1,
    "group.problems": 2,
    "group.n": 3,
    "group.dynamic": False,
    "group.overlong": "none",
    "group.max_new_tokens": 12,
    "sample.k": 2,
    "sample.max_new_tokens": 12,
    "build.qa": 1.0,
    "fit.max_steps": 2,
    "note.batch": 2,
    "note_gate.reserve": 0,
    "supervisor.max_new_tokens": 12,
    "select.max_new_tokens": 12,
}
"""What `--random-weights` makes small. Random weights solve nothing, so flat groups, cut-off answers and items outside
every window stay in, and direct-answer examples stand in for solved ones."""


REHEARSED: dict[str, int] = {"data.n_gate": 100, "data.n_eval": 200, "data.n_seeds": 200, "probe.n": 120,
                             "practice.items": 100}  # fmt: skip
"""Most problems of each sort in a `--dry-run`, whose plan is told in full; they take their time to be drawn."""


def register(commands: Any) -> None:
    """Add `evolve` to the subparsers of the command line."""
    text = "diagnose, practise the weak skills, learn, measure, diagnose again; resumed if it was interrupted"
    p = commands.add_parser("evolve", help=text, description=text, allow_abbrev=False, add_help=False)
    p.set_defaults(handler=run, takes_fields=True)
    fields_help(p, "evolve")
    p.add_argument("recipe", help="a YAML file, or the name of one that comes with the library")
    p.add_argument(
        "--dry-run", action="store_true",
        help="print the plan and go through it with a scripted learner in a temporary folder: no model, no network",
    )  # fmt: skip
    p.add_argument(
        "--random-weights", action="store_true",
        help="random tiny weights of the same family, a few problems: everything but the weights is real",
    )  # fmt: skip
    p.add_argument("--print_config", action="store_true", help="print the effective config and stop")
    p.add_argument("--no-report", action="store_true", help="leave report.html out")


def effective(recipe: str | None, flags: Sequence[str], small: bool = False) -> SpiralConfig:
    """Recipe, then flags, then the preset on what neither set; `small` for random weights, in a folder of its own
    unless the command line names one."""
    from r3v.curriculum.spiral.config import SpiralConfig, with_preset
    from r3v.notebook.evolve.config import with_supervisor_style
    from r3v.settings.tree import fill, read_tree

    if recipe:
        check_whose(recipe, "evolve")
    config, explicit = read_tree(SpiralConfig, recipe, flags, "evolve")
    config = with_preset(config, explicit)
    config = with_supervisor_style(config, explicit)
    if not small:
        return config
    return fill(config, {**SMALL, "run.dir": f"{config.run.dir}-random-weights"}, flags)


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """The handler of the command."""
    from r3v.app.commands.common import note
    from r3v.errors import ConfigError
    from r3v.precision import decided_for_run
    from r3v.settings.tree import to_yaml

    if args.dry_run and args.random_weights:
        raise ConfigError("found --dry-run and --random-weights, expected one of them")
    config = decided_for_run(effective(args.recipe, rest, args.random_weights))
    if args.print_config:
        print(to_yaml(config), end="")
        return 0
    if args.dry_run:
        return rehearse(config, str(args.recipe))
    from r3v.curriculum.spiral.parts import real_parts
    from r3v.curriculum.spiral.spiral import evolve

    value = evolve(config, real_parts(args.random_weights, note), recipe=str(args.recipe), say=note)
    print(run_summary(value))
    if not args.no_report and value["rounds"]:
        from r3v.curriculum.spiral.page import write_report

        print(f"report: {write_report(config.run.dir)}")
    return 0


def rehearse(config: SpiralConfig, recipe: str) -> int:
    """The plan, then all its stages on the scripted learner, in a folder that is removed."""
    import tempfile

    from r3v.app.commands.common import note
    from r3v.curriculum.spiral.dry import plan, scripted_parts
    from r3v.curriculum.spiral.page import write_report
    from r3v.curriculum.spiral.spiral import evolve
    from r3v.settings.tree import get_field, set_field

    print(plan(config))
    with tempfile.TemporaryDirectory(prefix="r3v-evolve-") as folder:
        config = set_field(config, "run.dir", folder)
        for name, most in REHEARSED.items():
            wanted = get_field(config, name)
            config = set_field(config, name, most if wanted is None else min(wanted, most))
        # A scripted model has no weights to go on from, and learns nothing from notes.
        config = set_field(set_field(config, "model.adapter", None), "note.start", "")
        value = evolve(config, scripted_parts(), recipe=recipe, say=note)
        write_report(folder)
    print("\nrehearsed in small with a scripted learner, whose accuracies say nothing about the model:")
    print(run_summary(value))
    return 0


def run_summary(value: Mapping[str, Any]) -> str:
    """`run.json` for the terminal."""
    from r3v.app.commands.tables import run_table

    if not value["rounds"]:
        return f"stopped before the first iteration: {value['stopped']}"
    lines = [run_table(value).replace("round", "turn ", 1)]
    final = value["final"]
    for name, found in (("all skills", final), ("weakest quarter of skills at the start", final["weakest_quarter"])):
        lines.append(f"{name}: {_change(found)}")
    spent = value["spent"]
    lines.append(
        f"spent {spent['samples']:g} answers, {spent['tokens']:g} tokens, {spent['money']:g} money, "
        f"{spent['seconds'] / 60:.1f} min of work"
    )
    return "\n".join([*lines, *([f"stopped: {value['stopped']}"] if value["stopped"] else [])])


def _change(found: Mapping[str, Any]) -> str:
    start, end = found["start"], found["end"]
    text = f"{100 * start['accuracy']:.1f} -> {100 * end['accuracy']:.1f} %"
    if found["difference"] is None:
        return f"{text}, n {end['n']}"
    low, high = found["ci95"]
    return f"{text}, {100 * found['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}), n {end['n']}"
