"""Families about quadrilaterals."""

from __future__ import annotations

import math

from r3v.data.geoworld.core import Draft, Draw, Given, Method, Point
from r3v.data.geoworld.shapes import angle, at, polygon, right, seg

ALTERNATE = "Alternate angles are equal."
NEIGHBOUR = "Neighbour angles of a parallelogram sum to 180."
OPPOSITE = "Opposite sides are equal."
QUAD = "The angles of a quadrilateral sum to 360."
AREA = "The area is the product of the sides."
BISECT = "A bisector halves the angle."


def quadrilateral_sum(d: Draw) -> Draft | None:
    """The fourth angle of a quadrilateral from three; deep: from two and a right angle."""
    a, b, c, e = d.names(4)
    x, y = d.angle(60, 120), d.angle(60, 120)
    z = 90 if d.deep else d.angle(60, 120)
    last = 360 - x - y - z
    if not 50 <= last <= 125:
        return None
    base, side = 10.0, d.rng.uniform(6.5, 9.0)
    pa, pb = (0.0, 0.0), (base, 0.0)
    pe = at(pa, x, side)
    corner = _meet(pb, 180 - y, pe, x - 180 + last)
    if corner is None:
        return None
    points = {a: pa, b: pb, c: corner, e: pe}
    edges = [math.dist(p, q) for p, q in ((pa, pb), (pb, corner), (corner, pe), (pe, pa))]
    if min(edges) < 4.5 or max(edges) > 14:
        return None
    givens = [Given("a", f"angle {a}", x, angle(e, a, b)), Given("b", f"angle {b}", y, angle(a, b, c))]
    marks = [*polygon(a, b, c, e)]
    facts: tuple[str, ...] = ()
    if d.deep:
        facts = (f"{b}{c} is perpendicular to {c}{e}",)
        marks.append(right(b, c, e))
        steps: tuple[str, ...] = ("360 - 90 = r", "r - a = s", "s - b = t")
        note = "The angles of a quadrilateral sum to 360, so subtract 90 and both angles from 360."
        wrong = (
            Method(QUAD, ("360 - a = s", "s - b = t")),
            Method("Opposite angles are equal.", (), "b"),
            Method(NEIGHBOUR, ("180 - a = t",)),
            Method("The angles sum.", ("a + b = t",)),
        )
    else:
        givens.append(Given("c", f"angle {c}", z, angle(b, c, e)))
        steps = ("360 - a = r", "r - b = s", "s - c = t")
        note = "The angles of a quadrilateral sum to 360, so subtract all angles from 360."
        wrong = (
            Method(QUAD, ("360 - a = s", "s - b = t")),
            Method("Opposite angles are equal.", (), "b"),
            Method(NEIGHBOUR, ("180 - a = t",)),
            Method("Opposite angles sum to 180.", ("180 - b = t",)),
        )
    return Draft(
        f"In quadrilateral {a}{b}{c}{e}",
        facts,
        tuple(givens),
        f"angle {e}",
        angle(c, e, a),
        Method(QUAD, steps),
        wrong,
        note,
        ("theorem:quadrilateral_sum", *(("perception:right_angle",) if d.deep else ())),
        points,
        tuple(marks),
        variant="right" if d.deep else "plain",
    )


def _meet(p: Point, p_degrees: float, q: Point, q_degrees: float) -> Point | None:
    """Where the ray from p meets the ray from q, or None where they do not meet."""
    ux, uy = at((0.0, 0.0), p_degrees, 1.0)
    vx, vy = at((0.0, 0.0), q_degrees, 1.0)
    cross = ux * vy - uy * vx
    if abs(cross) < 1e-6:
        return None
    wx, wy = q[0] - p[0], q[1] - p[1]
    s, t = (wx * vy - wy * vx) / cross, (wx * uy - wy * ux) / cross
    return (p[0] + s * ux, p[1] + s * uy) if s > 0 and t > 0 else None


def _parallelogram(x: float, base: float, side: float) -> tuple[Point, Point, Point, Point]:
    """A, B, C, D with angle A = x degrees, AB = base and AD = side."""
    pa, pb, pd = (0.0, 0.0), (base, 0.0), at((0.0, 0.0), x, side)
    return pa, pb, (pb[0] + pd[0], pd[1]), pd


def parallelogram_angle(d: Draw) -> Draft | None:
    """A neighbour angle in a parallelogram; deep: the part of it that a diagonal cuts off."""
    a, b, c, e = d.names(4)
    x = d.angle(50, 130)
    pa, pb, pc, pe = _parallelogram(x, 10.0, d.rng.uniform(6.0, 8.5))
    points, marks = {a: pa, b: pb, c: pc, e: pe}, [*polygon(a, b, c, e)]
    givens = [Given("a", f"angle {a}", x, angle(b, a, e))]
    facts: tuple[str, ...] = ()
    if d.deep:
        y = d.angle(25, 60)
        reach = 180 - x - y
        if not 25 <= reach <= 90:
            return None
        side = 10.0 * math.sin(math.radians(y)) / math.sin(math.radians(reach))
        if not 4.5 <= side <= 14:
            return None
        pa, pb, pc, pe = _parallelogram(x, 10.0, side)
        points = {a: pa, b: pb, c: pc, e: pe}
        marks.append(seg(b, e))
        givens.append(Given("b", f"angle {a}{b}{e}", y, angle(a, b, e)))
        target, measure, steps = f"angle {e}{b}{c}", angle(e, b, c), ("180 - a = s", "s - b = t")
        wrong = (
            Method(NEIGHBOUR, ("180 - a = t",)),
            Method("Opposite angles are equal.", ("a - b = t",)),
            Method(ALTERNATE, (), "b"),
            Method(QUAD, ("360 - a = s", "s - b = t")),
        )
        note = "Neighbour angles of a parallelogram sum to 180, so subtract both angles from 180."
    else:
        target, measure, steps = f"angle {b}", angle(a, b, c), ("180 - a = t",)
        wrong = (
            Method("All angles of a parallelogram are equal.", (), "a"),
            Method(QUAD, ("360 - a = t",)),
            Method(BISECT, ("a / 2 = t",)),
        )
        note = "Neighbour angles of a parallelogram sum to 180, so subtract the angle from 180."
    return Draft(
        f"In parallelogram {a}{b}{c}{e}",
        facts,
        tuple(givens),
        target,
        measure,
        Method(NEIGHBOUR, steps),
        wrong,
        note,
        ("theorem:parallelogram_angle", "perception:parallel"),
        points,
        tuple(marks),
        extras=((a, b),),
        variant="diagonal" if d.deep else "plain",
    )


