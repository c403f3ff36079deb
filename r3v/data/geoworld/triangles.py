"""Families about the angles of triangles."""

from __future__ import annotations

from r3v.data.geoworld.core import Draft, Draw, Given, Method
from r3v.data.geoworld.shapes import (
    angle,
    between,
    bisector_foot,
    polygon,
    right,
    seg,
    ticks,
    triangle,
)

SUM = "The angles of a triangle sum to 180."
EXTERIOR = "An exterior angle is the sum of the two far angles."
BASE = "The base angles are equal."
ACUTE = "The acute angles of a right triangle sum to 90."
STRAIGHT = "Angles on a line sum to 180."
BISECT = "A bisector halves the angle."


def triangle_sum(d: Draw) -> Draft | None:
    """Two angles of a triangle give the third; deep: the half of the third."""
    a, b, c, f = d.names(4)
    x, y = d.angle(28, 100), d.angle(28, 100)
    third = 180 - x - y
    if not 28 <= third <= 105 or (d.deep and third % 2):
        return None
    pa, pb, pc = triangle(x, y)
    points, marks, facts = {a: pa, b: pb, c: pc}, polygon(a, b, c), ()
    givens = (
        Given("a", f"angle {a}", x, angle(b, a, c)),
        Given("b", f"angle {b}", y, angle(a, b, c)),
    )
    target, measure = f"angle {c}", angle(a, c, b)
    steps = ("180 - a = s", "s - b = t")
    wrong = [
        Method("The angles of a triangle sum to 360.", ("360 - a = s", "s - b = t")),
        Method(EXTERIOR, ("a + b = t",)),
        Method(STRAIGHT, ("180 - a = t",)),
        Method(ACUTE, ("90 - a = t",)),
    ]
    note = "The angles of a triangle sum to 180, so subtract both angles from 180."
    if d.deep:
        points[f] = bisector_foot(pc, pa, pb)
        marks, facts = (*marks, seg(c, f)), (f"{c}{f} bisects angle {a}{c}{b}",)
        target, measure = f"angle {a}{c}{f}", angle(a, c, f)
        wrong = [
            Method(SUM, steps),
            Method("The angles of a triangle sum to 360.", ("360 - a = s", "s - b = t", "t / 2 = h")),
            Method(EXTERIOR, ("a + b = s", "s / 2 = h")),
            Method(BISECT, ("a / 2 = h",)),
        ]
        steps = (*steps, "t / 2 = h")
        note = "The angles of a triangle sum to 180, so subtract both angles from 180 and halve."
    return Draft(
        f"In triangle {a}{b}{c}",
        facts,
        givens,
        target,
        measure,
        Method(SUM, steps),
        tuple(wrong),
        note,
        ("theorem:triangle_sum",),
        points,
        marks,
        extras=((a, b), (b, c)),
        variant="bisector" if d.deep else "plain",
    )


def exterior_angle(d: Draw) -> Draft | None:
    """The exterior angle from the two far angles; deep: a far angle from the exterior one."""
    a, b, c, e = d.names(4)
    x, y = d.angle(28, 85), d.angle(28, 85)
    if not 70 <= x + y <= 130:
        return None
    pa, pb, pc = triangle(x, y)
    points = {a: pa, b: pb, c: pc, e: between(pb, pc, 1.55)}
    near = Given("a", f"angle {a}", x, angle(b, a, c))
    if d.deep:
        givens = (near, Given("e", f"angle {a}{c}{e}", x + y, angle(a, c, e)))
        target, measure, good = f"angle {b}", angle(a, b, c), Method(EXTERIOR, ("e - a = t",))
        wrong = (
            Method(STRAIGHT, ("180 - e = t",)),
            Method(SUM, ("180 - a = t",)),
            Method("The exterior angle is halved.", ("e / 2 = t",)),
            Method(EXTERIOR, ("e + a = t",)),
        )
        note = "An exterior angle is the sum of the two far angles, so subtract the far angle from it."
    else:
        givens = (near, Given("b", f"angle {b}", y, angle(a, b, c)))
        target, measure, good = f"angle {a}{c}{e}", angle(a, c, e), Method(EXTERIOR, ("a + b = t",))
        wrong = (
            Method(SUM, ("180 - a = s", "s - b = t")),
            Method(STRAIGHT, ("180 - a = t",)),
            Method("The angles of a triangle sum to 360.", ("360 - a = s", "s - b = t")),
        )
        note = "An exterior angle is the sum of the two far angles, so add both angles."
    return Draft(
        f"In triangle {a}{b}{c}",
        (f"{e} lies on the extension of {b}{c}",),
        givens,
        target,
        measure,
        good,
        wrong,
        note,
        ("theorem:exterior_angle",),
        points,
        (*polygon(a, b, c), seg(c, e, dashed=d.flip(0.3))),
        extras=((a, b), (a, c)),
        variant="far" if d.deep else "plain",
    )


