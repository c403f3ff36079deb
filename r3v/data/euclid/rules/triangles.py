"""Rules of one triangle: angles, equal sides, right triangles, special lines, area and perimeter."""

from __future__ import annotations

from collections.abc import Iterator

from r3v.data.euclid.engine import equal
from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Figure
from r3v.data.euclid.rules.base import close, corner, linear, product, right, same, table
from r3v.data.euclid.rules.cevians import altitude, bisected_segments, bisector, midline
from r3v.data.euclid.rules.right_triangles import HALF, SINES, by_sines, right_angled
from r3v.data.euclid.solve import Instance, Relation

RULES = table(
    ("angle_sum", "triangle_property_angle_sum", "The angles of a triangle sum to 180."),
    (
        "exterior_angle",
        "triangle_property_angle_sum adjacent_complementary_angle",
        "An exterior angle of a triangle is the sum of the two inner angles away from it.",
    ),
    (
        "base_angles",
        "isosceles_triangle_judgment_line_equal isosceles_triangle_property_angle_equal",
        "Equal sides of a triangle have equal opposite angles.",
    ),
    (
        "apex_angle",
        "isosceles_triangle_judgment_line_equal isosceles_triangle_property_angle_equal triangle_property_angle_sum",
        "In a triangle with two equal sides the apex angle and twice the base angle sum to 180.",
    ),
    ("equal_sides", "isosceles_triangle_judgment_angle_equal", "Equal angles of a triangle have equal opposite sides."),
    ("equilateral_angle", "equilateral_triangle_property_angle", "Each angle of an equilateral triangle is 60."),
    (
        "equilateral_by_angle",
        "equilateral_triangle_judgment_isosceles_and_isosceles",
        "An isosceles triangle with an angle of 60 is equilateral.",
    ),
    (
        "three_in_one",
        "isosceles_triangle_property_line_coincidence",
        "From the apex of an isosceles triangle, median, altitude and bisector are one line.",
    ),
    (
        "law_of_cosines",
        "cosine_theorem",
        "c² = a² + b² - 2ab cos C, where the cosine of 60 is 1/2, of 120 is -1/2.",
    ),
    ("triangle_perimeter", "triangle_perimeter_formula", "The perimeter of a triangle is the sum of its sides."),
    (
        "triangle_area_sine",
        "triangle_area_formula_sine",
        "The area of a triangle is half of two sides times the sine of the angle between them.",
    ),
)


def ground(figure: Figure) -> Iterator[Instance]:
    for tri in figure.triangles:
        for a, b, c in ((tri[0], tri[1], tri[2]), (tri[1], tri[0], tri[2]), (tri[2], tri[0], tri[1])):
            yield from _from_apex(figure, a, b, c)
        yield from _one(figure, tri)
    yield from bisected_segments(figure)


def _one(figure: Figure, tri: tuple[str, str, str]) -> Iterator[Instance]:
    a, b, c = (corner(figure, tri, v) for v in tri)
    name = "".join(tri)
    whole = [(1, a), (1, b), (1, c)]
    yield linear("angle_sum", f"the angles of triangle {name} sum to 180", whole, 180)
    sides = [figure.length_key(p, q) for p, q in (tri[:2], tri[1:], (tri[0], tri[2]))]
    perimeter = ("perimeter", *tri)
    yield linear(
        "triangle_perimeter",
        lambda n: f"{n.quantity(perimeter)} = {' + '.join(n.quantity(s) for s in sides)}",
        [*((1, s) for s in sides), (-1, perimeter)],
    )
    if max(figure.lengths[s] for s in sides) - min(figure.lengths[s] for s in sides) < 1e-6:
        for angle in (a, b, c):
            needs = [equal(sides[0], sides[1]), equal(sides[1], sides[2])]
            yield linear("equilateral_angle", f"triangle {name} is equilateral", [(1, angle)], 60, needs)


