"""Who learns in the middle of the spiral: `reinforce` (GRPO and its family), `reflect` (R3V rounds), `note` (notebook).

Each takes a `Task` and gives a `Learned`. It works in the task's folder alone and resumes there; the standing it starts
from is never changed.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from r3v.curriculum.reinforce.config import ReinforceConfig, ReinforceRun
from r3v.curriculum.spiral.config import SpiralConfig
from r3v.curriculum.spiral.state import Learn, Learned, Standing, Task
from r3v.errors import DataError
from r3v.io import atomic_dir, atomic_path
from r3v.notebook.evolve.config import EvolveConfig, NotebookConfig, ProblemsConfig, SolverConfig
from r3v.policies.model.adapters.taught import AdapterWarning
from r3v.records import Problem
from r3v.run.core import stage
from r3v.settings.config import Config, DataConfig, ModelConfig, RunConfig


def learners(dry_run: bool = False) -> dict[str, Learn]:
    """The table of learners; `dry_run` puts random tiny weights of the same family in the place of the model's."""
    return {
        "reinforce": partial(reinforce, dry_run=dry_run),
        "reflect": partial(reflect, dry_run=dry_run),
        "note": partial(note, dry_run=dry_run),
    }


def model_at(config: SpiralConfig, standing: Standing) -> ModelConfig:
    """The model with the adapter of a standing."""
    return replace(config.model, adapter=None if standing.adapter is None else str(standing.adapter))


# ---- reinforce -----------------------------------------------------------------------------------


def reinforce_config(task: Task) -> ReinforceConfig:
    """The settings of `r3v reinforce` for this task."""
    c = task.config
    return ReinforceConfig(
        run=ReinforceRun(dir=str(task.folder), seed=task.seed, iterations=c.learn.steps),
        model=model_at(c, task.start),
        group=c.group,
        reward=c.reward,
        train=replace(c.train, lr=task.rate(c.train.lr)),
        drift=c.drift,
        select=c.select,
    )


def reinforce(task: Task, *, dry_run: bool = False) -> Learned:
    """Iterations of sample, grade, update on the practice, from the adapter of the start; the optimiser begins anew."""
    from r3v.curriculum.reinforce.reinforce import practise, real_parts

    told = practise(
        reinforce_config(task), task.practice, real_parts(dry_run, task.say), samples=task.config.learn.samples,
        say=task.say,
    )  # fmt: skip
    fit = {**told["fit"], "losses": len(told["fit"]["losses"])}
    return Learned(
        replace(task.start, adapter=told["adapter"]),
        samples=told["samples"],
        tokens=told["sample"]["sampled_tokens"],
        told={"sample": told["sample"], "fit": fit},
    )


# ---- reflect -------------------------------------------------------------------------------------


def reflect_config(task: Task) -> Config:
    """The settings of `r3v train` for this task: each round goes on with the adapter of the one before."""
    c = task.config
    return Config(
        run=RunConfig(dir=str(task.folder), seed=task.seed, rounds=c.learn.rounds, restart="continue"),
        data=DataConfig(open=c.data.open),
        model=model_at(c, task.start),
        sample=c.sample,
        build=c.build,
        train=replace(c.fit, lr=task.rate(c.fit.lr)),
        select=c.select,
        policy=c.policy,
    )


def reflect(task: Task, *, dry_run: bool = False) -> Learned:
    """R3V rounds on the practice (arXiv 2411.00855): sample, build answer, refine and select examples, fit. Without a
    gate of their own; the spiral's guard judges the whole."""
    from r3v.reflection.stages import real_stages

    config, stages = reflect_config(task), real_stages(dry_run, task.say)
    adapter = task.start.adapter
    rows: list[dict[str, Any]] = []
    for number in range(1, config.run.rounds + 1):
        adapter = _reflection_round(task, config, stages, adapter, number, rows)
    samples = sum(row["sample"]["candidates"] + row["build"].get("rescue_samples", 0) for row in rows)
    tokens = sum(row["sample"]["tokens"] for row in rows)
    return Learned(replace(task.start, adapter=adapter), samples, tokens, told={"rounds": rows})


