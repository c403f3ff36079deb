"""Reinforcement: sample groups -> grade -> reward -> advantage -> update -> sample again with the new weights.

Read `reinforce` first, then `draw` and `update`, which are the algorithm (GRPO, arXiv 2402.03300, and its family). A
run is a folder (`r3v.run.core`): a round here is `run.eval_every` iterations, closed by an evaluation and a report, so
`r3v report` reads it. `state/last.pt` is replaced after every `run.checkpoint_every` iterations, and the same command
goes on from there; on the CPU in float32 it ends with the adapter and the numbers of an undisturbed run.

The fair gate (`r3v.run.gate`) judges every round; training goes on from the newest weights all the same, and
`accepted_round` names the adapter to keep.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from r3v.curriculum.reinforce.config import (
    FIXED,
    PRACTISED,
    ReinforceConfig,
    advantage_scale,
    block_end,
    check,
)
from r3v.curriculum.reinforce.groups import Asker, Group, Judge, MakePrompt, Stream, Tally, examples_of, gather
from r3v.curriculum.reinforce.learner import Learner, Updated
from r3v.errors import RunError
from r3v.grading import grade
from r3v.io import atomic_write
from r3v.policies.base import Policy
from r3v.policies.model.adapters.files import save_adapter
from r3v.policies.model.adapters.taught import taught_with
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import load
from r3v.policies.model.ready import check_model
from r3v.prompts import solve, style
from r3v.records import Example, Problem
from r3v.reflection.loop import Splits, close, disjoint, round_line, write_run
from r3v.reflection.stages import load_splits, real_stages, release
from r3v.run.core import Run, Say, answered, make_room, open_run, stage, tidy
from r3v.run.logs import log
from r3v.run.signals import Stopped, held, pending
from r3v.settings.config import DataConfig, ModelConfig

Evaluate = Callable[[Policy, Sequence[Problem], Sequence[str], Path, Any], dict[str, Any]]


@dataclass(frozen=True)
class Parts:
    """What the loop is made of; the defaults of `real_parts` are what the command line uses.

    load(data config) -> Splits. model(model config) -> base model. sampler(learner) -> Policy in step with the
    learner's weights. judge(problem, text) -> Verdict. prompt(problem, style) -> Prompt. evaluate: see
    `r3v.reflection.loop`.
    """

    load: Callable[[DataConfig], Splits]
    model: Callable[[ModelConfig], Loaded]
    evaluate: Evaluate
    sampler: Callable[[Learner], Policy] = Learner.policy
    judge: Judge = grade
    prompt: MakePrompt = solve


def real_parts(dry_run: bool = False, say: Say | None = None) -> Parts:
    """Datasets, a Hugging Face model (`dry_run`: a random tiny one of its family), the library's grader."""
    return Parts(
        load=load_splits,
        model=lambda config: load(config, dry_run=dry_run),
        evaluate=real_stages(dry_run, say).evaluate,
    )


@dataclass
class State:
    """Where a run stands: what a checkpoint holds besides weights and optimiser. `iteration`: how many are done."""

    iteration: int = 0
    taken: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)


def reinforce(config: ReinforceConfig, parts: Parts, *, recipe: str = "", say: Say = print) -> dict[str, Any]:
    """Run, resume or merely report a reinforcement run; returns the content of `run.json`.

    Raises ConfigError for contradicting settings; RunError: the folder holds a run with other settings or more
    iterations, another process works on it, a file is damaged, or the loss is not finite; DataError: the three sets of
    problems overlap.
    """
    check(config)
    with open_run(config, FIXED, recipe=recipe, say=say) as run:
        if finished(run, config.run.iterations):
            say(f"run {run.folder} is finished: round {run.accepted} of {len(run.reports) - 1} is accepted")
            return write_run(run)
        check_model(config.model)
        splits = disjoint(parts.load(config.data))
        if splits.left_out:
            say(f"left out {splits.left_out} training problems that show a picture of the gate or evaluation problems")
        release()
        learner = Learner(config, parts.model(replace(config.model, adapter=None)))
        state = _resume(learner, run)
        run.begin()
        while not finished(run, config.run.iterations):
            if run.reports:
                make_room(run, len(run.reports), {})
                play_block(run, learner, state, splits.train, parts)
            run.reports.append(_close(run, learner, state, splits, parts))
            write_run(run)
            say(round_line(run.reports[-1]))
            tidy(run, ("adapter",))
        return write_run(run)


