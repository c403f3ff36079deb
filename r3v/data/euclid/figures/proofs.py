"""Constructions in which something has to be recognised first: parallel lines, a parallelogram, a diameter, triangles
that are congruent or similar.
"""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Figure, foot, mid, polar, sided, triangle
from r3v.data.euclid.figures.base import TRIPLES, construction, degrees, equal, fair, length, value

O = (0.0, 0.0)  # noqa: E741


def shear(a: float, height: float) -> tuple[float, float]:
    """The point at this height on the ray from the origin at `a` degrees."""
    return height / math.tan(math.radians(a)), height


@construction
def becoming_parallel(f: Figure, r: Random) -> None:
    """Two lines cut by two others; angles at the first show that they are parallel."""
    a, b = degrees(r, 50, 80), degrees(r, 100, 130)
    top, other = shear(a, 3.0), shear(b, 3.0)
    f.at(G=top, H=O, K=(other[0] + 5, 3.0), L=(5.0, 0.0))
    fair(f.points["K"][0] - top[0] > 1)
    f.at(A=(top[0] - 2, 3.0), B=(f.points["K"][0] + 2, 3.0), C=(-2.0, 0.0), D=(7.0, 0.0))
    f.at(E=mid(O, top, 1.5), F=mid(O, top, -0.5), M=mid(f.points["L"], f.points["K"], 1.5))
    f.put("N", mid(f.points["L"], f.points["K"], -0.5))
    f.line("AGKB")
    f.line("CHLD")
    f.line("EGHF")
    f.line("MKLN")
    near_g, near_h = ("angle", "G", "E", "K"), ("angle", "H", "G", "L")
    first = r.choice((near_g, ("angle", "G", "A", "H"), ("angle", "G", "H", "K")))
    third = r.choice((("angle", "K", "G", "L"), ("angle", "K", "B", "L"), ("angle", "K", "B", "M")))
    fourth = r.choice((("angle", "L", "D", "K"), ("angle", "L", "H", "K")))
    four = [first, near_h, third, fourth]
    f.gives = (3,)
    if r.random() < 0.5:
        f.hidden = set("ABCDEFGHKLMN")
        for line, name in zip(f.lines, r.choice(("abcd", "mnpq")), strict=True):
            f.story[" ".join(("line", *line))] = name
        f.number(*((q[2], q[1], q[3]) for q in four))
        words = r.choice(
            (
                "straight lines {0} and {1} are cut by straight lines {2} and {3}",
                "{2} and {3} intersect the lines {0} and {1}",
            )
        )
        f.say(words.format(*f.story.values()))
    else:
        f.goals = f.offers = four
        f.say("the straight lines AB and CD are cut by EF and MN at G, H, K and L")


@construction
def three_parallel_lines(f: Figure, r: Random) -> None:
    """AB and CD both parallel to EF; a bend between them."""
    a, b = degrees(r, 25, 75), degrees(r, 25, 75)
    up, down = polar(O, a, 4), polar(O, -b, 4)
    f.at(O=O, B=up, D=down)
    f.at(A=(up[0] - 3.5, up[1]), C=(down[0] - 3.5, down[1]), E=(-3.0, 0.0), F=(4.0, 0.0))
    f.line("AB")
    f.line("CD")
    f.line("EOF")
    f.join("OB", "OD")
    f.say("AB parallel EF", ("para", "A", "B", "E", "F"))
    f.say("CD parallel EF", ("para", "C", "D", "E", "F"))
    if r.random() < 0.4:
        f.line("BD")


@construction
def two_perpendiculars(f: Figure, r: Random) -> None:
    """CD and EF perpendicular to AB: parallel, so angles pass on."""
    b, a = degrees(r, 40, 70), degrees(r, 35, 65)
    p, q, s = triangle(a, b, 6.0)
    f.at(A=p, B=q, C=s)
    f.put("D", foot(s, p, q))
    share = r.uniform(0.4, 0.7)
    f.put("E", mid(q, s, share))
    f.put("F", foot(f.points["E"], p, q))
    f.line("ADFB")
    f.line("CEB")
    f.join("AC", "CD", "EF")
    f.say(r.choice(("in triangle ABC", "E is a point on BC of triangle ABC")))
    f.say("CD perpendicular AB at D", ("right", "C", "D", "A"))
    f.say("EF perpendicular AB at F", ("right", "E", "F", "B"))
    if r.random() < 0.5:
        f.line("DE")


