"""Constructions of circles: inscribed and central angles, diameters, chords, tangents, sectors."""

from __future__ import annotations

import math

from r3v.data.euclid.figure import Figure, meet, mid, pair, polar, second
from r3v.data.euclid.figures.base import TRIPLES, construction, degrees, equal, fair, length

O = (0.0, 0.0)  # noqa: E741
R = 5.0


def ring(f: Figure, centre: str = "O", radius: float = R, **turns: float) -> None:
    """Points on a circle by their direction from the centre."""
    f.put(centre, O)
    for name, turn in turns.items():
        f.put(name, polar(O, turn, radius))
    f.circle(centre, *turns)


def apart(*turns: float, least: float = 18) -> None:
    order = sorted(t % 360 for t in turns)
    gaps = [(b - a) % 360 for a, b in zip(order, [*order[1:], order[0] + 360], strict=True)]
    fair(min(gaps) >= least)


def say_on(f: Figure, r, names: str) -> None:
    listed = ", ".join(names[:-1])
    f.say(
        r.choice(
            (
                f"points {listed} and {names[-1]} are on circle O",
                f"{listed} and {names[-1]} are points on circle O",
                f"{listed} and {names[-1]} are all on circle O",
            )
        )
    )


@construction
def central_inscribed(f: Figure, r) -> None:
    arc = degrees(r, 40, 160, 2)
    c = degrees(r, arc + 30, 330, 1)
    apart(0, arc, c, least=25)
    ring(f, A=0, B=arc, C=c)
    f.join("OA", "OB", "AC", "BC")
    if r.random() < 0.5:
        f.line("AB")
    kind = r.randrange(4)
    if kind == 0:
        f.say(
            r.choice(
                (
                    "triangle ABC is inscribed in circle O",
                    "circle O is the circumscribed circle of triangle ABC",
                    "triangle ABC is the inscribed triangle of circle O",
                )
            )
        )
        if ("A", "B") not in f.lines and "AB" not in ("".join(x) for x in f.lines):
            f.line("AB")
    else:
        say_on(f, r, "ABC")
    if kind == 1:
        f.line("OC")


@construction
def reflex_inscribed(f: Figure, r) -> None:
    """C on the smaller arc AB."""
    arc = degrees(r, 90, 160, 2)
    ring(f, A=0, B=arc, C=arc / 2 + r.uniform(-15, 15))
    f.join("OA", "OB", "AC", "BC")
    say_on(f, r, "ABC")
    if r.random() < 0.5:
        d = degrees(r, arc + 40, 320, 1)
        apart(0, arc, d, least=30)
        f.put("D", polar(O, d, R))
        f.circle("O", "A", "B", "C", "D")
        f.join("AD", "BD")
        f.clauses.pop()
        f.say(
            r.choice(
                (
                    "the quadrilateral ACBD is inscribed in circle O",
                    "the quadrilateral ACBD is the inscribed quadrilateral of circle O",
                )
            )
        )


@construction
def diameter_chords(f: Figure, r) -> None:
    """AB a diameter, C and D on the circle."""
    c = degrees(r, 40, 140, 2)
    d = -degrees(r, 30, 150, 2)
    apart(0, 180, c, d, least=20)
    ring(f, A=180, B=0, C=c, D=d)
    f.line("AOB")
    f.say(
        r.choice(
            (
                "AB is the diameter of circle O",
                "the line segment AB is the diameter of circle O",
                "it is known that AB is the diameter of circle O",
            )
        ),
        ("diameter", "A", "B", "O"),
    )
    kind = r.randrange(5)
    if kind == 0:
        f.join("AC", "BC", "CD", "BD")
        f.say(r.choice(("C and D are two points on circle O", "points C and D are on circle O")))
    elif kind == 1:
        f.join("AC", "CD", "AD")
        if r.random() < 0.5:
            f.line("BC")
        f.say("C and D are points on circle O")
    elif kind == 2:
        f.join("OC", "CD", "BD")
        f.say("C and D are points on circle O")
    elif kind == 3:
        f.points.pop("D")
        f.circle("O", "A", "B", "C")
        f.join("AC", "BC", *(["OC"] if r.random() < 0.5 else []))
        f.say(r.choice(("C is a point on circle O", "point C is on circle O")))
    else:
        f.join("AD", "CD", "OC")
        f.say("points C and D are on circle O")


