"""From a recipe of any kind to what a plan counts: its model, its precision, and the work of a round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from r3v.errors import ConfigError
from r3v.plan.shape import Shape
from r3v.plan.stages import Precision
from r3v.plan.work import ANSWERED, ASKED_ANEW, PICTURE, SHORT, TEXT, UNKNOWN, Branch, Draw, Fit, Work, picture_of
from r3v.settings.tree import find_recipe

SHORT_TEXT = 60
"""Tokens of a question in the short prompt style."""
KINDS = ("train", "reinforce", "evolve", "notebook evolve")


@dataclass(frozen=True)
class Planned:
    """A recipe as read, and how its settings are named: those of drawing, of measuring and of the fit."""

    kind: str
    config: Any

    @property
    def fit(self) -> str | None:
        """The group of the fit's settings; None for a recipe that trains nothing."""
        if self.kind == "notebook evolve":
            return None
        return "fit" if self.kind == "evolve" and "reinforce" not in self.config.learn.kind else "train"

    @property
    def draw(self) -> str:
        """The group of the settings that answers are drawn with."""
        if self.kind == "train":
            return "sample"
        if self.kind == "notebook evolve":
            return "solver"
        return "sample" if self.fit == "fit" else "group"


def read_recipe(recipe: str, flags: Sequence[str]) -> Planned:
    """A recipe of any kind with flags over it, its preset applied. Raises ConfigError."""
    kind = kind_of(recipe)
    if kind == "train":
        from r3v.reflection.settings import read

        return Planned(kind, read(recipe, flags).config)
    from r3v.app.commands import evolve, notebook_evolve, reinforce

    readers: dict[str, Callable[[], Any]] = {
        "evolve": lambda: evolve.effective(recipe, flags),
        "reinforce": lambda: reinforce.effective(recipe, flags, False),
        "notebook evolve": lambda: notebook_evolve.read_config(recipe, flags),
    }
    return Planned(kind, readers[kind]())


def kind_of(recipe: str) -> str:
    """The command a recipe is for, by its groups. Raises ConfigError."""
    import yaml

    path = find_recipe(recipe)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the recipe: {error}") from error
    groups = set(tree) if isinstance(tree, dict) else set()
    if groups & {"solver", "retrieval"} and "evolve" in groups:
        return "notebook evolve"
    if groups & {"practice", "probe", "learn", "mixture"}:
        return "evolve"
    return "reinforce" if groups & {"group", "reward", "drift"} else "train"


def precision_of(planned: Planned) -> Precision:
    """How the recipe holds its model."""
    model = planned.config.model
    group = getattr(planned.config, planned.fit) if planned.fit else None
    dtype = "bfloat16" if model.dtype == "auto" else model.dtype
    return Precision(
        model.quantization, dtype, model.lora_r, model.lora_dropout, getattr(group, "precision", "32-true")
    )


def work_of(planned: Planned, shape: Shape, picture: tuple[int, int] = PICTURE, answered: float = ANSWERED) -> Work:
    """The work of one round. `answered`: length of an answer as a share of the most new tokens."""
    model = planned.config.model
    seen = picture_of(shape, picture, model.min_pixels, model.max_pixels)
    prompt = seen.tokens + (SHORT_TEXT if model.prompt_style == "short" else TEXT)
    made = {"train": _train, "reinforce": _reinforce, "evolve": _evolve, "notebook evolve": _notebook}
    return made[planned.kind](planned.config, prompt, seen, answered)


def _train(c: Any, prompt: int, seen: Any, answered: float) -> Work:
    problems = c.data.n_train or UNKNOWN
    sample = Draw(problems, c.sample.k, c.sample.max_new_tokens, c.sample.slots)
    fit = _fit(c.train, problems, _branches(c, answered), c.train.loss == "dpo")
    measured = (c.data.n_gate or UNKNOWN) + (c.data.n_eval or UNKNOWN)
    known = None not in (c.data.n_train, c.data.n_gate, c.data.n_eval)
    return Work(prompt, seen, sample, _measured(c.select, c.sample.slots, measured, answered), fit, c.run.rounds, known)


