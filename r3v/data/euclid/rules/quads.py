"""Rules of quadrilaterals: angles, parallelograms and their kinds, trapezoids, perimeters and areas."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, pairwise

from r3v.data.euclid.engine import equal
from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Fact, Figure, cyclic, pair
from r3v.data.euclid.rules.base import close, implies, linear, para, product, right, same, table
from r3v.data.euclid.rules.parallelograms import corner_at, corners, parallelogram, rectangle, rhombus
from r3v.data.euclid.solve import Instance

RULES = table(
    ("quadrilateral_sum", "quadrilateral_property_angle_sum", "The angles of a quadrilateral sum to 360."),
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
    ("rectangle_by_angle", "rectangle_judgment_right_angle", "A parallelogram with a right angle is a rectangle."),
    (
        "rhombus_by_sides",
        "rhombus_judgment_parallelogram_and_kite kite_judgment_equal_and_equal",
        "A quadrilateral with four equal sides is a rhombus.",
    ),
    ("square_halves", "", "A diagonal of a square makes angles of 45 with the sides."),
    ("quadrilateral_perimeter", "quadrilateral_perimeter_formula", "The perimeter is the sum of the four sides."),
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
        "",
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


def _any(figure: Figure, names: tuple[str, ...]) -> Iterator[Instance]:
    angles = [corner_at(figure, names, i) for i in range(4)]
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
    angles = [corner_at(figure, names, i) for i in range(4)]
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
        yield from rectangle(figure, names, shape("rectangle", names))
    if close(figure.distance(a, b), figure.distance(b, c)):
        chain = [equal(p, q) for p, q in pairwise(sides)]
        yield implies("rhombus_by_sides", "the four sides are equal", chain, shape("rhombus", names))
        yield from rhombus(figure, names, shape("rhombus", names))


def _stated(figure: Figure, kind: str, names: tuple[str, ...]) -> Iterator[Instance]:
    if kind in ("trapezium", "isotrap"):
        yield from _trapezium(figure, kind, names)
        return
    need = shape(kind, names)
    yield from parallelogram(figure, names, need, kind)
    if kind in ("rectangle", "square"):
        yield from rectangle(figure, names, need)
    if kind in ("rhombus", "square"):
        yield from rhombus(figure, names, need)
    if kind == "square":
        for side, vertex in ((x, v) for p, v, q in corners(names) for x in (p, q)):
            half = figure.angle(side, vertex, names[(names.index(vertex) + 2) % 4])
            if half:
                yield linear("square_halves", lambda n: n.fact(need), [(1, half)], 45, [need])


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
