"""Two runs side by side: which settings differ, and what each measured, paired on the problems that both answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.app.ui.standing import settings_of
from r3v.errors import RunError
from r3v.pages.report import read_json, read_reports
from r3v.run.controls import Paired, paired
from r3v.run.evaluation import read_rows

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Side:
    """The accepted round of a run: its number, the accuracies by metric, and the rows they were counted from."""

    number: int
    cells: Mapping[str, Mapping[str, Any]]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Comparison:
    """`fields`: name and both values of every setting that differs, "-" for one that a run does not have. `common`:
    problems that both were measured on, by id and right answer, `other`: problems of the same id and another answer.
    `pairs`: metric -> the second run against the first on the common ones."""

    fields: Sequence[tuple[str, str, str]]
    sides: tuple[Side, Side]
    common: int
    other: int
    pairs: Mapping[str, Paired]


def compare(first: Path, second: Path) -> Comparison:
    """Raises RunError where one of them has not measured anything yet."""
    sides = side(first), side(second)
    golds = [{row["problem_id"]: row["gold"] for row in one.rows} for one in sides]
    shared = golds[0].keys() & golds[1].keys()
    same = {name for name in shared if golds[0][name] == golds[1][name]}
    rows = [[row for row in one.rows if row["problem_id"] in same] for one in sides]
    pairs: dict[str, Paired] = {}
    for metric in [name for name in sides[0].cells if name in sides[1].cells]:
        try:
            pairs[metric] = paired(rows[1], metric, rows[0], metric, "the first run")
        except RunError:  # no problem that both answered: the accuracies stand side by side all the same
            continue
    fields = differing(settings_of(first), settings_of(second))
    return Comparison(fields, sides, len(same), len(shared) - len(same), pairs)


def side(folder: Path) -> Side:
    """What the accepted round of a run measured. Raises RunError where there is none."""
    if not read_reports(folder):
        raise RunError(f"{folder.name}: no round measured yet, so there is nothing to compare")
    number = read_json(folder / "run.json")["accepted_round"]
    place = folder / f"round_{number:02d}"
    return Side(number, read_json(place / "report.json")["eval"], read_rows(place / "eval.parquet"))


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Dotted name and both values of what differs, in the order of the settings; where the runs lie does not count."""
    a, b = _flat(first), _flat(second)
    names = [*a, *(name for name in b if name not in a)]
    return [
        (name, a.get(name, "-"), b.get(name, "-")) for name in names if a.get(name) != b.get(name) and name != "run.dir"
    ]


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = str(value)
    return found
