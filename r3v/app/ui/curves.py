"""The numbers of the steps that a run has made so far, from the files that it writes while it works.

`logs/csv` where the run was told to write it (`run.log csv`), every ten steps; else `losses.csv` of each round's fit,
every ten seconds, and `steps.csv` and `iterations.jsonl` of a reinforcement, at every checkpoint.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Series = dict[str, list[float]]
MOST_POINTS = 400
"""Points of a drawn line; of more, each is the mean of several."""
LOGGED = {
    "train/loss": "Loss", "train/grad_norm": "Norm of the gradient", "train/tokens_per_second": "Tokens per second",
    "iteration/reward": "Reward", "iteration/accuracy": "Share of right answers", "iteration/loss": "Loss",
}  # fmt: skip
"""Columns of the log that are drawn, and what they are called."""


def curves(folder: Path) -> dict[str, Series]:
    """Title of a chart -> name of a line -> values in the order of their steps. Half-written last lines are passed
    over."""
    found: dict[str, Series] = {}
    for name, values in _logged(folder):
        found.setdefault(LOGGED[name], {})[name.partition("/")[2].replace("_", " ")] = values
    if not found:
        for title, name, values in _written(folder):
            found.setdefault(title, {})[name] = values
    return found


def thinned(values: list[float]) -> tuple[list[float], int]:
    """At most `MOST_POINTS` values, each the mean of so many."""
    each = -(-len(values) // MOST_POINTS)
    parts = [values[i : i + each] for i in range(0, len(values), each)] if each > 1 else [[v] for v in values]
    return [sum(part) / len(part) for part in parts], max(1, each)


def _logged(folder: Path) -> Iterator[tuple[str, list[float]]]:
    """The columns of all logs of the run together; a resumed run begins a new one, whose steps count where both have
    them."""
    steps: dict[str, dict[int, float]] = {}
    places = (folder / "logs" / "csv").glob("version_*/metrics.csv")
    for path in sorted(places, key=lambda p: int(p.parent.name.removeprefix("version_"))):
        for row in _rows(path):
            step = _number(row.get("step"))
            for name in LOGGED:
                value = _number(row.get(name))
                if value is not None and step is not None:
                    steps.setdefault(name, {})[int(step)] = value
    for name, values in steps.items():
        yield name, [values[step] for step in sorted(values)]


def _written(folder: Path) -> Iterator[tuple[str, str, list[float]]]:
    for path in sorted([*folder.glob("round_*/losses.csv"), *folder.glob("round_*/*/round_*/losses.csv")]):
        name = _turn("round", path.parent)
        if path.parent.parent != folder:
            name = f"{_turn('iteration', path.parent.parent.parent)}, {name}"
        if values := _column(_rows(path), "loss"):
            yield "Loss", name, values
    for path in sorted([*folder.glob("steps.csv"), *folder.glob("round_*/*/steps.csv")]):
        where = "steps" if path.parent == folder else _turn("iteration", path.parent.parent)
        if values := _column(_rows(path), "loss"):
            yield "Loss", where, values
        lines = path.with_name("iterations.jsonl")
        for column, title in (("reward", "Reward"), ("accuracy", "Share of right answers")):
            if lines.exists() and (values := _column(_lines(lines), column)):
                yield title, where, values


def _turn(word: str, folder: Path) -> str:
    """round_03 as `round 3`; of a spiral, whose learners keep runs of their own below it, `iteration 3`."""
    number = folder.name.removeprefix("round_")
    return f"{word} {int(number)}" if number.isdecimal() else folder.name


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.DictReader(line for line in file if line.endswith("\n")))


def _lines(path: Path) -> list[dict[str, object]]:
    found = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [row for row in found if isinstance(row, dict)]


def _column(rows: Iterable[Mapping[str, object]], name: str) -> list[float]:
    return [value for row in rows if (value := _number(row.get(name))) is not None]


def _number(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