def isosceles_base(d: Draw) -> Draft | None:
    """A base angle from the apex angle; deep: the exterior angle beside it."""
    a, b, c, e = d.names(4)
    x = d.angle(30, 100 if d.deep else 116, even=True)
    base = (180 - x) / 2
    pb, pc, pa = triangle(base, base)
    points, marks = {a: pa, b: pb, c: pc}, [*polygon(a, b, c), ticks(a, b), ticks(a, c)]
    facts, steps = [f"{a}{b} = {a}{c}"], ("180 - a = s", "s / 2 = t")
    target, measure = f"angle {b}", angle(a, b, c)
    wrong = [
        Method(BASE, ("180 - a = t",)),
        Method(BASE, ("a / 2 = t",)),
        Method(ACUTE, ("90 - a = t",)),
        Method("The angles of a triangle sum to 360.", ("360 - a = s", "s / 2 = t")),
    ]
    note = "The base angles are equal, so subtract the angle from 180 and halve."
    if d.deep:
        points[e] = between(pb, pc, 1.5)
        marks.append(seg(c, e))
        facts.append(f"{e} lies on the extension of {b}{c}")
        target, measure = f"angle {a}{c}{e}", angle(a, c, e)
        wrong = [
            Method(BASE, steps),
            Method(BASE, ("180 - a = t",)),
            Method(EXTERIOR, ("a + a = t",)),
            Method(BASE, ("a / 2 = s", "180 - s = t")),
        ]
        steps = (*steps, "180 - t = u")
        note = "The base angles are equal, so subtract the angle from 180, halve, and subtract from 180."
    return Draft(
        f"In triangle {a}{b}{c}",
        tuple(facts),
        (Given("a", f"angle {a}", x, angle(b, a, c)),),
        target,
        measure,
        Method(BASE, steps),
        tuple(wrong),
        note,
        ("theorem:isosceles", "perception:equal_sides"),
        points,
        tuple(marks),
        extras=((b, c),),
        variant="exterior" if d.deep else "plain",
    )


def isosceles_apex(d: Draw) -> Draft | None:
    """The apex angle from a base angle; deep: half of it, cut by the bisector."""
    a, b, c, e = d.names(4)
    x = d.angle(30, 76)
    pb, pc, pa = triangle(x, x)
    points, marks = {a: pa, b: pb, c: pc}, [*polygon(a, b, c), ticks(a, b), ticks(a, c)]
    facts, steps = [f"{a}{b} = {a}{c}"], ("b * 2 = s", "180 - s = t")
    target, measure = f"angle {a}", angle(b, a, c)
    wrong = [
        Method(BASE, ("180 - b = t",)),
        Method(BASE, ("180 - b = s", "s / 2 = t")),
        Method(BASE, ("b * 2 = t",)),
        Method("The angles of a triangle sum to 360.", ("b * 2 = s", "360 - s = t")),
    ]
    note = "The base angles are equal, so double the angle and subtract from 180."
    if d.deep:
        points[e] = between(pb, pc)
        marks.append(seg(a, e, dashed=d.flip()))
        facts.append(f"{a}{e} bisects angle {b}{a}{c}")
        target, measure = f"angle {b}{a}{e}", angle(b, a, e)
        wrong = [
            Method(BASE, steps),
            Method(BASE, ("180 - b = s", "s / 2 = t")),
            Method(BISECT, ("b / 2 = t",)),
            Method(BISECT, ("180 - b = t",)),
        ]
        steps = (*steps, "t / 2 = u")
        note = "The base angles are equal, so double the angle, subtract from 180 and halve."
    return Draft(
        f"In triangle {a}{b}{c}",
        tuple(facts),
        (Given("b", f"angle {b}", x, angle(a, b, c)),),
        target,
        measure,
        Method(BASE, steps),
        tuple(wrong),
        note,
        ("theorem:isosceles", "perception:equal_sides"),
        points,
        tuple(marks),
        extras=((b, c),) if not d.deep else (),
        variant="bisector" if d.deep else "plain",
    )


