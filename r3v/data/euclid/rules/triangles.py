"""Rules of one triangle: angles, equal sides, right triangles, special lines, area and perimeter."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import permutations

from r3v.data.euclid.engine import Instance, Relation, equal
from r3v.data.euclid.exact import Exact, number
from r3v.data.euclid.figure import Figure, Quantity
from r3v.data.euclid.rules.base import close, implies, linear, para, product, right, same, table

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
        "acute_angles",
        "right_triangle_judgment_angle triangle_property_angle_sum",
        "The acute angles of a right triangle sum to 90.",
    ),
    (
        "pythagoras",
        "right_triangle_judgment_angle right_triangle_property_pythagorean",
        "In a right triangle the squares of the legs sum to the square of the hypotenuse.",
    ),
    (
        "pythagoras_inverse",
        "right_triangle_judgment_pythagorean_inverse",
        "A triangle whose sides satisfy a² + b² = c² has a right angle opposite c.",
    ),
    (
        "hypotenuse_median",
        "right_triangle_property_length_of_median",
        "The median to the hypotenuse is half of the hypotenuse.",
    ),
    ("half_hypotenuse", "sine_theorem", "The leg opposite 30 in a right triangle is half of the hypotenuse."),
    ("special_ratio", "sine_theorem", "In a right triangle the sine, cosine and tangent of 30, 45 and 60 are known."),
    (
        "trigonometry",
        "sine_theorem cosine_theorem",
        "In a right triangle sine is opposite over hypotenuse, cosine adjacent over hypotenuse, tangent opposite over "
        "adjacent.",
    ),
    (
        "law_of_cosines",
        "cosine_theorem",
        "c² = a² + b² - 2ab cos C, where the cosine of 60 is 1/2, of 120 is -1/2.",
    ),
    ("law_of_sines", "sine_theorem", "Sides of a triangle are to one another as the sines of the opposite angles."),
    (
        "bisector_distance",
        "bisector_of_angle_property_distance_equal",
        "A point of a bisector has equal distances from the sides of the angle.",
    ),
    (
        "bisector_ratio",
        "bisector_of_angle_property_line_ratio",
        "A bisector divides the opposite side in the ratio of the adjacent sides.",
    ),
    (
        "perpendicular_bisector",
        "perpendicular_bisector_property_distance_equal",
        "A point of the perpendicular bisector of a segment is equally far from its ends.",
    ),
    (
        "perpendicular_bisector_parts",
        "perpendicular_bisector_property_bisector",
        "A perpendicular bisector halves the segment and is at right angles to it.",
    ),
    (
        "perpendicular_through_midpoint",
        "perpendicular_bisector_judgment_per_and_mid perpendicular_bisector_property_distance_equal",
        "A perpendicular through the midpoint is the perpendicular bisector.",
    ),
    (
        "midline",
        "midsegment_of_triangle_judgment_midpoint midsegment_of_triangle_property_length",
        "The segment that joins the midpoints of two sides is half of the third side.",
    ),
    (
        "midline_parallel",
        "midsegment_of_triangle_judgment_midpoint midsegment_of_triangle_property_parallel",
        "The segment that joins the midpoints of two sides is parallel to the third side.",
    ),
    (
        "midline_by_parallel",
        "midsegment_of_triangle_judgment_parallel",
        "A parallel to one side through the midpoint of another halves the third side.",
    ),
    ("triangle_perimeter", "triangle_perimeter_formula", "The perimeter of a triangle is the sum of its sides."),
    (
        "triangle_area",
        "altitude_of_triangle_judgment triangle_area_formula_common",
        "The area of a triangle is half of base times height.",
    ),
    (
        "triangle_area_sine",
        "triangle_area_formula_sine",
        "The area of a triangle is half of two sides times the sine of the angle between them.",
    ),
    (
        "median_area",
        "median_of_triangle_judgment",
        "A median divides a triangle into two triangles of equal area.",
    ),
)
HALF = number(Fraction(1, 2))
SINES = {
    30: (HALF, "1/2"),
    45: (number(2).root().over(number(2)), "√2/2"),  # type: ignore[union-attr]
    60: (number(3).root().over(number(2)), "√3/2"),  # type: ignore[union-attr]
    120: (number(3).root().over(number(2)), "√3/2"),  # type: ignore[union-attr]
    135: (number(2).root().over(number(2)), "√2/2"),  # type: ignore[union-attr]
    150: (HALF, "1/2"),
}
TANS = {
    30: (number(3).root().over(number(3)), "√3/3"),  # type: ignore[union-attr]
    45: (number(1), "1"),
    60: (number(3).root(), "√3"),
}


def ground(figure: Figure) -> Iterator[Instance]:
    for tri in figure.triangles:
        for a, b, c in ((tri[0], tri[1], tri[2]), (tri[1], tri[0], tri[2]), (tri[2], tri[0], tri[1])):
            yield from _from_apex(figure, a, b, c)
        yield from _one(figure, tri)
    yield from _bisected_segments(figure)


def _one(figure: Figure, tri: tuple[str, str, str]) -> Iterator[Instance]:
    a, b, c = (_angle(figure, tri, v) for v in tri)
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


def _angle(figure: Figure, tri: tuple[str, ...], vertex: str) -> Quantity:
    p, q = (v for v in tri if v != vertex)
    key = figure.angle(p, vertex, q)
    assert key is not None
    return key


def _from_apex(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """Rules of triangle abc that single out the vertex a."""
    name = "".join(sorted((a, b, c)))
    at_a, at_b, at_c = (_angle(figure, (a, b, c), v) for v in (a, b, c))
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
        yield from _right(figure, a, b, c)
    yield from _trigonometry(figure, a, b, c)
    yield from _altitude(figure, a, b, c)
    yield from _midline(figure, a, b, c)
    yield from _bisector(figure, a, b, c)
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
    remote = [(1, _angle(figure, (a, b, c), b)), (1, _angle(figure, (a, b, c), c))]
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


def _right(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """The right angle at a."""
    at_a, at_b, at_c = (_angle(figure, (a, b, c), v) for v in (a, b, c))
    need = right(at_a)
    ab, ac, bc = figure.length_key(a, b), figure.length_key(a, c), figure.length_key(b, c)
    words = lambda n: f"{n.quantity(at_a)} = 90"  # noqa: E731
    yield linear("acute_angles", words, [(1, at_b), (1, at_c)], 90, [need])
    legs = f"Pythagoras in triangle {''.join(sorted((a, b, c)))}"
    yield Relation("pythagoras", (need,), lambda n: legs, (), "squares", ((1, ab), (1, ac), (1, bc)))
    values = [_tenths(figure.lengths[q]) for q in (ab, ac, bc)]
    if all(v is not None for v in values):
        x, y, z = (v.text for v in values if v is not None)
        yield linear(
            "pythagoras_inverse",
            f"{x}² + {y}² = {z}²",
            [(1, at_a)],
            90,
            [("is", q, v) for q, v in zip((ab, ac, bc), values, strict=True)],
        )
    for m in figure.lines[figure.line_of[b, c]]:
        if m not in (b, c) and (a, m) in figure.line_of and close(figure.distance(b, m), figure.distance(m, c)):
            am, mid = figure.length_key(a, m), ("mid", m, *sorted((b, c)))
            why = f"{a}{m} is the median to the hypotenuse {b}{c}"
            yield linear("hypotenuse_median", why, [(1, bc), (-2, am)], 0, [need, mid])
            for half in (figure.length_key(b, m), figure.length_key(m, c)):
                yield same("hypotenuse_median", why, am, half, [need, mid])
    for vertex, angle, opposite, adjacent in ((b, at_b, ac, ab), (c, at_c, ab, ac)):
        yield from _ratios(figure, vertex, angle, opposite, adjacent, bc, need)


def _tenths(value: float) -> Exact | None:
    scaled = round(value * 10)
    return number(Fraction(scaled, 10)) if abs(value * 10 - scaled) < 1e-6 else None


def _ratios(
    figure: Figure, vertex: str, angle: Quantity, opposite: Quantity, adjacent: Quantity, hypotenuse: Quantity, need
) -> Iterator[Instance]:
    for kind, above, below in (
        ("sin", opposite, hypotenuse),
        ("cos", adjacent, hypotenuse),
        ("tan", opposite, adjacent),
    ):
        ratio = (kind, *angle[1:])
        yield product(
            "trigonometry",
            lambda n, r=ratio, x=above, y=below: f"{n.quantity(r)} = {n.quantity(x)} / {n.quantity(y)}",
            [(1, ratio), (1, below), (-1, above)],
            number(1),
            [need],
        )
    degrees = round(figure.angles[angle])
    if degrees not in TANS or not close(figure.angles[angle], degrees):
        return
    known = [need, ("is", angle, number(degrees))]
    if degrees == 30:
        yield linear(
            "half_hypotenuse",
            lambda n: f"{n.quantity(opposite)} is opposite 30 in a right triangle",
            [(1, hypotenuse), (-2, opposite)],
            0,
            known,
        )
    tables = ((SINES, opposite, hypotenuse, "sin"), (TANS, opposite, adjacent, "tan"))
    for values, above, below, kind in tables:
        value, text = values[degrees]
        if degrees == 30 and kind == "sin":
            continue
        assert value is not None
        yield product(
            "special_ratio",
            lambda n, kind=kind, x=above, y=below, t=text: (
                f"{kind} {degrees} = {n.quantity(x)} / {n.quantity(y)} = {t}"
            ),
            [(1, above), (-1, below)],
            value,
            known,
        )


def _trigonometry(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """The law of sines for the two angles beside a, where both have known sines and neither is right."""
    at_b, at_c = _angle(figure, (a, b, c), b), _angle(figure, (a, b, c), c)
    x, y = round(figure.angles[at_b]), round(figure.angles[at_c])
    if x == y or x not in SINES or y not in SINES or abs(figure.angles[_angle(figure, (a, b, c), a)] - 90) < 1e-6:
        return
    if close(figure.angles[at_b], x) and close(figure.angles[at_c], y):
        first, other = SINES[x][0], SINES[y][0]
        assert first is not None
        assert other is not None
        ratio = first.over(other)
        ac, ab = figure.length_key(a, c), figure.length_key(a, b)
        if ratio is not None:
            yield product(
                "law_of_sines",
                lambda n: f"{n.quantity(ac)} / sin {x} = {n.quantity(ab)} / sin {y}",
                [(1, ac), (-1, ab)],
                ratio,
                [("is", at_b, number(x)), ("is", at_c, number(y))],
            )


def _altitude(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """Area by the height from a onto the line bc, and by the median from a."""
    area, base = ("area", *sorted((a, b, c))), figure.length_key(b, c)
    for d in figure.lines[figure.line_of[b, c]]:
        if (a, d) not in figure.line_of:
            continue
        end = b if d != b else c
        angle = figure.angle(a, d, end)
        if angle and close(figure.angles[angle], 90.0):
            height = figure.length_key(a, d)
            yield product(
                "triangle_area",
                lambda n, h=height: f"{n.quantity(area)} = {n.quantity(base)} * {n.quantity(h)} / 2",
                [(1, area), (-1, base), (-1, height)],
                HALF,
                [right(angle)],
            )
        if (
            d not in (b, c)
            and figure.lines[figure.line_of[b, c]].index(d)
            and close(figure.distance(b, d), figure.distance(d, c))
        ):
            mid = ("mid", d, *sorted((b, c)))
            why = f"{a}{d} is a median of triangle {a}{b}{c}"
            parts = [("area", *sorted((a, d, p))) for p in (b, c)]
            yield same("median_area", why, parts[0], parts[1], [mid])
            yield linear("median_area", why, [(1, area), (-2, parts[0])], 0, [mid])
            yield linear("median_area", why, [(1, area), (-2, parts[1])], 0, [mid])


def _midline(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """D on ab and E on ac, both in the middle."""
    for d in figure.lines[figure.line_of[a, b]]:
        for e in figure.lines[figure.line_of[a, c]]:
            if d in (a, b) or e in (a, c) or (d, e) not in figure.line_of:
                continue
            halves = close(figure.distance(a, d), figure.distance(d, b)) and close(
                figure.distance(a, e), figure.distance(e, c)
            )
            if not halves:
                continue
            on_ab, on_ac = ("mid", d, *sorted((a, b))), ("mid", e, *sorted((a, c)))
            long, short = figure.length_key(b, c), figure.length_key(d, e)
            why = f"{d}{e} is a midline of triangle {''.join(sorted((a, b, c)))}"
            yield linear("midline", why, [(1, long), (-2, short)], 0, [on_ab, on_ac])
            fact = para(figure, d, e, b, c)
            if fact:
                yield implies("midline_parallel", why, [on_ab, on_ac], fact)
                for known, found, side in ((on_ab, on_ac, f"{a}{c}"), (on_ac, on_ab, f"{a}{b}")):
                    words = f"{d}{e} is parallel to {b}{c} through the midpoint of the other side"
                    yield implies("midline_by_parallel", words, [known, fact], found)
                    _ = side


def _bisector(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """D between b and c on the bisector from a: ratio of the parts; feet of perpendiculars: equal distances."""
    for d in figure.lines[figure.line_of[b, c]]:
        one, other = figure.angle(b, a, d), figure.angle(d, a, c)
        if d in (b, c) or not one or not other or not close(figure.angles[one], figure.angles[other]):
            continue
        arms = sorted((figure.ray_of[a, b].points[0], figure.ray_of[a, c].points[0]))
        half = ("bis", a, arms[0], figure.ray_of[a, d].points[0], arms[1])
        bd, dc = figure.length_key(b, d), figure.length_key(d, c)
        ab, ac = figure.length_key(a, b), figure.length_key(a, c)
        if not close(figure.lengths[ab], figure.lengths[ac]):
            yield product(
                "bisector_ratio",
                lambda n, x=bd, y=dc, sides=(ab, ac): (
                    f"{n.quantity(x)} / {n.quantity(y)} = {n.quantity(sides[0])} / {n.quantity(sides[1])}"
                ),
                [(1, bd), (-1, dc), (-1, ab), (1, ac)],
                number(1),
                [half],
            )
        for e, f in permutations(figure.points, 2):
            if e not in figure.lines[figure.line_of[a, b]] or f not in figure.lines[figure.line_of[a, c]]:
                continue
            at_e = figure.angle(d, e, a if e != a else b)
            at_f = figure.angle(d, f, a if f != a else c)
            if at_e and at_f and close(figure.angles[at_e], 90) and close(figure.angles[at_f], 90):
                yield same(
                    "bisector_distance",
                    f"{d} lies on the bisector of angle {b}{a}{c}",
                    figure.length_key(d, e),
                    figure.length_key(d, f),
                    [half, right(at_e), right(at_f)],
                )


def _bisected_segments(figure: Figure) -> Iterator[Instance]:
    """Lines that cross a segment at right angles in its middle."""
    for names in figure.lines:
        for p, q in permutations(names, 2):
            if p > q:
                continue
            for m in names:
                if m in (p, q) or not close(figure.distance(p, m), figure.distance(m, q)):
                    continue
                for ray in figure.rays[m]:
                    angle = figure.between(ray, figure.ray_of[m, p])
                    if angle and close(figure.angles[angle], 90.0):
                        yield from _bisected(figure, p, m, q, ray.line, angle)


def _bisected(figure: Figure, p: str, m: str, q: str, line: int, angle: Quantity) -> Iterator[Instance]:
    fact, mid = ("perpbis", line, *sorted((p, q))), ("mid", m, *sorted((p, q)))
    words = lambda n: f"{n.line(line)} is the perpendicular bisector of {p}{q}"  # noqa: E731
    yield implies("perpendicular_bisector_parts", words, [fact], mid)
    yield linear("perpendicular_bisector_parts", words, [(1, angle)], 90, [fact])
    for x in figure.lines[line]:
        a, b = figure.length(x, p), figure.length(x, q)
        if x != m and a and b:
            why = lambda n, x=x: f"{x} lies on the perpendicular bisector of {p}{q}"  # noqa: E731
            yield same("perpendicular_bisector", why, a, b, [fact])
            yield same("perpendicular_through_midpoint", why, a, b, [mid, right(angle)])
