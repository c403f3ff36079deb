"""The spiral: diagnose -> mixture -> generate -> score -> learn -> evaluate -> accept -> diagnose (DPE, arXiv
2602.22859, with a guard added).

Read `evolve` first, then `play`, which is one turn. What the stages work with comes in as `Parts`, so this file knows
neither models nor datasets. A run is a folder like those of `r3v.reflection.loop`: every stage leaves its artefact and
then one line in `round_NN/stages.json`; `DONE` closes a turn. A run that was killed and is started again skips what
has its line, and long stages go on inside themselves, so the end is that of an undisturbed run.

Turn 0 measures and diagnoses the model as it came. Each further turn practises what the last diagnosis calls for, is
accepted or not, and ends with a diagnosis of whatever is accepted then, on probes of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from r3v.curriculum.diagnosis.ask import ask, probes_of
from r3v.curriculum.diagnosis.categories import by_skills
from r3v.curriculum.diagnosis.diagnosis import diagnose
from r3v.curriculum.diagnosis.findings import DiagnosisConfig, write_diagnosis
from r3v.curriculum.diagnosis.page import write_page
from r3v.curriculum.diagnosis.probes import leaks, probe_seed
from r3v.curriculum.practice.quality import Benchmarks
from r3v.curriculum.spiral.config import MOVABLE, SpiralConfig, check
from r3v.curriculum.spiral.guard import METRIC, judge
from r3v.curriculum.spiral.mixture import mix, quotas
from r3v.curriculum.spiral.practice import (
    choose,
    make,
    rates_of,
    read_problems,
    replayed,
    skill_of,
    write_problems,
)
from r3v.curriculum.spiral.run import (
    OverBudget,
    Spiral,
    close,
    diagnosis_of,
    earlier_practice,
    stages_done,
    turn_line,
    write_run,
)
from r3v.curriculum.spiral.state import Held, Parts, Say, Standing, Task, iteration_seed
from r3v.errors import DataError, RunError
from r3v.io import atomic_write
from r3v.prompts import style
from r3v.reflection.loop import check_settings, closed_rounds, locked, stage
from r3v.rollout.rollout import bootstrap
from r3v.rollout.shards import shard_column, shard_paths
from r3v.run.evaluation import read_rows
from r3v.settings.config import SampleConfig
from r3v.settings.tree import to_yaml


def evolve(config: SpiralConfig, parts: Parts, *, recipe: str = "", say: Say = print) -> dict[str, Any]:
    """Run, resume or merely report a spiral; returns the content of `run.json`.

    Raises ConfigError for contradicting settings; RunError: the folder holds a run with other settings or more turns,
    another process works on it, a file is damaged, or practice would repeat a held-out problem; DataError for data
    without skills; EngineError where the engine is down (the same command goes on where it stopped).
    """
    check(config)
    folder = Path(config.run.dir)
    with locked(folder):
        check_settings(folder, config, MOVABLE)
        atomic_write(folder / "config.yaml", to_yaml(config))
        run = Spiral(folder, config, recipe, say, closed_rounds(folder))
        turns = config.run.iterations
        if len(run.reports) > turns + 1:
            raise RunError(
                f"{folder}: found {len(run.reports) - 1} finished iterations, more than run.iterations {turns}; set "
                f"--run.iterations {len(run.reports) - 1} or use another --run.dir"
            )
        if len(run.reports) == turns + 1:
            say(f"run {folder} is finished: iteration {run.accepted} of {turns} is accepted")
            return write_run(run)
        if run.reports:
            say(f"resuming {folder} after iteration {len(run.reports) - 1}")
        held = parts.held(config)
        try:
            while len(run.reports) <= turns:
                run.reports.append(play(run, held, parts))
                write_run(run)
                say(turn_line(run.reports[-1]))
        except OverBudget as limit:
            run.stopped = str(limit)
            say(f"stopped: {limit}; raise the limit and run the same command to go on")
        return write_run(run)


def play(run: Spiral, held: Held, parts: Parts) -> dict[str, Any]:
    """One turn, from the last diagnosis to the next one."""
    number, folder, before = len(run.reports), run.turn(len(run.reports)), run.standing
    done: dict[str, dict[str, Any]] = {}
    now, accepted, reason = before, True, "the model as it came"
    if number:
        begun = stages_done(folder)
        if not begun:
            run.afford(f"iteration {number}")
        done["mixture"] = stage(folder, "mixture", lambda: share_out(run, number))
        done["generate"] = stage(folder, "generate", lambda: generate(run, number, held, parts, done["mixture"]))
        done["score"] = stage(folder, "score", lambda: score(run, number, parts, done["mixture"]))
        if "learn" not in begun:  # what is learned is measured, whatever it cost
            run.afford(f"learning in iteration {number}")
        done["learn"] = stage(folder, "learn", lambda: learn(run, number, parts))
        now = Standing.from_dict(done["learn"]["standing"], run.folder)
    done["evaluate"] = stage(folder, "evaluate", lambda: measure(run, folder, now, held, parts))
    if number:
        done["accept"] = stage(folder, "accept", lambda: accept(run, folder))
        accepted, reason = done["accept"]["accepted"], done["accept"]["reason"]
    kept = now if accepted else before
    done["diagnose"] = stage(folder, "diagnose", lambda: look(run, number, kept, parts))
    return close(run, number, done, now, accepted, reason)


# ---- stages --------------------------------------------------------------------------------------


def look(run: Spiral, number: int, standing: Standing, parts: Parts) -> dict[str, Any]:
    """Ask the probes of this turn and write `diagnosis/`."""
    config, out = run.config, run.turn(number) / "diagnosis"
    problems = parts.probes(config, number)
    probes, missing = probes_of(problems, config.probe.variants)
    with parts.solver(config, standing) as solver:
        if solver.notes is not None:
            texts = solver.notes([probe.problem for probe in probes])
            probes = [replace(p, notes=(*p.notes, *own)) for p, own in zip(probes, texts, strict=True)]
        records = ask(
            solver.policy, probes, out / "answers", sample=_sampling(config, config.probe.k),
            style=style(config.model.prompt_style), seed=probe_seed(config.run.seed, number) % 2**31,
            categories=by_skills(problems), progress=False,
        )  # fmt: skip
        context = {
            "model": solver.policy.name, "data": config.probe.data, "iteration": number, "seed": config.run.seed,
            "k": config.probe.k, "variants_missing": missing,
        }  # fmt: skip
        money = solver.money()
    found = diagnose(records, DiagnosisConfig(min_problems=config.probe.min_problems), context)
    write_diagnosis(out / "diagnosis.json", found)
    write_page(out / "diagnosis.html", found, {p.id: p for p in problems})
    return {"weak": list(found.weak), "accuracy": found.accuracy, **_drawn(out / "answers"), "money": money}


def share_out(run: Spiral, number: int) -> dict[str, Any]:
    """The mixture of the last diagnosis, in weights and in whole numbers of items."""
    config = run.config
    previous = run.reports[-1]["mixture"].get("weights")
    group = config.group.n if "reinforce" in config.learn.kind else config.sample.k
    weights = mix(diagnosis_of(run, number - 1), previous, config.mixture, group)
    practised: dict[str, int] = {}
    for problem in earlier_practice(run, number):
        practised[skill_of(problem)] = practised.get(skill_of(problem), 0) + 1
    shared = quotas(weights, config.practice.items, config.mixture, practised)
    return {"kind": config.mixture.kind, "weights": weights, "new": shared.new, "replay": shared.replay}


def generate(run: Spiral, number: int, held: Held, parts: Parts, mixture: Mapping[str, Any]) -> dict[str, Any]:
    """Make and sift the new items of this turn into `items.parquet`."""
    config = run.config
    never = [*held.gate, *held.eval, *held.benchmarks]
    for turn in range(number + 1):
        never += parts.probes(config, turn)
    known = Benchmarks()
    known.add("held out", [p for p in never if "content" not in p.meta])  # GeoWorld's are kept apart by content
    with parts.maker(config, never, run.turn(number) / config.practice.generator) as maker:
        made = make(
            maker.generator, mixture["new"], config.practice, iteration_seed(config, number),
            as_open=config.data.open, benchmarks=known, earlier=earlier_practice(run, number),
        )  # fmt: skip
        told = {**maker.told(), **maker.spent()}
    if "agents" in told:
        run.say(f"agents wrote {made.made} items; rejected by stage: {told['agents']['rejected'] or 'none'}")
    if found := leaks(never, made.items):
        raise RunError(f"practice item {found[0]} is one of the held-out problems; this is an error of the generator")
    write_problems(run.turn(number) / "items.parquet", made.items)
    return {"made": made.made, "kept": len(made.items), "dropped": dict(sorted(made.dropped.items())), **told}


def score(run: Spiral, number: int, parts: Parts, mixture: Mapping[str, Any]) -> dict[str, Any]:
    """Let the accepted model try the new items, choose those it can learn from, add the replayed ones, and write
    `practice.parquet`."""
    config, folder = run.config, run.turn(number)
    items, rates, spent = read_problems(folder / "items.parquet"), None, {"samples": 0, "tokens": 0, "money": 0.0}
    if config.practice.score_k and items:
        with parts.solver(config, run.standing) as solver:
            bootstrap(
                solver.policy, items, folder / "answers", sample=_sampling(config, config.practice.score_k),
                style=style(config.model.prompt_style), seed=iteration_seed(config, number), round=number,
                notes=solver.notes, progress=False,
            )  # fmt: skip
            spent = {**_drawn(folder / "answers"), "money": solver.money()}
        rates = rates_of(folder / "answers")
    chosen = choose(items, rates, mixture["new"], config.practice)
    again = replayed(earlier_practice(run, number), mixture["replay"], iteration_seed(config, number))
    practice = [*chosen.items, *again]
    if not practice:
        raise DataError(
            f"iteration {number}: none of {len(items)} items made is left to practise ({dict(chosen.left)})",
            fix="Widen practice.low and practice.high, or make more with practice.overdraw",
        )
    write_problems(folder / "practice.parquet", practice)
    cells: dict[str, int] = {}
    for problem in practice:
        cells[skill_of(problem)] = cells.get(skill_of(problem), 0) + 1
    told = {"items": len(practice), "replayed": len(again), "filled": chosen.filled, "left": dict(chosen.left)}
    return {**told, "cells": dict(sorted(cells.items())), **spent}


def learn(run: Spiral, number: int, parts: Parts) -> dict[str, Any]:
    """Each learner that the recipe names, one after another, from where the accepted turn stands."""
    folder, standing = run.turn(number), run.standing
    practice = read_problems(folder / "practice.parquet")
    told: dict[str, Any] = {}
    spent = {"samples": 0, "tokens": 0, "money": 0.0}
    for name in run.config.learn.kind:
        task = Task(run.config, number, standing, practice, folder / name, run.say)
        learned = parts.learners[name](task)
        standing = learned.standing
        told[name] = dict(learned.told)
        spent = {what: spent[what] + getattr(learned, what) for what in spent}
    return {"standing": standing.to_dict(run.folder), "learners": told, **spent}


def measure(run: Spiral, folder: Path, standing: Standing, held: Held, parts: Parts) -> dict[str, Any]:
    """Greedy on the gate problems, which decides; every selector on the evaluation problems, which is told."""
    config = run.config
    with parts.solver(config, standing) as solver:
        gate = parts.evaluate(solver, held.gate, (METRIC,), folder / "gate.parquet", config)
        if not gate["eval"][METRIC]["n"]:  # an engine that was away is no verdict on the iteration
            (folder / "gate.parquet").unlink(missing_ok=True)
            raise RunError(
                f"{folder}: the engine failed on all {len(held.gate)} gate problems; see that it answers and run the "
                "same command again"
            )
        held_out = parts.evaluate(solver, held.eval, config.select.selectors, folder / "eval.parquet", config)
        return {"gate": gate["eval"], **held_out, "money": solver.money()}


def accept(run: Spiral, folder: Path) -> dict[str, Any]:
    """The guard's verdict, against the accepted turn that did best on the gate problems."""
    best = run.best
    before, after = read_rows(run.turn(best) / "gate.parquet"), read_rows(folder / "gate.parquet")
    return judge(before, after, run.config.guard, f"iteration {best}" if best else "the start").to_dict()


def _sampling(config: SpiralConfig, k: int) -> SampleConfig:
    a = config.ask
    return SampleConfig(
        k=k, temperature=a.temperature, max_new_tokens=a.max_new_tokens, slots=a.slots, shard_size=a.shard_size
    )


def _drawn(folder: Path) -> dict[str, int]:
    """Answers and tokens in a folder of shards."""
    lengths = [len(ids) for path in shard_paths(folder) for ids in shard_column(path, "token_ids")]
    return {"samples": len(lengths), "tokens": sum(lengths)}
