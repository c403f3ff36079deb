"""The world as sequences of problems and as lessons for a warm-up; each is made when asked for."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from r3v.data.euclid.choose import SPLITS
from r3v.data.euclid.figures import CONSTRUCTIONS
from r3v.data.euclid.make import item_of, make
from r3v.data.euclid.rules import TAGS
from r3v.errors import ConfigError, DataError
from r3v.records import ImageSource, Problem

SIZES = {"train": 200_000, "gate": 1_000, "test": 2_000}


_SAMPLE = 6
"""How many problems of each construction tell which theorems it uses."""
_TRIES = 400
RARE = {
    "congruent_triangle_judgment_aas": ("congruent_pair",),
    "isosceles_trapezoid_property_angle_equal": ("trapezoid_angles",),
    "isosceles_trapezoid_property_diagonal_equal": ("trapezoid_angles",),
    "mirror_congruent_triangle_judgment_sss": ("congruent_pair",),
    "parallelogram_judgment_equal_and_equal": ("becoming_parallelogram",),
}
"""Theorems that so few problems do not show, and a construction that uses each, by docs/theorems.md."""


class EuclidSource(Sequence[Problem]):
    """Problems of one split. An index means one problem whatever `n`; other constructions make another sequence.

    With `theorems`, problem i is the first of its own stretch of numbers whose solution uses one of them.
    """

    def __init__(self, split: str, n: int, seed: int, only: str, theorems: frozenset[str]) -> None:
        self.split, self.seed, self.only, self.theorems = split, seed, only, theorems
        self._n = n

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> list[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | list[Problem]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        if index < 0:
            index += self._n
        if not 0 <= index < self._n:
            raise IndexError(f"found index {index}, expected less than {self._n}")
        if not self.theorems:
            return make(self.split, self.seed, index, self.only).problem
        for k in range(index * _TRIES, (index + 1) * _TRIES):
            problem = make(self.split, self.seed, k, self.only).problem
            if self.theorems & set(problem.skills):
                return problem
        raise DataError(
            f"found no problem {index} that uses {', '.join(sorted(self.theorems))} in {_TRIES} tries",
            file=f"euclid:{self.split}",
            fix="Ask for a theorem that is more common, or for more of them",
        )

    def __iter__(self) -> Iterator[Problem]:
        return (self[i] for i in range(self._n))


@functools.lru_cache(maxsize=1)
def theorem_homes() -> dict[str, tuple[str, ...]]:
    """Theorem -> the constructions that use it, by a few problems of each and `RARE`; takes seconds the first time."""
    found: dict[str, list[str]] = {}
    for name in CONSTRUCTIONS:
        tags = {tag for k in range(_SAMPLE) for tag in make("train", 0, k, name).problem.skills}
        for tag in sorted(tags):
            found.setdefault(tag, []).append(name)
    return {**RARE, **{tag: tuple(names) for tag, names in found.items()}}


def source(
    split: str,
    n: int | None = None,
    seed: int = 0,
    constructions: Iterable[str] | None = None,
    theorems: Iterable[str] | None = None,
) -> EuclidSource:
    """The first `n` problems of a split (None: its usual size); all of them, or those of some constructions, or those
    whose solution uses one of some theorems.

    Raises ConfigError for an unknown split, construction or theorem, or a negative number.
    """
    if split not in SPLITS:
        raise ConfigError(f"found euclid split {split!r}, expected one of {', '.join(SPLITS)}")
    wanted = () if constructions is None else tuple(dict.fromkeys(constructions))
    unknown = [name for name in wanted if name not in CONSTRUCTIONS]
    if unknown or (constructions is not None and not wanted):
        raise ConfigError(f"found constructions {unknown or 'none'}, expected some of {', '.join(CONSTRUCTIONS)}")
    size = SIZES[split] if n is None else n
    if size < 0 or seed < 0:
        raise ConfigError(f"found n {size} and seed {seed}, expected neither below 0")
    tags = frozenset(() if theorems is None else theorems)
    if theorems is not None:
        strange = sorted(tags - set(TAGS))
        if strange or not tags:
            raise ConfigError(f"found theorems {strange or 'none'}, expected some of {', '.join(TAGS)}")
        homes = {name for tag in tags for name in theorem_homes().get(tag, CONSTRUCTIONS)}
        wanted = tuple(name for name in (wanted or CONSTRUCTIONS) if name in homes) or wanted
    return EuclidSource(split, size, seed, ",".join(wanted), tags)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One supervised pair: the picture, the problem it belongs to, and the right solution, which ends in
    "Answer: ..."."""

    image: ImageSource
    problem: Problem
    rationale: str


def lessons(n: int, seed: int = 0, split: str = "train", open_share: float = 0.5) -> Iterator[Lesson]:
    """`n` lessons in order; in a share of them the choices are taken away. The solution is always right."""
    for problem in source(split, n, seed):
        item = item_of(problem)
        rng = random.Random(f"euclid|lesson|{problem.id}")
        asked = problem.open() if rng.random() < open_share else problem
        yield Lesson(problem.images[0], asked, item.rationale)


def rationale_of(problem: Problem) -> str:
    """The right solution of a problem of this world, its own id or another. Raises DataError for other problems."""
    return item_of(problem).rationale


__all__ = ["SIZES", "EuclidSource", "Lesson", "lessons", "rationale_of", "source", "theorem_homes"]
