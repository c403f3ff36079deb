"""The self-training loop: rounds of sample -> grade -> build -> fit -> evaluate -> accept.

Read `train` first; it is the algorithm (R3V, arXiv 2411.00855, section 3, with a gate added). The stages themselves
come in as functions (`Stages`), so that this file knows neither models nor datasets.

A run is a folder. Every stage leaves one artefact and then one line in `stages.json`; `DONE` closes a round. A run
that was killed and is started again skips what has its line, and each stage resumes inside itself (whole shards), so
the result is the one of an undisturbed run. Times are those of the call that finished the stage.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r3v.checks import check_select_target
from r3v.config import Config, DataConfig
from r3v.errors import DataError, RunError
from r3v.io import atomic_write, claim, make_folder, write_json
from r3v.policies.base import Policy
from r3v.records import Problem
from r3v.settings import differences, get_field, read_tree, set_field, to_yaml

RUN_SCHEMA = 1
CHOOSER = "chooser"
"""Folder of the adapter that only chooses, inside a run's."""
STAGES = ("sample", "build", "fit", "evaluate")
Block = dict[str, dict[str, Any]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Splits:
    """Three disjoint sets: to learn from, to accept rounds on, to measure on."""

    train: Sequence[Problem]
    gate: Sequence[Problem]
    eval: Sequence[Problem]
    left_out: int = 0
    """Training problems not used because they show a picture of the other two sets."""


@dataclass(frozen=True)
class Stages:
    """What the loop calls. Each function resumes its own unfinished work and returns JSON values to be kept.

    load(data config) -> Splits
    policy(config, adapter folder or None) -> Policy
    sample(policy, problems, candidate folder, config, round) -> statistics of the pool so far
    build(problems, candidate folders oldest first, examples file, config, round, policy maker) -> counts
    fit(problems, examples file, adapter to start from or None, adapter folder, config, round) -> log of the fit
    evaluate(policy, problems, selectors, Parquet file, config) -> {"eval": block, "breakdown": ..., "gate"...}
    """

    load: Callable[[DataConfig], Splits]
    policy: Callable[[Config, Path | None], Policy]
    sample: Callable[[Policy, Sequence[Problem], Path, Config, int], dict[str, Any]]
    build: Callable[[Sequence[Problem], Sequence[Path], Path, Config, int, Callable[[], Policy]], dict[str, Any]]
    fit: Callable[[Sequence[Problem], Path, Path | None, Path, Config, int], dict[str, Any]]
    evaluate: Callable[[Policy, Sequence[Problem], Sequence[str], Path, Config], dict[str, Any]]


@dataclass
class Run:
    """A run folder that this process holds, and the newest accepted round."""

    folder: Path
    config: Config
    recipe: str
    say: Say
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return next(r["round"] for r in reversed(self.reports) if r["accepted"])

    @property
    def adapter(self) -> Path | None:
        """Adapter of the accepted round; None where that is the base model."""
        return self.round_folder(self.accepted) / "adapter" if self.accepted else None

    @property
    def best_gate(self) -> float:
        return self.reports[self.accepted]["gate"]["greedy"]["accuracy"]

    def round_folder(self, number: int) -> Path:
        return self.folder / f"round_{number:02d}"


def train(config: Config, stages: Stages, *, recipe: str = "", say: Say = print) -> dict[str, Any]:
    """Run, resume or merely report a whole self-training; returns the content of `run.json`.

    Raises RunError: the folder holds a run with other settings, another process works on it, or an artefact is
    damaged; DataError: the three sets of problems overlap; ConfigError: select is taught in one way, asked in another.
    """
    check_select_target(config)
    with open_run(config, recipe, say) as run:
        if finished(run):
            say(f"run {run.folder} is finished: round {run.accepted} of {config.run.rounds} is accepted")
            return write_run(run)
        splits = disjoint(stages.load(config.data))
        if splits.left_out:
            say(f"left out {splits.left_out} training problems that show a picture of the gate or evaluation problems")
        for number in range(config.run.rounds + 1):
            if number < len(run.reports):
                continue
            report = measure_base(run, splits, stages) if number == 0 else play_round(run, number, splits, stages)
            run.reports.append(report)
            write_run(run)
            say(round_line(report))
        return write_run(run)


def measure_base(run: Run, splits: Splits, stages: Stages) -> dict[str, Any]:
    """Round 0: what the untouched model can do. It is accepted by definition."""
    folder = run.round_folder(0)
    measured = stage(folder, "evaluate", lambda: measure(run, folder, None, splits, stages))
    return close_round(run, 0, {"evaluate": measured}, accepted=True, reason="the base model")


def play_round(run: Run, number: int, splits: Splits, stages: Stages) -> dict[str, Any]:
    """One round: the newest accepted model samples, its mistakes become examples, a new adapter is fitted, and it
    replaces the accepted one unless it does worse on the gate problems."""
    config, folder = run.config, run.round_folder(number)
    candidates = [run.round_folder(n) / "candidates" for n in range(1, number + 1)]
    examples, adapter = folder / "examples.parquet", folder / "adapter"
    start = run.adapter if config.run.restart == "continue" else None

    def sampler() -> Policy:
        return stages.policy(config, run.adapter)

    done = {
        "sample": stage(
            folder, "sample", lambda: stages.sample(sampler(), splits.train, candidates[-1], config, number)
        ),
        "build": stage(
            folder, "build", lambda: stages.build(splits.train, candidates, examples, config, number, sampler)
        ),
        "fit": stage(folder, "fit", lambda: stages.fit(splits.train, examples, start, adapter, config, number)),
        "evaluate": stage(folder, "evaluate", lambda: measure(run, folder, adapter, splits, stages)),
    }
    gate, best = done["evaluate"]["gate"]["greedy"]["accuracy"], run.best_gate
    accepted = gate >= best
    reason = (
        f"gate accuracy {gate:.4f} is not below {best:.4f} of round {run.accepted}"
        if accepted
        else f"gate accuracy {gate:.4f} is below {best:.4f} of round {run.accepted}, whose model is kept"
    )
    return close_round(run, number, done, accepted, reason)


def measure(run: Run, folder: Path, adapter: Path | None, splits: Splits, stages: Stages) -> dict[str, Any]:
    """Greedy on the gate problems, which alone decides; every selector on the evaluation problems, which is told."""
    config = run.config
    policy = stages.policy(config, adapter)
    gate = stages.evaluate(policy, splits.gate, ("greedy",), folder / "gate.parquet", config)
    if not gate["eval"]["greedy"]["n"]:  # an engine that was away is no verdict on the round
        (folder / "gate.parquet").unlink(missing_ok=True)
        raise RunError(
            f"{folder}: the engine failed on all {len(splits.gate)} gate problems, so the round can be neither "
            "accepted nor refused; see that it answers and run the same command again"
        )
    held_out = stages.evaluate(policy, splits.eval, config.select.selectors, folder / "eval.parquet", config)
    return {"gate": gate["eval"], **held_out}


def stage(folder: Path, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do `work` unless `stages.json` says that it is done; keep what it returns, and its seconds."""
    path = folder / "stages.json"
    done = _stages_done(path)
    if name not in done:
        start = time.perf_counter()
        result = work()
        done[name] = {**result, "seconds": round(time.perf_counter() - start, 3)}
        write_json(path, done)
    return done[name]


def _stages_done(path: Path) -> dict[str, Any]:
    return _kept(path, "delete it to do the unfinished round's stages again") if path.exists() else {}


def _kept(path: Path, fix: str) -> dict[str, Any]:
    """A JSON file that the run wrote. Raises RunError where it is damaged, saying how to mend that."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error}); {fix}") from error


def close_round(
    run: Run, number: int, done: Mapping[str, dict[str, Any]], accepted: bool, reason: str
) -> dict[str, Any]:
    """Write `report.json`, then `DONE`."""
    measured = done["evaluate"]
    report = {
        "schema": RUN_SCHEMA,
        "round": number,
        "accepted": accepted,
        "reason": reason,
        "gate": measured["gate"],
        "eval": measured["eval"],
        "revision": measured.get("revision"),
        "breakdown": measured.get("breakdown", {}),
        "unparsed_endings": measured.get("unparsed_endings", []),
        "pool": _without_seconds(done.get("sample", {})),
        "examples": _without_seconds(done.get("build", {})),
        "fit": _without_seconds(done.get("fit", {})),
        "seconds": {name: done.get(name, {}).get("seconds", 0.0) for name in STAGES},
    }
    folder = run.round_folder(number)
    write_json(folder / "report.json", report)
    atomic_write(folder / "DONE", "")
    return report


def _without_seconds(result: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k != "seconds"}


def round_line(report: Mapping[str, Any]) -> str:
    """One line for the terminal: the numbers of a round and whether it is accepted."""
    numbers = "  ".join(f"{name} {100 * cell['accuracy']:.1f}%" for name, cell in report["eval"].items())
    verdict = "accepted" if report["accepted"] else "not accepted"
    return f"round {report['round']}: {numbers}  [{verdict}: {report['reason']}]"


def write_run(run: Run) -> dict[str, Any]:
    """`run.json`: one entry per closed round, the commit of the hub model where it is one, and what the run's chooser
    measured (`r3v.chooser`) where it has one."""
    kept = ("round", "eval", "pool", "examples", "seconds")
    value = {
        "schema": RUN_SCHEMA,
        "recipe": run.recipe,
        "accepted_round": run.accepted,
        "revision": run.reports[0].get("revision"),
        "rounds": [{name: report[name] for name in kept} for report in run.reports],
    }
    chooser = run.folder / CHOOSER / "report.json"
    if chooser.exists():
        value["chooser"] = _kept(chooser, "delete it and run the same command again")
    write_json(run.folder / "run.json", value)
    return value


def disjoint(splits: Splits) -> Splits:
    """The splits, after checking that no problem id is in two of them. Raises DataError."""
    ids = {"train": splits.train, "gate": splits.gate, "eval": splits.eval}
    seen: dict[str, str] = {}
    for name, problems in ids.items():
        for problem in problems:
            if seen.setdefault(problem.id, name) != name:
                raise DataError(
                    f"this problem is in {seen[problem.id]} and in {name}, expected disjoint sets",
                    row=problem.id,
                    fix="Choose other specs or splits for data.train, data.gate and data.eval",
                )
        if not problems:
            raise DataError(f"data.{name} holds no problem", fix=f"Check the spec and data.n_{name}")
    return splits


def finished(run: Run) -> bool:
    return len(run.reports) == run.config.run.rounds + 1


@contextmanager
def open_run(config: Config, recipe: str, say: Say) -> Iterator[Run]:
    """The run folder, made or resumed, locked for this process until the block ends.

    Raises RunError: another process holds it, the settings differ, or it has more rounds than asked for.
    """
    folder = Path(config.run.dir)
    with locked(folder):
        check_settings(folder, config)
        atomic_write(folder / "config.yaml", to_yaml(config))
        run = Run(folder, config, recipe, say, closed_rounds(folder))
        if len(run.reports) > config.run.rounds + 1:
            raise RunError(
                f"{folder}: found {len(run.reports) - 1} finished rounds, more than run.rounds {config.run.rounds}; "
                f"set --run.rounds {len(run.reports) - 1} or use another --run.dir"
            )
        if run.reports:
            say(f"resuming {folder} after round {len(run.reports) - 1}")
        yield run


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, held by this process until the block ends. Raises RunError."""
    make_folder(folder)
    with (folder / ".lock").open("w") as lock:
        claim(lock, f"{folder}: another process works on this run; wait for it or use another --run.dir")
        yield


MOVABLE = ("run.dir", "run.rounds", "chooser", "train.strategy", "train.devices", "policy.ray")
"""What may change when a run is resumed: it may be moved, prolonged, given a chooser, and spread over other devices or
machines."""


def check_settings(folder: Path, config: Any, movable: Sequence[str] = MOVABLE) -> None:
    """Raise RunError naming each field in which the run in `folder` differs, save those of `movable`."""
    path = folder / "config.yaml"
    if not path.exists():
        if any(folder.glob("round_*")):
            raise RunError(f"{folder}: found rounds but no config.yaml; put it back or use another --run.dir")
        return
    old, _ = read_tree(type(config), path)
    for name in movable:
        old = set_field(old, name, get_field(config, name))
    different = differences(old, config)
    if different:
        raise RunError(
            f"{folder}: this run was started with other settings ({'; '.join(different)}). "
            "Use the old settings to resume it, or another --run.dir for a new run"
        )


def closed_rounds(folder: Path) -> list[dict[str, Any]]:
    """The reports of the rounds that are DONE, which are always 0, 1, 2, ... without a gap."""
    reports: list[dict[str, Any]] = []
    while (folder / f"round_{len(reports):02d}" / "DONE").exists():
        path = folder / f"round_{len(reports):02d}" / "report.json"
        reports.append(_kept(path, "delete DONE beside it to close the round again"))
    return reports
