"""Constructions of lines: crossing lines, rays, parallels and transversals, points on a segment."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.figure import Figure, meet, mid, polar
from r3v.data.euclid.figures.base import construction, degrees, fair

O = (0.0, 0.0)  # noqa: E741


@construction
def crossing_lines(f: Figure, r: Random) -> None:
    a = degrees(r, 25, 155)
    f.at(O=O, A=polar(O, 180, 5), B=polar(O, 0, 5), C=polar(O, a, 5), D=polar(O, a + 180, 5))
    f.line("AOB")
    f.line("COD")
    f.say(r.choice(("straight lines AB and CD intersect at point O", "lines AB and CD intersect at O")))
    kind = r.randrange(4)
    if kind == 1:
        f.put("E", polar(O, a / 2, 5))
        f.line("OE")
        f.say(r.choice(("OE bisects angle BOC", "OE is the bisector of angle BOC")), ("bis", "O", "B", "E", "C"))
    elif kind == 2:
        fair(abs(a - 90) > 12)
        f.put("E", polar(O, 90, 5))
        f.line("OE")
        f.say(r.choice(("OE perpendicular AB", "EO perpendicular AB at O")), ("right", "E", "O", "B"))
    elif kind == 3:
        fair(abs(a - 90) > 12)
        up = a + 90 if a < 90 else a - 90
        f.put("E", polar(O, up, 5))
        f.line("OE")
        f.say("OE perpendicular CD", ("right", "E", "O", "C"))


@construction
def rays_on_line(f: Figure, r: Random) -> None:
    a, b = degrees(r, 20, 80), degrees(r, 100, 160)
    kind = r.randrange(4)
    if kind == 0:
        b = a + 90
    f.at(O=O, A=polar(O, 180, 5), B=polar(O, 0, 5), C=polar(O, b, 4.5), D=polar(O, a, 4.5))
    f.line("AOB")
    f.join("OC", "OD")
    f.say(r.choice(("point O is on the straight line AB", "A, O and B are on a straight line")))
    if kind == 0:
        f.say(r.choice(("OC perpendicular OD", "angle COD is a right angle")), ("right", "C", "O", "D"))
    elif kind == 1:
        f.points["D"] = polar(O, b / 2, 4.5)
        f.say(r.choice(("OD bisects angle BOC", "OD is the bisector of angle BOC")), ("bis", "O", "B", "D", "C"))
    elif kind == 2:
        f.points["D"] = polar(O, b / 2, 4.5)
        f.put("E", polar(O, (b + 180) / 2, 4.5))
        f.line("OE")
        f.say("OD bisects angle BOC", ("bis", "O", "B", "D", "C"))
        f.say("OE bisects angle AOC", ("bis", "O", "A", "E", "C"))


@construction
def angle_bisected_twice(f: Figure, r: Random) -> None:
    a = degrees(r, 30, 85) * 2
    f.at(O=O, A=polar(O, 0, 5), B=polar(O, a, 5), C=polar(O, a / 2, 5))
    f.join("OA", "OB", "OC")
    f.say(r.choice(("OC bisects angle AOB", "OC is the bisector of angle AOB")), ("bis", "O", "A", "C", "B"))
    if r.random() < 0.6:
        f.put("D", polar(O, a / 4, 5))
        f.line("OD")
        f.say("OD bisects angle AOC", ("bis", "O", "A", "D", "C"))


@construction
def rays_round_point(f: Figure, r: Random) -> None:
    a, b = degrees(r, 70, 150), degrees(r, 70, 150)
    fair(80 <= 360 - a - b <= 165)
    f.at(O=O, A=polar(O, 90, 5), B=polar(O, 90 + a, 5), C=polar(O, 90 + a + b, 5))
    f.join("OA", "OB", "OC")
    f.gives = (2,)
    f.say("OA, OB and OC start at point O")


@construction
def transversal(f: Figure, r: Random) -> None:
    a, gap = degrees(r, 35, 145), 3.0
    g = O
    h = (gap / _tan(a), gap) if a != 90 else (0.0, gap)
    f.at(H=g, G=h)
    f.at(A=(h[0] - 4, gap), B=(h[0] + 4, gap), C=(-4.0, 0.0), D=(4.0, 0.0))
    f.at(E=mid(g, h, 1.6), F=mid(g, h, -0.6))
    f.line("AGB")
    f.line("CHD")
    f.line("EGHF")
    f.say(r.choice(("AB parallel CD", "straight line AB parallel CD", "AB ∥ CD")), ("para", "A", "B", "C", "D"))
    f.say(
        r.choice(
            (
                "straight line EF intersects AB and CD at points G and H respectively",
                "EF crosses AB at G and CD at H",
                "the straight line EF intersects AB at point G and CD at point H",
            )
        )
    )
    if r.random() < 0.5:
        turn = a / 2
        k = meet(h, polar(h, turn + 180, 1), g, (4.0, 0.0))
        if k[0] < -0.8 and abs(k[0]) < 9:
            f.points["C"] = (min(-4.0, k[0] - 1.5), 0.0)
            f.put("K", k)
            f.lines[1] = ("C", "K", "H", "D")
            f.line("GK")
            f.say("GK bisects angle AGH and intersects CD at point K", ("bis", "G", "A", "K", "H"))


def _tan(a: float) -> float:
    return math.tan(math.radians(a))


@construction
def named_parallels(f: Figure, r: Random) -> None:
    """Lines a, b and c without points, angles called by numbers."""
    transversal_angle, gap = degrees(r, 40, 140), 2.6
    h = (gap / _tan(transversal_angle), gap) if transversal_angle != 90 else (0.0, gap)
    f.at(P=O, Q=h, U=(h[0] - 3.5, gap), V=(h[0] + 3.5, gap), W=(-3.5, 0.0), X=(3.5, 0.0))
    f.at(Y=mid(O, h, 1.7), Z=mid(O, h, -0.7))
    f.line("UQV")
    f.line("WPX")
    f.line("YQPZ")
    f.hidden = set("PQUVWXYZ")
    names = r.choice((("a", "b", "c"), ("m", "n", "l"), ("l", "m", "n"), ("a", "b", "l")))
    for line, name in zip(f.lines, names, strict=True):
        f.story[" ".join(("line", *line))] = name
    a, b, c = names
    f.say(
        r.choice((f"straight line {a} parallel {b}", f"{a} parallel {b}", f"the straight lines {a} ∥ {b}")),
        ("para", "U", "V", "W", "X"),
    )
    f.say(r.choice((f"cut by the straight line {c}", f"{c} intersects {a} and {b}")))
    first = [("U", "Q", "Y"), ("V", "Q", "Y"), ("U", "Q", "P"), ("V", "Q", "P")]
    second = [("W", "P", "Q"), ("X", "P", "Q"), ("W", "P", "Z"), ("X", "P", "Z")]
    f.number(*r.sample([r.choice(first), r.choice(second)], 2))


@construction
def through_vertex_parallel(f: Figure, r: Random) -> None:
    """A line through the apex of a triangle, parallel to its base."""
    a, b = degrees(r, 35, 80), degrees(r, 35, 80)
    fair(a + b < 150)
    apex = meet(O, polar(O, a, 1), (6.0, 0.0), polar((6.0, 0.0), 180 - b, 1))
    f.at(B=O, C=(6.0, 0.0), A=apex, D=(apex[0] - 3.5, apex[1]), E=(apex[0] + 3.5, apex[1]))
    f.line("DAE")
    f.polygon("A", "B", "C")
    f.say(r.choice(("in triangle ABC", "A, B and C are the vertices of triangle ABC")))
    f.say(
        r.choice(("DE passes through point A and DE parallel BC", "DE parallel BC, and point A is on DE")),
        ("para", "D", "E", "B", "C"),
    )


@construction
def zigzag(f: Figure, r: Random) -> None:
    """A bend between two parallels, with the helping line drawn."""
    a, b = degrees(r, 25, 70), degrees(r, 25, 70)
    e = O
    up, down = polar(e, 180 - a, 4), polar(e, 180 + b, 4)
    f.at(E=e, B=up, D=down, A=(up[0] - 4, up[1]), C=(down[0] - 4, down[1]), F=(-5.0, 0.0))
    f.join("BA", "DC", "BE", "ED")
    f.line("EF", dashed=r.random() < 0.7)
    f.say(r.choice(("AB parallel CD", "AB ∥ CD")), ("para", "A", "B", "C", "D"))
    f.say(r.choice(("EF parallel AB", "draw EF parallel AB through point E")), ("para", "E", "F", "A", "B"))


@construction
def bisector_and_parallel(f: Figure, r: Random) -> None:
    a = degrees(r, 20, 65) * 2
    fair(a < 125)
    c = polar(O, a, 4)
    d = meet(O, polar(O, a / 2, 1), c, (c[0] + 1, c[1]))
    f.at(O=O, A=polar(O, a, 7), B=(7.0, 0.0), C=c, D=d, E=mid(O, d, 1.35))
    f.line("OCA")
    f.line("OB")
    f.line("ODE")
    f.line("CD")
    f.say(r.choice(("OE is the bisector of angle AOB", "OE bisects angle AOB")), ("bis", "O", "A", "E", "B"))
    f.say(
        r.choice(("CD parallel OB and intersects OA at C and OE at D", "CD parallel OB, C is on OA and D is on OE")),
        ("para", "C", "D", "O", "B"),
    )


@construction
def points_on_segment(f: Figure, r: Random) -> None:
    x, y = r.randint(2, 12), r.randint(2, 12)
    kind = r.randrange(4)
    if kind == 0:  # C on AB, M and N midpoints of the parts
        f.at(A=O, M=(x / 2, 0.0), C=(float(x), 0.0), N=(x + y / 2, 0.0), B=(float(x + y), 0.0))
        f.line("AMCNB")
        f.say("point C is on the line segment AB")
        f.say("M is the midpoint of AC", ("mid", "M", "A", "C"))
        f.say("N is the midpoint of BC", ("mid", "N", "B", "C"))
    elif kind == 1:
        f.at(A=O, C=(float(x), 0.0), D=(x + y, 0.0), B=(x + 2.0 * y, 0.0))
        f.line("ACDB")
        f.say(
            r.choice(("D is the midpoint of the line segment CB", "point D is the midpoint of BC")),
            ("mid", "D", "C", "B"),
        )
    elif kind == 2:
        f.at(A=O, D=(float(x), 0.0), C=(2.0 * x, 0.0), B=(4.0 * x, 0.0))
        f.line("ADCB")
        f.say("C is the midpoint of AB", ("mid", "C", "A", "B"))
        f.say("D is the midpoint of AC", ("mid", "D", "A", "C"))
    else:
        z = r.randint(2, 9)
        f.at(A=O, C=(float(x), 0.0), D=(float(x + y), 0.0), B=(float(x + y + z), 0.0))
        f.line("ACDB")
        f.say("points C and D are on the line segment AB")


@construction
def folded_strip(f: Figure, r: Random) -> None:
    """A strip of paper folded along EF: the crease bisects, the edges are parallel."""
    a = degrees(r, 50, 80)
    width = 3.0
    level = (-6.0, -width), (6.0, -width)
    crease, folded = meet(O, polar(O, -a, 1), *level), meet(O, polar(O, -2 * a, 1), *level)
    low = min(-4.0, folded[0] - 1.2)
    f.at(A=(low, 0.0), D=(5.0, 0.0), E=O, F=crease, G=folded, B=level[0], C=(5.0, -width))
    f.points["B"] = (low, -width)
    f.line("AED")
    f.line("BGFC")
    f.line("EF")
    f.line("EG")
    f.say(
        r.choice(("fold the strip of paper along EF", "the rectangular strip is folded along EF")),
        ("bis", "E", "G", "F", "D"),
    )
    f.say("AD parallel BC", ("para", "A", "D", "B", "C"))


@construction
def bend_outside(f: Figure, r: Random) -> None:
    """AB parallel CD, and a point E from which one arm crosses a parallel."""
    a, b = degrees(r, 60, 120), degrees(r, 20, 50)
    fair(a - b > 15)
    # C-D below, A-B above; E above AB, EC crosses AB at F
    c = O
    f_ = polar(c, a, 3.5)
    e = polar(c, a, 5.6)
    right = meet(e, polar(e, -b, 1), f_, (f_[0] + 1, f_[1]))
    fair(0.8 < right[0] - f_[0] < 9)
    f.at(C=c, D=(6.0, 0.0), F=f_, E=e, A=right, B=(f_[0] - 2.5, f_[1]))
    f.line("BFA")
    f.line("CFE")
    f.line("CD")
    f.line("EA")
    f.say(r.choice(("AB parallel CD", "AB ∥ CD")), ("para", "A", "B", "C", "D"))
    f.say(r.choice(("CE intersects AB at point F", "F is the intersection of CE and AB")))
