"""`r3v eval`: a model's figures on a set of problems and, where a protocol is named, what they compare with."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from r3v.app.commands.common import model_config, note
from r3v.app.commands.recall import recall_of
from r3v.app.commands.tables import block_table, controls_table, endings
from r3v.errors import ConfigError, RunError
from r3v.io import write_json
from r3v.records import Problem
from r3v.reflection import stages
from r3v.reflection.asked import run_settings
from r3v.reflection.settings import check_config
from r3v.settings.config import Config
from r3v.settings.tree import set_field, write_beside
from r3v.version import __version__


def eval(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data import load
    from r3v.run.protocols import asked, guessed, protocol

    how = protocol(args.protocol) if args.protocol else None
    _check_flags(args)
    config = _config(args, rest)
    check_config(config)
    problems: Sequence[Problem] = load(
        args.data, limit=args.limit, skip_bad=config.data.skip_bad, open=config.data.open, grader=config.data.grader
    )
    told: dict[str, Any] = {}
    if how:
        guess, choices = guessed(problems)
        told = {"protocol": how.name, "guess": {"accuracy": guess, "choices": {str(k): n for k, n in choices.items()}}}
        problems = asked(problems, how)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(args.out).with_suffix(".parquet") if args.out else Path(folder) / "rows.parquet"
        ask = _Ask(args, config, problems, rows)
        found, model, notes = ask.model("model", config, problems, rows)
        told |= {"notes": notes} if notes else {}
        print(block_table(found["eval"]))
        print(endings(found["unparsed_endings"]), end="")
        if how:
            compared = ask.controls(args, rest)
            told["controls"] = [one.to_dict() for one in compared]
            told["control_models"] = ask.names
            print(controls_table(told["guess"], compared))
    if args.out:
        told |= {"data": args.data, "open": config.data.open or bool(how and how.open), "model": model}
        write_json(args.out, {"schema": 1, **told, **found})
        write_beside(config, args.out)
    return 0


def _check_flags(args: argparse.Namespace) -> None:
    if args.out and Path(args.out).suffix == ".parquet":
        raise ConfigError(f"found --out {args.out}, expected a name for JSON: the rows go beside it as .parquet")
    for flag, value in (("--controls", args.controls), ("--base", args.base)):
        if value and not args.protocol:
            raise ConfigError(f"found {flag} without --protocol; name the protocol that model and control answer")
    if args.protocol and args.open:
        raise ConfigError("found --open and --protocol; a protocol says itself whether choices are shown")
    if args.base and not args.controls:
        raise ConfigError("found --base without --controls, which it is one of")


def _config(args: argparse.Namespace, rest: list[str]) -> Config:
    """The settings of the measured model, protocol included."""
    from r3v.run.protocols import protocol

    n = [] if args.n is None else [f"--select.n={args.n}"]
    selectors = [f"--select.selectors={args.selectors}"] if args.selectors else []
    config = model_config(args, [*rest, *n, *selectors])
    config = set_field(config, "data.open", args.open or config.data.open)
    if not args.protocol:
        return config
    how = protocol(args.protocol)
    if config.data.open:
        raise ConfigError("found data.open and --protocol; a protocol says itself whether choices are shown")
    if how.n is not None:
        if args.n not in (None, how.n) or args.selectors:
            raise ConfigError(
                f"found --n or --selectors with protocol {how.name}, which draws {how.n} and takes the first"
            )
        config = set_field(config, "select.n", how.n)
    shown = how.selectors or config.select.selectors
    if args.controls and "majority" not in shown:
        shown = (*shown, "majority")
    if not args.selectors or args.controls:
        shown = shown if how.main in shown else (how.main, *shown)
    return set_field(config, "select.selectors", shown)


@dataclass
class _Ask:
    """One measurement and its controls: the same problems, settings and files beside each other."""

    args: argparse.Namespace
    config: Config
    problems: Sequence[Problem]
    rows: Path
    names: dict[str, str] = field(default_factory=dict)
    """Role of a control -> name of the model that answered, which holds the hash of its weights."""

    def model(
        self, role: str, config: Config, problems: Sequence[Problem], rows: Path
    ) -> tuple[dict[str, Any], str, str | None]:
        """(figures, name of the model, name of the notes) of one model; its rows go to `rows`."""
        policy = stages.make_policy(config.model, config, say=note)
        with recall_of(self.args, policy, config, measures=True) as recall:
            if not rows.exists():
                self._note(role, policy.name, config, problems)
            found = stages.real_stages(say=note, notes=recall).evaluate(
                policy, problems, config.select.selectors, rows, config
            )
            if role != "model":
                self.names[role] = policy.name
            return found, policy.name, recall.name if recall else None

    def _note(self, role: str, name: str, config: Config, problems: Sequence[Problem]) -> None:
        """Write into the ledger that a test set is about to be asked."""
        from r3v.run.ledger import append, portable

        if not self.args.ledger:
            return
        tested = sum(problem.split == "test" for problem in problems)
        if not tested:
            if role == "model":
                note(f"no problem of {self.args.data} is of a split named test, so {self.args.ledger} gets no line")
            return
        append(
            self.args.ledger,
            data=portable([self.args.data]),
            problems=tested,
            role=role,
            model=portable([name]),
            protocol=self.args.protocol,
            selectors=list(config.select.selectors),
            n=config.select.n,
            seed=config.run.seed,
            version=__version__,
            command=portable(["r3v", *sys.argv[1:]]),
        )

    def controls(self, args: argparse.Namespace, rest: Sequence[str]) -> list[Any]:
        """The measured model beside every control, and its own selectors beside each other."""
        from r3v.run.controls import paired, without_pictures
        from r3v.run.evaluation import metric_name, read_rows
        from r3v.run.protocols import protocol
        from r3v.selection.selector import ORACLE

        how, n = protocol(args.protocol), self.config.select.n
        main, majority = metric_name(how.main, n), metric_name("majority", n)
        own = read_rows(self.rows)
        names = [metric_name(name, n) for name in self.config.select.selectors if name != ORACLE]
        found = [
            paired(own, name, own, than, f"own {than}")
            for name in names
            for than in (main, majority)
            if name not in (main, majority) and than in names
        ]
        if main in names and majority in names:
            found.append(paired(own, majority, own, main, f"own {main}"))
        if not args.controls:
            return found
        base = self._base(args, rest, (how.main, "majority"))
        if base is None:
            note("the model measured is the base itself, so its own majority is the base's")
        else:
            found += [paired(own, main, base, metric, "base") for metric in (main, majority)]
        without = self.rows.with_name(f"{self.rows.stem}.blank.parquet")
        config = set_field(set_field(self.config, "select.selectors", (how.main,)), "model.blank", True)
        self.model("blank", config, without_pictures(self.problems), without)
        return [*found, paired(own, main, read_rows(without), main, "blank picture")]

    def _base(self, args: argparse.Namespace, rest: Sequence[str], selectors: tuple[str, ...]) -> list[Any] | None:
        """The rows of the base: those of `--base`, or measured now; None where the measured model is the base."""
        from r3v.run.evaluation import read_rows

        if args.base:
            self.names["base"], rows = _rows_of(args.base, args.protocol, {problem.id for problem in self.problems})
            return rows
        first = run_settings(Path(args.run), list(rest)).model.adapter if args.run else None
        if self.config.model.adapter == first:
            return None
        if self.config.server.url:
            raise ConfigError(
                "found --controls with a server, which serves one model; measure the base, and name it: --base FILE"
            )
        rows = self.rows.with_name(f"{self.rows.stem}.base.parquet")
        model = replace(self.config.model, adapter=first)
        select = replace(self.config.select, adapter=None, selectors=selectors)
        self.model("base", replace(self.config, model=model, select=select), self.problems, rows)
        return read_rows(rows)


def _rows_of(file: str, how: str, ids: set[str]) -> tuple[str, list[Any]]:
    """(model, rows) of an earlier `--out FILE`. Raises ConfigError where it asked in another way, RunError where it
    asked other problems."""
    from r3v.run.evaluation import read_rows

    told = stages.read_json(Path(file))
    if told.get("protocol") != how:
        raise ConfigError(f"--base {file}: measured by protocol {told.get('protocol')}, expected {how}")
    rows = read_rows(Path(file).with_suffix(".parquet"))
    missing = ids - {row["problem_id"] for row in rows}
    if missing:
        raise RunError(
            f"--base {file}: has no answer to {len(missing)} of {len(ids)} problems, such as {min(missing)}; measure "
            "the base on the same set"
        )
    return told["model"], rows
