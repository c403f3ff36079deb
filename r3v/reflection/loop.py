"""The self-training loop: rounds of sample -> grade -> build -> fit -> evaluate -> accept.

Read `train` first; it is the algorithm (R3V, arXiv 2411.00855, section 3, with a gate added). The stages themselves
come in as functions (`Stages`), so that this file knows neither models nor datasets.

A run is a folder (`r3v.run.core`): a run that was killed and is started again ends as an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.errors import DataError
from r3v.io import write_json
from r3v.policies.base import Policy
from r3v.records import Problem
from r3v.reflection.settings import FIXED, check_select_target
from r3v.run import disk
from r3v.run.core import (
    RUN_SCHEMA,
    Run,
    Say,
    answered,
    close_round,
    make_room,
    open_run,
    read_kept,
    seconds_of,
    stage,
    tidy,
    without_seconds,
)
from r3v.settings.config import Config, DataConfig

CHOOSER = "chooser"
"""Folder of the adapter that only chooses, inside a run's."""
STAGES = ("sample", "build", "fit", "evaluate")


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
    check(config): raises where this machine cannot do what the settings ask; nothing is loaded or written before it
    report(run folder): makes the run's page anew, after each stage
    """

    load: Callable[[DataConfig], Splits]
    policy: Callable[[Config, Path | None], Policy]
    sample: Callable[[Policy, Sequence[Problem], Path, Config, int], dict[str, Any]]
    build: Callable[[Sequence[Problem], Sequence[Path], Path, Config, int, Callable[[], Policy]], dict[str, Any]]
    fit: Callable[[Sequence[Problem], Path, Path | None, Path, Config, int], dict[str, Any]]
    evaluate: Callable[[Policy, Sequence[Problem], Sequence[str], Path, Config], dict[str, Any]]
    check: Callable[[Config], None] = lambda config: None
    report: Callable[[Path], object] = lambda folder: None


def train(config: Config, stages: Stages, *, recipe: str = "", say: Say = print) -> dict[str, Any]:
    """Run, resume or merely report a whole self-training; returns the content of `run.json`.

    Raises RunError: the folder holds a run with other settings, another process works on it, or an artefact is
    damaged; DataError: the three sets of problems overlap; ConfigError: select is taught in one way, asked in another.
    """
    check_select_target(config)
    with open_run(config, FIXED, recipe=recipe, say=say, rounds=config.run.rounds) as run:
        if finished(run):
            say(f"run {run.folder} is finished: round {run.accepted} of {config.run.rounds} is accepted")
            value = write_run(run)
            stages.report(run.folder)
            return value
        stages.check(config)
        splits = disjoint(stages.load(config.data))
        run.begin()
        if splits.left_out:
            say(f"left out {splits.left_out} training problems that show a picture of the gate or evaluation problems")
        for number in range(len(run.reports), config.run.rounds + 1):
            report = measure_base(run, splits, stages) if number == 0 else play_round(run, number, splits, stages)
            run.reports.append(report)
            write_run(run)
            stages.report(run.folder)
            say(round_line(report))
            pool = ("candidates", "hint", "prefix") if config.build.pool == "newest" else ()
            tidy(run, ("adapter", ".fit", *pool))
        return write_run(run)


def measure_base(run: Run, splits: Splits, stages: Stages) -> dict[str, Any]:
    """Round 0: what the untouched model can do. It is accepted by definition."""
    folder = run.round_folder(0)
    measured = step(run, stages, folder, "evaluate", lambda: measure(run, folder, None, splits, stages))
    return close(run, 0, {"evaluate": measured}, accepted=True, reason="the base model")


def play_round(run: Run, number: int, splits: Splits, stages: Stages) -> dict[str, Any]:
    """One round: the newest accepted model samples, its mistakes become examples, a new adapter is fitted, and it
    replaces the accepted one unless the fair gate finds it worse."""
    config, folder = run.config, run.round_folder(number)
    candidates = [run.round_folder(n) / "candidates" for n in range(1, number + 1)]
    examples, adapter = folder / "examples.parquet", folder / "adapter"
    make_room(run, number, _first_need(config, splits))
    accepted = adapter_of(run)
    start = accepted if config.run.restart == "continue" else None

    def sampler() -> Policy:
        return stages.policy(config, accepted)

    done = {
        name: step(run, stages, folder, name, work)
        for name, work in {
            "sample": lambda: stages.sample(sampler(), splits.train, candidates[-1], config, number),
            "build": lambda: stages.build(splits.train, candidates, examples, config, number, sampler),
            "fit": lambda: stages.fit(splits.train, examples, start, adapter, config, number),
            "evaluate": lambda: measure(run, folder, adapter, splits, stages),
        }.items()
    }
    decision = run.judge(number)
    return close(run, number, done, decision.accepted, decision.reason, decision.to_dict())


def step(run: Run, stages: Stages, folder: Path, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A stage of a round, and then the run's page with it."""
    result = stage(folder, name, work)
    stages.report(run.folder)
    return result