def _perimeter(d: Draw, kind: str, x: float) -> Draft | None:
    """Perimeter of a parallelogram-like shape with angle A = x; deep: a side from the perimeter."""
    a, b, c, e = d.names(4)
    p, q = d.length(5, 20), d.length(3, 16)
    if not 0.45 <= q / p <= 1.6:
        return None
    pa, pb, pc, pe = _parallelogram(x, p, q)
    side = Given("p", f"{a}{b}", p, ("length", a, b))
    if d.deep:
        whole = Given("w", "perimeter", 2 * (p + q), ("perimeter", a, b, c, e), text_only=True)
        givens, target, measure, steps = (
            (side, whole),
            f"{b}{c}",
            ("length", b, c),
            ("w / 2 = h", "h - p = t"),
        )
        wrong = (
            Method(OPPOSITE, ("w - p = t",)),
            Method(OPPOSITE, ("w / 2 = t",)),
            Method("All sides are equal.", ("w / 4 = t",)),
            Method(OPPOSITE, ("p * 2 = s", "w - s = t")),
        )
        note = "Opposite sides are equal, so halve the perimeter and subtract the side."
    else:
        givens = (side, Given("q", f"{b}{c}", q, ("length", b, c)))
        target, measure, steps = "the perimeter", ("perimeter", a, b, c, e), ("p + q = s", "s * 2 = t")
        wrong = (
            Method(OPPOSITE, ("p + q = t",)),
            Method(AREA, ("p * q = t",)),
            Method("All sides are equal.", ("p * 4 = t",)),
        )
        note = "Opposite sides are equal, so add both sides and double."
    return Draft(
        f"In {kind} {a}{b}{c}{e}",
        (),
        givens,
        target,
        measure,
        Method(OPPOSITE, steps),
        wrong,
        note,
        (f"theorem:{kind}_perimeter", f"perception:{'right_angle' if kind == 'rectangle' else 'parallel'}"),
        {a: pa, b: pb, c: pc, e: pe},
        (*polygon(a, b, c, e), *((right(b, a, e),) if kind == "rectangle" else ())),
        variant="side" if d.deep else "plain",
    )


def parallelogram_perimeter(d: Draw) -> Draft | None:
    """Perimeter of a parallelogram; deep: a side from the perimeter."""
    return _perimeter(d, "parallelogram", d.rng.choice((1, -1)) * d.rng.uniform(18, 30) + 90)


def rectangle_perimeter(d: Draw) -> Draft | None:
    """Perimeter of a rectangle; deep: a side from the perimeter."""
    return _perimeter(d, "rectangle", 90.0)


def rectangle_area(d: Draw) -> Draft | None:
    """Area of a rectangle; deep: of the triangle that a diagonal cuts off."""
    a, b, c, e = d.names(4)
    p, q = d.length(4, 14), d.length(3, 12)
    if not 0.45 <= q / p <= 1.8 or (d.deep and p * q % 2):
        return None
    pa, pb, pc, pe = _parallelogram(90.0, p, q)
    marks = [*polygon(a, b, c, e), right(b, a, e)]
    if d.deep:
        marks.append(seg(b, e))
        target, measure, steps = (
            f"the area of triangle {a}{b}{e}",
            ("area", a, b, e),
            ("p * q = s", "s / 2 = t"),
        )
        wrong = (
            Method(AREA, ("p * q = t",)),
            Method("The area is the sum of the sides.", ("p + q = t",)),
            Method("Opposite sides are equal.", ("p + q = s", "s * 2 = t")),
        )
        note = "The area is the product of the sides, so multiply both sides and halve."
    else:
        target, measure, steps = "the area", ("area", a, b, c, e), ("p * q = t",)
        wrong = (
            Method("The area is the sum of the sides.", ("p + q = t",)),
            Method("Opposite sides are equal.", ("p + q = s", "s * 2 = t")),
            Method("The area is half the product.", ("p * q = s", "s / 2 = t")),
        )
        note = "The area is the product of the sides, so multiply both sides."
    return Draft(
        f"In rectangle {a}{b}{c}{e}",
        (),
        (Given("p", f"{a}{b}", p, ("length", a, b)), Given("q", f"{b}{c}", q, ("length", b, c))),
        target,
        measure,
        Method(AREA, steps),
        wrong,
        note,
        ("theorem:rectangle_area", "perception:right_angle"),
        {a: pa, b: pb, c: pc, e: pe},
        tuple(marks),
        variant="half" if d.deep else "plain",
    )
