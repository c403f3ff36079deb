"""Rules of quadrilaterals: angles, parallelograms and their kinds, trapezoids, perimeters and areas."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, pairwise

from r3v.data.euclid.engine import Instance, equal
from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Fact, Figure, Quantity, cyclic, pair
from r3v.data.euclid.rules.base import close, implies, linear, para, product, right, same, table
from r3v.data.euclid.rules.triangles import SINES

RULES = table(
    ("quadrilateral_sum", "quadrilateral_property_angle_sum", "The angles of a quadrilateral sum to 360."),
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
    (
        "parallelogram_by_parallels",
        "parallelogram_judgment_parallel_and_parallel",
        "Two pairs of parallel sides make a parallelogram.",
    ),
    (
        "parallelogram_by_one_pair",
        "parallelogram_judgment_parallel_and_equal",
        "A pair of sides both parallel and equal makes a parallelogram.",
    ),
    (
        "parallelogram_by_sides",
        "parallelogram_judgment_equal_and_equal",
        "Two pairs of equal opposite sides make a parallelogram.",
    ),
    (
        "parallelogram_by_angles",
        "parallelogram_judgment_angle_and_angle",
        "Two pairs of equal opposite angles make a parallelogram.",
    ),
    ("rectangle_angle", "", "The angles of a rectangle are 90."),
    ("rectangle_diagonals", "rectangle_property_diagonal_equal", "The diagonals of a rectangle are equal."),
    (
        "rectangle_half_diagonals",
        "rectangle_property_diagonal_equal parallelogram_property_diagonal_bisection",
        "The diagonals of a rectangle are equal and halve one another.",
    ),
    ("rectangle_by_angle", "rectangle_judgment_right_angle", "A parallelogram with a right angle is a rectangle."),
    ("rhombus_sides", "", "The sides of a rhombus are equal."),
    (
        "rhombus_diagonals",
        "kite_property_diagonal_perpendicular_bisection",
        "The diagonals of a rhombus are perpendicular.",
    ),
    ("rhombus_halves", "kite_property_diagonal_perpendicular_bisection", "A diagonal of a rhombus halves its angles."),
    (
        "rhombus_by_sides",
        "rhombus_judgment_parallelogram_and_kite kite_judgment_equal_and_equal",
        "A quadrilateral with four equal sides is a rhombus.",
    ),
    ("square_halves", "", "A diagonal of a square makes angles of 45 with the sides."),
    ("quadrilateral_perimeter", "quadrilateral_perimeter_formula", "The perimeter is the sum of the four sides."),
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
    (
        "trapezium_midline",
        "trapezoid_judgment_parallel midsegment_of_quadrilateral_property_length",
        "The midline of a trapezoid is half the sum of its bases.",
    ),
    (
        "trapezium_area",
        "right_trapezoid_judgment_right_angle right_trapezoid_area_formular",
        "The area of a trapezoid is half the sum of the bases times the height.",
    ),
    (
        "isotrap_angles",
        "isosceles_trapezoid_property_angle_equal",
        "The angles at a base of an isosceles trapezoid are equal.",
    ),
    (
        "isotrap_diagonals",
        "isosceles_trapezoid_property_diagonal_equal",
        "The diagonals of an isosceles trapezoid are equal.",
    ),
    (
        "altitude_foot",
        "altitude_of_quadrilateral_judgment_left_vertex altitude_of_quadrilateral_judgment_right_vertex",
        "Two perpendiculars between parallels are equal.",
    ),
)
KINDS = ("pgram", "rectangle", "rhombus", "square", "trapezium", "isotrap")
UP = {"rectangle": ("pgram",), "rhombus": ("pgram",), "square": ("rectangle", "rhombus", "pgram")}


def shape(kind: str, names: tuple[str, ...]) -> Fact:
    """One spelling of "names is a kind": a trapezium starts with the first letter of a base in reading order."""
    return (kind, *(names if kind in ("trapezium", "isotrap") else cyclic(names)))


def ground(figure: Figure) -> Iterator[Instance]:
    seen = set()
    for clause in figure.clauses:
        for fact in clause.facts:
            if fact[0] in KINDS:
                names = tuple(fact[1:])
                seen.add(cyclic(names))
                yield from _stated(figure, fact[0], names)
    for names in figure.polygons:
        if len(names) == 4:
            yield from _any(figure, names)
            if cyclic(names) not in seen:
                yield from _judged(figure, names)
    yield from between_parallels(figure)


def _corner(figure: Figure, names: tuple[str, ...], i: int) -> Quantity | None:
    return figure.angle(names[i - 1], names[i], names[(i + 1) % 4])


def _any(figure: Figure, names: tuple[str, ...]) -> Iterator[Instance]:
    angles = [_corner(figure, names, i) for i in range(4)]
    title = "".join(names)
    if all(angles) and close(sum(figure.angles[a] for a in angles if a), 360.0):
        why = f"the angles of quadrilateral {title} sum to 360"
        yield linear("quadrilateral_sum", why, [(1, a) for a in angles if a], 360)
    sides = [figure.length(names[i], names[(i + 1) % 4]) for i in range(4)]
    around = ("perimeter", *names)
    if all(sides):
        yield linear(
            "quadrilateral_perimeter",
            lambda n: f"{n.quantity(around)} = {' + '.join(n.quantity(s) for s in sides if s)}",
            [*((1, s) for s in sides if s), (-1, around)],
        )


def _judged(figure: Figure, names: tuple[str, ...]) -> Iterator[Instance]:
    """A quadrilateral that turns out to be a parallelogram, rectangle or rhombus."""
    a, b, c, d = names
    sides = [figure.length_key(p, q) for p, q in ((a, b), (b, c), (c, d), (d, a))]
    angles = [_corner(figure, names, i) for i in range(4)]
    fact = shape("pgram", names)
    pairs = (figure.distance(a, b), figure.distance(c, d)), (figure.distance(b, c), figure.distance(d, a))
    if not all(close(*two) for two in pairs):
        return
    pairs = [para(figure, a, b, c, d), para(figure, b, c, d, a)]
    opposite = [equal(sides[0], sides[2]), equal(sides[1], sides[3])]
    if all(pairs):
        facts = [p for p in pairs if p]
        yield implies("parallelogram_by_parallels", lambda n: f"{n.fact(facts[0])} and {n.fact(facts[1])}", facts, fact)
        for p, e in zip(facts, opposite, strict=True):
            yield implies("parallelogram_by_one_pair", lambda n, p=p, e=e: f"{n.fact(p)} and {n.fact(e)}", [p, e], fact)
    yield implies(
        "parallelogram_by_sides", lambda n: f"{n.fact(opposite[0])} and {n.fact(opposite[1])}", opposite, fact
    )
    if all(angles):
        w, x, y, z = (q for q in angles if q)
        across = [equal(w, y), equal(x, z)]
        yield implies("parallelogram_by_angles", lambda n: f"{n.fact(across[0])} and {n.fact(across[1])}", across, fact)
    yield from _stated(figure, "pgram", names)
    if all(angles) and close(figure.angles[angles[0] or ()], 90.0):
        for angle in angles:
            if angle:
                yield implies(
                    "rectangle_by_angle",
                    lambda n, q=angle: f"{n.fact(fact)} and {n.quantity(q)} = 90",
                    [fact, right(angle)],
                    shape("rectangle", names),
                )
        yield from _rectangle(figure, names, shape("rectangle", names))
    if close(figure.distance(a, b), figure.distance(b, c)):
        chain = [equal(p, q) for p, q in pairwise(sides)]
        yield implies("rhombus_by_sides", "the four sides are equal", chain, shape("rhombus", names))
        yield from _rhombus(figure, names, shape("rhombus", names))


def _stated(figure: Figure, kind: str, names: tuple[str, ...]) -> Iterator[Instance]:
    if kind in ("trapezium", "isotrap"):
        yield from _trapezium(figure, kind, names)
        return
    need = shape(kind, names)
    yield from _parallelogram(figure, names, need, kind)
    if kind in ("rectangle", "square"):
        yield from _rectangle(figure, names, need)
    if kind in ("rhombus", "square"):
        yield from _rhombus(figure, names, need)
    if kind == "square":
        for side, vertex in ((x, v) for p, v, q in _corners(names) for x in (p, q)):
            half = figure.angle(side, vertex, names[(names.index(vertex) + 2) % 4])
            if half:
                yield linear("square_halves", lambda n: n.fact(need), [(1, half)], 45, [need])


def _corners(names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    return [(names[i - 1], names[i], names[(i + 1) % 4]) for i in range(4)]


def _centre(figure: Figure, names: tuple[str, ...]) -> str | None:
    """Where both diagonals are drawn and carry a common point."""
    first, second = figure.line_of.get((names[0], names[2])), figure.line_of.get((names[1], names[3]))
    if first is None or second is None:
        return None
    return next((p for p in figure.lines[first] if p in figure.lines[second]), None)


def _parallelogram(figure: Figure, names: tuple[str, ...], need: Fact, kind: str) -> Iterator[Instance]:
    a, b, c, d = names
    words = lambda n: n.fact(need)  # noqa: E731
    for p, q, r, s in ((a, b, c, d), (b, c, d, a)):
        fact = para(figure, p, q, r, s)
        if fact:
            yield implies("parallelogram_parallels", words, [need], fact)
        one, other = figure.length(p, q), figure.length(r, s)
        if one and other:
            yield same("parallelogram_sides", words, one, other, [need])
    angles = [_corner(figure, names, i) for i in range(4)]
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
        halves = [figure.length_key(o, p), figure.length_key(o, q)]
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


def _rectangle(figure: Figure, names: tuple[str, ...], need: Fact) -> Iterator[Instance]:
    words = lambda n: n.fact(need)  # noqa: E731
    for p, vertex, q in _corners(names):
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


def _rhombus(figure: Figure, names: tuple[str, ...], need: Fact) -> Iterator[Instance]:
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
    for p, vertex, q in _corners(names):
        across = names[(names.index(vertex) + 2) % 4]
        one, other, whole = figure.angle(p, vertex, across), figure.angle(across, vertex, q), figure.angle(p, vertex, q)
        if one and other and whole:
            why = lambda n, v=vertex, x=across: f"{n.fact(need)} and {v}{x} halves its angle"  # noqa: E731
            yield same("rhombus_halves", why, one, other, [need])
            for half in (one, other):
                yield linear("rhombus_halves", why, [(1, whole), (-2, half)], 0, [need])


def _trapezium(figure: Figure, kind: str, names: tuple[str, ...]) -> Iterator[Instance]:
    """names = a, b, c, d with ab parallel to cd."""
    a, b, c, d = names
    need = (kind, *names)
    words = lambda n: n.fact(need)  # noqa: E731
    fact = para(figure, a, b, c, d)
    if fact:
        yield implies("parallelogram_parallels", words, [need], fact)
    top, bottom = figure.length(a, b), figure.length(c, d)
    for e in figure.lines[figure.line_of[a, d]] if (a, d) in figure.line_of else ():
        for f in figure.lines[figure.line_of[b, c]] if (b, c) in figure.line_of else ():
            if e in names or f in names or (e, f) not in figure.line_of or not (top and bottom):
                continue
            if close(figure.distance(a, e), figure.distance(e, d)) and close(
                figure.distance(b, f), figure.distance(f, c)
            ):
                middle = figure.length_key(e, f)
                yield linear(
                    "trapezium_midline",
                    f"{e}{f} is the midline of the trapezoid",
                    [(1, top), (1, bottom), (-2, middle)],
                    0,
                    [need, ("mid", e, *sorted((a, d))), ("mid", f, *sorted((b, c)))],
                )
    yield from _trapezium_area(figure, names, need)
    if kind == "isotrap":
        legs = figure.length(a, d), figure.length(b, c)
        if legs[0] and legs[1]:
            yield same("equality", words, legs[0], legs[1], [need])
        for p, q, r, s in ((d, a, b, c), (a, d, c, b)):
            one, other = figure.angle(p, q, r), figure.angle(q, r, s)
            if one and other:
                yield same("isotrap_angles", words, one, other, [need])
        across = figure.length(a, c), figure.length(b, d)
        if across[0] and across[1]:
            yield same("isotrap_diagonals", words, across[0], across[1], [need])


def _trapezium_area(figure: Figure, names: tuple[str, ...], need: Fact) -> Iterator[Instance]:
    """Half the sum of the bases times the height: a leg at right angles, or a drawn perpendicular."""
    a, b, c, d = names
    top, bottom = figure.length(a, b), figure.length(c, d)
    if not (top and bottom):
        return
    area, both = ("area", *names), pair("sum", top, bottom)
    yield linear("trapezium_area", lambda n: f"the bases are {n.quantity(both)}", [(1, top), (1, bottom), (-1, both)])
    for p in figure.lines[figure.line_of[a, b]]:
        for q in figure.lines[figure.line_of[c, d]]:
            angle = figure.angle(p, q, c if q != c else d) if (p, q) in figure.line_of else None
            if angle and close(figure.angles[angle], 90.0):
                height = figure.length_key(p, q)
                yield product(
                    "trapezium_area",
                    lambda n, h=height: f"{n.quantity(area)} = ({n.quantity(both)}) * {n.quantity(h)} / 2",
                    [(1, area), (-1, both), (-1, height)],
                    number(Fraction(1, 2)),
                    [need, right(angle)],
                )


def between_parallels(figure: Figure) -> Iterator[Instance]:
    """Two perpendiculars between parallels are equal."""
    for i, j in combinations(range(len(figure.lines)), 2):
        joins = []
        for p in figure.lines[i]:
            for q in figure.lines[j]:
                end = next((x for x in figure.lines[j] if x != q), None)
                angle = figure.angle(p, q, end) if end and (p, q) in figure.line_of else None
                if angle and close(figure.angles[angle], 90.0):
                    joins.append((p, q, angle))
        for (p, q, one), (r, s, other) in combinations(joins, 2):
            fact = para(figure, figure.lines[i][0], figure.lines[i][-1], figure.lines[j][0], figure.lines[j][-1])
            if fact and {p, q}.isdisjoint({r, s}) and close(figure.distance(p, q), figure.distance(r, s)):
                why = f"{p}{q} and {r}{s} are perpendiculars between parallels"
                needs = [fact, right(one), right(other)]
                yield same("altitude_foot", why, figure.length_key(p, q), figure.length_key(r, s), needs)
