"""Families kept out of the warm-up, training, gate and test splits: each is one rule applied to the numbers
shown.
"""

from __future__ import annotations

import math

from r3v.data.geoworld.core import Draft, Draw, Given, Method
from r3v.data.geoworld.shapes import angle, at, circle, length, path, polygon, seg, ticks

SUM = "The angles of a triangle sum to 180."
RHOMBUS = "The area of a rhombus is half of the product of the diagonals."
O = (0.0, 0.0)  # noqa: E741 - the usual letter of a centre


def cyclic_quadrilateral(d: Draw) -> Draft | None:
    """The angle opposite to a given one in a quadrilateral with its vertices on a circle."""
    a, b, c, e = d.names(4)
    x = d.angle(55, 125)
    points = {"O": O, b: at(O, -x, 5), e: at(O, x, 5), a: at(O, 180 + d.rng.uniform(-15, 15), 5)}
    points[c] = at(O, d.rng.uniform(-0.25, 0.25) * x, 5)
    return Draft(
        "In circle O",
        (f"{a}{b}{c}{e} is a cyclic quadrilateral",),
        (Given("a", f"angle {a}", x, angle(b, a, e)),),
        f"angle {c}",
        angle(b, c, e),
        Method("Opposite angles of a cyclic quadrilateral sum to 180.", ("180 - a = t",)),
        (
            Method("Opposite angles are equal.", (), "a"),
            Method("The angles of a quadrilateral sum to 360.", ("360 - a = t",)),
            Method("The central angle is double the inscribed angle.", ("a * 2 = t",)),
            Method("A bisector halves the angle.", ("a / 2 = t",)),
        ),
        "Opposite angles of a cyclic quadrilateral sum to 180, so subtract the angle from 180.",
        ("theorem:cyclic_quadrilateral", "perception:circle"),
        points,
        (circle("O", a), *polygon(a, b, c, e)),
        hidden=("O",),
    )


def tangent_radius(d: Draw) -> Draft | None:
    """The central angle of a tangent's right triangle from the angle at the outer point."""
    a, p = d.names(2)
    x = d.angle(25, 50)
    far = 5 / math.sin(math.radians(x))
    points = {"O": O, a: at(O, 90, 5), p: at(O, x, far)}
    return Draft(
        "In circle O",
        (f"{p}{a} is a tangent at {a}",),
        (Given("p", f"angle O{p}{a}", x, angle("O", p, a)),),
        f"angle {a}O{p}",
        angle(a, "O", p),
        Method("A tangent is perpendicular to the radius.", ("90 - p = t",)),
        (
            Method(SUM, ("180 - p = t",)),
            Method("The base angles are equal.", (), "p"),
            Method("The central angle is double the inscribed angle.", ("p * 2 = t",)),
            Method("The base angles are equal.", ("180 - p = s", "s / 2 = t")),
        ),
        "A tangent is perpendicular to the radius, so subtract the angle from 90.",
        ("theorem:tangent_radius", "perception:circle"),
        points,
        (circle("O", a), *polygon("O", a, p)),
    )


def two_tangents(d: Draw) -> Draft | None:
    """The central angle between two tangents' points from the angle at the outer point."""
    a, b, p = d.names(3)
    x = d.angle(40, 84)
    far = 5 / math.sin(math.radians(x / 2))
    points = {"O": O, p: (far, 0.0), a: at(O, 90 - x / 2, 5), b: at(O, x / 2 - 90, 5)}
    return Draft(
        "In circle O",
        (f"{p}{a} and {p}{b} are tangents",),
        (Given("p", f"angle {a}{p}{b}", x, angle(a, p, b)),),
        f"angle {a}O{b}",
        angle(a, "O", b),
        Method("The angle of two tangents and the central angle sum to 180.", ("180 - p = t",)),
        (
            Method("Opposite angles are equal.", (), "p"),
            Method("The angles of a quadrilateral sum to 360.", ("360 - p = t",)),
            Method("The central angle is double the inscribed angle.", ("p * 2 = t",)),
            Method("The base angles are equal.", ("180 - p = s", "s / 2 = t")),
        ),
        "The angle of two tangents and the central angle sum to 180, so subtract the angle from 180.",
        ("theorem:two_tangents", "perception:circle"),
        points,
        (circle("O", a), *path(p, a, "O", b, p)),
    )


