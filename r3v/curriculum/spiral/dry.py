"""`r3v evolve --dry-run`: the plan, and the whole control flow on a scripted learner, with no model and no network.

The scripted model is right with a chance that follows from the skills an item needs, and practice raises the skills of
the items practised, in log-odds by 4p(1 - p) times a rate, as in `r3v.curriculum.spiral.simulate`. So mixtures,
budgets, guard and pages show what they do; the accuracies say nothing about a real model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from r3v.curriculum.spiral.config import LEARNERS, SpiralConfig
from r3v.curriculum.spiral.parts import held, practice_maker, probes
from r3v.curriculum.spiral.practice import read_problems
from r3v.curriculum.spiral.state import Learned, Parts, Solver, Standing, Task
from r3v.io import atomic_dir
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import LETTERS, Problem, Prompt
from r3v.reflection.stages import real_stages
from r3v.settings.config import Config

FILE = "practised.json"
RATE = 0.02
"""Log-odds gained per item at p = 1/2."""
TOKENS = 60
"""Tokens of one answer, for the plan of a budget."""


def scripted_parts(rate: float = RATE) -> Parts:
    """Real data, probes, generator, quality control, diagnosis and evaluation; a scripted model and learner. `rate`
    below 0 makes a learner that gets worse, for the guard."""
    known: dict[str, Problem] = {}

    @contextmanager
    def solver(config: SpiralConfig, standing: Standing) -> Iterator[Solver]:
        _remember(known, config)
        practised = {} if standing.adapter is None else json.loads((standing.adapter / FILE).read_text())
        digest = hashlib.sha256(json.dumps(practised, sort_keys=True).encode()).hexdigest()[:12]
        yield Solver(ScriptedPolicy(answerer(known, practised, rate), name=f"scripted-{digest}"))

    def evaluate(
        solver: Solver, problems: Sequence[Problem], selectors: Sequence[str], out: Path, config: SpiralConfig
    ) -> dict[str, Any]:
        return real_stages().evaluate(solver.policy, problems, selectors, out, cast(Config, config))

    return Parts(
        held, probes, solver, practice_maker(scripted=True), dict.fromkeys(LEARNERS, scripted_learner), evaluate
    )


def _remember(known: dict[str, Problem], config: SpiralConfig) -> None:
    """Every problem that may be asked: held-out ones, probes of all iterations, and the items made so far."""
    if not known:
        found = held(config)
        known.update({p.id: p for part in (found.gate, found.eval) for p in part})
        for turn in range(config.run.iterations + 1):
            known.update({p.id: p for p in probes(config, turn)})
    for path in sorted(Path(config.run.dir).glob("round_*/items.parquet")):
        known.update({p.id: p for p in read_problems(path)})


def scripted_learner(task: Task) -> Learned:
    """Counts the skills of the items practised; draws as many answers as `reinforce` would at least."""
    before = {} if task.start.adapter is None else json.loads((task.start.adapter / FILE).read_text())
    practised = Counter(before)
    for problem in task.practice:
        practised.update(problem.skills)
    adapter = task.folder / "adapter"
    with atomic_dir(adapter) as folder:
        (folder / FILE).write_text(json.dumps(dict(sorted(practised.items()))))
    samples = learning_samples(task.config)
    return Learned(Standing(adapter, task.start.notebook), samples, samples * TOKENS, told={"scripted": True})


def answerer(known: Mapping[str, Problem], practised: Mapping[str, int], rate: float) -> Any:
    """The answer function of a ScriptedPolicy. The draw for a problem and index is the same at every strength, so that
    practice turns wrong answers into right ones and never the other way."""
    ability: dict[str, float] = {}

    def answer(prompt: Prompt, index: int) -> str:
        problem = known[prompt.problem_id.partition("~")[0]]
        for skill in problem.skills:
            if skill not in ability:
                ability[skill] = _practise(3.0 * _draw("ability", skill) - 1.2, practised.get(skill, 0), rate)
        theta = min((ability[s] for s in problem.skills), default=0.0)
        drawn = _draw(problem.id, index)
        if drawn < 1 / (1 + math.exp(-theta)):
            return f"Answer: {problem.gold_text}"
        return "I cannot tell." if drawn > 0.98 else f"Answer: {_wrong(problem)}"

    return answer


def _practise(theta: float, items: int, rate: float) -> float:
    for _ in range(items):
        p = 1 / (1 + math.exp(-theta))
        theta += 4 * rate * p * (1 - p)
    return theta


def _draw(*parts: object) -> float:
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _wrong(problem: Problem) -> str:
    if problem.choices:
        return problem.choices[(LETTERS.index(problem.answer) + 1) % len(problem.choices)]
    return "8675309.25"


# ---- plan ----------------------------------------------------------------------------------------


def learning_samples(config: SpiralConfig) -> int:
    """Answers that the learners of an iteration draw at least, as far as the recipe fixes them."""
    g, total = config.group, 0
    for name in config.learn.kind:
        if name == "reinforce":
            full = config.learn.steps * g.problems * g.n
            total += full if config.learn.samples is None else min(full, config.learn.samples)
        elif name == "reflect":
            total += config.learn.rounds * config.practice.items * config.sample.k
        else:
            total += config.learn.steps * config.note.batch
    return total


def plan(config: SpiralConfig) -> str:
    """The stages of a run with their counts, and the budget, as lines of text."""
    c, variants = config, 1 + len(config.probe.variants)
    made = math.ceil(c.practice.items * (1 - c.mixture.replay) * (c.practice.overdraw if c.practice.score_k else 1))
    probed, scored, learned = c.probe.n * c.probe.k * variants, made * c.practice.score_k, learning_samples(c)
    whole = (c.run.iterations + 1) * probed + c.run.iterations * (scored + learned)
    n_eval = "all" if c.data.n_eval is None else c.data.n_eval
    n_gate = "all" if c.data.n_gate is None else c.data.n_gate
    limits = {name: getattr(c.budget, name) for name in ("samples", "tokens", "money")}
    told = ", ".join(f"{name} {value:g}" for name, value in limits.items() if value is not None) or "no limit"
    lines = [
        f"preset {c.run.preset}, mixture {c.mixture.kind}, learner {' then '.join(c.learn.kind)}, seed {c.run.seed}",
        f"start: evaluate {n_gate} of {c.data.gate} and {n_eval} of {c.data.eval}; then diagnose",
        f"each of {c.run.iterations} iterations:",
        f"  mixture    {c.practice.items} items over the skills by the last diagnosis, "
        f"{100 * c.mixture.replay:g} % of them repeated where there are earlier ones",
        f"  generate   about {made} new items by {c.practice.generator}",
        f"  score      {c.practice.score_k} answers each, {scored} in all"
        if c.practice.score_k
        else "  score      nothing: every item is practised",
        f"  learn      {', '.join(c.learn.kind)}: at least {learned} answers",
        f"  evaluate   {n_gate} gate and {n_eval} evaluation problems, {', '.join(c.select.selectors)}",
        "  accept     paired test on the gate problems, over all and by skill",
        f"  diagnose   {c.probe.n} new probes x {c.probe.k} answers x {variants} forms, {probed} answers",
        f"in all at least {whole} answers besides the evaluations; budget: {told}",
    ]
    return "\n".join(lines)
