"""Constructions of triangles: angles, bisectors, altitudes, isosceles triangles, extensions."""

from __future__ import annotations

from random import Random

from r3v.data.euclid.figure import Figure, foot, meet, mid, polar, triangle
from r3v.data.euclid.figures.base import construction, degrees, equal, fair, length


def any_triangle(f: Figure, r: Random, low: int = 30, high: int = 100) -> tuple[int, int]:
    """A, B, C placed with whole angles at B and C; returns those."""
    b, c = degrees(r, low, high), degrees(r, low, high)
    fair(low <= 180 - b - c <= 120)
    p, q, s = triangle(b, c, r.uniform(5, 7))
    f.at(B=p, C=q, A=s)
    return b, c


@construction
def extended_side(f: Figure, r: Random) -> None:
    any_triangle(f, r)
    f.put("D", mid(f.points["B"], f.points["C"], r.uniform(1.35, 1.6)))
    f.join("AB", "AC")
    f.line("BCD")
    f.say(r.choice(("in triangle ABC", "for triangle ABC")))
    f.say(
        r.choice(
            (
                "point D is on the extended line of BC",
                "BC is extended to point D",
                "angle ACD is an exterior angle of triangle ABC",
            )
        )
    )


@construction
def point_on_side(f: Figure, r: Random) -> None:
    any_triangle(f, r)
    apex = f.points["A"]
    turn = degrees(r, 15, 60)
    d = meet(apex, polar(apex, f.turn("A", "B") + turn, 1), f.points["B"], f.points["C"])
    fair(0.6 < d[0] < f.points["C"][0] - 0.6)
    f.put("D", d)
    f.join("AB", "AC", "AD")
    f.line("BDC")
    f.say("in triangle ABC")
    f.say(r.choice(("point D is on BC", "D is a point on the edge of BC", "D is a point on BC")))


@construction
def bisector(f: Figure, r: Random) -> None:
    """The bisector from A, sometimes with the altitude from A as well."""
    a, b = degrees(r, 24, 100, 2), degrees(r, 30, 80)
    fair(30 <= 180 - a - b <= 110)
    p, q, s = triangle(b, 180 - a - b, 6.0)
    f.at(B=p, C=q, A=s)
    f.put("D", meet(s, polar(s, f.turn("A", "B") + a / 2, 1), p, q))
    names = ["B", "D", "C"]
    f.say("in triangle ABC")
    f.say(
        r.choice(
            ("AD bisects angle BAC", "AD is the bisector of angle BAC", "AD is the angular bisector of triangle ABC")
        ),
        ("bis", "A", "B", "D", "C"),
    )
    if r.random() < 0.45:
        e = foot(s, p, q)
        fair(0.4 < e[0] < q[0] - 0.4 and abs(e[0] - f.points["D"][0]) > 0.5)
        f.put("E", e)
        names.append("E")
        f.line("AE")
        f.say(
            r.choice(("AE perpendicular BC at point E", "AE is the height of triangle ABC")), ("right", "A", "E", "B")
        )
    elif r.random() < 0.5:
        e = mid(p, s, r.uniform(0.35, 0.7))
        e = meet(f.points["D"], (f.points["D"][0] + s[0] - q[0], f.points["D"][1] + s[1] - q[1]), p, s)
        f.put("E", e)
        f.line("DE")
        f.say(r.choice(("DE parallel AC and intersects AB at point E", "DE parallel AC")), ("para", "D", "E", "A", "C"))
        f.line("AEB")
    if "E" not in f.points or "E" in names:
        f.line("AB")
    f.line("AC")
    f.line("AD")
    f.line(sorted(names, key=lambda n: f.points[n][0]))


@construction
def two_altitudes(f: Figure, r: Random) -> None:
    any_triangle(f, r, 40, 80)
    a, b, c = (f.points[p] for p in "ABC")
    fair(f.turn("A", "B") != 0)
    d, e = foot(b, a, c), foot(c, a, b)
    f.at(D=d, E=e)
    h = meet(b, d, c, e)
    f.put("H", h)
    fair(min(f.distance("D", "A"), f.distance("D", "C"), f.distance("E", "A"), f.distance("E", "B")) > 0.5)
    angle = f.turn("A", "C") - f.turn("A", "B")
    fair(35 < angle % 360 < 85)
    f.line("ADC")
    f.line("AEB")
    f.line("BHD")
    f.line("CHE")
    f.line("BC")
    f.say("in triangle ABC")
    f.say(r.choice(("BD perpendicular AC at D", "BD is the height on AC")), ("right", "B", "D", "A"))
    f.say(r.choice(("CE perpendicular AB at E", "CE is the height on AB")), ("right", "C", "E", "A"))
    f.say("BD and CE intersect at point H", optional=True)


@construction
def two_bisectors(f: Figure, r: Random) -> None:
    b, c = degrees(r, 30, 90, 2), degrees(r, 30, 90, 2)
    fair(30 <= 180 - b - c <= 110)
    p, q, s = triangle(b, c, 6.0)
    i = meet(p, polar(p, b / 2, 1), q, polar(q, 180 - c / 2, 1))
    f.at(B=p, C=q, A=s, I=i)
    if r.random() < 0.5:
        f.polygon("A", "B", "C")
        f.join("BI", "CI")
        f.say("in triangle ABC")
        f.say("BI bisects angle ABC", ("bis", "B", "A", "I", "C"))
        f.say("CI bisects angle ACB", ("bis", "C", "A", "I", "B"))
    else:
        f.put("D", meet(p, i, s, q))
        f.put("E", meet(q, i, s, p))
        f.line("ADC")
        f.line("AEB")
        f.line("BC")
        f.line("BID")
        f.line("CIE")
        f.say("in triangle ABC")
        f.say(
            "the bisectors BD and CE of angle ABC and angle ACB intersect at point I",
            ("bis", "B", "A", "D", "C"),
            ("bis", "C", "A", "E", "B"),
        )


