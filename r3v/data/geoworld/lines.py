"""Families about angles where lines meet: straight lines, vertical angles, parallels."""

from __future__ import annotations

import math

from r3v.data.geoworld.core import Draft, Draw, Given, Mark, Method, Point
from r3v.data.geoworld.shapes import angle, at, path, seg

COINTERIOR = "Cointerior angles sum to 180."
ALTERNATE = "Alternate angles are equal."
SUM = "The angles of a triangle sum to 180."
EXTERIOR = "An exterior angle is the sum of the two far angles."
STRAIGHT = "Angles on a line sum to 180."
BISECT = "A bisector halves the angle."
BEND = "The three angles sum to 360."


def linear_pair(d: Draw) -> Draft | None:
    """The angle left on a straight line beside one given angle, or beside two when deep."""
    a, b, c, e = d.names(4)
    x = d.angle(25, 150) if not d.deep else d.angle(30, 85)
    y = d.angle(30, 85)
    if d.deep and not 30 <= 180 - x - y <= 110:
        return None
    o = (0.0, 0.0)
    points = {a: (-9.0, 0.0), b: (9.0, 0.0), "O": o, c: at(o, 180 - x, 8.5)}
    marks: tuple[Mark, ...] = (*path(a, "O", b), seg("O", c))
    givens = (Given("a", f"angle {a}O{c}", x, angle(a, "O", c)),)
    target, measure, steps = f"angle {c}O{b}", angle(c, "O", b), ("180 - a = t",)
    wrong = (
        Method("Angles at a point sum to 360.", ("360 - a = t",)),
        Method("Vertical angles are equal.", (), "a"),
        Method(BISECT, ("a / 2 = t",)),
    )
    note = "Angles on a line sum to 180, so subtract the angle from 180."
    if d.deep:
        points[e] = at(o, 180 - x - y, 8.5)
        marks = (*marks, seg("O", e))
        givens = (*givens, Given("b", f"angle {c}O{e}", y, angle(c, "O", e)))
        target, measure, steps = f"angle {e}O{b}", angle(e, "O", b), ("180 - a = s", "s - b = t")
        wrong = (
            Method("Angles at a point sum to 360.", ("360 - a = s", "s - b = t")),
            Method(STRAIGHT, ("180 - a = t",)),
            Method(EXTERIOR, ("a + b = t",)),
            Method(STRAIGHT, ("180 - b = t",)),
        )
        note = "Angles on a line sum to 180, so subtract both angles from 180."
    return Draft(
        f"O lies on line {a}{b}",
        (),
        givens,
        target,
        measure,
        Method(STRAIGHT, steps),
        wrong,
        note,
        ("theorem:linear_pair", "perception:line"),
        points,
        marks,
        variant="three" if d.deep else "plain",
    )


def vertical_bisector(d: Draw) -> Draft | None:
    """Half of a vertical angle; deep: the angle from the bisector to the other arm of the line."""
    a, b, c, e, f = d.names(5)
    x = d.angle(40, 120, even=True)
    o = (0.0, 0.0)
    points = {a: (-9.0, 0.0), b: (9.0, 0.0), "O": o}
    points[c], points[e] = at(o, 180 - x, 8.5), at(o, -x, 8.5)
    points[f] = at(o, -x / 2, 9.0)
    given = Given("a", f"angle {a}O{c}", x, angle(a, "O", c))
    vertical = "Vertical angles are equal."
    if d.deep:
        target, measure, steps = f"angle {a}O{f}", angle(a, "O", f), ("a / 2 = h", "180 - h = t")
        wrong = (
            Method(vertical, ("180 - a = t",)),
            Method(vertical, ("a / 2 = t",)),
            Method(STRAIGHT, ("180 - a = s", "s / 2 = t")),
            Method(vertical, ("a / 2 = h", "360 - h = t")),
        )
        note = "Vertical angles are equal, so halve the angle and subtract from 180."
    else:
        target, measure, steps = f"angle {b}O{f}", angle(b, "O", f), ("a / 2 = t",)
        wrong = (
            Method(vertical, (), "a"),
            Method(STRAIGHT, ("180 - a = s", "s / 2 = t")),
            Method(STRAIGHT, ("180 - a = t",)),
        )
        note = "Vertical angles are equal, so halve the angle."
    return Draft(
        f"Lines {a}{b} and {c}{e} meet at O",
        (f"O{f} bisects angle {b}O{e}",),
        (given,),
        target,
        measure,
        Method(vertical, steps),
        wrong,
        note,
        ("theorem:vertical_angles", "perception:line"),
        points,
        (*path(a, "O", b), *path(c, "O", e), seg("O", f, dashed=d.flip(0.3))),
        variant="supplement" if d.deep else "plain",
    )


def _crossing(x: float) -> tuple[Point, Point, Point, Point, Point, Point]:
    """Parallel lines ab (above) and ce (below) met at f and g by a line with angle a-f-g = x degrees."""
    f, g = (0.0, 6.0), (0.0 - 6.0 / math.tan(math.radians(x)), 0.0)
    middle = g[0] / 2
    return (middle - 8, 6.0), (middle + 8, 6.0), (middle - 8, 0.0), (middle + 8, 0.0), f, g