def right_acute(d: Draw) -> Draft | None:
    """The other acute angle of a right triangle; deep: the half of it."""
    a, b, c, e = d.names(4)
    x = d.angle(25, 65)
    if d.deep and x % 2:
        return None
    pa, pb, pc = triangle(x, 90 - x)
    points, marks = {a: pa, b: pb, c: pc}, [*polygon(a, b, c), right(a, c, b)]
    facts, steps = [f"{a}{c} is perpendicular to {b}{c}"], ("90 - a = t",)
    target, measure = f"angle {b}", angle(a, b, c)
    wrong = [
        Method(SUM, ("180 - a = t",)),
        Method(BASE, (), "a"),
        Method(BASE, ("180 - a = s", "s / 2 = t")),
        Method("An exterior angle adds 90.", ("90 + a = t",)),
    ]
    note = "The acute angles of a right triangle sum to 90, so subtract the angle from 90."
    if d.deep:
        points[e] = bisector_foot(pb, pa, pc)
        marks.append(seg(b, e))
        facts.append(f"{b}{e} bisects angle {a}{b}{c}")
        target, measure = f"angle {a}{b}{e}", angle(a, b, e)
        wrong = [
            Method(ACUTE, steps),
            Method(SUM, ("180 - a = s", "s / 2 = t")),
            Method(BISECT, ("a / 2 = t",)),
            Method(BASE, (), "a"),
        ]
        steps = (*steps, "t / 2 = u")
        note = "The acute angles of a right triangle sum to 90, so subtract the angle from 90 and halve."
    return Draft(
        f"In triangle {a}{b}{c}",
        tuple(facts),
        (Given("a", f"angle {a}", x, angle(b, a, c)),),
        target,
        measure,
        Method(ACUTE, steps),
        tuple(wrong),
        note,
        ("theorem:right_triangle", "perception:right_angle"),
        points,
        tuple(marks),
        extras=((a, b),),
        variant="bisector" if d.deep else "plain",
    )


def angle_bisector(d: Draw) -> Draft | None:
    """Half of a bisected angle; deep: the exterior angle that the bisector makes on the opposite side."""
    a, b, c, e = d.names(4)
    x, y = d.angle(50, 110, even=True), d.angle(30, 75)
    if not 35 <= 180 - x - y <= 100:
        return None
    pa, pb, pc = triangle(x, y)
    points = {a: pa, b: pb, c: pc, e: bisector_foot(pa, pb, pc)}
    whole = Given("a", f"angle {b}{a}{c}", x, angle(b, a, c))
    if d.deep:
        givens = (whole, Given("b", f"angle {b}", y, angle(a, b, c)))
        target, measure, steps = f"angle {a}{e}{c}", angle(a, e, c), ("a / 2 = h", "h + b = t")
        wrong = (
            Method(EXTERIOR, ("a + b = t",)),
            Method(SUM, ("180 - a = s", "s - b = t")),
            Method(SUM, ("a / 2 = h", "180 - h = s", "s - b = t")),
            Method(STRAIGHT, ("180 - b = t",)),
        )
        note = "A bisector halves the angle, so halve the angle and add the other angle."
    else:
        givens = (whole,)
        target, measure, steps = f"angle {b}{a}{e}", angle(b, a, e), ("a / 2 = t",)
        wrong = (
            Method(BASE, ("180 - a = s", "s / 2 = t")),
            Method("A bisector doubles the angle.", ("a * 2 = t",)),
            Method(STRAIGHT, ("180 - a = t",)),
            Method(BASE, (), "a"),
        )
        note = "A bisector halves the angle, so halve the angle."
    return Draft(
        f"In triangle {a}{b}{c}",
        (f"{a}{e} bisects angle {b}{a}{c}",),
        givens,
        target,
        measure,
        Method(BISECT, steps),
        wrong,
        note,
        ("theorem:angle_bisector",),
        points,
        (*polygon(a, b, c), seg(a, e)),
        extras=((b, c),),
        variant="exterior" if d.deep else "plain",
    )
