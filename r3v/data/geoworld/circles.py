"""Families about circles."""

from __future__ import annotations

from r3v.data.geoworld.core import Draft, Draw, Given, Method
from r3v.data.geoworld.lengths import PYTHAGORAS, TRIPLES
from r3v.data.geoworld.shapes import angle, at, circle, length, path, polygon, seg

INSCRIBED = "The central angle is double the inscribed angle."
THALES = "An angle in a half circle is 90."
ACUTE = "The acute angles of a right triangle sum to 90."
SUM = "The angles of a triangle sum to 180."
BASE = "The base angles are equal."
O = (0.0, 0.0)  # noqa: E741 - the usual letter of a centre


def inscribed_central(d: Draw) -> Draft | None:
    """Inscribed from central angle or back; deep: a base angle of the central triangle from the inscribed
    angle.
    """
    a, b, c = d.names(3)
    x = d.angle(25, 75)
    points = {"O": O, a: at(O, -90 - x, 5), b: at(O, -90 + x, 5), c: at(O, 90 + d.rng.uniform(-40, 40), 5)}
    marks = [circle("O", a), *path(a, "O", b), *path(a, c, b)]
    back = not d.deep and d.flip()
    inner = Given("i", f"angle {a}{c}{b}", x, angle(a, c, b))
    steps: tuple[str, ...]
    if d.deep:
        marks.append(seg(a, b))
        given, target, measure = inner, f"angle O{a}{b}", angle("O", a, b)
        steps = ("i * 2 = s", "180 - s = r", "r / 2 = t")
        wrong = (
            Method(BASE, ("180 - i = r", "r / 2 = t")),
            Method(INSCRIBED, ("i * 2 = s", "180 - s = t")),
            Method(INSCRIBED, ("i * 2 = t",)),
            Method(SUM, ("180 - i = t",)),
        )
        note = f"{INSCRIBED[:-1]}, so double the angle, subtract from 180 and halve."
    elif back:
        given, target, measure, steps = inner, f"angle {a}O{b}", angle(a, "O", b), ("i * 2 = t",)
        wrong = (
            Method("The central angle equals the inscribed angle.", (), "i"),
            Method("The inscribed angle is double the central angle.", ("i / 2 = t",)),
            Method("Opposite angles sum to 180.", ("180 - i = t",)),
        )
        note = "The central angle is double the inscribed angle, so double the angle."
    else:
        given = Given("c", f"angle {a}O{b}", 2 * x, angle(a, "O", b))
        target, measure, steps = f"angle {a}{c}{b}", angle(a, c, b), ("c / 2 = t",)
        wrong = (
            Method("The central angle equals the inscribed angle.", (), "c"),
            Method("The inscribed angle is double the central angle.", ("c * 2 = t",)),
            Method("Opposite angles sum to 180.", ("180 - c = t",)),
        )
        note = "The central angle is double the inscribed angle, so halve the angle."
    return Draft(
        "In circle O",
        (f"{a}, {b}, {c} lie on the circle",),
        (given,),
        target,
        measure,
        Method(INSCRIBED, steps),
        wrong,
        note,
        ("theorem:inscribed_angle", "perception:circle"),
        points,
        tuple(marks),
        variant="base" if d.deep else "central" if back else "plain",
    )


def inscribed_diameter(d: Draw) -> Draft | None:
    """The other acute angle over a diameter; deep: the angle over the same arc from another point."""
    a, b, c, e = d.names(4)
    x = d.angle(25, 65)
    points = {"O": O, a: (-5.0, 0.0), b: (5.0, 0.0), c: at(O, 2 * x, 5)}
    marks = [circle("O", a), *polygon(a, b, c)]
    steps: tuple[str, ...] = ("90 - a = t",)
    facts = [f"{a}{b} is a diameter"]
    wrong = (
        Method(SUM, ("180 - a = t",)),
        Method(BASE, (), "a"),
        Method(BASE, ("180 - a = s", "s / 2 = t")),
        Method(INSCRIBED, ("a * 2 = t",)),
    )
    note = "An angle in a half circle is 90, so subtract the angle from 90."
    target, measure = f"angle {a}{b}{c}", angle(a, b, c)
    if d.deep:
        points[e] = at(O, -d.rng.uniform(50, 130), 5)
        marks += path(a, e, c)
        target, measure = f"angle {a}{e}{c}", angle(a, e, c)
    return Draft(
        "In circle O",
        tuple(facts),
        (Given("a", f"angle {b}{a}{c}", x, angle(b, a, c)),),
        target,
        measure,
        Method(THALES, steps),
        wrong,
        note,
        ("theorem:diameter_angle", "perception:circle", *(("theorem:same_arc",) if d.deep else ())),
        points,
        tuple(marks),
        variant="same_arc" if d.deep else "plain",
    )