def _first_need(config: Config, splits: Splits) -> dict[str, int]:
    """Bytes, at most, of what a first round samples; what an adapter takes is not known before the model is."""
    asked = len(splits.gate) + len(splits.eval) * (config.select.n + len(config.select.selectors))
    return {
        "samples": disk.samples(len(splits.train), config.sample.k, config.sample.max_new_tokens),
        "evaluation": disk.samples(asked, 1, config.select.max_new_tokens),
    }


def measure(run: Run, folder: Path, adapter: Path | None, splits: Splits, stages: Stages) -> dict[str, Any]:
    """Greedy on the gate problems, which alone decides; every selector on the evaluation problems, which is told."""
    config = run.config
    policy = stages.policy(config, adapter)
    gate = stages.evaluate(policy, splits.gate, ("greedy",), folder / "gate.parquet", config)
    answered(folder / "gate.parquet", gate, len(splits.gate))
    held_out = stages.evaluate(policy, splits.eval, config.select.selectors, folder / "eval.parquet", config)
    return {"gate": gate["eval"], **held_out}


def adapter_of(run: Run) -> Path | None:
    """Adapter of the accepted round; None where that is the base model."""
    return run.round_folder(run.accepted) / "adapter" if run.accepted else None


def close(
    run: Run, number: int, done: Mapping[str, dict[str, Any]], accepted: bool, reason: str, decision: Any = None
) -> dict[str, Any]:
    """Write the report of a round and close it. `decision`: what the gate rests on, None for the base model."""
    measured = done["evaluate"]
    report = {
        "schema": RUN_SCHEMA,
        "round": number,
        "accepted": accepted,
        "reason": reason,
        "decision": decision,
        "gate": measured["gate"],
        "eval": measured["eval"],
        "revision": measured.get("revision"),
        "breakdown": measured.get("breakdown", {}),
        "unparsed_endings": measured.get("unparsed_endings", []),
        "pool": without_seconds(done.get("sample", {})),
        "examples": without_seconds(done.get("build", {})),
        "fit": without_seconds(done.get("fit", {})),
        "seconds": seconds_of(done, STAGES),
    }
    return close_round(run.round_folder(number), report)


def round_line(report: Mapping[str, Any]) -> str:
    """One line for the terminal: the numbers of a round and whether it is accepted."""
    numbers = "  ".join(f"{name} {100 * cell['accuracy']:.1f}%" for name, cell in report["eval"].items())
    verdict = "accepted" if report["accepted"] else "not accepted"
    return f"round {report['round']}: {numbers}  [{verdict}: {report['reason']}]"


def write_run(run: Run) -> dict[str, Any]:
    """`run.json`: one entry per closed round, the commit of the hub model where it is one, and what the run's chooser
    measured (`r3v.reflection.chooser`) where it has one."""
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
        value["chooser"] = read_kept(chooser, "delete it and run the same command again")
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