def parallel_cointerior(d: Draw) -> Draft | None:
    """The cointerior angle between parallels; deep: half of it."""
    a, b, c, e, f, g, k = d.names(7)
    x = d.angle(45, 135)
    if d.deep and x % 2:
        return None
    pa, pb, pc, pe, pf, pg = _crossing(x)
    points = {a: pa, b: pb, c: pc, e: pe, f: pf, g: pg}
    marks = [seg(a, b), seg(c, e), seg(f, g)]
    facts, steps = [f"{a}{b} is parallel to {c}{e}"], ("180 - a = t",)
    target, measure = f"angle {c}{g}{f}", angle(c, g, f)
    wrong = [
        Method("Corresponding angles are equal.", (), "a"),
        Method("Cointerior angles sum to 360.", ("360 - a = t",)),
        Method(BISECT, ("a / 2 = t",)),
    ]
    note = "Cointerior angles sum to 180, so subtract the angle from 180."
    if d.deep:
        points[k] = at(pg, 180 - (180 - x) / 2, min(6.0 / math.sin(math.radians((180 - x) / 2)), 8.0))
        marks.append(seg(g, k, dashed=True))
        facts.append(f"{g}{k} bisects angle {c}{g}{f}")
        target, measure = f"angle {c}{g}{k}", angle(c, g, k)
        wrong = [
            Method(COINTERIOR, steps),
            Method(ALTERNATE, ("a / 2 = t",)),
            Method("Cointerior angles sum to 360.", ("360 - a = s", "s / 2 = t")),
            Method(ALTERNATE, (), "a"),
        ]
        steps = (*steps, "t / 2 = h")
        note = "Cointerior angles sum to 180, so subtract the angle from 180 and halve."
    return Draft(
        "In the figure",
        tuple(facts),
        (Given("a", f"angle {a}{f}{g}", x, angle(a, f, g)),),
        target,
        measure,
        Method(COINTERIOR, steps),
        tuple(wrong),
        note,
        ("theorem:cointerior", "perception:parallel"),
        points,
        tuple(marks),
        variant="bisector" if d.deep else "plain",
    )


def parallel_alternate(d: Draw) -> Draft | None:
    """Half of an alternate angle; deep: the angle from the bisector to the far end of the line."""
    a, b, c, e, f, g, k = d.names(7)
    x = d.angle(50, 130, even=True)
    pa, pb, pc, pe, pf, pg = _crossing(x)
    points = {a: pa, b: pb, c: pc, e: pe, f: pf, g: pg}
    points[k] = at(pg, x / 2, min(5.6 / math.sin(math.radians(x / 2)), 8.0))
    if d.deep:
        target, measure, steps = f"angle {c}{g}{k}", angle(c, g, k), ("a / 2 = h", "180 - h = t")
        wrong = (
            Method(ALTERNATE, ("180 - a = t",)),
            Method(ALTERNATE, ("a / 2 = t",)),
            Method(COINTERIOR, ("180 - a = s", "s / 2 = t")),
            Method("Angles at a point sum to 360.", ("a / 2 = h", "360 - h = t")),
        )
        note = "Alternate angles are equal, so halve the angle and subtract from 180."
    else:
        target, measure, steps = f"angle {k}{g}{e}", angle(k, g, e), ("a / 2 = t",)
        wrong = (
            Method(ALTERNATE, (), "a"),
            Method(COINTERIOR, ("180 - a = s", "s / 2 = t")),
            Method(COINTERIOR, ("180 - a = t",)),
        )
        note = "Alternate angles are equal, so halve the angle."
    return Draft(
        "In the figure",
        (f"{a}{b} is parallel to {c}{e}", f"{g}{k} bisects angle {f}{g}{e}"),
        (Given("a", f"angle {a}{f}{g}", x, angle(a, f, g)),),
        target,
        measure,
        Method(ALTERNATE, steps),
        wrong,
        note,
        ("theorem:alternate", "perception:parallel"),
        points,
        (seg(a, b), seg(c, e), seg(f, g), seg(g, k)),
        variant="supplement" if d.deep else "plain",
    )


def parallel_zigzag(d: Draw) -> Draft | None:
    """The angle of a bend between parallels; deep: one of its parts from the bend."""
    a, b, c, e, f = d.names(5)
    x, y = d.angle(25, 70), d.angle(25, 70)
    rise, drop = 3.2, 3.2
    pf = (0.0, 0.0)
    pb = (rise / math.tan(math.radians(x)), rise)
    pe = (drop / math.tan(math.radians(y)), -drop)
    left = max(pb[0], pe[0]) + 3.5
    points = {b: pb, a: (left, rise), e: pe, c: (left, -drop), f: pf}
    up = Given("a", f"angle {a}{b}{f}", 180 - x, angle(a, b, f))
    whole = Given("w", f"angle {b}{f}{e}", x + y, angle(b, f, e))
    down = Given("b", f"angle {c}{e}{f}", 180 - y, angle(c, e, f))
    if d.deep:
        givens, target, measure = (up, whole), f"angle {c}{e}{f}", angle(c, e, f)
        steps: tuple[str, ...] = ("360 - a = s", "s - w = t")
        wrong = (
            Method(COINTERIOR, ("180 - w = t",)),
            Method(SUM, ("a - w = t",)),
            Method("Two angles are equal.", (), "a"),
            Method("The angles sum.", ("a + w = t",)),
        )
        note = "The three angles sum to 360, so subtract both angles from 360."
    else:
        givens, target, measure = (up, down), f"angle {b}{f}{e}", angle(b, f, e)
        steps = ("360 - a = s", "s - b = t")
        wrong = (
            Method(COINTERIOR, ("180 - a = t",)),
            Method("The angles sum.", ("a + b = t",)),
            Method(COINTERIOR, ("180 - b = t",)),
            Method("Two angles are equal.", (), "a"),
        )
        note = "The three angles sum to 360, so subtract both angles from 360."
    return Draft(
        "In the figure",
        (f"{a}{b} is parallel to {c}{e}",),
        givens,
        target,
        measure,
        Method(BEND, steps),
        wrong,
        note,
        ("theorem:parallel_bend", "perception:parallel"),
        points,
        path(a, b, f, e, c),
        variant="part" if d.deep else "whole",
    )
