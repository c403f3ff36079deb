"""Constructions of quadrilaterals: parallelograms of every kind, trapezoids, folded sheets."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Figure, foot, meet, mid, pair, polar
from r3v.data.euclid.figures.base import construction, degrees, fair, length

O = (0.0, 0.0)  # noqa: E741


def slanted(f: Figure, a: float, ab: float, ad: float) -> None:
    """Parallelogram ABCD with the angle a at A, A bottom left."""
    d = polar(O, a, ad)
    f.at(A=O, B=(float(ab), 0.0), D=d, C=(d[0] + ab, d[1]))


def say_parallelogram(f: Figure, r: Random) -> None:
    f.say(
        r.choice(("in parallelogram ABCD", "in the parallelogram ABCD", "the quadrilateral ABCD is a parallelogram")),
        ("pgram", "A", "B", "C", "D"),
    )


@construction
def parallelogram(f: Figure, r: Random) -> None:
    ab, ad = r.randint(4, 12), r.randint(3, 9)
    slanted(f, degrees(r, 50, 75), ab, ad)
    fair(ab != ad)
    f.polygon("A", "B", "C", "D")
    say_parallelogram(f, r)
    if r.random() < 0.2:
        a = r.choice((30, 45, 60))
        slanted(f, a, ab, ad)
        f.say(f"angle A = {a}", ("value", ("angle", "A", "B", "D"), number(a)))
        f.gives = (2,)
        f.goals, f.offers = [("area", "A", "B", "C", "D")], [length("A", "B"), length("A", "D"), length("B", "C")]
        return
    if r.random() < 0.4:
        f.line("AC" if r.random() < 0.5 else "BD")
        return
    around = ("perimeter", "A", "B", "C", "D")
    if r.random() < 0.5:
        f.goals = [around, length("A", "B"), length("B", "C"), length("A", "D")]
        f.offers = [length("A", "B"), length("B", "C"), around]


@construction
def parallelogram_diagonals(f: Figure, r: Random) -> None:
    """Half diagonals p and q and a side, all whole."""
    p, q, side = r.randint(3, 9), r.randint(3, 9), r.randint(3, 12)
    fair(p + q > side + 0.8 and abs(p - q) < side - 0.8 and p != q)
    turn = math.degrees(math.acos((p * p + q * q - side * side) / (2 * p * q)))
    fair(25 < turn < 155)
    f.at(O=O, A=polar(O, 180, p), C=polar(O, 0, p), B=polar(O, 180 + turn, q), D=polar(O, turn, q))
    f.polygon("A", "B", "C", "D")
    f.line("AOC")
    f.line("BOD")
    say_parallelogram(f, r)
    f.say(
        r.choice(
            (
                "the diagonals AC and BD intersect at point O",
                "diagonals AC and BD intersect at O",
                "AC and BD intersect at point O",
            )
        )
    )
    triangles = [("perimeter", *sorted(t)) for t in ("OAB", "OCD", "OAD", "OBC")]
    sides = [length(*x) for x in ("AB", "CD", "AC", "BD", "OA", "OB", "OC", "OD")]
    f.goals = [*triangles, *sides, pair("sum", length("A", "C"), length("B", "D"))]
    f.offers = [*sides, triangles[1], length("A", "C"), length("B", "D")]


@construction
def parallelogram_bisector(f: Figure, r: Random) -> None:
    """AE bisects angle A and meets BC (or DC) at E."""
    ab, ec = r.randint(3, 9), r.randint(1, 6)
    a = degrees(r, 50, 120, 2)
    polar(O, 180 - a, 0)
    b = (0.0, 0.0)
    f.at(B=b, C=(float(ab + ec), 0.0), A=polar(b, 180 - a, ab), E=(float(ab), 0.0))
    x, y = f.points["A"]
    f.put("D", (x + ab + ec, y))
    f.line("BEC")
    f.join("AB", "CD", "AD", "AE")
    f.polygons.append(("A", "B", "C", "D"))
    say_parallelogram(f, r)
    f.say(
        r.choice(
            ("AE bisects angle BAD and intersects BC at point E", "the bisector of angle BAD crosses BC at point E")
        ),
        ("bis", "A", "B", "E", "D"),
    )
    if r.random() < 0.7:
        f.goals = [length(*x) for x in ("BE", "EC", "AB", "CD", "AD", "BC")] + [("perimeter", "A", "B", "C", "D")]
        f.offers = [length(*x) for x in ("AB", "AD", "BC", "CD", "EC", "BE")]


@construction
def parallelogram_height(f: Figure, r: Random) -> None:
    """An altitude of a parallelogram: angles, or base times height."""
    ab, h = r.randint(5, 12), r.randint(2, 8)
    a = degrees(r, 50, 75)
    ad = h / math.sin(math.radians(a))
    slanted(f, a, ab, ad)
    e = foot(f.points["D"], O, f.points["B"])
    f.put("E", e)
    fair(0.6 < e[0] < ab - 0.6)
    f.line("AEB")
    f.join("BC", "CD", "DA", "DE")
    f.polygons.append(("A", "B", "C", "D"))
    say_parallelogram(f, r)
    f.say(r.choice(("DE perpendicular AB at point E", "DE perpendicular AB at E")), ("right", "D", "E", "A"))
    if r.random() < 0.4:
        f.goals = [("area", "A", "B", "C", "D"), length("D", "E"), length("A", "B")]
        f.offers = [length("A", "B"), length("D", "E"), length("C", "D"), ("area", "A", "B", "C", "D")]


@construction
def parallelogram_crossed(f: Figure, r: Random) -> None:
    """E on AD (or beyond D), CE... BE meets AC: similar triangles in a parallelogram."""
    m, n = r.randint(1, 4), r.randint(1, 4)
    unit = r.randint(1, 2)
    ad = (m + n) * unit
    slanted(f, degrees(r, 55, 75), 3.0 + r.random() * 2, ad)
    a, b, c, d = (f.points[p] for p in "ABCD")
    f.put("E", mid(a, d, m / (m + n)))
    f.put("F", meet(b, f.points["E"], a, c))
    f.join("AB", "BC", "CD")
    f.line("AED")
    f.line("AFC")
    f.line("BFE")
    f.polygons.append(("A", "B", "C", "D"))
    say_parallelogram(f, r)
    f.say(r.choice(("E is a point on AD", "point E is on the edge AD")))
    f.say("BE intersects AC at point F")
    whole = f.distance("A", "C")
    scale = (m + (m + n)) * r.randint(1, 2) / whole
    if r.random() < 0.5:
        f.points = {k: (x * scale, y * scale) for k, (x, y) in f.points.items()}
    ratios = [
        pair("ratio", length("A", "E"), length("B", "C")),
        pair("ratio", length("A", "F"), length("F", "C")),
        pair("ratio", length("E", "F"), length("F", "B")),
    ]
    sides = [length(*x) for x in ("AE", "BC", "AF", "FC", "AC", "AD", "ED")]
    f.goals = [*sides, *ratios]
    if r.random() < 0.2:
        f.goals = [pair("ratio", ("area", "A", "E", "F"), ("area", "B", "C", "F"))]
    f.offers = sides


@construction
def trapezoid_midline(f: Figure, r: Random) -> None:
    top, h = r.randint(2, 8), r.uniform(2.5, 5)
    bottom = top + 2 * r.randint(1, 4)
    left = r.uniform(0.3, 0.7) * (bottom - top)
    f.at(B=O, C=(float(bottom), 0.0), A=(left, h), D=(left + top, h))
    f.put("E", mid(f.points["A"], O))
    f.put("F", mid(f.points["D"], f.points["C"]))
    f.line("AEB")
    f.line("DFC")
    f.join("AD", "BC", "EF")
    f.polygons.append(("A", "B", "C", "D"))
    f.say(
        r.choice(("in trapezoid ABCD, AD parallel BC", "the quadrilateral ABCD is a trapezoid with AD parallel BC")),
        ("trapezium", "A", "D", "C", "B"),
        ("para", "A", "D", "B", "C"),
    )
    f.say("E and F are the midpoints of AB and CD", ("mid", "E", "A", "B"), ("mid", "F", "D", "C"))
    f.goals = f.offers = [length("E", "F"), length("A", "D"), length("B", "C")]


@construction
def trapezoid_angles(f: Figure, r: Random) -> None:
    same = r.random() < 0.5
    b = degrees(r, 45, 80)
    c = b if same else degrees(r, 45, 80)
    h = 3.0
    f.at(B=O, C=(8.0, 0.0), A=(h / math.tan(math.radians(b)), h), D=(8.0 - h / math.tan(math.radians(c)), h))
    fair(f.points["D"][0] - f.points["A"][0] > 1)
    f.polygon("A", "B", "C", "D")
    if same:
        f.say(
            "ABCD is an isosceles trapezoid with AD parallel BC",
            ("isotrap", "A", "D", "C", "B"),
            ("para", "A", "D", "B", "C"),
        )
        if r.random() < 0.4:
            f.join("AC", "BD")
            if r.random() < 0.5:
                scale = r.randint(4, 15) / f.distance("A", "C")
                f.points = {name: (x * scale, y * scale) for name, (x, y) in f.points.items()}
                f.goals = f.offers = [length("A", "C"), length("B", "D")]
                f.gives = (1,)
        elif r.random() < 0.6:
            legs, top = r.randint(3, 8), r.randint(2, 8)
            rise, run = legs * math.sin(math.radians(60)), legs / 2
            f.at(B=O, C=(2 * run + top, 0.0), A=(run, rise), D=(run + top, rise))
            f.goals = [length("A", "B"), length("C", "D"), length("A", "C"), ("perimeter", "A", "B", "C", "D")]
            f.goals = [q for q in f.goals if q[0] == "perimeter" or len(f.lines) > 4 or q != length("A", "C")]
            f.offers = [length("A", "B"), length("C", "D"), length("A", "D"), length("B", "C")]
            f.gives = (1, 2, 3)
    else:
        f.say(r.choice(("in the quadrilateral ABCD", "in trapezoid ABCD")))
        f.say("AD parallel BC", ("para", "A", "D", "B", "C"))
        if r.random() < 0.4:
            f.line("BD" if r.random() < 0.5 else "AC")


@construction
def any_quadrilateral(f: Figure, r: Random) -> None:
    f.gives = (2, 3)
    a, b, c = (degrees(r, 65, 120) for _ in range(3))
    fair(60 <= 360 - a - b - c <= 130)
    d = polar(O, a, 4.0)
    bx = (5.0, 0.0)
    ray = polar(bx, 180 - b, 1)
    # D - C with the angle c at C: the direction of DC follows from the other angles
    direction = 180 - b - c + 180 + 180
    cpt = meet(bx, ray, d, polar(d, direction - 180, 1))
    f.at(A=O, B=bx, C=cpt, D=d)
    fair(min(f.distance("B", "C"), f.distance("C", "D")) > 1.2)
    fair(max(f.distance("B", "C"), f.distance("C", "D")) < 10)
    f.polygon("A", "B", "C", "D")
    f.say(r.choice(("in the quadrilateral ABCD", "in quadrilateral ABCD")))
    if r.random() < 0.4:
        f.lines[0] = ("A", "B", "E")
        f.put("E", (8.0, 0.0))
        f.say("point E is on the extended line of AB")


@construction
def right_trapezoid(f: Figure, r: Random) -> None:
    """A trapezoid with two right angles: area, or the height that closes a rectangle."""
    top, height = r.randint(2, 9), r.choice((3, 4, 6, 8, 5, 12))
    more = {3: 4, 4: 3, 6: 8, 8: 6, 5: 12, 12: 5}[height]
    f.at(A=(0.0, float(height)), B=O, C=(float(top + more), 0.0), D=(float(top), float(height)), E=(float(top), 0.0))
    f.polygons.append(("A", "B", "C", "D"))
    f.join("AB", "AD", "CD")
    f.say(
        r.choice(
            ("in trapezoid ABCD, AD parallel BC", "the quadrilateral ABCD is a right trapezoid with AD parallel BC")
        ),
        ("trapezium", "A", "D", "C", "B"),
        ("para", "A", "D", "B", "C"),
    )
    f.say("AB perpendicular BC", ("right", "A", "B", "C"))
    if r.random() < 0.5:
        f.line("BC")
        f.points.pop("E")
        f.goals = [("area", "A", "D", "C", "B")]
        f.offers, f.gives = [length("A", "D"), length("B", "C"), length("A", "B")], (3,)
        return
    f.line("BEC")
    f.line("DE")
    f.say("DE perpendicular BC at E", ("right", "D", "E", "B"))
    f.goals = [length("D", "E"), length("C", "D"), length("C", "E"), ("area", "A", "D", "C", "B")]
    f.offers, f.gives = [length("A", "D"), length("B", "C"), length("A", "B"), length("C", "E")], (1, 2, 3)
