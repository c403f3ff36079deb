"""The language of generation: what is wanted (`Target`), where an item came from (`Provenance`), whether its answer
holds (`Checked`), and what a generator is (`Generator`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Protocol

from r3v.errors import ConfigError, DataError
from r3v.records import Problem

State = Literal["right", "wrong", "unknown"]
KEY = "provenance"
"""Where the provenance stands in `Problem.meta`."""
HELD_OUT = ("gate", "test", "probe", "novel")
"""Splits that are measured on; no practice is made from their items."""


@dataclass(frozen=True, slots=True)
class Target:
    """The cell that practice is wanted for. `skill` None is any skill, `level` None is any level."""

    skill: str | None = None
    level: int | None = None

    def describe(self) -> str:
        return f"skill {self.skill or 'any'}, level {'any' if self.level is None else self.level}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a verifier says of an answer. `unknown`: it cannot tell, so agreement has to decide.

    Using it as a boolean raises, because `unknown` is neither.
    """

    state: State
    reason: str = ""

    def __bool__(self) -> bool:
        raise TypeError("a Checked has three states; compare .state")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that went into a generated item; JSON values only.

    `generator` and `seed` make it again. `seed_item` is the id of the Problem it came from, `source` the address of its
    picture. `edits` are the operations with their parameters, `models` the model of each role, `plan` the planner's
    plan, `checks` the verdicts and the checker's reasoning. `answer` says where the gold comes from: "constructed",
    "kept" (the edit preserves it), "recomputed", or "agreed" (independent solutions agree).
    """

    generator: str
    target: Mapping[str, Any]
    seed: int
    answer: str
    seed_item: str | None = None
    source: str | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[Mapping[str, Any], ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def with_provenance(problem: Problem, provenance: Provenance) -> Problem:
    """The problem with its provenance in `meta`."""
    return replace(problem, meta={**problem.meta, KEY: provenance.to_dict()})


def provenance_of(problem: Problem) -> Provenance:
    """The provenance of a generated item. Raises DataError where there is none."""
    row = problem.meta.get(KEY)
    if not isinstance(row, Mapping):
        raise DataError(
            "found no provenance, expected an item made by a generator",
            row=problem.id,
            field=f"meta.{KEY}",
            fix="Make it with r3v.curriculum.practice.generate",
        )
    names = {f.name for f in fields(Provenance)}
    values: dict[str, Any] = {k: tuple(v) if k in ("edits", "checks") else v for k, v in row.items() if k in names}
    return Provenance(**values)


def add_check(problem: Problem, check: Mapping[str, Any]) -> Problem:
    """The problem with one more check in its provenance."""
    old = provenance_of(problem)
    return with_provenance(problem, replace(old, checks=(*old.checks, check)))


class Generator(Protocol):
    """Makes Problems for a target. The same (target, n, seed) gives the same Problems.

    `generate` may yield fewer than `n` where no more can be made. `check` is the verifier: from the picture's
    construction where there is one, otherwise "unknown".
    """

    @property
    def name(self) -> str: ...

    def generate(self, target: Target, n: int, *, seed: int = 0) -> Iterator[Problem]: ...

    def check(self, problem: Problem) -> Checked: ...


def target_dict(target: Target) -> dict[str, Any]:
    return asdict(target)


def require_level(target: Target, low: int, high: int) -> None:
    """Raises ConfigError for a level outside low..high."""
    if target.level is not None and target.level not in range(low, high + 1):
        raise ConfigError(f"found level {target.level!r} for {target.describe()}, expected {low} to {high}")