def finished(run: Run, iterations: int) -> bool:
    """Whether the closed rounds hold all iterations. Raises RunError where they hold more."""
    done = sum(report["pool"].get("iterations", 0) for report in run.reports)
    if done > iterations:
        raise RunError(
            f"{run.folder}: found {done} finished iterations, more than run.iterations {iterations}; set "
            f"--run.iterations {done} or use another --run.dir"
        )
    return bool(run.reports) and done == iterations


def practise(
    config: ReinforceConfig, problems: Sequence[Problem], parts: Parts, *, samples: int | None = None, say: Say = print
) -> dict[str, Any]:
    """The iterations of a run and nothing else, for a loop that measures by itself: no splits, no evaluation, no
    report. `problems` are practised; no iteration begins once `samples` answers are drawn (None: no such bound).

    Resumed like `reinforce`. The adapter is `run.dir/round_00/adapter`. Returns `{"sample", "fit", "samples",
    "adapter"}`; raises what `reinforce` raises.
    """
    config = replace(config, run=replace(config.run, eval_every=config.run.iterations))
    check(config)
    with open_run(config, PRACTISED, say=say) as run:
        release()
        learner = Learner(config, parts.model(replace(config.model, adapter=None)))
        state = _resume(learner, run)
        run.begin()
        play_block(run, learner, state, problems, parts, samples)
        told = block_summary(state.rows, state.steps)
        drawn = sum(told["sample"][name] for name in ("correct", "wrong", "unparsed", "unavailable"))
        return {**told, "samples": drawn, "adapter": run.round_folder(0) / "adapter"}


def play_block(
    run: Run, learner: Learner, state: State, problems: Sequence[Problem], parts: Parts, samples: int | None = None
) -> None:
    """The iterations of the next round, with checkpoints, up to a multiple of `eval_every`; then the adapter.
    `samples`: none begins once so many answers are drawn."""
    config, number = learner.config, len(run.reports)
    end = block_end(sum(row["round"] < number for row in state.rows), config.run)
    every = config.run.checkpoint_every
    while state.iteration < end and not _enough(state, samples):
        try:
            drawn = draw(learner, state, problems, parts)
        except Stopped:  # nothing of the iteration has changed a weight
            if state.iteration % every:
                _checkpoint(run, learner, state)
            raise
        with held():
            row, examples = update(learner, state, drawn)
            state.rows.append({**row, "round": number})
            numbers = {r["iteration"] for r in state.rows if r["round"] == number}
            run.say(iteration_line(row))
            _log(row, [step for step in state.steps if step["iteration"] in numbers])
            last = state.iteration == end or _enough(state, samples)
            if last:
                _write_taught(run.round_folder(number), examples, problems)
            if last or pending() or state.iteration % every == 0:
                _checkpoint(run, learner, state)
    taught = taught_with(learner.module.loaded, learner.module.train_config.precision)
    save_adapter(learner.module.model, run.round_folder(number) / "adapter", taught)


def _enough(state: State, samples: int | None) -> bool:
    """Whether as many answers are drawn as may be."""
    return samples is not None and sum(sum(row["outcomes"].values()) for row in state.rows) >= samples


@dataclass(frozen=True)
class Drawn:
    """The groups of one iteration under the present weights. `taken`: where the stream of problems stands then."""

    groups: Sequence[Group]
    tally: Tally
    taken: int
    seconds: float


