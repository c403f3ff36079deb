"""The spiral: diagnose -> mixture -> generate -> score -> learn -> evaluate -> accept -> diagnose (DPE, arXiv
2602.22859, with a guard added).

Read `evolve` first, then `play`, which is one turn. What the stages work with comes in as `Parts`, so this file knows
neither models nor datasets. A run is a folder (`r3v.run.core`): a run that was killed and is started again ends as an
undisturbed one.

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
from r3v.curriculum.generators import aims_of
from r3v.curriculum.practice.quality import Benchmarks
from r3v.curriculum.spiral.config import FIXED, LEARNERS, SpiralConfig, check
from r3v.curriculum.spiral.guard import guard
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
    afford,
    close,
    diagnosis_of,
    earlier_practice,
    held_by,
    standing_of,
    turn_line,
    write_run,
)
from r3v.curriculum.spiral.state import Held, Parts, Say, Standing, Task, iteration_seed
from r3v.errors import DataError, RunError
from r3v.policies.model.ready import check_model
from r3v.prompts import style
from r3v.rollout.rollout import bootstrap
from r3v.rollout.shards import shard_column, shard_paths
from r3v.run.core import Run, answered, make_room, open_run, stage, stages_done, tidy
from r3v.run.evaluation import read_rows
from r3v.run.gate import METRIC
from r3v.settings.config import SampleConfig


def evolve(config: SpiralConfig, parts: Parts, *, recipe: str = "", say: Say = print) -> dict[str, Any]:
    """Run, resume or merely report a spiral; returns the content of `run.json`.

    Raises ConfigError for contradicting settings; RunError: the folder holds a run with other settings or more turns,
    another process works on it, a file is damaged, or practice would repeat a held-out problem; DataError for data
    without skills; EngineError where the engine is down (the same command goes on where it stopped).
    """
    check(config)
    turns = config.run.iterations
    with open_run(config, FIXED, recipe=recipe, say=say, rounds=turns) as run:
        if len(run.reports) == turns + 1:
            say(f"run {run.folder} is finished: iteration {run.accepted} of {turns} is accepted")
            return write_run(run)
        if not config.server.url:
            check_model(config.model)
        held = parts.held(config)
        run.begin()
        try:
            while len(run.reports) <= turns:
                run.reports.append(play(run, held, parts))
                write_run(run)
                say(turn_line(run.reports[-1]))
                tidy(run, LEARNERS, held_by(standing_of(run), run.folder))
        except OverBudget as limit:
            say(f"stopped: {limit}; raise the limit and run the same command to go on")
            return write_run(run, str(limit))
        return write_run(run)


def play(run: Run, held: Held, parts: Parts) -> dict[str, Any]:
    """One turn, from the last diagnosis to the next one."""
    number, folder, before = len(run.reports), run.round_folder(len(run.reports)), standing_of(run)
    done: dict[str, dict[str, Any]] = {}
    now, accepted, reason = before, True, "the model as it came"
    if number:
        begun = stages_done(folder)
        make_room(run, number, {})
        if not begun:
            afford(run, f"iteration {number}")
        done["mixture"] = stage(folder, "mixture", lambda: share_out(run, number))
        done["generate"] = stage(folder, "generate", lambda: generate(run, number, held, parts, done["mixture"]))
        done["score"] = stage(folder, "score", lambda: score(run, number, parts, done["mixture"]))
        if "learn" not in begun:  # what is learned is measured, whatever it cost
            afford(run, f"learning in iteration {number}")
        done["learn"] = stage(folder, "learn", lambda: learn(run, number, parts))
        now = Standing.from_dict(done["learn"]["standing"], run.folder)
    done["evaluate"] = stage(folder, "evaluate", lambda: measure(run, folder, now, held, parts))
    if number:
        done["accept"] = stage(folder, "accept", lambda: accept(run, number))
        accepted, reason = done["accept"]["accepted"], done["accept"]["reason"]
    kept = now if accepted else before
    done["diagnose"] = stage(folder, "diagnose", lambda: look(run, number, kept, parts))
    return close(run, number, done, now, accepted, reason)


# ---- stages --------------------------------------------------------------------------------------


def look(run: Run, number: int, standing: Standing, parts: Parts) -> dict[str, Any]:
    """Ask the probes of this turn and write `diagnosis/`."""
    config, out = run.config, run.round_folder(number) / "diagnosis"
    problems = parts.probes(config, number)
    probes, missing = probes_of(problems, config.probe.variants)
    with parts.solver(config, standing) as solver:
        if solver.notes is not None:
            texts = solver.notes([probe.problem for probe in probes])
            probes = [replace(p, notes=(*p.notes, *own)) for p, own in zip(probes, texts, strict=True)]
        records = ask(
            solver.policy, probes, out / "answers", sample=_sampling(config, config.probe.k),
            style=style(config.model.prompt_style), seed=probe_seed(config.run.seed, number) % 2**31,
            categories=by_skills(problems),
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


def share_out(run: Run, number: int) -> dict[str, Any]:
    """The mixture of the last diagnosis, in weights and in whole numbers of items."""
    config = run.config
    previous = run.reports[-1]["mixture"].get("weights")
    group = config.group.n if "reinforce" in config.learn.kind else config.sample.k
    weights = mix(
        diagnosis_of(run, number - 1), previous, config.mixture, group, aims=aims_of(config.practice.generator)
    )
    practised: dict[str, int] = {}
    for problem in earlier_practice(run, number):
        practised[skill_of(problem)] = practised.get(skill_of(problem), 0) + 1
    shared = quotas(weights, config.practice.items, config.mixture, practised)
    return {"kind": config.mixture.kind, "weights": weights, "new": shared.new, "replay": shared.replay}


def generate(run: Run, number: int, held: Held, parts: Parts, mixture: Mapping[str, Any]) -> dict[str, Any]:
    """Make and sift the new items of this turn into `items.parquet`."""
    config = run.config
    never = [*held.gate, *held.eval, *held.benchmarks]
    for turn in range(number + 1):
        never += parts.probes(config, turn)
    known = Benchmarks()
    known.add("held out", [p for p in never if "content" not in p.meta])  # worlds keep theirs apart by content
    with parts.maker(config, never, run.round_folder(number) / config.practice.generator) as maker:
        made = make(
            maker.generator, mixture["new"], config.practice, iteration_seed(config, number),
            as_open=config.data.open, benchmarks=known, earlier=earlier_practice(run, number),
        )  # fmt: skip
        told = {**maker.told(), **maker.spent()}
    if "agents" in told:
        run.say(f"agents wrote {made.made} items; rejected by stage: {told['agents']['rejected'] or 'none'}")
    if found := leaks(never, made.items):
        raise RunError(f"practice item {found[0]} is one of the held-out problems; this is an error of the generator")
    write_problems(run.round_folder(number) / "items.parquet", made.items)
    return {"made": made.made, "kept": len(made.items), "dropped": dict(sorted(made.dropped.items())), **told}


def score(run: Run, number: int, parts: Parts, mixture: Mapping[str, Any]) -> dict[str, Any]:
    """Let the accepted model try the new items, choose those it can learn from, add the replayed ones, and write
    `practice.parquet`."""
    config, folder = run.config, run.round_folder(number)
    items, rates, spent = read_problems(folder / "items.parquet"), None, {"samples": 0, "tokens": 0, "money": 0.0}
    if config.practice.score_k and items:
        with parts.solver(config, standing_of(run)) as solver:
            bootstrap(
                solver.policy, items, folder / "answers", sample=_sampling(config, config.practice.score_k),
                style=style(config.model.prompt_style), seed=iteration_seed(config, number), round=number,
                notes=solver.notes,
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


def learn(run: Run, number: int, parts: Parts) -> dict[str, Any]:
    """Each learner that the recipe names, one after another, from where the accepted turn stands."""
    folder, standing = run.round_folder(number), standing_of(run)
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


def measure(run: Run, folder: Path, standing: Standing, held: Held, parts: Parts) -> dict[str, Any]:
    """Greedy on the gate problems, which decides; every selector on the evaluation problems, which is told."""
    config = run.config
    with parts.solver(config, standing) as solver:
        gate = parts.evaluate(solver, held.gate, (METRIC,), folder / "gate.parquet", config)
        answered(folder / "gate.parquet", gate, len(held.gate))
        held_out = parts.evaluate(solver, held.eval, config.select.selectors, folder / "eval.parquet", config)
        return {"gate": gate["eval"], **held_out, "money": solver.money()}


def accept(run: Run, number: int) -> dict[str, Any]:
    """The fair gate's verdict, and the guard's on the skills the best accepted turn had."""
    decision = run.judge(number, "iteration")
    before, after = (read_rows(run.round_folder(n) / "gate.parquet") for n in (run.best, number))
    return guard(decision, before, after, run.config.guard).to_dict()


def _sampling(config: SpiralConfig, k: int) -> SampleConfig:
    a = config.ask
    return SampleConfig(
        k=k, temperature=a.temperature, max_new_tokens=a.max_new_tokens, slots=a.slots, shard_size=a.shard_size
    )


def _drawn(folder: Path) -> dict[str, int]:
    """Answers and tokens in a folder of shards."""
    lengths = [len(ids or ()) for path in shard_paths(folder) for ids in shard_column(path, "token_ids")]
    return {"samples": len(lengths), "tokens": sum(lengths)}
