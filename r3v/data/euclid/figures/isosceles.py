"""Constructions of isosceles and equilateral triangles, and of perpendicular bisectors."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.figure import Figure, foot, meet, mid, polar, triangle
from r3v.data.euclid.figures.base import construction, degrees, equal, fair, length


def isosceles(f: Figure, r: Random, low: int = 20, high: int = 120) -> int:
    """A, B, C with AB = AC and an even angle at A; returns the base angle."""
    apex = degrees(r, low, high, 2)
    base = (180 - apex) // 2
    p, q, s = triangle(base, base, r.uniform(5, 7))
    f.at(B=p, C=q, A=s)
    return base


def say_isosceles(f: Figure, r: Random) -> None:
    f.say(r.choice(("in triangle ABC", "triangle ABC is an isosceles triangle")))
    f.say("AB = AC", equal("A", "B", "A", "C"))


@construction
def isosceles_cut(f: Figure, r: Random) -> None:
    """AB = AC with a median, altitude, bisector or a chain of equal segments."""
    base = isosceles(f, r)
    a, b, c = (f.points[p] for p in "ABC")
    kind = r.randrange(5)
    say_isosceles(f, r)
    if kind == 0:
        f.polygon("A", "B", "C")
        if r.random() < 0.5:
            f.lines.pop(1)
            f.put("D", mid(b, c, 1.4))
            f.line("BCD")
    elif kind == 1:
        f.put("D", mid(b, c))
        f.join("AB", "AC", "AD")
        f.line("BDC")
        which = r.randrange(3)
        words = (
            (("D is the midpoint of BC", "AD is the median on BC"), ("mid", "D", "B", "C")),
            (("AD perpendicular BC at point D", "AD is the height on BC"), ("right", "A", "D", "B")),
            (("AD bisects angle BAC", "AD is the bisector of angle BAC"), ("bis", "A", "B", "D", "C")),
        )[which]
        f.say(r.choice(words[0]), words[1])
    elif kind == 2:
        fair(base > 45)
        f.put("D", meet(b, polar(b, base / 2, 1), a, c))
        f.join("AB", "BC", "BD")
        f.line("ADC")
        f.say(r.choice(("BD bisects angle ABC", "BD is the bisector of angle ABC")), ("bis", "B", "A", "D", "C"))
    elif kind == 3:  # BD = BC with D on AC
        fair(62 < base < 85)
        d = meet(b, polar(b, 2 * base - 180 + 0.0, 1), a, c) if 2 * base != 180 else a
        d = polar(c, 180 - base, 2 * f.distance("B", "C") * cos(base))
        f.put("D", d)
        fair(f.distance("A", "D") > 0.5 and f.distance("C", "D") > 0.7)
        f.join("AB", "BC", "BD")
        f.line("ADC")
        f.say(r.choice(("point D is on AC", "D is a point on AC")))
        f.say("BD = BC", equal("B", "D", "B", "C"))
    else:  # altitude to a leg
        fair(base > 48)
        f.put("D", foot(b, a, c))
        f.join("AB", "BC", "BD")
        f.line("ADC")
        f.say(r.choice(("BD perpendicular AC at D", "BD is the height on AC")), ("right", "B", "D", "A"))


def cos(a: float) -> float:
    return math.cos(math.radians(a))


@construction
def equal_chain(f: Figure, r: Random) -> None:
    """D on BC with AB = AD = DC, or D on AC with AD = BD."""
    if r.random() < 0.5:
        c = degrees(r, 20, 40)
        d = (0.0, 0.0)
        a = polar(d, 2 * c, 4)
        f.at(D=d, A=a, C=polar(d, 0, -0.0))
        f.points["C"] = (4.0, 0.0)
        f.points["A"] = polar(d, 180 - 2 * c, 4)
        f.put("B", (2 * f.points["A"][0], 0.0))
        f.join("AB", "AC", "AD")
        f.line("BDC")
        f.say("in triangle ABC")
        f.say(r.choice(("point D is on BC", "D is a point on BC")))
        if r.random() < 0.7:
            f.say("AB = AD = DC", equal("A", "B", "A", "D"), equal("A", "D", "D", "C"))
        else:
            f.say("AB = AD", equal("A", "B", "A", "D"))
            f.say("AD = DC", equal("A", "D", "D", "C"))
    else:
        a, b = degrees(r, 25, 50), degrees(r, 60, 100)
        fair(b > a + 12 and a + b < 150)
        p, q, s = triangle(a, b, 6.0)
        f.at(A=p, B=q, C=s)
        f.put("D", meet(q, polar(q, 180 - a, 1), p, s))
        fair(f.distance("D", "C") > 0.6)
        f.join("AB", "BC", "BD")
        f.line("ADC")
        f.say("in triangle ABC")
        f.say("point D is on AC")
        f.say("AD = BD", equal("A", "D", "B", "D"))


@construction
def perpendicular_bisector(f: Figure, r: Random) -> None:
    """The perpendicular bisector DE of AB meets AC at E."""
    a, b = degrees(r, 25, 50), degrees(r, 55, 100)
    alike = r.random() < 0.45
    if alike:
        a = degrees(r, 24, 50, 2)
        b = (180 - a) // 2
    fair(b > a + 10 and a + b < 150)
    p, q, s = triangle(a, b, 6.0)
    f.at(A=p, B=q, C=s, D=mid(p, q))
    f.put("E", meet(f.points["D"], (3.0, 1.0), p, s))
    fair(f.distance("E", "C") > 0.6)
    f.line("ADB")
    f.line("AEC")
    f.join("BC", "BE", "DE")
    f.say("in triangle ABC")
    if alike:
        f.say("AB = AC", equal("A", "B", "A", "C"))
    f.say(
        r.choice(
            (
                "DE is the perpendicular bisector of AB",
                "the perpendicular bisector of AB intersects AB at D and AC at E",
                "the perpendicular bisector DE of AB crosses AC at E",
            )
        ),
        ("perpbis", "D", "E", "A", "B"),
    )
    if r.random() < 0.35:
        scale = r.randint(5, 14) / f.distance("A", "C")
        f.points = {k: (x * scale, y * scale) for k, (x, y) in f.points.items()}
        bc = round(f.distance("B", "C"))
        fair(bc > 2 and 1.2 * bc < 2 * f.distance("A", "C"))
        ac, ae = f.distance("A", "C"), 0.0
        # choose whole AC and BC: place C from scratch with E anywhere on AC
        ae = ac * r.uniform(0.55, 0.7)
        ce = ac - ae
        cos_ = (bc * bc - ae * ae - ce * ce) / (-2 * ae * ce)
        fair(-0.95 < cos_ < 0.95)
        at_e = acos(cos_)
        e = (0.0, 0.0)
        f.points = {"E": e, "A": (-ae, 0.0), "C": (ce, 0.0), "B": polar(e, -at_e, ae)}
        f.put("D", mid(f.points["A"], f.points["B"]))
        f.clauses = [c for c in f.clauses if c.text != "AB = AC"]
        f.goals = [("perimeter", "B", "C", "E"), length("B", "C"), length("A", "C")]
        f.offers = [length("A", "C"), length("B", "C"), ("perimeter", "B", "C", "E")]


def acos(x: float) -> float:
    return math.degrees(math.acos(x))


@construction
def equilateral(f: Figure, r: Random) -> None:
    p, q, s = triangle(60, 60, float(r.randint(3, 12)))
    f.at(B=p, C=q, A=s)
    kind = r.randrange(3)
    f.say(
        r.choice(("triangle ABC is an equilateral triangle", "in the equilateral triangle ABC")),
        equal("A", "B", "B", "C"),
        equal("B", "C", "A", "C"),
    )
    if kind == 0:
        turn = degrees(r, 12, 48)
        fair(turn != 30)
        f.put("D", meet(s, polar(s, f.turn("A", "B") + turn, 1), p, q))
        f.join("AB", "AC", "AD")
        f.line("BDC")
        f.say("point D is on BC")
    elif kind == 1:
        f.put("D", mid(p, q))
        f.join("AB", "AC", "AD")
        f.line("BDC")
        f.say("AD perpendicular BC at point D", ("right", "A", "D", "B"))
    else:
        f.put("D", mid(p, q, 1.5))
        f.put("E", mid(s, q, r.uniform(0.4, 0.6)))
        f.line("BCD")
        f.line("AEC")
        f.join("AB", "DE")
        e = polar(q, 120, f.distance("C", "D"))
        fair(f.distance("C", "D") < 0.9 * f.distance("A", "C"))
        f.points["E"] = e
        f.say("D is on the extended line of BC and E is on AC")
        f.say("CD = CE", equal("C", "D", "C", "E"))
