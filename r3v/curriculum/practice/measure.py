"""Quantities of a figure measured from where its points lie, with none of the formulas that solve the problem."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from r3v.data.geoworld.core import Draft, Point

TOLERANCE = 1e-5
"""Relative. Points are exact up to rounding, so a wrong integer is never within it."""


def opening(p: Point, vertex: Point, q: Point) -> float:
    """The angle p-vertex-q in degrees, 0..180."""
    a = math.degrees(math.atan2(p[1] - vertex[1], p[0] - vertex[0]))
    b = math.degrees(math.atan2(q[1] - vertex[1], q[0] - vertex[0]))
    return abs((b - a + 180) % 360 - 180)


def measure(kind: Sequence[str], points: Mapping[str, Point]) -> float:
    """The quantity `kind` (see `r3v.data.geoworld.core.Measure`) of a figure, in its own units.

    Raises ValueError for an unknown kind.
    """
    at = [points[name] for name in kind[1:]]
    match kind[0]:
        case "angle":
            return opening(at[0], at[1], at[2])
        case "length":
            return math.dist(at[0], at[1])
        case "perimeter":
            return sum(math.dist(p, q) for p, q in zip(at, [*at[1:], at[0]], strict=True))
        case "area":
            turns = zip(at, [*at[1:], at[0]], strict=True)
            return abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in turns)) / 2
        case "disc":
            return math.pi * math.dist(at[0], at[1]) ** 2
        case "sector":
            return math.pi * math.dist(at[0], at[1]) ** 2 * opening(at[0], at[1], at[2]) / 360
    raise ValueError(f"found measure {kind[0]!r}, expected angle, length, perimeter, area, disc or sector")


def disagreement(draft: Draft, answer: float) -> str | None:
    """What a to-scale drawing contradicts: the first given or the answer that does not measure as stated, or None."""
    for given in draft.givens:
        found = measure(given.measure, draft.points)
        if abs(found - given.value) > TOLERANCE * max(1.0, abs(given.value)):
            return f"{given.label} is stated as {given.value}, the figure measures {found:g}"
    found = measure(draft.target_measure, draft.points)
    if abs(found - answer) > TOLERANCE * max(1.0, abs(answer)):
        return f"the answer is stated as {answer:g}, the figure measures {found:g}"
    return None
