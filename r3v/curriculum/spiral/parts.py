"""The parts of a spiral on real data and a real model, or on random tiny weights of its family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from r3v.curriculum.diagnosis.probes import probe_set, training_pool
from r3v.curriculum.generators import generator
from r3v.curriculum.practice.generate import contents
from r3v.curriculum.spiral.config import SpiralConfig
from r3v.curriculum.spiral.learners import learners, model_at
from r3v.curriculum.spiral.state import Held, Maker, Parts, Say, Solver, Standing
from r3v.data.source import open_form
from r3v.notebook.retrieval.inject import open_recall
from r3v.prompts import style
from r3v.records import Problem
from r3v.reflection.stages import make_policy, real_stages
from r3v.settings.config import Config, RunConfig


def real_parts(dry_run: bool = False, say: Say | None = None) -> Parts:
    """What `r3v evolve` runs; `dry_run` replaces the weights by random tiny ones and agents, who could write no message
    with such, by a script; everything else is real."""

    @contextmanager
    def solver(config: SpiralConfig, standing: Standing) -> Iterator[Solver]:
        asked = Config(
            run=RunConfig(dir=config.run.dir),
            model=model_at(config, standing),
            sample=replace(config.sample, slots=config.ask.slots),
            server=config.server,
            policy=config.policy,
        )
        policy = make_policy(asked.model, asked, dry_run, say)
        meter: Any = getattr(policy, "meter", None)
        money = (lambda: 0.0) if meter is None else (lambda: float(meter.snapshot().money))
        if standing.notebook is None:
            yield Solver(policy, None, money)
            return
        words = style(config.model.prompt_style)
        # The adapter changes from iteration to iteration; whether to keep what came of it, the evaluation decides.
        with open_recall(
            standing.notebook, policy, words, config.retrieval, record=False, say=say or print, unqualified="allow"
        ) as recall:
            yield Solver(policy, recall, money)

    def evaluate(
        solver: Solver, problems: Sequence[Problem], selectors: Sequence[str], out: Path, config: SpiralConfig
    ) -> dict[str, Any]:
        stages = real_stages(dry_run, say, solver.notes)
        return stages.evaluate(solver.policy, problems, selectors, out, cast(Config, config))

    return Parts(held, probes, solver, practice_maker(dry_run, say), learners(dry_run), evaluate)


def held(config: SpiralConfig) -> Held:
    """The gate and evaluation problems, and the benchmarks that practice must not repeat. Raises DataError where gate
    and evaluation share a problem or hold none."""
    from r3v.data import load
    from r3v.errors import DataError

    data = config.data
    gate = load(data.gate, limit=data.n_gate, skip_bad=data.skip_bad, open=data.open)
    evaluation = load(data.eval, limit=data.n_eval, skip_bad=data.skip_bad, open=data.open)
    both = {p.id for p in gate} & {p.id for p in evaluation}
    if both:
        raise DataError(
            f"{len(both)} problems are in data.gate and in data.eval, expected disjoint sets", row=min(both),
            fix="Choose another spec or split for one of them",
        )  # fmt: skip
    for name, found in (("gate", gate), ("eval", evaluation)):
        if not len(found):
            raise DataError(f"data.{name} holds no problem", fix=f"Check the spec and data.n_{name}")
    others = [p for spec in data.benchmarks for p in load(spec, skip_bad=data.skip_bad)]
    return Held(gate, evaluation, others)


def probes(config: SpiralConfig, iteration: int) -> list[Problem]:
    """The probe set of an iteration: other problems in each one, none of them ever practised."""
    found = probe_set(config.probe.data, config.probe.n, iteration, config.run.seed)
    return [open_form(p) for p in found] if config.data.open else found


def practice_maker(
    scripted: bool = False, say: Say | None = None
) -> Callable[[SpiralConfig, Sequence[Problem], Path], AbstractContextManager[Maker]]:
    """The generator of the recipe. It makes nothing with the content of a problem in `never` (the worlds), no question
    in its words and numbers (Euclid), and starts only from problems outside the share of the data that is set aside for
    probes. `scripted` agents ask no model."""

    @contextmanager
    def maker(config: SpiralConfig, never: Sequence[Problem], folder: Path) -> Iterator[Maker]:
        if config.practice.generator == "geoworld":
            yield Maker(generator("geoworld", exclude=contents(never)))
            return
        if config.practice.generator == "euclid":
            yield Maker(generator("euclid", exclude=contents(never), asked=[p.question for p in never]))
            return
        seeds = _seeds(config, never)
        if config.practice.generator == "edit":
            options = {"ops": config.practice.ops} if config.practice.ops else {}
            yield Maker(generator("edit", seeds=seeds, **options))
            return
        from r3v.curriculum.agents.open import open_agents

        index = Path(config.run.dir) / "agents" / "index"
        with open_agents(
            config.agents, seeds, folder, index, config.model, slots=config.ask.slots, scripted=scripted, say=say
        ) as agents:

            def told() -> dict[str, Any]:
                asked = {name: meter.calls + meter.cached for name, meter in agents.meters.items()}
                return {"agents": {"asked": asked, "rejected": agents.counts}}

            yield Maker(agents, lambda: agents.spent, told)

    return maker


def _seeds(config: SpiralConfig, never: Sequence[Problem]) -> list[Problem]:
    from r3v.data import load

    data = config.data
    known = {p.id for p in never}
    pool = training_pool(load(data.seeds, limit=data.n_seeds, skip_bad=data.skip_bad))
    return [p for p in pool if p.id not in known]