def _from_apex(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """Rules of triangle abc that single out the vertex a."""
    name = "".join(sorted((a, b, c)))
    at_a, at_b, at_c = (corner(figure, (a, b, c), v) for v in (a, b, c))
    ab, ac, bc = figure.length_key(a, b), figure.length_key(a, c), figure.length_key(b, c)
    yield from _exterior(figure, a, b, c)
    if close(figure.lengths[ab], figure.lengths[ac]):
        sides = equal(ab, ac)
        why = lambda n: n.fact(sides)  # noqa: E731
        yield same("base_angles", why, at_b, at_c, [sides])
        for base in (at_b, at_c):
            yield linear("apex_angle", why, [(1, at_a), (2, base)], 180, [sides])
        yield same("equal_sides", lambda n: n.fact(equal(at_b, at_c)), ab, ac, [equal(at_b, at_c)])
        if close(figure.lengths[ab], figure.lengths[bc]):
            for angle in (at_a, at_b, at_c):
                for side in (ab, ac):
                    needs = [sides, ("is", angle, number(60))]
                    yield same("equilateral_by_angle", why, side, bc, needs)
        yield from _three_in_one(figure, a, b, c, sides)
    if close(figure.angles[at_a], 90.0):
        yield from right_angled(figure, a, b, c)
    yield from by_sines(figure, a, b, c)
    yield from altitude(figure, a, b, c)
    yield from midline(figure, a, b, c)
    yield from bisector(figure, a, b, c)
    area = ("area", *sorted((a, b, c)))
    degrees = round(figure.angles[at_a])
    if degrees in SINES and close(figure.angles[at_a], degrees):
        value, text = SINES[degrees]
        yield product(
            "triangle_area_sine",
            lambda n: (
                f"{n.quantity(area)} = {n.quantity(ab)} * {n.quantity(ac)} * sin {degrees} / 2, sin {degrees} = {text}"
            ),
            [(1, area), (-1, ab), (-1, ac)],
            value * HALF,
            [("is", at_a, number(degrees))],
        )
    if degrees in (60, 120) and close(figure.angles[at_a], degrees):
        sign = -1 if degrees == 60 else 1
        yield Relation(
            "law_of_cosines",
            (("is", at_a, number(degrees)),),
            lambda n: f"cosine rule in triangle {name} with angle {degrees}",
            (),
            "cosines",
            ((sign, ab), (sign, ac), (1, bc)),
        )


def _exterior(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """The angles beyond a: between the extension of ba and ac, and the extension of ca and ab."""
    remote = [(1, corner(figure, (a, b, c), b)), (1, corner(figure, (a, b, c), c))]
    for back, other in ((b, c), (c, b)):
        line = figure.line_of[a, back]
        beyond = next((r for r in figure.rays[a] if r.line == line and r is not figure.ray_of[a, back]), None)
        if beyond is None:
            continue
        outer = figure.between(beyond, figure.ray_of[a, other])
        if outer:
            yield linear(
                "exterior_angle",
                lambda n, outer=outer: f"{n.quantity(outer)} is an exterior angle of triangle {a}{b}{c}",
                [*remote, (-1, outer)],
            )


def _three_in_one(figure: Figure, a: str, b: str, c: str, sides: tuple) -> Iterator[Instance]:
    """D between b and c with ad drawn, in the middle."""
    for d in figure.lines[figure.line_of[b, c]]:
        if d in (b, c) or (a, d) not in figure.line_of or not close(figure.distance(b, d), figure.distance(d, c)):
            continue
        foot, bis = figure.angle(a, d, b), figure.angle(b, a, d)
        other, opposite = figure.angle(d, a, c), figure.angle(a, d, c)
        if not (foot and bis and other and opposite):
            continue
        mid = ("mid", d, *sorted((b, c)))
        ray = figure.ray_of[a, d].points[0]
        arms = sorted((figure.ray_of[a, b].points[0], figure.ray_of[a, c].points[0]))
        half = ("bis", a, arms[0], ray, arms[1])
        halves = figure.length_key(b, d), figure.length_key(d, c)
        for need, words in (
            (mid, f"{d} is the midpoint of {b}{c}"),
            (half, f"{a}{d} bisects angle {b}{a}{c}"),
            (right(foot), f"{a}{d} is perpendicular to {b}{c}"),
        ):
            why = lambda n, words=words: f"{n.fact(sides)} and {words}"  # noqa: E731
            if need[0] != "is":
                for angle in (foot, opposite):
                    yield linear("three_in_one", why, [(1, angle)], 90, [sides, need])
            if need != mid:
                yield same("three_in_one", why, *halves, [sides, need])
                for part in halves:
                    yield linear("three_in_one", why, [(1, figure.length_key(b, c)), (-2, part)], 0, [sides, need])
            if need != half:
                yield same("three_in_one", why, bis, other, [sides, need])
                whole = figure.angle(b, a, c)
                if whole:
                    yield linear("three_in_one", why, [(1, whole), (-2, bis)], 0, [sides, need])
