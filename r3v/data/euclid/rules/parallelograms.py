"""Rules of parallelograms, rectangles, rhombi and squares that are known to be such."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Fact, Figure, Quantity
from r3v.data.euclid.rules.base import close, implies, linear, para, product, right, same, table
from r3v.data.euclid.rules.right_triangles import SINES
from r3v.data.euclid.solve import Instance

RULES = table(
    (
        "parallelogram_sides",
        "parallelogram_property_opposite_line_equal",
        "Opposite sides of a parallelogram are equal.",
    ),
    (
        "parallelogram_angles",
        "parallelogram_property_opposite_angle_equal",
        "Opposite angles of a parallelogram are equal.",
    ),
    (
        "parallelogram_neighbours",
        "parallel_property_ipsilateral_internal_angle",
        "Neighbouring angles of a parallelogram sum to 180.",
    ),
    (
        "parallelogram_diagonals",
        "parallelogram_property_diagonal_bisection",
        "The diagonals of a parallelogram halve one another.",
    ),
    ("parallelogram_parallels", "", "Opposite sides of a parallelogram are parallel."),
    ("rectangle_angle", "", "The angles of a rectangle are 90."),
    ("rectangle_diagonals", "rectangle_property_diagonal_equal", "The diagonals of a rectangle are equal."),
    (
        "rectangle_half_diagonals",
        "rectangle_property_diagonal_equal parallelogram_property_diagonal_bisection",
        "The diagonals of a rectangle are equal and halve one another.",
    ),
    ("rhombus_sides", "", "The sides of a rhombus are equal."),
    (
        "rhombus_diagonals",
        "kite_property_diagonal_perpendicular_bisection",
        "The diagonals of a rhombus are perpendicular.",
    ),
    ("rhombus_halves", "kite_property_diagonal_perpendicular_bisection", "A diagonal of a rhombus halves its angles."),
    (
        "parallelogram_perimeter",
        "quadrilateral_perimeter_formula parallelogram_property_opposite_line_equal",
        "The perimeter of a parallelogram is twice the sum of two neighbouring sides.",
    ),
    ("rhombus_perimeter", "quadrilateral_perimeter_formula", "The perimeter of a rhombus or square is four sides."),
    ("rectangle_area", "parallelogram_area_formula_common", "The area of a rectangle is length times width."),
    (
        "parallelogram_area",
        "parallelogram_area_formula_common",
        "The area of a parallelogram is base times height.",
    ),
    (
        "parallelogram_area_sine",
        "parallelogram_area_formula_sine",
        "The area of a parallelogram is two sides times the sine of the angle between them.",
    ),
    ("rhombus_area", "kite_area_formula_diagonal", "The area of a rhombus is half the product of its diagonals."),
)


def corner_at(figure: Figure, names: tuple[str, ...], i: int) -> Quantity | None:
    return figure.angle(names[i - 1], names[i], names[(i + 1) % 4])


def corners(names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    return [(names[i - 1], names[i], names[(i + 1) % 4]) for i in range(4)]


def _centre(figure: Figure, names: tuple[str, ...]) -> str | None:
    """Where both diagonals are drawn and carry a common point."""
    first, second = figure.line_of.get((names[0], names[2])), figure.line_of.get((names[1], names[3]))
    if first is None or second is None:
        return None
    return next((p for p in figure.lines[first] if p in figure.lines[second]), None)


def parallelogram(figure: Figure, names: tuple[str, ...], need: Fact, kind: str) -> Iterator[Instance]:
    a, b, c, d = names
    words = lambda n: n.fact(need)  # noqa: E731
    for p, q, r, s in ((a, b, c, d), (b, c, d, a)):
        fact = para(figure, p, q, r, s)
        if fact:
            yield implies("parallelogram_parallels", words, [need], fact)
        one, other = figure.length(p, q), figure.length(r, s)
        if one and other:
            yield same("parallelogram_sides", words, one, other, [need])
    angles = [corner_at(figure, names, i) for i in range(4)]
    for i, j in ((0, 2), (1, 3)):
        one, other = angles[i], angles[j]
        if one and other and kind in ("pgram", "rhombus"):
            yield same("parallelogram_angles", words, one, other, [need])
    for i in range(4):
        one, other = angles[i], angles[(i + 1) % 4]
        if one and other and kind in ("pgram", "rhombus"):
            yield linear("parallelogram_neighbours", words, [(1, one), (1, other)], 180, [need])
    yield from _halved_diagonals(figure, names, need)
    sides = [figure.length(names[i], names[(i + 1) % 4]) for i in range(4)]
    around = ("perimeter", *names)
    if all(sides) and kind in ("pgram", "rectangle"):
        for i in range(4):
            two = [s for s in (sides[i], sides[(i + 1) % 4]) if s]
            yield linear(
                "parallelogram_perimeter",
                lambda n, two=two: f"{n.quantity(around)} = 2 * ({n.quantity(two[0])} + {n.quantity(two[1])})",
                [(2, two[0]), (2, two[1]), (-1, around)],
                0,
                [need],
            )
    yield from _areas(figure, names, need)


def _halved_diagonals(figure: Figure, names: tuple[str, ...], need: Fact) -> Iterator[Instance]:
    o = _centre(figure, names)
    if o is None:
        return
    for p, q in ((names[0], names[2]), (names[1], names[3])):
        why = lambda n: f"{n.fact(need)} and its diagonals halve one another"  # noqa: E731
        halves = figure.length_key(o, p), figure.length_key(o, q)
        yield same("parallelogram_diagonals", why, *halves, [need])
        for half in halves:
            yield linear("parallelogram_diagonals", why, [(1, figure.length_key(p, q)), (-2, half)], 0, [need])
        yield implies("parallelogram_diagonals", why, [need], ("mid", o, *sorted((p, q))))


def _areas(figure: Figure, names: tuple[str, ...], need: Fact) -> Iterator[Instance]:
    area = ("area", *names)
    for i in range(4):
        p, q, r, s = (names[(i + k) % 4] for k in range(4))
        base = figure.length(q, r)
        if base is None:
            continue
        for vertex in (p, s):
            for f in figure.lines[figure.line_of[q, r]]:
                if (vertex, f) not in figure.line_of or f in (q, r):
                    continue
                angle = figure.angle(vertex, f, q) or figure.angle(vertex, f, r)
                if angle and close(figure.angles[angle], 90.0):
                    height = figure.length_key(vertex, f)
                    yield product(
                        "parallelogram_area",
                        lambda n, b=base, h=height: f"{n.quantity(area)} = {n.quantity(b)} * {n.quantity(h)}",
                        [(1, area), (-1, base), (-1, height)],
                        number(1),
                        [need, right(angle)],
                    )
        corner, side = figure.angle(p, q, r), figure.length(p, q)
        if corner and side:
            degrees = round(figure.angles[corner])
            if degrees in SINES and close(figure.angles[corner], degrees):
                value, text = SINES[degrees]
                assert value is not None
                yield product(
                    "parallelogram_area_sine",
                    lambda n, a=side, b=base, d=degrees, t=text: (
                        f"{n.quantity(area)} = {n.quantity(a)} * {n.quantity(b)} * sin {d}, sin {d} = {t}"
                    ),
                    [(1, area), (-1, side), (-1, base)],
                    value,
                    [need, ("is", corner, number(degrees))],
                )


def rectangle(figure: Figure, names: tuple[str, ...], need: Fact) -> Iterator[Instance]:
    words = lambda n: n.fact(need)  # noqa: E731
    for p, vertex, q in corners(names):
        angle = figure.angle(p, vertex, q)
        if angle:
            yield linear("rectangle_angle", words, [(1, angle)], 90, [need])
    first, second = figure.length(names[0], names[2]), figure.length(names[1], names[3])
    if first and second:
        yield same("rectangle_diagonals", words, first, second, [need])
        o = _centre(figure, names)
        halves = [figure.length_key(o, p) for p in names] if o else []
        for one, other in combinations(halves, 2):
            yield same("rectangle_half_diagonals", words, one, other, [need])
    a, b = figure.length(names[0], names[1]), figure.length(names[1], names[2])
    area = ("area", *names)
    for x, y in ((0, 1), (1, 2), (2, 3), (3, 0)):
        a, b = figure.length(names[x], names[y]), figure.length(names[y], names[(y + 1) % 4])
        if a and b:
            yield product(
                "rectangle_area",
                lambda n, a=a, b=b: f"{n.quantity(area)} = {n.quantity(a)} * {n.quantity(b)}",
                [(1, area), (-1, a), (-1, b)],
                number(1),
                [need],
            )


def rhombus(figure: Figure, names: tuple[str, ...], need: Fact) -> Iterator[Instance]:
    words = lambda n: n.fact(need)  # noqa: E731
    sides = [figure.length(names[i], names[(i + 1) % 4]) for i in range(4)]
    for one, other in combinations(sides, 2):
        if one and other:
            yield same("rhombus_sides", words, one, other, [need])
    around = ("perimeter", *names)
    for side in sides:
        if side:
            yield linear(
                "rhombus_perimeter",
                lambda n, s=side: f"{n.quantity(around)} = 4 * {n.quantity(s)}",
                [(4, side), (-1, around)],
                0,
                [need],
            )
    o = _centre(figure, names)
    if o:
        for i in range(4):
            angle = figure.angle(names[i], o, names[(i + 1) % 4])
            if angle:
                why = lambda n: f"{n.fact(need)} and its diagonals are perpendicular"  # noqa: E731
                yield linear("rhombus_diagonals", why, [(1, angle)], 90, [need])
        diagonals = figure.length_key(names[0], names[2]), figure.length_key(names[1], names[3])
        area = ("area", *names)
        yield product(
            "rhombus_area",
            lambda n: f"{n.quantity(area)} = {n.quantity(diagonals[0])} * {n.quantity(diagonals[1])} / 2",
            [(1, area), (-1, diagonals[0]), (-1, diagonals[1])],
            number(Fraction(1, 2)),
            [need],
        )
    for p, vertex, q in corners(names):
        across = names[(names.index(vertex) + 2) % 4]
        one, other, whole = figure.angle(p, vertex, across), figure.angle(across, vertex, q), figure.angle(p, vertex, q)
        if one and other and whole:
            why = lambda n, v=vertex, x=across: f"{n.fact(need)} and {v}{x} halves its angle"  # noqa: E731
            yield same("rhombus_halves", why, one, other, [need])
            for half in (one, other):
                yield linear("rhombus_halves", why, [(1, whole), (-2, half)], 0, [need])