def _branches(c: Any, answered: float) -> tuple[Branch, ...]:
    """Examples of a problem that has right and wrong answers, at most as many as the recipe builds."""
    b, answer = c.build, max(1, round(c.sample.max_new_tokens * answered))
    found = [Branch(0, answer)] * b.positives
    found += [Branch(0, SHORT)] * (b.qa > 0)
    found += [Branch(ASKED_ANEW + answer, answer)] * (b.refine + b.keep)
    shown = (b.select_min + b.select_max) / 2
    target = answer if b.select_target == "solution" else SHORT
    found += [Branch(ASKED_ANEW + round(shown * answer), target)] * (b.select * (2 if b.select_pairs else 1))
    found += [Branch(0, answer)] * (2 * b.prefer)
    return tuple(found)


def _reinforce(c: Any, prompt: int, seen: Any, answered: float) -> Work:
    return _groups(c, prompt, seen, answered, c.run.eval_every, max(1, c.run.iterations // c.run.eval_every))


def _groups(c: Any, prompt: int, seen: Any, answered: float, steps: int, rounds: int) -> Work:
    """Steps of group relative policy optimisation between two measurements."""
    g = c.group
    problems = round(g.problems * steps * (g.max_draws / 2 if g.dynamic else 1))
    answer = max(1, round(g.max_new_tokens * answered))
    fit = _fit(c.train, g.problems * steps, (Branch(0, answer),) * g.n, False)
    measured = (c.data.n_gate or UNKNOWN) + (c.data.n_eval or UNKNOWN)
    known = None not in (c.data.n_gate, c.data.n_eval)
    sample = Draw(problems, g.n, g.max_new_tokens, g.slots)
    return Work(prompt, seen, sample, _measured(c.select, g.slots, measured, answered), fit, rounds, known)


def _evolve(c: Any, prompt: int, seen: Any, answered: float) -> Work:
    if "reinforce" in c.learn.kind:
        return _groups(c, prompt, seen, answered, c.learn.steps, c.run.iterations)
    measured = (c.data.n_gate or UNKNOWN) + (c.data.n_eval or UNKNOWN)
    known = None not in (c.data.n_gate, c.data.n_eval)
    sample = Draw(c.practice.items, c.sample.k, c.sample.max_new_tokens, c.sample.slots)
    fit = _fit(c.fit, c.practice.items, _branches(c, answered), c.fit.loss == "dpo")
    asked = _measured(c.select, c.sample.slots, measured, answered)
    return Work(prompt, seen, sample, asked, fit, c.run.iterations, known)


def _notebook(c: Any, prompt: int, seen: Any, answered: float) -> Work:
    sample = Draw(c.evolve.steps * c.evolve.batch, 1, c.solver.max_new_tokens, c.solver.slots)
    pool = Draw(c.data.n_pool or UNKNOWN, 1, c.solver.max_new_tokens, c.solver.slots)
    return Work(prompt, seen, sample, pool, None, c.evolve.steps, c.data.n_pool is not None)


def _fit(train: Any, tries: int, branches: tuple[Branch, ...], reference: bool) -> Fit:
    return Fit(
        tries, branches, float(train.epochs), train.problems_per_step, train.problems_per_batch, train.max_tokens,
        train.max_batch_tokens, train.gradient_checkpointing, train.fuse, "mixed" in train.precision, reference,
    )  # fmt: skip


def _measured(select: Any, slots: int, problems: int, answered: float) -> Draw:
    """Greedy and the candidates of each problem, and what the selectors that score read besides."""
    drawing = any(name not in ("greedy",) for name in select.selectors)
    scoring = any(name in ("self_select", "fused", "tournament") for name in select.selectors)
    each = (select.n if drawing else 0) + ("greedy" in select.selectors)
    answer = max(1, round(select.max_new_tokens * answered))
    target = answer if select.target == "solution" else SHORT
    one = ASKED_ANEW + select.n * (answer + target)
    scored = select.permutations * one if scoring else 0
    return Draw(problems, max(1, each), select.max_new_tokens, slots, scored, select.permutations if scoring else 0)
