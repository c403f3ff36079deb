"""`r3v notebook evolve`, `gate-power`, `qualify` and `values`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from r3v.app.parser import positive
from r3v.app.trees import check_whose, fields_help
from r3v.errors import ConfigError


def register(commands: Any) -> None:
    """Add the commands to the subparsers of `r3v notebook`. Imports nothing heavy."""
    text = "learn notes from failures, batch by batch; resumed if it was interrupted"
    p = _add(commands, "evolve", text, _evolve, fields=True)
    p.add_argument("recipe", help="a YAML file, or the name of one that comes with the library")
    p.add_argument("--print_config", action="store_true", help="print the effective config and stop")
    p.add_argument("--out", help="write the summary to this JSON file")
    p = _add(commands, "gate-power", "how often a gate accepts an edit, by simulation", _gate_power)
    p.add_argument("--gate", default="paired", help="paired (default) or m2note-paper")
    p.add_argument("--batch", type=positive, default=16, help="problems of a batch (default 16)")
    p.add_argument("--pool", type=positive, default=256, help="problems of the gate pool (default 256)")
    p.add_argument("--effect", type=float, default=0.0, help="true effect over all problems; 0.1 is ten points")
    p.add_argument("--noise", type=float, default=0.2, help="share of items that flip between two runs")
    p.add_argument("--touched", type=float, default=1.0, help="share of problems whose prompt the edit changes")
    p.add_argument("--world", default="flips", help="flips (default) or items; see r3v.notebook.gate.power")
    p.add_argument("--max-pairs", type=positive, help="most paired solves of a decision (default 128)")
    p.add_argument("--repeats", type=positive, help="fresh solves of each flipped item (default 1)")
    p.add_argument("--alpha", type=float, help="largest accept rate of an edit that does nothing (default 0.05)")
    p.add_argument(
        "--trials", type=positive, default=1, help="propose a refused edit again, up to so often (default 1)"
    )
    p.add_argument("--n", type=positive, default=4000, help="simulated decisions (default 4000)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", help="write the result to this file")
    p = _add(commands, "qualify", "solve with and without the notes: do they help this solver?", _qualify, fields=True)
    p.add_argument("file", help="the notebook")
    p.add_argument("--ref", default="head", help="branch, tag or commit (default head)")
    p.add_argument("--recipe", help="take settings from this recipe of `r3v notebook evolve`")
    p.add_argument("--data", required=True, help="data spec of problems the notes were not learnt from")
    p.add_argument("--limit", type=positive, help="use the first problems only")
    p.add_argument("--record", action="store_true", help="keep the outcomes in the notebook, as exposures of its notes")
    p.add_argument(
        "--controls", action="store_true",
        help="also give the right page of the theorem book by hand, and a wrong one of equal length; for data whose "
        "skills are theorems, such as geoqa:DIR?split=dev&skills=theorems",
    )  # fmt: skip
    p.add_argument("--out", help="write the report to this JSON file")
    p = _add(commands, "values", "what each note is worth, from the exposures in the notebook", _values)
    p.add_argument("file", help="the notebook")
    p.add_argument("--solver", help="count exposures of this solver only, by its name in the events")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add(commands: Any, name: str, text: str, handler: Any, fields: bool = False) -> argparse.ArgumentParser:
    p = commands.add_parser(name, help=text, description=text, add_help=not fields)
    p.set_defaults(handler=handler, takes_fields=fields)
    if fields:
        fields_help(p, "notebook evolve", listed=name == "evolve")
    return p


def read_config(recipe: str | Path | None, flags: Sequence[str]) -> Any:
    """The NotebookConfig of a recipe and flags. Raises ConfigError as `r3v.reflection.settings.read` does."""
    from r3v.notebook.evolve.config import NotebookConfig, with_supervisor_style
    from r3v.settings.tree import read_tree

    if recipe is not None:
        check_whose(recipe, "notebook evolve")
    config, explicit = read_tree(NotebookConfig, recipe, flags, command="notebook evolve")
    config = with_supervisor_style(config, explicit)
    config.check()
    return config


def _evolve(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.app.commands.common import note
    from r3v.io import write_json
    from r3v.notebook.evolve.assemble import assemble
    from r3v.notebook.evolve.evolve import evolve
    from r3v.settings.tree import to_yaml

    config = read_config(args.recipe, rest)
    if args.print_config:
        print(to_yaml(config), end="")
        return 0
    with ExitStack() as stack:
        found = evolve(assemble(config, stack, say=note))
    if args.out:
        write_json(args.out, found)
    costs = found["costs"]
    print(
        f"{config.evolve.notebook}: {found['notes']} notes after {len(found['steps'])} steps; {found['accepted']} "
        f"edits accepted, {found['refused']} refused"
    )
    print(_bill(costs))
    if found["per_accepted_note"]:
        print(f"per accepted note: {_bill(found['per_accepted_note'])}")
    return 0


def _bill(costs: Mapping[str, float]) -> str:
    return (
        f"{costs['calls']:.0f} calls, {costs['tokens_in']:.0f} prompt tokens (estimated), {costs['tokens_out']:.0f} "
        f"generated, {costs['images']:.0f} images, money {costs['money']:.4f}"
    )


def _gate_power(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.io import write_json
    from r3v.notebook.gate.gate import GateConfig
    from r3v.notebook.gate.power import Scene, accept_rate

    given = {"max_pairs": args.max_pairs, "repeats": args.repeats, "alpha": args.alpha}
    config = GateConfig(kind=args.gate, **{name: value for name, value in given.items() if value is not None})
    scene = Scene(args.effect, args.noise, args.batch, args.pool, args.touched, args.world)
    found = accept_rate(config, scene, n=args.n, seed=args.seed, trials=args.trials)
    print(json.dumps(found))
    if args.json:
        write_json(args.json, found)
    return 0


def _qualify(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.app.commands.common import note
    from r3v.data import load
    from r3v.io import write_json
    from r3v.notebook.evolve.assemble import assemble_solver
    from r3v.notebook.evolve.qualify import describe, exposures_of, qualify
    from r3v.notebook.retrieval import qualified
    from r3v.notebook.retrieval.shelf import pinned

    config = read_config(args.recipe, [*rest, f"--evolve.notebook={args.file}"])
    if not Path(args.file).exists():
        raise ConfigError(f"{args.file}: no such notebook")
    problems = load(args.data, limit=args.limit, skip_bad=config.data.skip_bad, open=config.data.open)
    with ExitStack() as stack:
        notebook, shelf, asker, words, prices = assemble_solver(config, stack, say=note)
        asker.stage = "qualify/"
        notes = notebook.notes(args.ref)
        recall = shelf.recall(notes)
        items = pinned([problems[i] for i in range(len(problems))])
        report = qualify(recall, asker, words, items, seed=config.evolve.seed, prices=prices, by_hand=args.controls)
        qualified.record(notebook, notes, report)
        if args.record:
            notebook.record_many([("retrieved", row) for row in exposures_of(report)])
    print(describe(report))
    if args.out:
        write_json(args.out, report)
    return 0


def _values(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.notebook.evolve.value import values
    from r3v.notebook.store.store import Notebook

    with Notebook.open(args.file) as notebook:
        rows = (event.data for event in notebook.events("retrieved"))
        found = values(notebook.notes(), rows, solver=args.solver)
    if args.json:
        print(json.dumps([value.to_dict() for value in found.values()], indent=2))
        return 0
    print(f"{'note':<48} {'shown':>11} {'withheld':>11}  benefit (95 % interval)")
    for value in found.values():
        benefit = (
            "unknown"
            if value.benefit is None
            else f"{100 * value.benefit:+.1f} ({100 * value.low:+.1f} to {100 * value.high:+.1f})"
        )
        shown, kept = f"{value.shown_right}/{value.shown}", f"{value.withheld_right}/{value.withheld}"
        print(f"{value.note:<48} {shown:>11} {kept:>11}  {benefit}")
    return 0
