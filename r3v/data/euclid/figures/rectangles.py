"""Constructions of rectangles, rhombi and squares, and of folded sheets."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.figure import Figure, meet, mid, mirror, polar
from r3v.data.euclid.figures.base import TRIPLES, construction, degrees, equal, fair, length
from r3v.data.euclid.figures.quads import slanted

O = (0.0, 0.0)  # noqa: E741


@construction
def rectangle_diagonals(f: Figure, r: Random) -> None:
    f.say(
        r.choice(("in rectangle ABCD", "in the rectangle ABCD", "the quadrilateral ABCD is a rectangle")),
        ("rectangle", "A", "B", "C", "D"),
    )
    if r.random() < 0.5:
        a, b, _ = r.choice(TRIPLES)
        f.at(A=(0.0, float(a)), B=O, C=(float(b), 0.0), D=(float(b), float(a)))
    else:
        t = degrees(r, 15, 35)
        f.at(A=(0.0, 6 * math.tan(math.radians(t))), B=O, C=(6.0, 0.0))
        f.put("D", (6.0, f.points["A"][1]))
        if r.random() < 0.3:
            w = r.randint(2, 8)
            f.at(A=(0.0, float(w)), C=(w * math.sqrt(3), 0.0))
            f.put("D", (f.points["C"][0], float(w)))
    f.put("O", mid(f.points["A"], f.points["C"]))
    f.polygon("A", "B", "C", "D")
    f.line("AOC")
    f.line("BOD")
    f.say(r.choice(("the diagonals AC and BD intersect at point O", "AC and BD intersect at O")))


@construction
def rectangle_measures(f: Figure, r: Random) -> None:
    a, b, _ = r.choice(TRIPLES)
    if r.random() < 0.5:
        a, b = r.randint(2, 12), r.randint(2, 12)
        fair(a != b)
    f.at(A=(0.0, float(a)), B=O, C=(float(b), 0.0), D=(float(b), float(a)))
    f.polygon("A", "B", "C", "D")
    f.line("AC")
    f.say(r.choice(("in rectangle ABCD", "ABCD is a rectangle")), ("rectangle", "A", "B", "C", "D"))
    names = ("A", "B", "C", "D")
    f.goals = [("area", *names), ("perimeter", *names), length("A", "C"), length("B", "C"), length("A", "B")]
    f.offers = [length("A", "B"), length("B", "C"), length("A", "C"), ("perimeter", *names), ("area", *names)]


@construction
def rhombus(f: Figure, r: Random) -> None:
    p, q, _side = r.choice(TRIPLES[:6])
    kind = r.randrange(3)
    if kind == 0:
        a = degrees(r, 40, 130, 2)
        f.at(O=O, A=polar(O, 90, 4 * math.cos(math.radians(a / 2))), B=polar(O, 180, 4 * math.sin(math.radians(a / 2))))
        fair(abs(a - 90) > 6)
    else:
        f.at(O=O, A=(0.0, float(p)), B=(-float(q), 0.0))
    f.put("C", (0.0, -f.points["A"][1]))
    f.put("D", (-f.points["B"][0], 0.0))
    f.polygon("A", "B", "C", "D")
    f.line("AOC")
    f.line("BOD")
    f.say(
        r.choice(("in the diamond ABCD", "in rhombus ABCD", "the quadrilateral ABCD is a rhombus")),
        ("rhombus", "A", "B", "C", "D"),
    )
    f.say(r.choice(("the diagonals AC and BD intersect at point O", "AC and BD intersect at point O")))
    if kind == 0:
        return
    names = ("A", "B", "C", "D")
    if kind == 2 and r.random() < 0.6:
        f.put("E", mid(f.points["A"], f.points["B"]))
        f.lines[0] = ("A", "E", "B")
        f.line("OE")
        f.say(r.choice(("E is the midpoint of AB", "point E is the midpoint of the edge AB")), ("mid", "E", "A", "B"))
    sides = [length(*x) for x in ("AB", "AC", "BD", "OA", "OB", "BC")]
    f.goals = [("area", *names), ("perimeter", *names), *sides, *([length("O", "E")] if "E" in f.points else [])]
    f.offers = [length("A", "C"), length("B", "D"), length("A", "B"), ("perimeter", *names), length("O", "A")]
    f.offers += [length("O", "E")] if "E" in f.points else []


@construction
def rhombus_angles(f: Figure, r: Random) -> None:
    a = degrees(r, 40, 80, 2)
    slanted(f, a, 5.0, 5.0)
    f.say(r.choice(("in the diamond ABCD", "in rhombus ABCD")), ("rhombus", "A", "B", "C", "D"))
    f.polygon("A", "B", "C", "D")
    f.line("AC" if r.random() < 0.5 else "BD")


@construction
def square_with_triangle(f: Figure, r: Random) -> None:
    """A square with an equilateral triangle inside or outside, or a point on its diagonal."""
    s = 5.0
    f.at(A=(0.0, s), B=O, C=(s, 0.0), D=(s, s))
    f.say(r.choice(("the quadrilateral ABCD is a square", "in square ABCD")), ("square", "A", "B", "C", "D"))
    f.polygon("A", "B", "C", "D")
    kind = r.randrange(3)
    if kind == 0:
        inside = r.random() < 0.5
        f.put("E", (s / 2, s * math.sqrt(3) / 2 * (1 if inside else -1)))
        f.join("BE", "CE", "AE", "DE")
        if not inside:
            f.lines.pop()
        f.say(
            "triangle BCE is an equilateral triangle",
            equal("B", "C", "B", "E"),
            equal("B", "E", "C", "E"),
        )
    elif kind == 1:
        t = degrees(r, 15, 40)
        f.put("E", meet(O, polar(O, 90 - t, 1), (0.0, s), (s, 0.0)))
        f.line("AEC")
        f.join("BE", "DE")
        f.say(r.choice(("E is a point on the diagonal AC", "point E is on AC")))
    else:
        w = r.randint(2, 12)
        f.points = {k: (x * w / s, y * w / s) for k, (x, y) in f.points.items()}
        f.line("AC")
        names = ("A", "B", "C", "D")
        f.goals = [("area", *names), ("perimeter", *names), length("A", "C")]
        f.offers = [length("A", "B"), ("perimeter", *names), ("area", *names)]


@construction
def folded_rectangle(f: Figure, r: Random) -> None:
    """The corner D of a rectangle folded along AE onto F."""
    t = degrees(r, 15, 40)
    w, h = 7.0, 4.5
    f.at(A=(0.0, h), B=O, C=(w, 0.0), D=(w, h))
    a = f.points["A"]
    if r.random() < 0.5:  # folded along AE, E on CD
        e = meet(a, polar(a, -t, 1), f.points["C"], f.points["D"])
        fair(0.5 < e[1] < h - 0.5)
        f.put("E", e)
        f.put("F", mirror(f.points["D"], a, e))
        fair(f.points["F"][1] > 0.3)
        f.join("AB", "BC", "AD", "AE", "AF", "EF")
        f.line("CED")
        f.say("ABCD is a rectangle", ("rectangle", "A", "B", "C", "D"))
        f.say(
            r.choice(
                (
                    "fold the rectangle along AE so that point D falls on point F",
                    "triangle ADE is folded along AE to triangle AFE",
                )
            ),
            ("congruent", ("A", "D", "E"), ("A", "F", "E")),
        )
        return
    # D folded onto BC: lengths from a triple
    p, q, s = r.choice(((3, 4, 5), (6, 8, 10), (9, 12, 15)))
    f.at(A=(0.0, float(q)), B=O, F=(float(p), 0.0), C=(float(s), 0.0), D=(float(s), float(q)))
    fair(s - p > 0)
    x = (q * q + (s - p) ** 2) / (2 * q)  # DE = EF
    f.put("E", (float(s), q - x))
    f.join("AB", "AD", "AE", "AF", "EF")
    f.line("BFC")
    f.line("CED")
    f.polygons.append(("A", "B", "C", "D"))
    f.say("ABCD is a rectangle", ("rectangle", "A", "B", "C", "D"))
    f.say(
        "fold the rectangle along AE so that point D falls on point F of BC",
        ("congruent", ("A", "D", "E"), ("A", "F", "E")),
    )
    f.goals = [length(*k) for k in ("BF", "FC", "AF", "AB", "AD")]
    f.offers = [length(*k) for k in ("AB", "AD", "BC", "BF", "AF")]
