"""From a mixture to the items that are practised: make, sift, score, choose; and their file.

Every step is a pure function of its arguments (the generator and the model aside), so that a step that was interrupted
gives the same items when it is done again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r3v.curriculum.practice.item import Generator, Target, add_check, provenance_of
from r3v.curriculum.practice.quality import Benchmarks, Repeats, sift
from r3v.curriculum.spiral.config import PracticeGroup
from r3v.data.source import open_form
from r3v.errors import ConfigError, DataError, RunError
from r3v.io import atomic_path
from r3v.records import BytesImage, Outcome, Problem
from r3v.rollout.shards import read_shard, shard_paths

_COLUMNS = ("id", "question", "answer", "kind", "choices", "unit", "tolerance", "skills", "split", "source", "meta")


def skill_of(problem: Problem) -> str:
    """The skill that an item was made for; empty where it was made for any."""
    return str(provenance_of(problem).target.get("skill") or "")


# ---- make ----------------------------------------------------------------------------------------


@dataclass
class Made:
    """Items by the skill they were made for, and what was dropped: reason -> number."""

    items: list[Problem] = field(default_factory=list)
    made: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def make(
    generator: Generator,
    wanted: Mapping[str, int],
    config: PracticeGroup,
    seed: int,
    *,
    as_open: bool = False,
    benchmarks: Benchmarks | None = None,
    earlier: Iterable[Problem] = (),
) -> Made:
    """Items for each skill, `config.overdraw` times as many as wanted where they are scored afterwards, after all
    quality control that needs no model. `earlier` items are not made again. A skill of which the generator knows
    nothing gives none and is counted as `impossible`."""
    found, known = Made(), Repeats()
    ids = set()
    for problem in earlier:
        known.add(problem)
        ids.add(problem.id)
    more = config.overdraw if config.score_k else 1.0
    for skill, count in wanted.items():
        for target, n in _targets(skill, math.ceil(count * more), config.levels):
            try:
                drawn = list(generator.generate(target, n, seed=seed))
            except (ConfigError, DataError):
                found.dropped["impossible"] += n
                continue
            found.made += len(drawn)
            found.dropped["exhausted"] += n - len(drawn)
            fresh = [p for p in drawn if p.id not in ids]
            found.dropped["duplicate"] += len(drawn) - len(fresh)
            ids.update(p.id for p in fresh)
            asked = [open_form(p) for p in fresh] if as_open else fresh
            sifted = sift(asked, check=generator.check, benchmarks=benchmarks, repeats=known)
            found.items += sifted.kept
            found.dropped.update(sifted.counts)
    found.dropped = +found.dropped
    return found


def _targets(skill: str, n: int, levels: Sequence[int]) -> list[tuple[Target, int]]:
    if not levels:
        return [(Target(skill), n)] if n else []
    share = [n // len(levels) + (i < n % len(levels)) for i in range(len(levels))]
    return [(Target(skill, level), count) for level, count in zip(levels, share, strict=True) if count]


# ---- score and choose ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """How often the model solves an item: `correct` of `counted` answers."""

    correct: int
    counted: int

    @property
    def share(self) -> float | None:
        return self.correct / self.counted if self.counted else None


def rates_of(folder: Path) -> dict[str, Rate]:
    """Problem id -> pass rate, from shards of graded answers; UNAVAILABLE ones are not counted."""
    right: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for path in shard_paths(folder):
        for graded in read_shard(path):
            name, verdict = graded.candidate.problem_id, graded.verdict
            counted[name] += verdict.outcome is not Outcome.UNAVAILABLE
            right[name] += verdict.correct
    return {name: Rate(right[name], counted[name]) for name in counted}


@dataclass
class Chosen:
    """The items to practise, and why the others are not: reason -> number."""

    items: list[Problem] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    filled: int = 0


def choose(
    items: Sequence[Problem], rates: Mapping[str, Rate] | None, wanted: Mapping[str, int], config: PracticeGroup
) -> Chosen:
    """For each skill its number of items inside the pass-rate window, in the order they were made. Where a skill has
    too few, the surplus of the others fills up, most wanted skills first; with `config.fill`, then the items outside
    the window, nearest to it first. `rates` None: every item is inside."""
    found, inside, outside = Chosen(), dict[str, list[Problem]](), list[tuple[float, Problem]]()
    for problem in items:
        rate = None if rates is None else rates.get(problem.id, Rate(0, 0))
        if rate is not None and rate.share is None:
            found.left["unanswered"] += 1
        elif rate is not None and rate.share is not None and not config.low <= rate.share <= config.high:
            found.left["too_hard" if rate.share < config.low else "too_easy"] += 1
            outside.append((max(config.low - rate.share, rate.share - config.high), _noted(problem, rate)))
        else:
            inside.setdefault(skill_of(problem), []).append(problem if rate is None else _noted(problem, rate))
    surplus = []
    for skill, count in sorted(wanted.items(), key=lambda pair: (-pair[1], pair[0])):
        mine = inside.pop(skill, [])
        found.items += mine[:count]
        surplus += mine[count:]
    total = sum(wanted.values())
    missing = total - len(found.items)
    found.items += surplus[:missing]
    found.left["surplus"] = len(surplus) - len(surplus[:missing])
    if config.fill:
        outside.sort(key=lambda pair: pair[0])
        extra = [problem for _, problem in outside[: total - len(found.items)]]
        found.items += extra
        found.filled = len(extra)
    found.left = +found.left
    return found


def _noted(problem: Problem, rate: Rate) -> Problem:
    return add_check(problem, {"by": "learner", "correct": rate.correct, "counted": rate.counted})


def replayed(earlier: Sequence[Problem], wanted: Mapping[str, int], seed: int) -> list[Problem]:
    """Items of earlier practice to repeat, by skill; which ones depends on `seed` and their ids alone."""
    found = []
    for skill, count in sorted(wanted.items()):
        mine = {p.id: p for p in earlier if skill_of(p) == skill}
        order = sorted(mine, key=lambda i: hashlib.sha256(f"replay|{seed}|{i}".encode()).digest())
        found += [mine[i] for i in order[:count]]
    return found


# ---- file ----------------------------------------------------------------------------------------


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """A Parquet file with one row for each problem, pictures included, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    other = {"choices": pa.list_(text), "skills": pa.list_(text), "tolerance": pa.float64()}
    schema = pa.schema([(name, other.get(name, text)) for name in _COLUMNS] + [("images", pa.list_(pa.binary()))])
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist([_row(p) for p in problems], schema=schema), temporary, compression="zstd")


def _row(problem: Problem) -> dict[str, Any]:
    row = {name: getattr(problem, name) for name in _COLUMNS}
    row["choices"] = None if problem.choices is None else list(problem.choices)
    row["skills"], row["meta"] = list(problem.skills), json.dumps(problem.meta, ensure_ascii=False)
    return {**row, "images": [image.read() for image in problem.images]}


def read_problems(path: Path) -> list[Problem]:
    """The problems of such a file. Raises RunError for a missing or damaged one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, use_threads=False).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"{path}: cannot be read ({error}); put it back, or use another --run.dir") from error
    return [_problem(row) for row in rows]


def _problem(row: dict[str, Any]) -> Problem:
    images = tuple(BytesImage(data, f"picture {i} of {row['id']}") for i, data in enumerate(row.pop("images")))
    choices = None if row["choices"] is None else tuple(row["choices"])
    return Problem(**{**row, "choices": choices, "skills": tuple(row["skills"]), "meta": json.loads(row["meta"])},
                   images=images)  # fmt: skip