@construction
def cyclic_quadrilateral(f: Figure, r) -> None:
    turns = [0.0]
    for _ in range(3):
        turns.append(turns[-1] + degrees(r, 50, 120, 2))
    fair(50 <= 360 - turns[-1] <= 130)
    ring(f, A=turns[0], B=turns[1], C=turns[2], D=turns[3])
    f.polygon("A", "B", "C", "D")
    f.say(
        r.choice(
            (
                "the quadrilateral ABCD is inscribed in circle O",
                "quadrilateral ABCD is the inscribed quadrilateral of circle O",
                "in the inscribed quadrilateral ABCD of circle O",
            )
        )
    )
    kind = r.randrange(5)
    if kind == 0:
        f.put("E", mid(f.points["B"], f.points["C"], 1.45))
        f.lines[1] = ("B", "C", "E")
        f.say(r.choice(("E is a point on the extended line of BC", "point E is on the extension line of BC")))
    elif kind == 1:
        f.join("OB", "OD")
    elif kind == 2:
        f.join("AC", "BD")
    elif kind == 3:
        f.join("OA", "OC")
    elif r.random() < 0.5:
        f.centre_shown = False


@construction
def crossing_chords(f: Figure, r) -> None:
    """Chords AB and CD cross at P."""
    a, c, b, d = 0, degrees(r, 50, 110, 2), degrees(r, 130, 200, 2), degrees(r, 230, 320, 2)
    apart(a, b, c, d, least=35)
    ring(f, A=a, B=b, C=c, D=d)
    f.put("P", meet(f.points["A"], f.points["B"], f.points["C"], f.points["D"]))
    fair(min(f.distance("P", x) for x in "ABCDO") > 0.8)
    f.line("APB")
    f.line("CPD")
    f.join(*r.choice((("AC", "BD"), ("AD", "BC"), ("AC", "BD", "BC"))))
    f.say(
        r.choice(
            (
                "chords AB and CD of circle O intersect at point P",
                "in circle O, the chords AB and CD intersect at point P",
            )
        )
    )
    f.centre_shown = r.random() < 0.7


@construction
def chord_lengths(f: Figure, r) -> None:
    """Crossing chords with whole parts: PA · PB = PC · PD by similar triangles."""
    f.gives = (3,)
    x, y, z, w = r.choice(
        ((2, 6, 3, 4), (3, 8, 4, 6), (2, 9, 3, 6), (4, 6, 3, 8), (1, 6, 2, 3), (4, 9, 6, 6), (2, 8, 4, 4))
    )
    turn = math.radians(r.uniform(60, 110))
    # P at the origin, A and B along the x axis, C and D along the turned axis; then the circle through them
    a, b = (float(-x), 0.0), (float(y), 0.0)
    c, d = (z * math.cos(turn), z * math.sin(turn)), (-w * math.cos(turn), -w * math.sin(turn))
    centre = ((y - x) / 2, 0.0)
    # |O - A|² = |O - C|² with O = (h, k)
    h = centre[0]
    rhs = (h + x) ** 2 - (h - c[0]) ** 2 - c[1] ** 2
    k = -rhs / (2 * c[1])
    f.at(P=O, A=a, B=b, C=c, D=d, O=(h, k))
    f.circle("O", "A", "B", "C", "D")
    fair(abs(f.distance("O", "A") - f.distance("O", "D")) < 1e-6)
    f.line("APB")
    f.line("CPD")
    f.join(*r.choice((("AC", "BD"), ("AD", "BC"))))
    f.say(
        r.choice(
            (
                "chords AB and CD of circle O intersect at point P",
                "AB and CD are chords of circle O and they intersect at point P",
            )
        )
    )
    f.goals = f.offers = [length("P", q) for q in "ABCD"]
    f.centre_shown = False