@construction
def becoming_parallelogram(f: Figure, r: Random) -> None:
    """A quadrilateral whose sides, angles or parallels show what it is."""
    ab, ad = r.sample(range(3, 10), 2)
    a = degrees(r, 50, 75)
    d = polar(O, a, ad)
    f.at(A=O, B=(float(ab), 0.0), D=d, C=(d[0] + ab, d[1]))
    f.polygon("A", "B", "C", "D")
    f.say(r.choice(("in the quadrilateral ABCD", "in quadrilateral ABCD")))
    kind = r.randrange(4)
    if kind == 0:
        f.say("AB parallel CD", ("para", "A", "B", "C", "D"))
        f.say("AD parallel BC", ("para", "A", "D", "B", "C"))
    elif kind == 1:
        f.say("AB parallel CD", ("para", "A", "B", "C", "D"))
        f.say("AB = CD", equal("A", "B", "C", "D"))
    elif kind == 2:
        f.say("AB = CD", equal("A", "B", "C", "D"))
        f.say("AD = BC", equal("A", "D", "B", "C"))
    else:
        f.say("angle A = angle C", ("eq", ("angle", "A", "B", "D"), ("angle", "C", "B", "D")))
        f.say("angle B = angle D", ("eq", ("angle", "B", "A", "C"), ("angle", "D", "A", "C")))
    if r.random() < 0.4:
        f.put("O", mid(f.points["A"], f.points["C"]))
        f.line("AOC")
        f.line("BOD")
        f.say("AC and BD intersect at point O")
    elif kind == 2:
        f.line("BD")


@construction
def becoming_rectangle(f: Figure, r: Random) -> None:
    """Two pairs of parallels and a right angle, or four equal sides."""
    if r.random() < 0.5:
        x, y, _ = r.choice(TRIPLES)
        f.at(A=(0.0, float(y)), B=O, C=(float(x), 0.0), D=(float(x), float(y)))
        f.say("in the quadrilateral ABCD")
        f.say("AB parallel CD", ("para", "A", "B", "C", "D"))
        f.say("AD parallel BC", ("para", "A", "D", "B", "C"))
        f.say("angle B = 90", ("right", "A", "B", "C"))
        if r.random() < 0.6:
            f.gives = (1,)
            f.goals = [length(*side) for side in ("BD", "OB", "OD", "AC", "OA")]
            f.offers = [length(*side) for side in ("AC", "OA", "OC", "BD")]
        f.put("O", mid(f.points["A"], f.points["C"]))
    else:
        p, q, _ = r.choice(TRIPLES[:6])
        f.at(O=O, A=(0.0, float(p)), C=(0.0, -float(p)), B=(-float(q), 0.0), D=(float(q), 0.0))
        f.say(
            "in the quadrilateral ABCD, AB = BC = CD = DA",
            equal("A", "B", "B", "C"),
            equal("B", "C", "C", "D"),
            equal("C", "D", "A", "D"),
        )
    f.polygon("A", "B", "C", "D")
    f.line("AOC")
    f.line("BOD")
    f.say("AC and BD intersect at point O")


@construction
def congruent_by_sides(f: Figure, r: Random) -> None:
    """Right triangles with a common hypotenuse, or B, F, C, E on a line with AC = DF."""
    if r.random() < 0.5:
        b = degrees(r, 25, 65)
        h = 5.0
        f.at(A=O, C=(h, 0.0), B=polar(O, b, h * math.cos(math.radians(b))))
        f.put("D", (f.points["B"][0], -f.points["B"][1]))
        f.polygon("A", "B", "C", "D")
        f.line("AC")
        f.say(
            r.choice(("angle B = 90 and angle D = 90", "AB perpendicular BC and AD perpendicular CD")),
            ("right", "A", "B", "C"),
            ("right", "A", "D", "C"),
        )
        f.say("AB = AD", equal("A", "B", "A", "D"))
        return
    c = degrees(r, 30, 65)
    height, base, gap = 3.0, 3.0 / math.tan(math.radians(c)), r.uniform(0.8, 1.6)
    fair(base > gap + 0.4)
    whole = 2 * base - gap
    f.at(B=O, F=(base - gap, 0.0), C=(base, 0.0), E=(whole, 0.0), A=(0.0, height), D=(whole, -height))
    f.line("BFCE")
    f.join("AB", "AC", "DE", "DF")
    f.say("B, F, C and E are on a straight line")
    kind = r.randrange(3)
    if kind == 0:
        f.say("AB perpendicular BE and DE perpendicular BE", ("right", "A", "B", "C"), ("right", "D", "E", "F"))
        f.say("AC = DF", equal("A", "C", "D", "F"))
        f.say("AB = DE", equal("A", "B", "D", "E"))
    elif kind == 1:
        f.say("AB = DE", equal("A", "B", "D", "E"))
        f.say("AC = DF", equal("A", "C", "D", "F"))
        f.say("BC = EF", equal("B", "C", "E", "F"))
    else:
        f.say("AB parallel DE", ("para", "A", "B", "D", "E"))
        f.say("AB = DE", equal("A", "B", "D", "E"))
        f.say("BC = EF", equal("B", "C", "E", "F"))


