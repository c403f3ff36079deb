"""GeoWorld as sequences of problems, and as folders of pictures.

A source holds a length and a seed; each problem is made when asked for, so memory does not grow with the
length.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from r3v.data.geoworld.make import families_of, make
from r3v.errors import ConfigError
from r3v.io import atomic_dir, atomic_write
from r3v.records import Problem

SIZES = {"warmup": 200_000, "train": 20_000, "gate": 1_000, "test": 2_000, "novel": 2_000}
_SEED_STRIDE = 10_000_000


class GeoWorldSource(Sequence[Problem]):
    """Problems of one split, made on demand.

    Every block of consecutive problems holds each family once, in an order of its own. A choice of
    families keeps those problems of the full sequence, with the ids they have there; so an id means one
    problem whatever `n`.
    """

    def __init__(self, split: str, n: int, seed: int, families: tuple[str, ...]) -> None:
        self.split, self.seed, self.families = split, seed, families
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
        return self._problem(index)

    def __iter__(self) -> Iterator[Problem]:
        return (self._problem(i) for i in range(self._n))

    def _problem(self, index: int) -> Problem:
        every = families_of(self.split)
        block, offset = divmod(index, len(self.families))
        rng = random.Random(f"geoworld|{self.split}|{self.seed}|block {block}")
        order = rng.sample(every, len(every))
        levels = [rng.randint(1, 5) for _ in every]
        place = [i for i, family in enumerate(order) if family in self.families][offset]
        position = block * len(every) + place
        item = make(order[place], levels[place], self.seed * _SEED_STRIDE + position, self.split)
        tag = f"-s{self.seed}" if self.seed else ""
        return replace(item.problem, id=f"geoworld-{self.split}{tag}-{position:06d}")


def source(split: str, n: int | None = None, seed: int = 0, families: Iterable[str] | None = None) -> GeoWorldSource:
    """The first `n` problems of a split (None: its usual size). Raises ConfigError for an unknown split or
    family.
    """
    every = families_of(split)
    wanted = every if families is None else tuple(dict.fromkeys(families))
    unknown = [name for name in wanted if name not in every]
    if unknown or not wanted:
        raise ConfigError(
            f"found families {unknown or 'none'} for split {split!r}, expected some of {', '.join(every)}"
        )
    size = SIZES[split] if n is None else n
    if not 0 <= size <= _SEED_STRIDE // 2 or seed < 0:
        raise ConfigError(f"found n {size} and seed {seed}, expected n up to {_SEED_STRIDE // 2} and seed at least 0")
    return GeoWorldSource(split, size, seed, wanted)


def problem_row(problem: Problem, image: str) -> dict[str, Any]:
    """A problem as one JSON object of a problems.jsonl file."""
    return {
        "id": problem.id,
        "image": image,
        "question": problem.question,
        "choices": list(problem.choices) if problem.choices else None,
        "answer": problem.answer,
        "kind": problem.kind,
        "skills": list(problem.skills),
        "split": problem.split,
        "meta": dict(problem.meta),
    }


def write_dataset(split: str, n: int | None, out: str | Path, seed: int = 0) -> Path:
    """Write images/*.png and problems.jsonl to the folder `out`, which appears whole or not at all.

    Raises ConfigError where `out` exists and is not an earlier such folder.
    """
    target = Path(out)
    if target.is_dir() and any(target.iterdir()) and not (target / "problems.jsonl").exists():
        raise ConfigError(
            f"found other files in {target}, expected a new folder or an earlier data set. Choose another --out"
        )
    with atomic_dir(target) as folder:
        (folder / "images").mkdir()
        lines = []
        for problem in source(split, n, seed):
            name = f"images/{problem.id}.png"
            (folder / name).write_bytes(problem.images[0].read())
            lines.append(json.dumps(problem_row(problem, name), ensure_ascii=False))
        atomic_write(folder / "problems.jsonl", "".join(f"{line}\n" for line in lines))
    return target
