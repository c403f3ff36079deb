"""More constructions of circles: measures of circles and sectors, tangents by their right angle, powers of a point."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

from r3v.data.euclid.figure import Figure, meet, mid, polar
from r3v.data.euclid.figures.base import TRIPLES, construction, degrees, equal, fair, length
from r3v.data.euclid.figures.circles import O, R, ring, say_on


@construction
def circle_measures(f: Figure, r: Random) -> None:
    """Area and circumference of a circle from its radius or diameter."""
    radius = r.randint(1, 12)
    turn = r.uniform(0, 360)
    ring(f, radius=radius, A=turn, B=turn + 180)
    f.line("AOB")
    f.say("AB is the diameter of circle O", ("diameter", "A", "B", "O"))
    f.gives = (1,)
    f.goals = [("disc", "O"), ("round", "O")]
    f.offers = [("radius", "O"), length("A", "B"), length("O", "A"), ("diameter", "O")]


@construction
def right_angle_in_circle(f: Figure, r: Random) -> None:
    """A, B, C on a circle with angle C = 90: AB is a diameter."""
    a, b, c = r.choice(TRIPLES[:6])
    half = math.degrees(math.atan2(a, b))
    ring(f, radius=c / 2, A=180, B=0, C=2 * half)
    f.lines = []
    f.join("AC", "BC", "AB")
    f.centre_shown = False
    f.say(r.choice(("triangle ABC is inscribed in circle O", "A, B and C are points on circle O")))
    f.say("angle ACB = 90", ("right", "A", "C", "B"))
    f.gives = (1, 2)
    f.goals = [("radius", "O"), ("diameter", "O"), length("A", "B")]
    f.offers = [length("A", "B"), length("A", "C"), length("B", "C"), ("radius", "O")]


@construction
def through_the_centre(f: Figure, r: Random) -> None:
    """A chord AB that is only seen to pass through the centre."""
    c = degrees(r, 50, 130, 2)
    ring(f, A=180, B=0, C=c)
    f.line("AOB")
    f.join("AC", "BC")
    f.say(
        r.choice(
            (
                "the chord AB passes through the center O",
                "the chord AB in circle O passes through the center O of the circle",
            )
        )
    )
    f.say(r.choice(("C is a point on circle O", "point C is a point on the circle")))
    if r.random() < 0.4:
        d = -degrees(r, 40, 140, 2)
        f.put("D", polar(O, d, R))
        f.circle("O", "A", "B", "C", "D")
        f.join(*r.choice((("AD", "CD"), ("BD", "CD"))))
        f.say("D is a point on circle O")


@construction
def midpoint_of_chord(f: Figure, r: Random) -> None:
    """D the midpoint of the chord AB: OD is perpendicular to it."""
    numbers = r.random() < 0.5
    if numbers:
        p, q, radius = r.choice(TRIPLES[:6])
        half = math.degrees(math.atan2(p, q))
    else:
        half, radius = degrees(r, 25, 65), R
    ring(f, radius=radius, A=90 + half, B=90 - half)
    f.put("D", mid(f.points["A"], f.points["B"]))
    f.line("ADB")
    f.join("OD", "OA", "OB")
    f.say("AB is the chord of circle O")
    f.say(r.choice(("D is the midpoint of AB", "point D is the midpoint of chord AB")), ("mid", "D", "A", "B"))
    if numbers:
        f.goals = [length(*x) for x in ("OD", "AB", "OA")] + [("radius", "O")]
        f.offers = [length(*x) for x in ("OD", "AB", "OA", "AD")] + [("radius", "O")]


@construction
def equal_arcs_lengths(f: Figure, r: Random) -> None:
    """Arc AB = arc CD: equal chords, and a triangle or perimeter from them."""
    arc, gap = degrees(r, 50, 80, 2), degrees(r, 20, 50, 2)
    size = r.randint(3, 12)
    radius = size / 2 / math.sin(math.radians(arc / 2))
    ring(f, radius=radius, A=20, B=20 + arc, C=20 + arc + gap, D=20 + 2 * arc + gap)
    f.join("AB", "CD", "OA", "OB", "OC", "OD")
    say_on(f, r, "ABCD")
    if r.random() < 0.5:
        f.say("arc AB = arc CD", ("eq", f.arc("O", "A", "B"), f.arc("O", "C", "D")))
    elif r.random() < 0.5:
        f.say("angle AOB = angle COD", ("eq", ("angle", "O", "A", "B"), ("angle", "O", "C", "D")))
    else:
        f.say("AB = CD", equal("A", "B", "C", "D"))
    f.gives = (1,)


@construction
def arcs_of_semicircle(f: Figure, r: Random) -> None:
    """AB a diameter, C and D divide the arc; arcs given or asked in degrees."""
    b = degrees(r, 35, 85, 2)
    same = r.random() < 0.5
    c = b if same else degrees(r, 35, 85, 2)
    fair(180 - b - c >= 30)
    ring(f, B=0, C=b, D=b + c, A=180)
    f.line("AOB")
    f.join("OC", "OD")
    f.say(
        r.choice(("AB is the diameter of the semicircle O", "AB is the diameter of circle O")),
        ("diameter", "A", "B", "O"),
    )
    if same:
        f.say(
            r.choice(("arc BC = arc CD", "C is the midpoint of arc BD")),
            ("eq", f.arc("O", "B", "C"), f.arc("O", "C", "D")),
        )
        f.join(*r.choice((("AC",), ("AD",), ("BD", "AC"))))
    else:
        f.say("C and D are points on the circle")
        f.offers = [f.arc("O", *x) for x in ("BC", "CD", "AD")] + [
            ("angle", "O", *sorted(x)) for x in ("BC", "CD", "AD")
        ]


@construction
def arcs_round_circle(f: Figure, r: Random) -> None:
    """Arcs of a circle given in degrees; an inscribed angle is asked."""
    a, b = degrees(r, 70, 140, 2), degrees(r, 70, 140, 2)
    fair(70 <= 360 - a - b <= 160)
    ring(f, A=0, B=a, C=a + b)
    f.polygon("A", "B", "C")
    f.say("triangle ABC is inscribed in circle O")
    arcs = [f.arc("O", *x) for x in ("AB", "BC", "AC")]
    f.centre_shown = False
    f.offers = arcs
    f.gives = (1, 2, 2)
    f.goals = [("angle", v, *sorted(x for x in "ABC" if x != v)) for v in "ABC"] + arcs[:1]


@construction
def equal_thirds(f: Figure, r: Random) -> None:
    """Points that divide a circle into equal arcs."""
    k = r.choice((3, 4, 5, 6))
    names = "ABCDEF"[:k]
    start = r.uniform(0, 360)
    ring(f, **{name: start + i * 360 / k for i, name in enumerate(names)})
    f.polygon(*names)
    f.join("OA", "OB")
    if k > 3:
        f.line("AC")
    regular = {3: "an equilateral triangle", 4: "a square", 5: "a regular pentagon", 6: "a regular hexagon"}[k]
    arcs = [f.arc("O", p, q) for p, q in zip(names, names[1:] + names[0], strict=True)]
    f.say(
        r.choice(
            (
                f"{regular} {names} is inscribed in circle O",
                f"circle O is the circumscribed circle of {regular} {names}",
            )
        ),
        *(("eq", x, y) for x, y in pairwise(arcs)),
    )
    f.gives = (0,)


@construction
def bisected_inscribed(f: Figure, r: Random) -> None:
    """AB a diameter and AD the bisector of angle BAC: equal arcs, equal angles."""
    c = degrees(r, 50, 110, 4)
    ring(f, A=180, B=0, C=c, D=c / 2)
    f.line("AOB")
    f.join("AC", "AD", "BD")
    f.say("AB is the diameter of circle O", ("diameter", "A", "B", "O"))
    f.say(r.choice(("AD bisects angle BAC", "AD is the bisector of angle CAB")), ("bis", "A", "B", "D", "C"))
    f.say("C and D are points on circle O")
    f.join(*r.choice((("CD",), ("OD",), ("CD", "OC"), ("BC",))))
    if ("B", "C") in f.lines:
        e = meet(f.points["A"], f.points["D"], f.points["B"], f.points["C"])
        f.put("E", e)
        f.lines[f.lines.index(("B", "C"))] = ("B", "E", "C")
        f.lines[f.lines.index(("A", "D"))] = ("A", "E", "D")
        f.say("AD and BC intersect at point E")


@construction
def parallel_to_diameter(f: Figure, r: Random) -> None:
    """Radius OD parallel to the chord AC (or BC): alternate and inscribed angles."""
    a = degrees(r, 25, 65)
    ring(f, A=180, B=0, C=180 - (180 - 2 * a), D=a)
    f.line("AOB")
    f.join("AC", "OD")
    f.say("AB is the diameter of circle O", ("diameter", "A", "B", "O"))
    f.say("C and D are points on circle O")
    f.say(r.choice(("AC parallel OD", "OD parallel AC")), ("para", "A", "C", "O", "D"))
    f.join(*r.choice((("OC",), ("BC",), ("BD",), ("CD", "OC"))))
