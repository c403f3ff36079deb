"""A grader for choice problems that were asked open: the value stated must be the gold choice, and no other.

The reply never saw the choices, so it names no letter; it states a number, read by the rules of every other number.

- That number *is* a choice where the grader takes it for that number: exactly for whole numbers and short decimals, or
  equal after rounding to the choice's printed decimals; within `tolerance` (0.5 %) where the choice is a long decimal,
  a root or pi written out, so that 3.46 and 2√3 are both 3.4641016.
- It is that choice alone: no other choice is as near or nearer. Half-way between two is none of them.
- Choices of equal value are one choice. A choice without a value ("none of these", "None") is never meant.
- A number that is no choice is WRONG, and `extracted` is None: it is no vote, and `first` passes it over.
- `extracted` is the text of the choice, the first of equal ones.

The problem's answer is the text of the gold choice. `options` and `values` in its `meta` are the choices as they would
be shown and as they were before their decimals were cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from r3v.grading import compare, numeric, rules
from r3v.grading.judge import find
from r3v.grading.number import Quantity, Unread
from r3v.records import Outcome, Problem, Verdict

OPTIONS, VALUES, TOLERANCES = "options", "values", "tolerances"


@dataclass(frozen=True, slots=True)
class Held:
    """A choice with a value: its text, and how far from it a number may lie (relative; None: by printed decimals)."""

    text: str
    quantity: Quantity
    tolerance: float | None


def nearest_choice(problem: Problem, text: str) -> Verdict:
    """The verdict on a reply to an open question whose choices are known (see the module docstring)."""
    reading = find(problem, text)
    if isinstance(reading, Unread):
        return Verdict(Outcome.UNPARSED, None, reading.reason)
    choices = choices_of(problem.meta)
    if reading.quantity is None:
        return Verdict(Outcome.UNPARSED, None, f"{reading.raw[:60]!r} is no number")
    named = chosen(choices, reading.quantity)
    if named is None:
        offered = ", ".join(choice.text for choice in choices)
        return Verdict(Outcome.WRONG, None, f"{reading.canonical} is none of {offered} alone")
    gold = gold_of(choices, problem)
    return Verdict(Outcome.CORRECT if gold is named else Outcome.WRONG, named.text)


def choices_of(meta: Mapping[str, Any]) -> tuple[Held, ...]:
    """The choices with a value, each value once, in order."""
    values, tolerances = meta.get(VALUES, meta[OPTIONS]), meta.get(TOLERANCES) or [None] * len(meta[OPTIONS])
    return _choices(rules.TABLE, tuple(meta[OPTIONS]), tuple(values), tuple(tolerances))


@lru_cache(maxsize=8192)
def _choices(
    table: rules.Table, options: tuple[str, ...], values: tuple[str, ...], tolerances: tuple[float | None, ...]
) -> tuple[Held, ...]:
    found: list[Held] = []
    for text, value, tolerance in zip(options, values, tolerances, strict=True):
        quantity = numeric.quantity(value, numeric.Asked(nouns=False))
        if isinstance(quantity, Quantity) and not any(_apart(quantity, other.quantity) == 0 for other in found):
            found.append(Held(text, quantity, tolerance))
    return tuple(found)


def gold_of(choices: Sequence[Held], problem: Problem) -> Held | None:
    """The choice that the problem's answer is: by its text, or by its value where an equal choice stands before it."""
    options = list(problem.meta[OPTIONS])
    if problem.answer not in options:  # a problem whose gold is hidden
        return None
    value = problem.meta.get(VALUES, options)[options.index(problem.answer)]
    quantity = numeric.quantity(value, numeric.Asked(nouns=False))
    if not isinstance(quantity, Quantity):
        return None
    return next((choice for choice in choices if _apart(quantity, choice.quantity) == 0), None)


def chosen(choices: Sequence[Held], stated: Quantity) -> Held | None:
    """The choice that a number is, alone; None for a number that is no choice or lies between two."""
    if not choices:
        return None
    near = min(choices, key=lambda choice: _apart(stated, choice.quantity))
    least = _apart(stated, near.quantity)
    for other in choices:
        distance = _apart(stated, other.quantity)
        if other is not near and (distance <= least or math.isclose(distance, least, rel_tol=1e-9)):
            return None
    return near if compare.equal(near.quantity, stated, near.tolerance) else None


def _apart(stated: Quantity, choice: Quantity) -> float:
    """How far a number lies from a choice; "45%" is 45 and 0.45, whichever is nearer."""
    value, other = compare.in_units_of(stated, choice).value, float(choice.value)
    if compare.same(value, choice.value):
        return 0.0
    found = abs(float(value) - other)
    if stated.percent == choice.percent:
        return found
    scaled = float(value) * (100 if choice.percent else 0.01)
    return min(found, abs(scaled - other))