def draw(learner: Learner, state: State, problems: Sequence[Problem], parts: Parts) -> Drawn:
    """Sample and grade the groups of the next iteration; changes nothing."""
    config, start = learner.config, time.perf_counter()
    words = style(config.model.prompt_style)
    ask = Asker(
        policy=parts.sampler(learner),
        style=words,
        group=config.group,
        rewards=config.reward,
        judge=parts.judge,
        prompt=parts.prompt,
        seed=config.run.seed * 1_000_003 + state.iteration,
        iteration=state.iteration + 1,
    )
    stream = Stream(len(problems), config.run.seed, state.taken)
    groups, tally = gather(problems, stream, ask, config.group, words)
    return Drawn(groups, tally, stream.at, time.perf_counter() - start)


def update(learner: Learner, state: State, drawn: Drawn) -> tuple[dict[str, Any], list[Example]]:
    """The optimiser steps on the groups, counted in `state`; returns the iteration's line and its examples."""
    config, start = learner.config, time.perf_counter()
    examples = examples_of(drawn.groups, advantage_scale(config), mask_truncated="mask" in config.group.overlong)
    updated = learner.update(examples, state.iteration)
    state.iteration += 1
    state.taken = drawn.taken
    state.steps += [{"iteration": state.iteration, **step} for step in updated.steps]
    seconds = {"sample": round(drawn.seconds, 3), "fit": round(time.perf_counter() - start, 3)}
    return _row(state.iteration, drawn.tally, drawn.groups, updated, seconds), examples


def _row(
    number: int, tally: Tally, groups: Sequence[Group], updated: Updated, seconds: dict[str, float]
) -> dict[str, Any]:
    """The line of `iterations.jsonl`."""
    steps = updated.steps
    tokens = sum(len(g.candidate.token_ids) for group in groups for g in group.graded)
    return {
        "iteration": number,
        **tally.to_dict(),
        "branches": updated.branches,
        "dropped": updated.dropped,
        "unused_tokens": tally.tokens - tokens,
        "old": updated.old,
        "drift": updated.drift,
        "steps": len(steps),
        "loss": sum(s["loss"] for s in steps) / len(steps) if steps else None,
        "lr": steps[-1]["lr"] if steps else None,
        "tokens": updated.tokens,
        "tokens_target": updated.tokens_target,
        "fused": updated.fused,
        "seconds": seconds,
    }


def _log(row: dict[str, Any], steps: Sequence[dict[str, Any]]) -> None:
    """The iteration for the logs of the run, after its `steps` in this round."""
    numbers = {name: row[name] for name in ("reward", "accuracy", "loss", "lr") if row[name] is not None}
    numbers |= {"truncated": row["truncated"], "drift": row["drift"]["mean"] if row["drift"] else 0.0}
    if steps:
        numbers["grad_norm"] = steps[-1]["grad_norm"]
    log({f"iteration/{name}": value for name, value in numbers.items()}, len(steps))


def iteration_line(row: dict[str, Any]) -> str:
    """One line for the terminal."""
    update = (
        f"loss {row['loss']:+.4f}, drift {row['drift']['mean']:.1e} ({row['old']})"
        if row["steps"]
        else "no update: no group had anything to teach"
    )
    return (
        f"iteration {row['iteration']}: reward {row['reward']:.3f}, right {100 * row['accuracy']:.1f}%, "
        f"{row['kept']} of {row['asked']} groups kept, {row['truncated']} cut off, {update}"
    )


def measure(run: Run, learner: Learner, folder: Path, splits: Splits, parts: Parts) -> dict[str, Any]:
    """Greedy on the gate problems, which decides; every selector on the evaluation problems, which is told."""
    config = learner.config
    policy = parts.sampler(learner)
    gate = parts.evaluate(policy, splits.gate, ("greedy",), folder / "gate.parquet", config)
    answered(folder / "gate.parquet", gate, len(splits.gate))
    held_out = parts.evaluate(policy, splits.eval, config.select.selectors, folder / "eval.parquet", config)
    return {"gate": gate["eval"], **held_out}


