"""What each note is worth: problems that were shown it against problems from which it was withheld at random.

While batches are solved a small share of retrieved notes is not shown. Who goes without is drawn from ids and a
seed alone, so the difference of the two shares of right answers is an unbiased measure of the note's effect on the
problems it is retrieved for. Only exposures of a note's present revision count, and only those with an outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from r3v.notebook.store.note import Note
from r3v.records import Outcome
from r3v.stats import wilson


@dataclass(frozen=True, slots=True)
class Value:
    """Counts of one revision and its benefit (share right when shown minus when withheld) with an interval.

    `benefit` is None until both sorts of exposure have happened."""

    note: str
    revision: str
    shown: int = 0
    shown_right: int = 0
    withheld: int = 0
    withheld_right: int = 0
    benefit: float | None = None
    low: float = -1.0
    high: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def difference(right_a: int, n_a: int, right_b: int, n_b: int, z: float = 1.96) -> tuple[float, float, float]:
    """Share a minus share b with Newcombe's hybrid score interval (Newcombe 1998, method 10).

    Raises ValueError where a group is empty.
    """
    if not n_a or not n_b:
        raise ValueError(f"found groups of {n_a} and {n_b}, expected at least one in each")
    a, b = right_a / n_a, right_b / n_b
    (low_a, high_a), (low_b, high_b) = wilson(right_a, n_a, z), wilson(right_b, n_b, z)
    low = a - b - math.hypot(a - low_a, high_b - b)
    high = a - b + math.hypot(high_a - a, b - low_b)
    return a - b, max(-1.0, low), min(1.0, high)


def values(
    notes: Mapping[str, Note], exposures: Iterable[Mapping[str, Any]], z: float = 1.96, *, solver: str | None = None
) -> dict[str, Value]:
    """Note id -> value, for the present revision of every note.

    `exposures` are the data of `retrieved` events that carry an `outcome`: `{"note", "revision", "withheld",
    "outcome"}`; others are passed over. With `solver`, so are those of other solvers: what helps one may hurt another.
    """
    found = {name: Value(name, note.revision) for name, note in notes.items()}
    for row in exposures:
        value = found.get(row.get("note", ""))
        outcome = row.get("outcome")
        if value is None or value.revision != row.get("revision") or solver not in (None, row.get("solver")):
            continue
        if outcome is None or outcome == Outcome.UNAVAILABLE.value:
            continue
        right = int(outcome == Outcome.CORRECT.value)
        if row.get("withheld"):
            value = replace(value, withheld=value.withheld + 1, withheld_right=value.withheld_right + right)
        else:
            value = replace(value, shown=value.shown + 1, shown_right=value.shown_right + right)
        found[value.note] = value
    return {name: _measured(value, z) for name, value in found.items()}


def _measured(value: Value, z: float) -> Value:
    if not value.shown or not value.withheld:
        return value
    counts = (value.shown_right, value.shown, value.withheld_right, value.withheld)
    benefit, low, high = difference(*counts, z=z)
    return replace(value, benefit=benefit, low=low, high=high)


def harmful(found: Mapping[str, Value], least: int) -> list[Value]:
    """Notes with at least `least` exposures of each sort whose whole interval is below zero."""
    return [v for v in found.values() if v.shown >= least and v.withheld >= least and v.high < 0.0]