@construction
def perpendicular_radius(f: Figure, r) -> None:
    """OC perpendicular to the chord AB at D, C on the circle."""
    half = degrees(r, 25, 70)
    numbers = r.random() < 0.6
    if numbers:
        p, q, radius = r.choice(TRIPLES[:5])
        half = math.degrees(math.atan2(p, q)) if r.random() < 0.5 else math.degrees(math.atan2(q, p))
    else:
        radius = R
    ring(f, radius=radius, A=90 + half, B=90 - half, C=90)
    f.put("D", mid(f.points["A"], f.points["B"]))
    f.line("ADB")
    f.line("ODC")
    f.say(r.choice(("AB is the chord of circle O", "in circle O, AB is a chord")))
    f.say(
        r.choice(("OC perpendicular AB at point D", "the radius OC perpendicular AB at D", "OC perpendicular AB at D")),
        ("right", "O", "D", "A"),
    )
    if numbers:
        f.join("OA")
        f.goals = [length(*x) for x in ("AB", "AD", "OD", "CD", "OA")] + [("radius", "O")]
        f.offers = [length(*x) for x in ("AB", "OD", "OA", "AD", "CD", "OC")] + [("radius", "O")]
        return
    kind = r.randrange(3)
    e = 90 + 180 + r.uniform(-50, 50)
    if kind:
        f.put("E", polar(O, e, R))
        f.circle("O", "A", "B", "C", "E")
        f.join("AE", "CE", *(["BE"] if r.random() < 0.4 else []))
        f.line("OB")
        f.say("E is a point on circle O")
    else:
        f.join("OA", "OB", *(["AC"] if r.random() < 0.6 else []))


@construction
def perpendicular_diameter(f: Figure, r) -> None:
    """Diameter AB perpendicular to the chord CD at E."""
    half = degrees(r, 25, 75)
    numbers = r.random() < 0.4
    radius = R
    if numbers:
        p, q, radius = r.choice(TRIPLES[:5])
        half = math.degrees(math.atan2(p, q))
    ring(f, radius=radius, A=180, B=0, C=half, D=-half)
    f.put("E", mid(f.points["C"], f.points["D"]))
    f.line("AOEB")
    f.line("CED")
    f.say("AB is the diameter of circle O", ("diameter", "A", "B", "O"))
    f.say(
        r.choice(("chord CD perpendicular AB at point E", "CD perpendicular AB at E", "the chord CD perpendicular AB")),
        ("right", "C", "E", "B"),
    )
    f.line("OC")
    if numbers:
        f.goals = [length(*x) for x in ("CD", "CE", "OE", "BE", "AB", "OC", "AE")]
        f.offers = [length(*x) for x in ("CD", "AB", "OE", "OC", "CE")] + [("radius", "O")]
        return
    f.join(*r.choice((("AD",), ("AC",), ("BD",), ("AD", "AC"), ("BC", "AD"))))


@construction
def equal_arcs(f: Figure, r) -> None:
    """Arc AB = arc CD (or BC), an inscribed angle over one and a central or inscribed one over the other."""
    arc = degrees(r, 35, 80, 2)
    gap = r.choice((0, degrees(r, 20, 60, 2)))
    start = 20
    turns = {"A": start, "B": start + arc, "C": start + arc + gap, "D": start + 2 * arc + gap}
    if gap == 0:
        turns = {"A": start, "B": start + arc, "C": start + 2 * arc}
    last = max(turns.values())
    e = degrees(r, last + 40, 340, 1)
    apart(*turns.values(), e, least=19)
    name = "E" if gap else "D"
    ring(f, **turns, **{name: e})
    two = ("AB", "CD") if gap else ("AB", "BC")
    a, b = (f.arc("O", *x) for x in two)
    if r.random() < 0.75:
        f.say(
            r.choice((f"arc {two[0]} = arc {two[1]}", *(("B is the midpoint of arc AC",) if not gap else ()))),
            ("eq", a, b),
        )
    else:
        f.join(*two)
        f.say(f"{two[0]} = {two[1]}", equal(two[0][0], two[0][1], two[1][0], two[1][1]))
    f.join(f"O{two[0][0]}", f"O{two[0][1]}", f"{two[1][0]}{name}", f"{two[1][1]}{name}")
    if r.random() < 0.3 and gap:
        f.join("OC", "OD")
    say_on(f, r, "".join([*turns, name]))


