"""The language of the spiral: what has been learned, who asks the model, and what a learner is given and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r3v.curriculum.practice.item import Generator
from r3v.curriculum.spiral.config import SpiralConfig
from r3v.policies.base import Policy
from r3v.prompts import Notes
from r3v.records import Problem

Say = Callable[[str], None]


@dataclass(frozen=True)
class Standing:
    """What has been learned: a LoRA folder, a notebook file, both, or nothing yet. Never changed in place: a learner
    writes a new one, so that an iteration that is not accepted leaves the old one as it was."""

    adapter: Path | None = None
    notebook: Path | None = None

    def to_dict(self, root: Path) -> dict[str, str | None]:
        """Paths below `root` (the run folder, which may be moved) are kept relative to it."""
        return {name: _inside(getattr(self, name), root) for name in ("adapter", "notebook")}

    @staticmethod
    def from_dict(value: Mapping[str, str | None], root: Path) -> Standing:
        return Standing(**{name: None if path is None else root / path for name, path in value.items()})


def _inside(path: Path | None, root: Path) -> str | None:
    if path is None:
        return None
    path = path.absolute()
    return str(path.relative_to(root.absolute()) if path.is_relative_to(root.absolute()) else path)


@dataclass(frozen=True)
class Solver:
    """The model as it stands: a policy, the notes it is shown, and the money it has cost since it was opened."""

    policy: Policy
    notes: Notes | None = None
    money: Callable[[], float] = lambda: 0.0


@dataclass(frozen=True)
class Task:
    """What a learner is given: where the last accepted iteration stands, the practice, and a folder of its own, in
    which it resumes its own unfinished work."""

    config: SpiralConfig
    number: int
    start: Standing
    practice: Sequence[Problem]
    folder: Path
    say: Say

    @property
    def seed(self) -> int:
        """Another one for every iteration and every run seed."""
        return iteration_seed(self.config, self.number)

    def rate(self, lr: float) -> float:
        """The learning rate of this iteration: `lr` in the first one, `learn.decay` of the one before in each other."""
        return lr * self.config.learn.decay ** (self.number - 1)


@dataclass(frozen=True)
class Learned:
    """What a learner gives: the new standing, what it spent, and JSON values for the report."""

    standing: Standing
    samples: int = 0
    tokens: int = 0
    money: float = 0.0
    told: Mapping[str, Any] = field(default_factory=dict)


Learn = Callable[[Task], Learned]
Measure = Callable[[Solver, Sequence[Problem], Sequence[str], Path, SpiralConfig], dict[str, Any]]


@dataclass(frozen=True)
class Maker:
    """A generator of practice, what it has spent on this turn so far (`tokens`, `money`), over all interruptions, and
    JSON values for the report."""

    generator: Generator
    spent: Callable[[], Mapping[str, float]] = dict
    told: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class Held:
    """The problems that are measured on and never practised."""

    gate: Sequence[Problem]
    eval: Sequence[Problem]
    benchmarks: Sequence[Problem] = ()


@dataclass(frozen=True)
class Parts:
    """What the spiral is made of; see `spiral_parts.real_parts` and `spiral_dry.scripted_parts`.

    held(config) -> Held. probes(config, iteration) -> probe problems. solver(config, standing) -> the model, open in
    the block. maker(config, problems never to be repeated, folder of its own) -> Maker, open in the block. learners:
    name -> Learn. evaluate: as `Stages.evaluate` of r3v.reflection.loop, with the notes of the solver.
    """

    held: Callable[[SpiralConfig], Held]
    probes: Callable[[SpiralConfig, int], list[Problem]]
    solver: Callable[[SpiralConfig, Standing], AbstractContextManager[Solver]]
    maker: Callable[[SpiralConfig, Sequence[Problem], Path], AbstractContextManager[Maker]]
    learners: Mapping[str, Learn]
    evaluate: Measure


def iteration_seed(config: SpiralConfig, number: int) -> int:
    return config.run.seed * 1000 + number