def _reflection_round(
    task: Task, config: Config, stages: Any, adapter: Path | None, number: int, rows: list[dict[str, Any]]
) -> Path:
    """One round; a finished stage is not done again. Appends what its stages say to `rows`."""
    folder = task.folder / f"round_{number:02d}"
    candidates = [task.folder / f"round_{n:02d}" / "candidates" for n in range(1, number + 1)]
    examples, out, start = folder / "examples.parquet", folder / "adapter", adapter

    def policy() -> Any:
        return stages.policy(config, start)

    def sample() -> dict[str, Any]:
        return stages.sample(policy(), task.practice, candidates[-1], config, number)

    def fit() -> dict[str, Any]:
        told = stages.fit(task.practice, examples, start, out, config, number)
        return {**told, "losses": len(told["losses"])}

    sampled = stage(folder, "sample", sample)
    built = stage(folder, "build", lambda: stages.build(task.practice, candidates, examples, config, number, policy))
    fitted = stage(folder, "fit", fit)
    rows.append({"sample": sampled, "build": built, "fit": fitted})
    task.say(f"reflection round {number}: {built['total']} examples, {fitted['steps']} steps")
    return out


# ---- note ----------------------------------------------------------------------------------------


def note_config(task: Task) -> NotebookConfig:
    """The settings of `r3v notebook evolve` for this task."""
    c = task.config
    return NotebookConfig(
        evolve=EvolveConfig(
            notebook=str(task.folder / "notebook.db"), steps=c.learn.steps, batch=c.note.batch, seed=task.seed,
            withhold=c.note.withhold, per_subject=c.note.per_subject,
        ),
        data=ProblemsConfig(open=c.data.open),
        model=model_at(c, task.start),
        server=c.server,
        solver=SolverConfig(max_new_tokens=c.ask.max_new_tokens, slots=c.ask.slots),
        supervisor=c.supervisor,
        teacher=c.teacher,
        retrieval=c.retrieval,
        gate=c.note_gate,
    )  # fmt: skip


def note(task: Task, *, dry_run: bool = False) -> Learned:
    """A notebook learns from the failures on one part of the practice; its edits are judged on the other part. It goes
    on from a copy of the notebook of the start."""
    from r3v.notebook.evolve.assemble import assemble
    from r3v.notebook.evolve.evolve import evolve

    config = note_config(task)
    if dry_run:
        # The same weights as those under the adapter, of which only the name differs.
        path_of_weights = str(random_weights(config.model, task.folder))
        config = replace(config, model=replace(config.model, path=path_of_weights, force=True))
    path = Path(config.evolve.notebook)
    if not path.exists() and task.start.notebook is not None:
        copy_notebook(task.start.notebook, path)
    train, pool = apart(task.practice, task.config.note.pool)
    if not train or not pool:
        raise DataError(
            f"found {len(train)} items to learn from and {len(pool)} to judge edits on, expected some of each",
            fix="Practise more items (practice.items), or change note.pool",
        )
    with ExitStack() as stack:
        if dry_run:
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", category=AdapterWarning)
        found = evolve(replace(assemble(config, stack, say=task.say), train=train, pool=pool))
    costs = found["costs"]
    told = {name: found[name] for name in ("head", "notes", "accepted", "refused", "costs")}
    return Learned(
        replace(task.start, notebook=path),
        samples=int(costs["calls"]),
        tokens=int(costs["tokens_out"]),
        money=float(costs["money"]),
        told={**told, "train": len(train), "pool": len(pool), "steps": len(found["steps"])},
    )


def apart(practice: Sequence[Problem], share: float) -> tuple[list[Problem], list[Problem]]:
    """The practice to learn from, and the part that edits are judged on: by the hash of an item's id, so that an item
    that is practised again stays on its side."""
    train: list[Problem] = []
    pool: list[Problem] = []
    for problem in practice:
        bucket = int.from_bytes(hashlib.sha256(f"note pool|{problem.id}".encode()).digest()[:6], "big")
        (pool if bucket < share * 2**48 else train).append(problem)
    return train, pool


def random_weights(model: ModelConfig, folder: Path) -> Path:
    """The random tiny model of a family as a folder, because a notebook's solver is loaded by its path."""
    from r3v.policies.model.loading import load

    path = folder / "random-weights"
    if not path.exists():
        made = load(replace(model, adapter=None, quantization="none"), dry_run=True)
        with atomic_dir(path) as temporary:
            made.model.save_pretrained(temporary)
            made.processor.save_pretrained(temporary)
    return path


def copy_notebook(source: Path, target: Path) -> None:
    """A copy of a notebook as it stands, whole or not at all, and of the calibration beside it."""
    from r3v.notebook.retrieval.scoring import calibration_file

    beside = calibration_file(source)
    if Path(beside).exists():
        with atomic_path(calibration_file(target)) as temporary:
            shutil.copyfile(beside, temporary)
    with (
        atomic_path(target) as temporary,
        closing(sqlite3.connect(source)) as old,
        closing(sqlite3.connect(temporary)) as new,
    ):
        old.backup(new)
