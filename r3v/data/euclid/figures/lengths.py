"""Constructions with lengths: right triangles, midlines, similar triangles, areas."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Figure, foot, meet, mid, polar, sided, triangle
from r3v.data.euclid.figures.base import TRIPLES, construction, degrees, equal, fair, length, value

O = (0.0, 0.0)  # noqa: E741


def right_triangle(f: Figure, r: Random, say: bool = True) -> tuple[float, float, float]:
    """C the right angle, legs a = BC and b = AC from a triple, in either order; returns (a, b, c)."""
    a, b, c = r.choice(TRIPLES)
    if r.random() < 0.5:
        a, b = b, a
    f.at(C=O, B=(float(a), 0.0), A=(0.0, float(b)))
    if say:
        f.say(r.choice(("in Rt triangle ABC", "in triangle ABC", "triangle ABC is a right triangle")))
        f.say(r.choice(("angle ACB = 90", "angle C = 90", "AC perpendicular BC")), ("right", "A", "C", "B"))
    return a, b, c


@construction
def right_triangle_sides(f: Figure, r: Random) -> None:
    right_triangle(f, r)
    f.polygon("A", "B", "C")
    trig = [(k, v, *sorted(x for x in "ABC" if x != v)) for k in ("sin", "cos", "tan") for v in "AB"]
    sides = [length(*s) for s in ("AB", "BC", "AC")]
    f.goals = [*sides, *sides, ("area", "A", "B", "C"), ("perimeter", "A", "B", "C"), *r.sample(trig, 2)]
    f.offers = [*sides, *sides, trig[0], trig[3]]


@construction
def altitude_on_hypotenuse(f: Figure, r: Random) -> None:
    r.choice((1, 1, 2))
    a, b, _c = r.choice(((15, 20, 25), (3, 4, 5), (6, 8, 10), (30, 40, 50)))
    if r.random() < 0.5:
        a, b = b, a
    f.at(C=O, B=(float(a), 0.0), A=(0.0, float(b)))
    f.put("D", foot(O, f.points["A"], f.points["B"]))
    f.line("ADB")
    f.join("AC", "BC", "CD")
    f.say(r.choice(("in Rt triangle ABC", "in triangle ABC")))
    f.say("angle ACB = 90", ("right", "A", "C", "B"))
    f.say(
        r.choice(("CD perpendicular AB at point D", "CD is the height on the hypotenuse AB")), ("right", "C", "D", "A")
    )


@construction
def acute_right_triangle(f: Figure, r: Random) -> None:
    """A right triangle with its altitude, angles only."""
    a = degrees(r, 20, 70)
    fair(abs(a - 45) > 3)
    p, q, s = triangle(a, 90 - a, 6.0)
    f.at(A=p, B=q, C=s)
    f.say(r.choice(("in Rt triangle ABC", "in triangle ABC")))
    f.say("angle ACB = 90", ("right", "A", "C", "B"))
    kind = r.randrange(3)
    if kind == 0:
        f.polygon("A", "B", "C")
        return
    if kind == 1:
        f.put("D", foot(s, p, q))
        f.say("CD perpendicular AB at D", ("right", "C", "D", "A"))
    else:
        f.put("D", mid(p, q))
        f.say(r.choice(("CD is the median on the hypotenuse AB", "D is the midpoint of AB")), ("mid", "D", "A", "B"))
    f.line("ADB")
    f.join("AC", "BC", "CD")


@construction
def hypotenuse_median(f: Figure, r: Random) -> None:
    a, b, _ = right_triangle(f, r)
    f.put("D", mid(f.points["A"], f.points["B"]))
    f.line("ADB")
    f.join("AC", "BC", "CD")
    f.say(r.choice(("D is the midpoint of AB", "CD is the median on the hypotenuse AB")), ("mid", "D", "A", "B"))
    fair(a != b)


@construction
def special_triangle(f: Figure, r: Random) -> None:
    """A right triangle with an angle of 30, 45 or 60."""
    angle = r.choice((30, 45, 60, 30, 60))
    short = r.choice((1, 2, 3, 4, 5, 6, 8, 10, 12))
    if angle == 45:
        f.at(C=O, B=(float(short), 0.0), A=(0.0, float(short)))
    else:
        long = short * math.sqrt(3)
        f.at(C=O, B=(float(short), 0.0), A=(0.0, long))
    if angle == 60 and r.random() < 0.4:
        root = math.sqrt(3)
        f.at(B=(short / root * 3, 0.0), A=(0.0, float(short) / root * 3 * root))
    f.polygon("A", "B", "C")
    f.say(r.choice(("in Rt triangle ABC", "in triangle ABC")))
    f.say("angle C = 90", ("right", "A", "C", "B"))
    at_a, at_b = ("angle", "A", "B", "C"), ("angle", "B", "A", "C")
    which = r.choice((at_a, at_b))
    degrees_there = 45 if angle == 45 else 30 if which == at_a else 60
    names = "angle A" if which == at_a else "angle B"
    f.say(f"{names} = {degrees_there}", ("value", which, number(degrees_there)))
    sides = [length(*s) for s in ("AB", "BC", "AC")]
    f.goals, f.offers = [*sides, ("area", "A", "B", "C")], sides


@construction
def law_of_cosines(f: Figure, r: Random) -> None:
    a = r.choice((60, 120))
    x, y, _z = r.choice(
        ((3, 8, 7), (5, 8, 7), (7, 15, 13), (5, 21, 19)) if a == 60 else ((3, 5, 7), (7, 8, 13), (5, 16, 19))
    )
    f.at(A=O, B=(float(x), 0.0), C=polar(O, a, y))
    f.polygon("A", "B", "C")
    f.say("in triangle ABC", value(("angle", "A", "B", "C"), a))
    f.clauses[-1] = f.clauses[-1].__class__("in triangle ABC", ())
    f.say(f"angle A = {a}", ("value", ("angle", "A", "B", "C"), number(a)))
    f.goals = [length("B", "C"), ("area", "A", "B", "C"), ("perimeter", "A", "B", "C")]
    f.offers = [length("A", "B"), length("A", "C")]


@construction
def midline(f: Figure, r: Random) -> None:
    a, b, c = r.randint(3, 10), r.randint(3, 10), r.randint(3, 10)
    fair(a + b > c + 1 and b + c > a + 1 and a + c > b + 1)
    p, q, s = sided(2 * a, 2 * b, 2 * c)
    f.at(A=p, B=q, C=s, D=mid(p, q), E=mid(p, s))
    kind = r.randrange(3)
    f.say(r.choice(("in triangle ABC", "for triangle ABC")))
    if kind == 2:
        f.put("F", mid(q, s))
        f.line("ADB")
        f.line("AEC")
        f.line("BFC")
        f.join("DE", "EF", "DF")
        f.say(
            "D, E and F are the midpoints of AB, AC and BC respectively",
            ("mid", "D", "A", "B"),
            ("mid", "E", "A", "C"),
            ("mid", "F", "B", "C"),
        )
        f.goals = [
            ("perimeter", "D", "E", "F"),
            ("perimeter", "A", "B", "C"),
            *(length(*x) for x in ("DE", "EF", "DF")),
        ]
        f.offers = [length(*x) for x in ("AB", "AC", "BC", "DE", "EF", "DF")]
        return
    f.line("ADB")
    f.line("AEC")
    f.join("BC", "DE")
    if kind == 0:
        f.say(
            r.choice(
                (
                    "D and E are the midpoints of AB and AC respectively",
                    "points D and E are the midpoints of the edges AB and AC",
                    "DE is the midline of triangle ABC",
                )
            ),
            ("mid", "D", "A", "B"),
            ("mid", "E", "A", "C"),
        )
    else:
        f.say("D is the midpoint of AB", ("mid", "D", "A", "B"))
        f.say("DE parallel BC and DE intersects AC at E", ("para", "D", "E", "B", "C"))
    f.goals = [length(*x) for x in ("DE", "BC", "AE", "AC", "EC")] + [("perimeter", "A", "D", "E")]
    f.offers = [length(*x) for x in ("DE", "BC", "AC", "AE", "AB", "AD")] + [("perimeter", "A", "B", "C")]


@construction
def bisector_of_right_triangle(f: Figure, r: Random) -> None:
    """Angle C = 90, AD bisects angle A, DE perpendicular to AB: CD = DE."""
    a, b, c = r.choice(((3, 4, 5), (6, 8, 10), (9, 12, 15), (12, 16, 20), (8, 6, 10), (12, 9, 15), (5, 12, 13)))
    d = a * b / (b + c)
    f.at(C=O, A=(0.0, float(b)), B=(float(a), 0.0), D=(d, 0.0))
    f.put("E", foot(f.points["D"], f.points["A"], f.points["B"]))
    f.line("CDB")
    f.line("AEB")
    f.join("AC", "AD", "DE")
    f.say(r.choice(("in Rt triangle ABC", "in triangle ABC")))
    f.say("angle C = 90", ("right", "A", "C", "B"))
    f.say("AD bisects angle BAC and intersects BC at D", ("bis", "A", "B", "D", "C"))
    f.say("DE perpendicular AB at E", ("right", "D", "E", "A"))
    f.goals = [length(*x) for x in ("DE", "CD", "BD", "BC", "AE", "BE")]
    f.offers = [length(*x) for x in ("CD", "BD", "BC", "AB", "AC", "DE")]


@construction
def perimeter_triangle(f: Figure, r: Random) -> None:
    """Parallel to a base through the meeting point of two bisectors: DE = DB + EC."""
    f.gives = (2, 3)
    ab, ac, bc = r.randint(5, 12), r.randint(5, 12), r.randint(5, 12)
    fair(abs(ab - ac) < bc - 1 and bc < ab + ac - 2)
    b, c, a = sided(ac, ab, bc)
    f.at(B=b, C=c, A=a)
    i = meet(b, polar(b, f.turn("B", "A") / 2, 1), c, polar(c, (180 + f.turn("C", "A")) / 2, 1))
    f.put("F", i)
    f.put("D", meet(i, (i[0] + 1, i[1]), a, b))
    f.put("E", meet(i, (i[0] + 1, i[1]), a, c))
    f.line("ADB")
    f.line("AEC")
    f.line("DFE")
    f.join("BC", "BF", "CF")
    f.say("in triangle ABC")
    f.say(
        "the bisectors of angle ABC and angle ACB intersect at point F",
        ("bis", "B", "A", "F", "C"),
        ("bis", "C", "A", "F", "B"),
    )
    f.say("DE passes through F and DE parallel BC", ("para", "D", "E", "B", "C"))
    f.say("", equal("A", "B", "A", "B"))
    f.clauses.pop()


@construction
def area_by_height(f: Figure, r: Random) -> None:
    f.gives = (2,)
    base, height = r.randint(3, 14), r.randint(2, 12)
    shift = r.uniform(0.2, 0.8) * base
    f.at(B=O, C=(float(base), 0.0), A=(shift, float(height)), D=(shift, 0.0))
    f.line("BDC")
    f.join("AB", "AC", "AD")
    f.say("in triangle ABC")
    f.say(r.choice(("AD perpendicular BC at point D", "AD is the height on BC")), ("right", "A", "D", "B"))
    f.goals = [("area", "A", "B", "C"), length("A", "D"), length("B", "C")]
    f.offers = [length("B", "C"), length("A", "D"), ("area", "A", "B", "C")]


@construction
def median_area(f: Figure, r: Random) -> None:
    area = r.randint(2, 15) * 4
    p, q, s = triangle(degrees(r, 45, 75), degrees(r, 40, 75), 6.0)
    scale = math.sqrt(area / (6.0 * s[1] / 2))
    f.at(B=p, C=(q[0] * scale, 0.0), A=(s[0] * scale, s[1] * scale))
    b, c, a = f.points["B"], f.points["C"], f.points["A"]
    f.put("D", mid(b, c))
    f.join("AB", "AC")
    f.line("BDC")
    f.say(r.choice(("in triangle ABC", "for triangle ABC")))
    f.say(r.choice(("AD is the median of triangle ABC", "D is the midpoint of BC")), ("mid", "D", "B", "C"))
    big, half = ("area", "A", "B", "C"), ("area", "A", "B", "D")
    f.goals, f.offers = [big, half, ("area", "A", "C", "D")], [big, half, ("area", "A", "C", "D")]
    if r.random() < 0.5:
        f.put("E", mid(a, f.points["D"]))
        f.line("AED")
        f.line("BE")
        f.say("E is the midpoint of AD", ("mid", "E", "A", "D"))
        f.goals += [("area", "A", "B", "E"), ("area", "B", "D", "E")]
        f.offers = [big, ("area", "A", "B", "E")]
    else:
        f.line("AD")