@construction
def similar_by_proportion(f: Figure, r: Random) -> None:
    """D on AB and E on AC with AD * AB = AE * AC or AD / AB = AE / AC: triangle ADE is similar to ACB or ABC."""
    crossed = ((3, 8, 4, 6), (2, 6, 3, 4), (3, 10, 5, 6), (2, 9, 3, 6), (4, 12, 6, 8), (5, 12, 6, 10))
    straight = ((2, 6, 3, 9), (4, 6, 6, 9), (3, 12, 2, 8), (6, 10, 9, 15), (4, 10, 6, 15))
    ad, ab, ae, ac = r.choice((*crossed, *straight))
    bc = r.randint(abs(ab - ac) + 1, ab + ac - 1)
    whole = ac if ad * ab == ae * ac else ab
    fair(bc * ad % whole == 0 and bc < ab + ac - 1)
    a, b, c = sided(bc, ac, ab)
    f.at(A=a, B=b, C=c, D=mid(a, b, ad / ab), E=mid(a, c, ae / ac))
    f.line("ADB")
    f.line("AEC")
    f.join("BC", "DE")
    words = (
        "in triangle ABC, D and E are points on AB and AC",
        "points D and E are on sides AB and AC of triangle ABC",
    )
    f.say(r.choice(words))
    for name, size in (("AD", ad), ("AB", ab), ("AE", ae), ("AC", ac)):
        f.say(f"{name} = {size}", ("value", length(*name), number(size)))
    f.gives = (1,)
    f.goals = f.offers = [length("D", "E"), length("B", "C")]


@construction
def three_sides(f: Figure, r: Random) -> None:
    """Three given sides show a right angle; the median CD or the area is asked for."""
    a, b, c = r.choice(TRIPLES[:6])
    f.at(C=O, B=(float(a), 0.0), A=(0.0, float(b)))
    f.put("D", mid(f.points["A"], f.points["B"]))
    f.line("ADB")
    f.join("AC", "BC", "CD")
    f.say("in triangle ABC")
    for name, size in (("AB", c), ("BC", a), ("AC", b)):
        f.say(f"{name} = {size}", ("value", length(*name), number(size)))
    f.say("D is the midpoint of AB", ("mid", "D", "A", "B"))
    f.gives = (0,)
    f.goals = [length("C", "D"), ("area", "A", "B", "C")]


@construction
def sines(f: Figure, r: Random) -> None:
    """Angles 45 and 60 (or 30 and 45) and a side: the law of sines."""
    x, y = r.choice(((45, 60), (30, 45), (60, 45), (45, 30), (120, 30), (30, 120)))
    k = r.randint(1, 5)
    side = {30: k, 45: k * math.sqrt(2), 60: k * math.sqrt(3), 120: k * math.sqrt(3)}
    ac = 2 * side[x]
    p, q, s = triangle(x, y, 1.0)
    scale = ac / math.dist(p, s)
    f.at(B=p, C=(q[0] * scale, 0.0), A=(s[0] * scale, s[1] * scale))
    f.polygon("A", "B", "C")
    f.say("in triangle ABC")
    f.say(f"angle B = {x}", ("value", ("angle", "B", "A", "C"), number(x)))
    f.say(f"angle C = {y}", ("value", ("angle", "C", "A", "B"), number(y)))
    f.gives = (1,)
    f.goals = f.offers = [length("A", "B"), length("A", "C")]


@construction
def bisector_lengths(f: Figure, r: Random) -> None:
    """AD bisects angle A: BD : DC = AB : AC."""
    m, n = r.sample(range(2, 6), 2)
    k, j = r.randint(1, 3), r.randint(1, 3)
    ab, ac, bd, dc = m * k * 1.0, n * k * 1.0, m * j * 1.0, n * j * 1.0
    fair(ab + ac > bd + dc + 0.7 and abs(ab - ac) < bd + dc - 0.7)
    b, c, a = sided(ac, ab, bd + dc)
    f.at(B=b, C=c, A=a, D=(bd, 0.0))
    f.line("BDC")
    f.join("AB", "AC", "AD")
    f.say("in triangle ABC")
    if r.random() < 0.5:
        f.say("AD bisects angle BAC", ("bis", "A", "B", "D", "C"))
    else:
        f.say("angle BAD = angle CAD", ("eq", ("angle", "A", "B", "D"), ("angle", "A", "C", "D")))
    f.gives = (3,)
    f.goals = f.offers = [length(*x) for x in ("AB", "AC", "BD", "DC")]