@construction
def parallel_in_triangle(f: Figure, r: Random) -> None:
    """DE parallel to BC, angles only."""
    any_triangle(f, r)
    a, b, c = (f.points[p] for p in "ABC")
    share = r.uniform(0.4, 0.65)
    f.at(D=mid(a, b, share), E=mid(a, c, share))
    f.line("ADB")
    f.line("AEC")
    f.line("BC")
    f.line("DE")
    f.say(r.choice(("in triangle ABC", "in triangle ABC, D and E are points on AB and AC")))
    f.say(r.choice(("DE parallel BC", "DE ∥ BC")), ("para", "D", "E", "B", "C"))
    if r.random() < 0.3:
        f.line("CD")
        if r.random() < 0.5:
            f.lines.pop()
            turn = (f.turn("C", "A") + f.turn("C", "B")) / 2
            f.points["D"] = meet(c, polar(c, turn, 1), a, b)
            f.points["E"] = meet(f.points["D"], (f.points["D"][0] + 1, f.points["D"][1]), a, c)
            f.line("CD")
            f.say("CD bisects angle ACB", ("bis", "C", "A", "D", "B"))


@construction
def turned_triangle(f: Figure, r: Random) -> None:
    """Triangle ABC turned round A to ADE: congruent, and two isosceles triangles at A."""
    any_triangle(f, r, 35, 85)
    a = f.points["A"]
    turn = degrees(r, 25, 80)
    f.put("D", polar(a, f.turn("A", "B") + turn, f.distance("A", "B")))
    f.put("E", polar(a, f.turn("A", "C") + turn, f.distance("A", "C")))
    f.polygon("A", "B", "C")
    f.polygon("A", "D", "E")
    opening = (f.turn("A", "C") - f.turn("A", "B")) % 360
    fair(abs(opening - turn) > 8)
    if r.random() < 0.4:
        f.join("CE")
    if r.random() < 0.3:
        f.join("BD")
    f.say(
        r.choice(
            (
                "triangle ABC rotates around point A to get triangle ADE",
                "rotate triangle ABC counterclockwise around point A to obtain triangle ADE",
            )
        ),
        ("congruent", ("A", "B", "C"), ("A", "D", "E")),
    )


@construction
def congruent_pair(f: Figure, r: Random) -> None:
    """Segments AC and BD that cross in their midpoint O, or triangles with a shared side."""
    kind = r.randrange(3)
    if kind == 0:
        x, y, t = r.uniform(2.5, 4), r.uniform(2, 3.4), degrees(r, 50, 130)
        o = (0.0, 0.0)
        f.at(O=o, A=polar(o, 180, x), C=polar(o, 0, x), B=polar(o, t + 180, y), D=polar(o, t, y))
        whole = r.random() < 0.5
        if whole:
            side = r.randint(3, 9)
            scale = side / f.distance("A", "B")
            f.points = {k: (u * scale, v * scale) for k, (u, v) in f.points.items()}
        f.line("AOC")
        f.line("BOD")
        f.join("AB", "CD")
        f.say("AC and BD intersect at point O")
        if r.random() < 0.5:
            f.say("OA = OC", equal("O", "A", "O", "C"))
            f.say("OB = OD", equal("O", "B", "O", "D"))
        else:
            f.say("AB parallel CD", ("para", "A", "B", "C", "D"))
            f.say("OA = OC", equal("O", "A", "O", "C"))
    elif kind == 1:  # a kite with its axis AC
        a, b = degrees(r, 20, 50), degrees(r, 25, 70)
        c = (5.0, 0.0)
        d = meet((0.0, 0.0), polar((0.0, 0.0), a, 1), c, polar(c, 180 - b, 1))
        f.at(A=(0.0, 0.0), C=c, D=d, B=(d[0], -d[1]))
        f.polygon("A", "B", "C", "D")
        f.line("AC")
        choice = r.randrange(3)
        if choice == 0:
            f.say("AB = AD", equal("A", "B", "A", "D"))
            f.say("BC = CD", equal("B", "C", "C", "D"))
        elif choice == 1:
            f.say("AB = AD", equal("A", "B", "A", "D"))
            f.say("AC bisects angle BAD", ("bis", "A", "B", "C", "D"))
        else:
            f.say("AC bisects angle BAD", ("bis", "A", "B", "C", "D"))
            f.say("angle ABC = angle ADC", ("eq", ("angle", "B", "A", "C"), ("angle", "D", "A", "C")))
    else:  # AB parallel CF, E the midpoint of DF and D on AB
        ab, cf = r.randint(6, 12), r.randint(3, 7)
        fair(ab - cf >= 2)
        h = r.uniform(3, 5)
        f.at(A=(0.0, 0.0), B=(float(ab), 0.0), D=(float(cf), 0.0), C=(r.uniform(1.5, 4), h))
        e = mid((0.0, 0.0), f.points["C"])
        f.put("E", e)
        f.put("F", mid(f.points["D"], e, 2.0))
        f.line("ADB")
        f.line("AEC")
        f.line("DEF")
        f.join("CF", "BC")
        f.say("D is a point on AB")
        f.say("DF intersects AC at point E")
        f.say("AB parallel CF", ("para", "A", "B", "C", "F"))
        f.say("E is the midpoint of DF", ("mid", "E", "D", "F"))
        f.goals = [length("B", "D"), length("A", "D"), length("C", "F"), length("A", "B")]
        f.offers = [length("A", "B"), length("C", "F"), length("B", "D"), length("A", "D")]
