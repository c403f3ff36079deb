"""Constructions of tangents, of sectors, and of chords with special angles."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Figure, meet, mid, polar, second, sided
from r3v.data.euclid.figures.base import TRIPLES, construction, degrees, fair, length
from r3v.data.euclid.figures.circles import O, R, apart, ring


@construction
def tangent_and_secant(f: Figure, r: Random) -> None:
    """PA touches the circle at A, PO crosses it at B."""
    a = degrees(r, 25, 60)
    p = polar(O, 180, R / math.sin(math.radians(a)))
    numbers = r.random() < 0.45
    if numbers:
        oa, pa, op = r.choice(TRIPLES[:6])
        p = polar(O, 180, op)
        turn = 180 - math.degrees(math.acos(oa / op))
        ring(f, radius=oa, A=turn, B=180)
        _ = pa
    else:
        ring(f, A=180 - (90 - a), B=180)
    f.put("P", p)
    f.line("PBO")
    f.join("PA", "OA")
    f.say(
        r.choice(
            (
                "PA is tangent to circle O at point A",
                "PA is the tangent of circle O, A is the tangent point",
                "PA and circle O are tangent to point A",
            )
        ),
        ("tangent", "A", "O", "P"),
    )
    f.say(r.choice(("PO intersects circle O at point B", "OP crosses circle O at point B")))
    if numbers:
        trig = [("sin", "P", *sorted("AB")), ("cos", "P", *sorted("AB")), ("tan", "P", *sorted("AB"))]
        f.goals = [length(*x) for x in ("PA", "OP", "OA", "PB")] + [("radius", "O"), r.choice(trig)]
        f.offers = [length(*x) for x in ("PA", "OP", "OA", "PB")] + [("radius", "O")]
        return
    kind = r.randrange(4)
    if kind == 0:
        f.line("AB")
    elif kind == 1:
        f.put("C", polar(O, 0, R))
        f.circle("O", "A", "B", "C")
        f.lines[0] = ("P", "B", "O", "C")
        f.line("AC")
        f.clauses.pop()
        f.say(r.choice(("PO intersects circle O at points B and C", "the line PO crosses circle O at B and C")))
    elif kind == 2:
        c = 180 + degrees(r, 60, 150, 1)
        f.put("C", polar(O, c, R))
        f.circle("O", "A", "B", "C")
        f.join("AC", "BC")
        f.say("C is a point on circle O")


@construction
def two_tangents(f: Figure, r: Random) -> None:
    tip = degrees(r, 30, 90, 2)
    far = R / math.sin(math.radians(tip / 2))
    central = 180 - tip
    ring(f, A=180 - central / 2, B=180 + central / 2)
    f.put("P", polar(O, 180, far))
    f.join("PA", "PB")
    f.say(
        r.choice(
            (
                "PA and PB are tangent to circle O at points A and B respectively",
                "PA and PB are the tangents of circle O, A and B are the tangent points",
                "PA and PB are two tangents of circle O with tangent points A and B",
            )
        ),
        ("tangent", "A", "O", "P"),
        ("tangent", "B", "O", "P"),
    )
    kind = r.randrange(5)
    f.join("OA", "OB")
    if kind in (0, 1):
        c = r.uniform(-50, 50) if kind == 0 else 180 + r.uniform(-20, 20)
        f.put("C", polar(O, c, R))
        f.circle("O", "A", "B", "C")
        f.join("AC", "BC")
        f.say(r.choice(("C is a point on circle O", "point C is a point on circle O")))
    elif kind == 2:
        f.line("OP")
    elif kind == 3:
        f.line("AB")
    else:
        f.put("C", polar(O, f.turn("O", "A") + 180, R))
        f.circle("O", "A", "B", "C")
        f.lines[2] = ("A", "O", "C")
        f.lines.pop()
        f.join("AB", "BC")
        f.say("AC is the diameter of circle O", ("diameter", "A", "C", "O"))


@construction
def tangent_chord(f: Figure, r: Random) -> None:
    """A tangent at A, a chord AB and an inscribed angle C over it."""
    t = degrees(r, 30, 80)
    ring(f, A=270, B=270 + 2 * t, C=270 - degrees(r, 40, 110, 1))
    apart(270, 270 + 2 * t, f.turn("O", "C"), least=25)
    a = f.points["A"]
    f.at(D=(a[0] + 5.5, a[1]), E=(a[0] - 5.5, a[1]))
    f.line("EAD")
    f.join("AB", "AC", "BC")
    f.say(
        r.choice(("DE is tangent to circle O at point A", "the line DE is the tangent of circle O at A")),
        ("tangent", "A", "O", "D"),
    )
    f.say("B and C are points on circle O")
    kind = r.random()
    if kind < 0.35:
        f.line("OA")
        f.line("OB")


@construction
def tangent_at_diameter(f: Figure, r: Random) -> None:
    """AB a diameter, the tangent at B (or C on it); AC meets the circle again at D."""
    a = degrees(r, 25, 60)
    ring(f, A=180, B=0)
    b = f.points["B"]
    c = meet(f.points["A"], polar(f.points["A"], a, 1), b, (b[0], 1.0))
    f.put("C", c)
    d = second(O, f.points["A"], c)
    f.put("D", d)
    f.circle("O", "A", "B", "D")
    f.line("AOB")
    f.line("ADC")
    f.line("BC")
    f.say("AB is the diameter of circle O", ("diameter", "A", "B", "O"))
    f.say(
        r.choice(("BC is tangent to circle O at point B", "BC is the tangent of circle O")), ("tangent", "B", "O", "C")
    )
    f.say(r.choice(("AC intersects circle O at point D", "AC crosses circle O at point D")))
    f.join(*r.choice((("BD",), ("OD",), ("OC",), ("BD", "OD"))))


@construction
def incircle_lengths(f: Figure, r: Random) -> None:
    """A triangle whose sides touch a circle: tangent lengths x, y, z."""
    x, y, z = (r.randint(1, 8) for _ in range(3))
    fair(len({x, y, z}) > 1)
    bc, ca, ab = y + z, z + x, x + y
    a, b, c = sided(bc, ca, ab)
    s = x + y + z
    area = math.sqrt(s * x * y * z)
    i = ((bc * a[0] + ca * b[0] + ab * c[0]) / (2 * s), (bc * a[1] + ca * b[1] + ab * c[1]) / (2 * s))
    fair(area / s > 0.9)
    f.at(A=a, B=b, C=c, O=i, D=mid(a, b, x / ab), E=mid(b, c, y / bc), F=mid(c, a, z / ca))
    f.circle("O", "D", "E", "F")
    f.line("ADB")
    f.line("BEC")
    f.line("CFA")
    f.say(
        r.choice(
            (
                "circle O is the inscribed circle of triangle ABC and touches AB, BC and CA at D, E and F",
                "AB, BC and CA are tangent to circle O at points D, E and F respectively",
            )
        ),
        ("tangent", "D", "O", "A"),
        ("tangent", "E", "O", "B"),
        ("tangent", "F", "O", "C"),
    )
    sides = [length(*p) for p in ("AB", "BC", "AC")]
    parts = [length(*p) for p in ("AD", "BE", "CF", "BD", "CE", "AF")]
    f.goals = [*sides, *parts, ("perimeter", "A", "B", "C")]
    f.offers = [*sides, *parts]


@construction
def tangent_triangle(f: Figure, r: Random) -> None:
    """Tangents PA, PB and a third tangent CD at E: the perimeter of PCD is twice PA."""
    tip = degrees(r, 40, 80)
    pa = r.randint(4, 18)
    radius = pa * math.tan(math.radians(tip / 2))
    far = math.hypot(pa, radius)
    ring(f, radius=radius, A=180 - (90 - tip / 2), B=180 + (90 - tip / 2))
    f.put("P", polar(O, 180, far))
    e = 180 + r.uniform(-0.35, 0.35) * (90 - tip / 2)
    f.put("E", polar(O, e, radius))
    side = polar(f.points["E"], e + 90, 1.0)
    f.put("C", meet(f.points["E"], side, f.points["P"], f.points["A"]))
    f.put("D", meet(f.points["E"], side, f.points["P"], f.points["B"]))
    f.circle("O", "A", "B", "E")
    f.line("PCA")
    f.line("PDB")
    f.line("CED")
    f.say(
        "PA and PB are tangent to circle O at A and B respectively",
        ("tangent", "A", "O", "P"),
        ("tangent", "B", "O", "P"),
    )
    f.say(
        "CD is tangent to circle O at point E and intersects PA and PB at C and D respectively",
        ("tangent", "E", "O", "C"),
    )
    around = ("perimeter", "C", "D", "P")
    f.goals = [around, length("P", "A"), length("P", "B")]
    f.offers = [length("P", "A"), length("P", "B"), around]


@construction
def sector(f: Figure, r: Random) -> None:
    f.gives = (2,)
    angle = r.choice((30, 45, 60, 90, 120, 135, 150, 72, 40))
    radius = r.choice((2, 3, 4, 5, 6, 8, 9, 10, 12))
    ring(f, radius=radius, A=90 - angle / 2, B=90 + angle / 2)
    f.join("OA", "OB")
    f.say(r.choice(("in the sector OAB", "the sector AOB is part of circle O")))
    f.offers = [("angle", "O", "A", "B"), ("radius", "O"), length("O", "A")]
    f.goals = [("sector", "O", "A", "B"), ("curve", "O", "A", "B"), ("sector", "O", "A", "B")]


@construction
def sector_in_circle(f: Figure, r: Random) -> None:
    """An inscribed angle and a radius lead to a sector."""
    f.gives = (1, 2)
    inscribed = r.choice((30, 45, 60, 15, 36, 20, 40))
    radius = r.randint(2, 9)
    ring(f, radius=radius, A=90 - inscribed, B=90 + inscribed, C=270 + r.uniform(-40, 40))
    f.join("OA", "OB", "AC", "BC")
    f.say(r.choice(("points A, B and C are on circle O", "triangle ABC is inscribed in circle O")))
    f.offers = [("angle", "C", "A", "B"), ("radius", "O")]
    f.goals = [("sector", "O", "A", "B"), ("curve", "O", "A", "B"), ("angle", "O", "A", "B")]


@construction
def chord_of_special_angle(f: Figure, r: Random) -> None:
    """A chord over an inscribed angle of 30, 45 or 60 and the radius or diameter."""
    c = r.choice((30, 45, 60, 30))
    radius = r.choice((1, 2, 3, 4, 5, 6, 8))
    ring(f, radius=radius, A=90 + c, B=90 - c, C=270 + r.uniform(-40, 40))
    f.join("AB", "AC", "BC", "OA", "OB")
    f.say(r.choice(("A, B and C are three points on circle O", "triangle ABC is inscribed in circle O")))
    f.say(f"angle ACB = {c}", ("value", ("angle", "C", "A", "B"), number(c)))
    f.offers = [("radius", "O"), length("A", "B")]
    f.goals = [length("A", "B"), ("radius", "O")]


@construction
def tangent_by_angle(f: Figure, r: Random) -> None:
    """OA perpendicular to AD at the point A of the circle: a tangent, and then its angle with a chord."""
    t = degrees(r, 30, 75)
    ring(f, A=270, B=270 + 2 * t, C=270 - degrees(r, 45, 110, 1))
    apart(270, 270 + 2 * t, f.turn("O", "C"), least=25)
    a = f.points["A"]
    f.at(D=(a[0] + 5.5, a[1]), E=(a[0] - 4.5, a[1]))
    f.line("EAD")
    f.join("AB", "AC", "BC", "OA")
    f.say("A, B and C are points on circle O")
    f.say(r.choice(("OA perpendicular DE at A", "DE perpendicular OA and passes through A")), ("right", "O", "A", "D"))


@construction
def power_of_tangent(f: Figure, r: Random) -> None:
    """PT touches the circle, PAB cuts it: PT² = PA · PB."""
    pa, pb, pt = r.choice(((1, 4, 2), (2, 8, 4), (4, 9, 6), (3, 12, 6), (1, 9, 3), (2, 18, 6), (4, 16, 8), (5, 20, 10)))
    half = (pb - pa) / 2
    radius = half / r.uniform(0.75, 0.95)
    drop = math.sqrt(radius**2 - half**2)
    centre_x = pa + half
    far = math.hypot(centre_x, drop)
    fair(abs(far**2 - radius**2 - pt**2) < 1e-6)
    turn = math.degrees(math.atan2(drop, centre_x))
    f.at(P=O, A=(float(pa), 0.0), B=(float(pb), 0.0), O=(centre_x, drop))
    f.put("T", polar(O, turn + math.degrees(math.asin(radius / far)), pt))
    f.circle("O", "A", "B", "T")
    f.line("PAB")
    f.line("PT")
    f.join(*r.choice((("AT", "BT"), ("AT",))))
    f.say(
        r.choice(("PT is tangent to circle O at point T", "PT is the tangent of circle O")), ("tangent", "T", "O", "P")
    )
    f.say("the secant PAB intersects circle O at points A and B")
    f.gives = (2,)
    f.goals = f.offers = [length("P", "T"), length("P", "A"), length("P", "B"), length("A", "B")]
    f.centre_shown = r.random() < 0.5


@construction
def tangent_with_parallel(f: Figure, r: Random) -> None:
    """The tangent at C meets the diameter AB produced at D."""
    a = degrees(r, 20, 38)
    ring(f, A=180, B=0, C=2 * a)
    c = f.points["C"]
    d = meet(c, polar(c, 2 * a - 90, 1), O, (1.0, 0.0))
    f.put("D", d)
    f.line("AOBD")
    f.join("CD", "AC")
    f.say("AB is the diameter of circle O", ("diameter", "A", "B", "O"))
    f.say(
        r.choice(
            (
                "CD is tangent to circle O at point C and intersects the extended line of AB at D",
                "the tangent of circle O at point C crosses the extension line of AB at point D",
            )
        ),
        ("tangent", "C", "O", "D"),
    )
    f.join(*r.choice((("OC",), ("BC",), ("OC", "BC"))))
