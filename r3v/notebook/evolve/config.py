"""The settings of `r3v notebook evolve`, a tree of its own beside `r3v.settings.config`; every field is a flag."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from r3v.errors import ConfigError
from r3v.notebook.gate.gate import GateConfig
from r3v.notebook.retrieval.scoring import RetrievalConfig
from r3v.settings.config import ModelConfig, check_pixels
from r3v.settings.server import ServerConfig


@dataclass(frozen=True)
class EvolveConfig:
    """The notebook, and how often and on how much it learns."""

    notebook: str = "notebook.db"
    """The notebook file; it is made when it does not exist."""
    steps: int = 10
    """Batches to learn from; the run ends earlier when the problems are used up, since none is used twice."""
    batch: int = 16
    """Problems of a step."""
    seed: int = 0
    """Seed of everything that is drawn."""
    withhold: float = 0.05
    """Share of retrieved notes not shown while a batch is solved, to measure what notes are worth."""
    per_subject: int = 4
    """Most failures of one subject that the supervisor is shown in a step."""
    retire: bool = True
    """Retire notes whose measured value is below zero with its whole interval."""
    min_shown: int = 10
    """Exposures of each sort (shown, withheld) below which a note is not judged by its value."""


@dataclass(frozen=True)
class ProblemsConfig:
    """What is learnt from, and what edits are judged on; no problem is in both."""

    train: str = "geoworld:train"
    """Data spec of the problems to learn from."""
    pool: str = "geoworld:gate"
    """The gate pool; where it is the same spec as `train`, `n_pool` problems are held out of it."""
    n_train: int | None = None
    """Use the first n problems; null is all."""
    n_pool: int | None = 256
    """As `n_train`, for the pool."""
    open: bool = True
    """Ask without choices: the value must be stated."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, instead of stopping at the first."""


@dataclass(frozen=True)
class SolverConfig:
    """How problems are solved."""

    temperature: float = 0.0
    """0 is greedy: then only changed prompts make outcomes differ."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that have this share of the probability; 1 is all."""
    top_k: int = 0
    """Draw from so many likeliest tokens; 0 is all."""
    max_new_tokens: int = 384
    """Longest answer in tokens."""
    slots: int = 32
    """Prompts asked together; what a killed run loses at most."""
    attempts: int = 3
    """How often a prompt is asked before it counts as UNAVAILABLE."""
    pause: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""


@dataclass(frozen=True)
class SupervisorConfig:
    """Who writes notes."""

    kind: Literal["policy", "symbolic", "theorem_book"] = "policy"
    """A model, GeoWorld's own notes, or a book of theorems, for problems whose skills are theorems
    (`geoqa:DIR?split=train&skills=theorems`)."""
    path: str = ""
    """Local model of the supervisor; empty, with no `teacher.url`, is the solver itself (self-evolving)."""
    prompt_style: Literal["full", "short"] = "full"
    """Words in which it is asked; short is what geoworld-tiny was trained on."""
    temperature: float = 0.0
    """0 is greedy."""
    max_new_tokens: int = 256
    """Longest note in tokens."""
    sabotage: float = 0.0
    """Share of subjects that get a wrong note, for experiments on the gate."""


@dataclass(frozen=True)
class NotebookConfig:
    """Everything a run of `evolve` needs to be repeated."""

    evolve: EvolveConfig = field(default_factory=EvolveConfig)
    data: ProblemsConfig = field(default_factory=ProblemsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    """With a `url`, the solver is a server and `model` names only the prompt style; its `prices` fill the bill."""
    solver: SolverConfig = field(default_factory=SolverConfig)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    teacher: ServerConfig = field(default_factory=ServerConfig)
    """With a `url`, the supervisor is a server (cross-model evolving)."""
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    gate: GateConfig = field(default_factory=GateConfig)

    def check(self) -> None:
        """Raise ConfigError for settings that contradict each other."""
        self.gate.check()
        check_pixels(self.model)
        own = self.evolve
        if own.steps < 1 or own.batch < 1 or own.per_subject < 1 or own.min_shown < 1:
            raise ConfigError(
                f"evolve: found steps {own.steps}, batch {own.batch}, per_subject {own.per_subject}, min_shown "
                f"{own.min_shown}; expected at least 1 each"
            )
        if not 0.0 <= own.withhold < 1.0:
            raise ConfigError(f"evolve.withhold: found {own.withhold}, expected a share below 1")
        if not 0.0 <= self.supervisor.sabotage <= 1.0:
            raise ConfigError(f"supervisor.sabotage: found {self.supervisor.sabotage}, expected a share from 0 to 1")
        if self.supervisor.kind != "policy" and (self.supervisor.path or self.teacher.url):
            raise ConfigError(
                f"found supervisor.kind {self.supervisor.kind} and a model to write notes (supervisor.path or "
                "teacher.url); take one of them out"
            )
        if self.supervisor.path and self.teacher.url:
            raise ConfigError("found supervisor.path and teacher.url, expected at most one of them")
        if self.gate.reserve >= own.batch:
            raise ConfigError(
                f"gate.reserve: found {self.gate.reserve} of a batch of {own.batch}, so that no failure is left to "
                "learn from"
            )
        if self.solver.attempts < 1 or self.solver.slots < 1 or self.solver.pause < 0:
            raise ConfigError("solver: expected attempts and slots of at least 1, and a pause of at least 0")


T = TypeVar("T")


def with_supervisor_style(config: T, explicit: Collection[str]) -> T:
    """The tree (with groups model, supervisor and teacher) whose supervisor speaks geoworld-tiny's short prompts where
    that model supervises itself and `explicit` does not name `supervisor.prompt_style`."""
    c: Any = config
    own = c.model.path == "geoworld-tiny" and not (c.supervisor.path or c.teacher.url)
    if not own or "supervisor.prompt_style" in explicit:
        return config
    return replace(c, supervisor=replace(c.supervisor, prompt_style="short"))
