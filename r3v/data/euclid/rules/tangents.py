"""Rules of tangents, and the measures of circles and sectors."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

from r3v.data.euclid.exact import PI, number
from r3v.data.euclid.figure import Fact, Figure
from r3v.data.euclid.rules.base import close, implies, linear, product, right, same, side_of, table
from r3v.data.euclid.solve import Instance

RULES = table(
    ("tangent_radius", "tangent_of_circle_property_perpendicular", "A tangent is perpendicular to the radius."),
    (
        "tangent_by_right_angle",
        "tangent_of_circle_judgment_perpendicular",
        "A perpendicular to a radius at its end is a tangent.",
    ),
    ("tangent_lengths", "tangent_of_circle_property_length_equal", "Two tangents from one point are equal."),
    (
        "tangent_centre",
        "tangent_of_circle_property_length_equal",
        "The line from the centre to a point halves the angle of its two tangents.",
    ),
    (
        "tangent_kite",
        "tangent_of_circle_property_perpendicular quadrilateral_property_angle_sum",
        "The angle of two tangents and the central angle of their points sum to 180.",
    ),
    (
        "tangent_chord",
        "circle_property_angle_of_osculation",
        "The angle between tangent and chord equals the inscribed angle over the chord.",
    ),
    (
        "tangent_power",
        "circle_property_circular_power_tangent_and_segment_line",
        "The square of a tangent is the product of the segments of a secant from the same point.",
    ),
    (
        "sector_area",
        "sector_area_formula",
        "The area of a sector is πr² times its angle over 360.",
    ),
    ("arc_length", "arc_length_formula", "The length of an arc is 2πr times its angle over 360."),
    ("circle_area", "circle_area_formula", "The area of a circle is πr²."),
    ("circumference", "circle_perimeter_formula", "The circumference of a circle is 2πr."),
)


def ground(figure: Figure) -> Iterator[Instance]:
    for centre, names in figure.circles.items():
        yield from _tangents(figure, centre, names)
        yield from _measures(figure, centre)


def tangents(figure: Figure, o: str) -> list[tuple[str, str]]:
    """(point of contact, another point) of every line that touches the circle."""
    found = []
    for p in figure.circles[o]:
        for ray in figure.rays.get(p, []):
            turn = abs((ray.turn - figure.turn(p, o) + 180) % 360 - 180)
            if close(turn, 90.0):
                found += [(p, x) for x in ray.points]
    return found


def touching(figure: Figure, o: str, p: str, x: str) -> Fact:
    """The fact that px touches the circle at p, under the name of its line."""
    return ("touches", figure.line_of[p, x], p, o)


def _tangents(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    lines = tangents(figure, o)
    for p, x in lines:
        fact = touching(figure, o, p, x)
        words = f"{x}{p} is tangent to circle {o} at {p}"
        angle = figure.angle(o, p, x)
        if angle:
            yield linear("tangent_radius", words, [(1, angle)], 90, [fact])
            yield implies("tangent_by_right_angle", lambda n, a=angle: f"{n.quantity(a)} = 90", [right(angle)], fact)
        for q in names:
            chord = figure.angle(x, p, q) if q != p else None
            if chord is None:
                continue
            for c in names:
                inscribed = figure.angle(p, c, q) if c not in (p, q) else None
                if inscribed and side_of(figure, p, q, c) * side_of(figure, p, q, x) < 0:
                    yield same("tangent_chord", words, chord, inscribed, [fact])
        yield from _secants(figure, o, names, p, x, fact)
    for (p, x), (q, y) in combinations(lines, 2):
        if x == y and p != q:
            yield from _two_tangents(figure, o, x, p, q)


def _secants(figure: Figure, o: str, names: tuple[str, ...], p: str, x: str, fact: Fact) -> Iterator[Instance]:
    for ray in figure.rays[x]:
        cut = [r for r in ray.points if r in names]
        if len(cut) == 2 and p not in cut:
            near, far = (figure.length_key(x, r) for r in cut)
            tangent = figure.length_key(x, p)
            yield product(
                "tangent_power",
                lambda n, t=tangent, a=near, b=far: f"{n.quantity(t)}² = {n.quantity(a)} * {n.quantity(b)}",
                [(2, tangent), (-1, near), (-1, far)],
                number(1),
                [fact],
            )


def _two_tangents(figure: Figure, o: str, x: str, p: str, q: str) -> Iterator[Instance]:
    needs = [touching(figure, o, p, x), touching(figure, o, q, x)]
    words = f"{x}{p} and {x}{q} are tangents of circle {o}"
    yield same("tangent_lengths", words, figure.length_key(x, p), figure.length_key(x, q), needs)
    tip, central = figure.angle(p, x, q), figure.angle(p, o, q)
    if tip and central:
        why = f"{words}, so angles {o}{p}{x} and {o}{q}{x} are 90"
        yield linear("tangent_kite", why, [(1, tip), (1, central)], 180, needs)
    if (o, x) in figure.line_of:
        one, other = figure.angle(p, x, o), figure.angle(o, x, q)
        if one and other and tip:
            yield same("tangent_centre", words, one, other, needs)
            for half in (one, other):
                yield linear("tangent_centre", words, [(1, tip), (-2, half)], 0, needs)


def _measures(figure: Figure, o: str) -> Iterator[Instance]:
    radius = ("radius", o)
    yield product("circle_area", lambda n: f"{n.quantity(('disc', o))} = π * r²", [(1, ("disc", o)), (-2, radius)], PI)
    yield product(
        "circumference",
        lambda n: f"{n.quantity(('round', o))} = 2 * π * r",
        [(1, ("round", o)), (-1, radius)],
        PI * number(2),
    )
    for p, q in combinations(figure.circles[o], 2):
        angle = figure.angle(p, o, q)
        if angle is None:
            continue
        sector, curve = ("sector", o, *sorted((p, q))), ("curve", o, *sorted((p, q)))
        yield product(
            "sector_area",
            lambda n, q=sector: f"{n.quantity(q)} = n / 360 * π * r²",
            [(1, sector), (-1, angle), (-2, radius)],
            PI * number(Fraction(1, 360)),
        )
        yield product(
            "arc_length",
            lambda n, q=curve: f"{n.quantity(q)} = n / 180 * π * r",
            [(1, curve), (-1, angle), (-1, radius)],
            PI * number(Fraction(1, 180)),
        )