def trapezoid_midline(d: Draw) -> Draft | None:
    """The midline of a trapezoid from its two bases."""
    a, b, c, e, m, n = d.names(6)
    top, base = d.length(4, 14), d.length(8, 24)
    if (top + base) % 2 or not 0.3 <= top / base <= 0.75:
        return None
    high, shift = d.rng.uniform(0.55, 0.75) * base, d.rng.uniform(0.2, 0.8) * (base - top)
    points = {b: (0.0, 0.0), c: (float(base), 0.0), a: (shift, high), e: (shift + top, high)}
    points[m] = (shift / 2, high / 2)
    points[n] = ((shift + top + base) / 2, high / 2)
    return Draft(
        f"In trapezoid {a}{b}{c}{e}",
        (f"{m}{n} is the midline",),
        (Given("p", f"{a}{e}", top, length(a, e)), Given("q", f"{b}{c}", base, length(b, c))),
        f"{m}{n}",
        length(m, n),
        Method("The midline of a trapezoid is half of the sum of the bases.", ("p + q = s", "s / 2 = t")),
        (
            Method("The midline is the sum of the bases.", ("p + q = t",)),
            Method("A midline is half of the base.", ("q / 2 = t",)),
            Method("The midline is the difference of the bases.", ("q - p = t",)),
            Method("The midline is half of the difference.", ("q - p = s", "s / 2 = t")),
        ),
        "The midline of a trapezoid is half of the sum of the bases, so add both bases and halve.",
        ("theorem:trapezoid_midline", "perception:parallel"),
        points,
        (*polygon(a, b, c, e), seg(m, n)),
    )


def rhombus_area(d: Draw) -> Draft | None:
    """The area of a rhombus from its diagonals."""
    a, b, c, e = d.names(4)
    p, q = d.length(6, 20), d.length(4, 16)
    if p * q % 2 or not 0.5 <= q / p <= 1.5:
        return None
    points = {a: (-p / 2, 0.0), c: (p / 2, 0.0), b: (0.0, -q / 2), e: (0.0, q / 2)}
    return Draft(
        f"In rhombus {a}{b}{c}{e}",
        (),
        (
            Given("p", f"diagonal {a}{c}", p, length(a, c), text_only=True),
            Given("q", f"diagonal {b}{e}", q, length(b, e), text_only=True),
        ),
        "the area",
        ("area", a, b, c, e),
        Method(RHOMBUS, ("p * q = s", "s / 2 = t")),
        (
            Method("The area is the product of the sides.", ("p * q = t",)),
            Method("The area is the sum of the sides.", ("p + q = t",)),
            Method("The opposite sides are equal.", ("p + q = s", "s * 2 = t")),
        ),
        f"{RHOMBUS[:-1]}, so multiply both diagonals and halve.",
        ("theorem:rhombus_area",),
        points,
        (*polygon(a, b, c, e), seg(a, c, dashed=True), seg(b, e, dashed=True), ticks(a, b), ticks(b, c)),
    )


def sector(d: Draw) -> Draft | None:
    """The area of a sector from the area of the whole circle and the central angle."""
    a, b = d.names(2)
    x = d.rng.choice((40, 45, 60, 72, 120, 36, 30) if d.level > 1 else (60, 120, 45))
    share = 360 // x
    whole = share * d.rng.randint(2, 6 + 3 * d.level)
    radius = math.sqrt(whole / math.pi)
    turn = d.rng.uniform(0, 360)
    points = {"O": O, a: at(O, turn, radius), b: at(O, turn + x, radius)}
    return Draft(
        "In circle O",
        (),
        (
            Given("w", "area of the circle", whole, ("disc", "O", a), text_only=True),
            Given("x", f"angle {a}O{b}", x, angle(a, "O", b)),
        ),
        f"the area of sector {a}O{b}",
        ("sector", a, "O", b),
        Method("A sector is a part of 360 of the circle.", ("360 / x = k", "w / k = t")),
        (
            Method("A half circle has 180.", ("180 / x = k", "w / k = t")),
            Method("A sector is the rest of the circle.", ("w - x = t",)),
            Method("A sector is the sum.", ("w + x = t",)),
            Method("A sector is half of the circle.", ("w / 2 = t",)),
        ),
        "A sector is a part of 360 of the circle, so divide 360 by the angle and divide the area by this.",
        ("theorem:sector", "perception:circle"),
        points,
        (circle("O", a), *path(a, "O", b)),
    )
