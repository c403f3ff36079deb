"""Constructions of circles: inscribed and central angles, diameters, chords, tangents, sectors."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.figure import Figure, meet, mid, polar
from r3v.data.euclid.figures.base import TRIPLES, construction, degrees, equal, fair, length

O = (0.0, 0.0)  # noqa: E741
R = 5.0


def ring(f: Figure, radius: float = R, **turns: float) -> None:
    """Points on a circle round O by their direction from the centre."""
    f.put("O", O)
    for name, turn in turns.items():
        f.put(name, polar(O, turn, radius))
    f.circle("O", *turns)


def apart(*turns: float, least: float = 18) -> None:
    order = sorted(t % 360 for t in turns)
    gaps = [(b - a) % 360 for a, b in zip(order, [*order[1:], order[0] + 360], strict=True)]
    fair(min(gaps) >= least)


def say_on(f: Figure, r: Random, names: str) -> None:
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
def central_inscribed(f: Figure, r: Random) -> None:
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
def reflex_inscribed(f: Figure, r: Random) -> None:
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
def diameter_chords(f: Figure, r: Random) -> None:
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
def cyclic_quadrilateral(f: Figure, r: Random) -> None:
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
def crossing_chords(f: Figure, r: Random) -> None:
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
def chord_lengths(f: Figure, r: Random) -> None:
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
def perpendicular_radius(f: Figure, r: Random) -> None:
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
def perpendicular_diameter(f: Figure, r: Random) -> None:
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
def equal_arcs(f: Figure, r: Random) -> None:
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
    if r.random() < 0.35:
        f.join(*(p + name for p in dict.fromkeys("".join(two))))
        say_on(f, r, "".join([*turns, name]))
        return
    f.join(f"O{two[0][0]}", f"O{two[0][1]}", f"{two[1][0]}{name}", f"{two[1][1]}{name}")
    if r.random() < 0.3 and gap:
        f.join("OC", "OD")
    say_on(f, r, "".join([*turns, name]))


@construction
def radius_triangle(f: Figure, r: Random) -> None:
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