def circle_diameter(d: Draw) -> Draft | None:
    """Diameter and radius; deep: a chord from the radius and the other chord over the diameter."""
    a, b, c = d.names(3)
    steps: tuple[str, ...]
    if d.deep:
        p, q, h = d.rng.choice([t for t in TRIPLES if t[2] % 2 == 0])
        k = d.rng.choice((1, 2))
        p, q, h = (p * k, q * k, h * k) if d.flip() else (q * k, p * k, h * k)
        r = h // 2
        degrees = 2 * _degrees(p / h)
        points = {"O": O, a: (-float(r), 0.0), b: (float(r), 0.0), c: at(O, 180 - degrees, r)}
        marks = (circle("O", a), *path(a, "O", b), *path(a, c, b))
        givens = (Given("r", f"O{a}", r, length("O", a)), Given("p", f"{a}{c}", p, length(a, c)))
        target, measure = f"{b}{c}", length(b, c)
        steps = ("r * 2 = d", "d * d = u", "p * p = v", "u - v = w", "sqrt(w) = t")
        wrong = (
            Method("The chords sum to the diameter.", ("r * 2 = d", "d - p = t")),
            Method("The diameter is the radius.", ("r * r = u", "p * p = v", "u + v = t")),
            Method(PYTHAGORAS, ("r * 2 = d", "d * d = u", "p * p = v", "u - v = t")),
            Method("The chords sum.", ("p + r = t",)),
        )
        note = "An angle in a half circle is 90, so double the radius, subtract the squares and take the root."
        theorem, fact = THALES, f"{a}{b} is a diameter"
    else:
        r, back = d.length(3, 30), d.flip()
        points = {"O": O, a: (-float(r), 0.0), b: (float(r), 0.0), c: at(O, d.rng.uniform(50, 130), r)}
        marks = (circle("O", a), *path(a, "O", b), seg("O", c))
        theorem, fact = "A diameter is double the radius.", f"{a}{b} is a diameter"
        if back:
            givens = (Given("d", f"{a}{b}", 2 * r, length(a, b), text_only=True),)
            target, measure, steps = f"O{c}", length("O", c), ("d / 2 = t",)
            wrong = (
                Method("A diameter equals the radius.", (), "d"),
                Method("A radius is double the diameter.", ("d * 2 = t",)),
                Method("A diameter is four radii.", ("d / 4 = t",)),
            )
            note = "A diameter is double the radius, so halve the length."
        else:
            givens = (Given("r", f"O{c}", r, length("O", c)),)
            target, measure, steps = f"{a}{b}", length(a, b), ("r * 2 = t",)
            wrong = (
                Method("A diameter equals the radius.", (), "r"),
                Method("A radius is double the diameter.", ("r / 2 = t",)),
                Method("A diameter is three radii.", ("r * 3 = t",)),
            )
            note = "A diameter is double the radius, so double the length."
    return Draft(
        "In circle O",
        (fact,),
        givens,
        target,
        measure,
        Method(theorem, steps),
        wrong,
        note,
        ("theorem:diameter", "perception:circle"),
        points,
        marks,
        variant="chord" if d.deep else "radius" if target.startswith("O") else "plain",
    )


def _degrees(sine: float) -> float:
    """The angle with this sine, in degrees."""
    import math

    return math.degrees(math.asin(sine))