def _close(run: Run, learner: Learner, state: State, splits: Splits, parts: Parts) -> dict[str, Any]:
    """Evaluate and write the report of the next round; round 0 is the model as it came."""
    number = len(run.reports)
    folder = run.round_folder(number)
    done = {"evaluate": stage(folder, "evaluate", lambda: measure(run, learner, folder, splits, parts))}
    if number == 0:
        return close(run, 0, done, accepted=True, reason="the base model")
    done |= block_summary([r for r in state.rows if r["round"] == number], state.steps)
    decision = run.judge(number)
    return close(run, number, done, decision.accepted, decision.reason, decision.to_dict())


def block_summary(rows: Sequence[dict[str, Any]], steps: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows of a block in the form of the stages of `r3v.reflection.loop`: sample, build, fit."""
    numbers = {r["iteration"] for r in rows}
    losses = [s["loss"] for s in steps if s["iteration"] in numbers]
    outcomes = sum((Counter(r["outcomes"]) for r in rows), Counter())
    dropped = sum((Counter(r["dropped"]) for r in rows), Counter())
    flat = sum((Counter(r["flat"]) for r in rows), Counter())
    branches = sum(r["branches"] for r in rows)
    kinds = {name: outcomes[name] for name in ("correct", "wrong", "unparsed", "unavailable")}
    sums = {n: sum(r[n] for r in rows) for n in ("asked", "kept", "truncated", "sampled_tokens", "unused_tokens")}
    sums["iterations"] = len(rows)
    return {
        "sample": {
            **kinds, **sums, "flat": dict(sorted(flat.items())), "seconds": sum(r["seconds"]["sample"] for r in rows)
        },
        "build": {"total": branches, "kinds": {"reinforce": branches}, "dropped": {}, "seconds": 0.0},
        "fit": {
            "steps": len(losses),
            "dropped": dict(dropped),
            "tokens": sum(r["tokens"] for r in rows),
            "tokens_target": sum(r["tokens_target"] for r in rows),
            "fused": all(r["fused"] for r in rows),
            "losses": losses,
            "reward": [r["reward"] for r in rows],
            "seconds": sum(r["seconds"]["fit"] for r in rows),
        },
    }  # fmt: skip


# ---- files ---------------------------------------------------------------------------------------


def _state_path(folder: Path) -> Path:
    return folder / "state" / "last.pt"


def _checkpoint(run: Run, learner: Learner, state: State) -> None:
    """The two logs, then the state they belong to: a kill in between leaves logs that the next checkpoint mends."""
    lines = [json.dumps(row, allow_nan=False) for row in state.rows]
    atomic_write(run.folder / "iterations.jsonl", "".join(f"{line}\n" for line in lines))
    names = list(dict.fromkeys(name for step in state.steps for name in step))
    table = [["step", *names]]
    table += [[str(i), *(repr(step.get(n, "")) for n in names)] for i, step in enumerate(state.steps, start=1)]
    atomic_write(run.folder / "steps.csv", "".join(f"{','.join(cells)}\n" for cells in table))
    learner.save(_state_path(run.folder), asdict(state))


def _resume(learner: Learner, run: Run) -> State:
    """The state of the last checkpoint, or the beginning. Raises RunError where it does not fit the closed rounds."""
    path = _state_path(run.folder)
    closed = len(run.reports) - 1
    if not path.exists():
        if closed > 0:
            raise RunError(f"{path}: file not found, but {closed} rounds are closed; put it back or use another folder")
        return State()
    state = State(**learner.load(path))
    if state.iteration > learner.config.run.iterations:
        raise RunError(
            f"{path}: found {state.iteration} finished iterations, more than run.iterations "
            f"{learner.config.run.iterations}; set --run.iterations {state.iteration} or use another --run.dir"
        )
    run.say(f"resuming {run.folder} after iteration {state.iteration}")
    return state


def _write_taught(folder: Path, examples: Sequence[Example], problems: Sequence[Problem]) -> None:
    """The branches of a block's last iteration, for the report."""
    from r3v.rollout.shards import write_examples

    wanted = {e.problem_id for e in examples}
    write_examples(folder / "examples.parquet", examples, {p.id: p for p in problems if p.id in wanted})