@construction
def radius_triangle(f: Figure, r) -> None:
    """Chord AB and radii; C on the circle on either side."""
    base = degrees(r, 15, 70)
    arc = 180 - 2 * base
    fair(arc > 20)
    ring(f, A=90 + arc / 2, B=90 - arc / 2, C=270 + r.uniform(-50, 50))
    f.join("OA", "OB", "AB", "AC", "BC")
    f.say(
        r.choice(
            (
                "triangle ABC is inscribed in circle O",
                "circle O is the circumscribed circle of triangle ABC",
                "circle O is the circumscribe of triangle ABC",
            )
        )
    )
    if r.random() < 0.5:
        f.lines.pop(1)


@construction
def tangent_and_secant(f: Figure, r) -> None:
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
def two_tangents(f: Figure, r) -> None:
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
def tangent_chord(f: Figure, r) -> None:
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
def tangent_at_diameter(f: Figure, r) -> None:
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
def incircle_lengths(f: Figure, r) -> None:
    """A triangle whose sides touch a circle: tangent lengths x, y, z."""
    x, y, z = (r.randint(1, 8) for _ in range(3))
    fair(len({x, y, z}) > 1)
    bc, ca, ab = y + z, z + x, x + y
    from r3v.data.euclid.figure import sided

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
def tangent_triangle(f: Figure, r) -> None:
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
    from r3v.data.euclid.exact import number

    around = ("perimeter", "C", "D", "P")
    f.goals = [around, length("P", "A"), length("P", "B")]
    f.offers = [length("P", "A"), length("P", "B"), around]
    _ = number


@construction
def sector(f: Figure, r) -> None:
    f.gives = (2,)
    angle = r.choice((30, 45, 60, 90, 120, 135, 150, 72, 40))
    radius = r.choice((2, 3, 4, 5, 6, 8, 9, 10, 12))
    ring(f, radius=radius, A=90 - angle / 2, B=90 + angle / 2)
    f.join("OA", "OB")
    f.say(r.choice(("in the sector OAB", "the sector AOB is part of circle O")))
    f.offers = [("angle", "O", "A", "B"), ("radius", "O"), length("O", "A")]
    f.goals = [("sector", "O", "A", "B"), ("curve", "O", "A", "B"), ("sector", "O", "A", "B")]


@construction
def sector_in_circle(f: Figure, r) -> None:
    """An inscribed angle and a radius lead to a sector."""
    f.gives = (1, 2)
    inscribed = r.choice((30, 45, 60, 15, 36, 20, 40))
    radius = r.randint(2, 9)
    ring(f, radius=radius, A=90 - inscribed, B=90 + inscribed, C=270 + r.uniform(-40, 40))
    f.join("OA", "OB", "AC", "BC")
    f.say(r.choice(("points A, B and C are on circle O", "triangle ABC is inscribed in circle O")))
    f.offers = [("angle", "C", "A", "B"), ("radius", "O")]
    f.goals = [("sector", "O", "A", "B"), ("curve", "O", "A", "B"), ("angle", "O", "A", "B")]
    _ = pair


@construction
def chord_of_special_angle(f: Figure, r) -> None:
    """A chord over an inscribed angle of 30, 45 or 60 and the radius or diameter."""
    c = r.choice((30, 45, 60, 30))
    radius = r.choice((1, 2, 3, 4, 5, 6, 8))
    ring(f, radius=radius, A=90 + c, B=90 - c, C=270 + r.uniform(-40, 40))
    f.join("AB", "AC", "BC", "OA", "OB")
    f.say(r.choice(("A, B and C are three points on circle O", "triangle ABC is inscribed in circle O")))
    f.say(f"angle ACB = {c}", ("value", ("angle", "C", "A", "B"), _n(c)))
    f.offers = [("radius", "O"), length("A", "B")]
    f.goals = [length("A", "B"), ("radius", "O")]


def _n(value: int):
    from r3v.data.euclid.exact import number

    return number(value)