@construction
def bisector_feet(f: Figure, r: Random) -> None:
    """A point of a bisector with perpendiculars to both arms."""
    a = degrees(r, 40, 90, 2)
    reach = r.randint(3, 8)
    d = polar(O, a / 2, reach / math.sin(math.radians(a / 2)))
    f.at(A=O, D=d, E=foot(d, O, (1.0, 0.0)), F=foot(d, O, polar(O, a, 1.0)))
    f.put("B", mid(O, f.points["E"], 1.4))
    f.put("C", mid(O, f.points["F"], 1.4))
    f.line("AEB")
    f.line("AFC")
    f.join("AD", "DE", "DF")
    f.say(
        *r.choice(
            (
                ("AD bisects angle BAC", ("bis", "A", "B", "D", "C")),
                ("angle BAD = angle CAD", ("eq", ("angle", "A", "D", "E"), ("angle", "A", "D", "F"))),
            )
        )
    )
    f.say("DE perpendicular AB at E", ("right", "D", "E", "A"))
    f.say("DF perpendicular AC at F", ("right", "D", "F", "A"))


@construction
def median_and_altitude(f: Figure, r: Random) -> None:
    """D the midpoint of BC and AD perpendicular BC: AB = AC."""
    base = degrees(r, 35, 75)
    p, q, s = triangle(base, base, 6.0)
    f.at(B=p, C=q, A=s, D=mid(p, q))
    f.line("BDC")
    f.join("AB", "AC", "AD")
    f.say("in triangle ABC")
    f.say("D is the midpoint of BC", ("mid", "D", "B", "C"))
    f.say("AD perpendicular BC", ("right", "A", "D", "B"))


@construction
def sixty_degrees(f: Figure, r: Random) -> None:
    """AB = AC and an angle of 60: the triangle is equilateral."""
    side = r.randint(2, 15)
    p, q, s = triangle(60, 60, float(side))
    f.at(B=p, C=q, A=s)
    f.polygon("A", "B", "C")
    f.say("in triangle ABC")
    f.say("AB = AC", equal("A", "B", "A", "C"))
    at, name = r.choice(((("angle", "A", "B", "C"), "angle A"), (("angle", "B", "A", "C"), "angle B")))
    f.say(f"{name} = 60", value(at, 60))
    f.gives = (1,)
    f.goals = [length("B", "C"), length("A", "B"), ("perimeter", "A", "B", "C")]
    f.offers = [length("A", "B"), length("B", "C"), ("perimeter", "A", "B", "C")]


@construction
def halves_of_sides(f: Figure, r: Random) -> None:
    """AD = DB and AE = EC: a midline, though nobody calls it so."""
    bc = r.randint(3, 12)
    p, q, s = sided(2 * bc * r.uniform(0.7, 1.2), 2 * bc * r.uniform(0.7, 1.2), 2.0 * bc)
    f.at(B=p, C=q, A=s)
    f.put("D", mid(s, p))
    f.put("E", mid(s, q))
    f.line("ADB")
    f.line("AEC")
    f.join("BC", "DE")
    f.say("in triangle ABC")
    f.say("AD = DB", equal("A", "D", "D", "B"))
    f.say("AE = EC", equal("A", "E", "E", "C"))
    f.gives = (1,)
    f.goals = f.offers = [length("D", "E"), length("B", "C")]
    if r.random() < 0.35:
        f.goals, f.offers = [], []
        c, b = degrees(r, 40, 75), degrees(r, 40, 75)
        p, q, s = triangle(b, c, 6.1)
        f.at(B=p, C=q, A=s, D=mid(s, p), E=mid(s, q))


@construction
def midpoint_and_parallel(f: Figure, r: Random) -> None:
    """In a parallelogram with centre O, E on CD: OE is a midline."""
    side, wide = r.randint(3, 9), r.randint(4, 11)
    a = degrees(r, 50, 75)
    d = polar(O, a, side)
    f.at(A=O, B=(float(wide), 0.0), D=d, C=(d[0] + wide, d[1]))
    f.put("O", mid(f.points["A"], f.points["C"]))
    f.put("E", mid(f.points["C"], f.points["D"]))
    f.join("AB", "BC", "AD")
    f.line("CED")
    f.line("AOC")
    f.line("BOD")
    f.line("OE")
    f.polygons.append(("A", "B", "C", "D"))
    f.say(r.choice(("in parallelogram ABCD", "ABCD is a parallelogram")), ("pgram", "A", "B", "C", "D"))
    f.say("the diagonals AC and BD intersect at point O")
    if r.random() < 0.7:
        f.say(r.choice(("E is the midpoint of CD", "point E is the midpoint of the edge CD")), ("mid", "E", "C", "D"))
    else:
        f.say("OE parallel BC", ("para", "O", "E", "B", "C"))
