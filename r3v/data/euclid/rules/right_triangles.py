"""Rules of right triangles and of sines: Pythagoras, 30, 45 and 60 degrees, the median to the hypotenuse."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from r3v.data.euclid.exact import Exact, number
from r3v.data.euclid.figure import Figure, Quantity
from r3v.data.euclid.rules.base import close, corner, linear, product, right, same, table
from r3v.data.euclid.solve import Instance, Relation

RULES = table(
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
    ("law_of_sines", "sine_theorem", "Sides of a triangle are to one another as the sines of the opposite angles."),
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


def right_angled(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """The right angle at a."""
    at_a, at_b, at_c = (corner(figure, (a, b, c), v) for v in (a, b, c))
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


def by_sines(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
    """The law of sines for the two angles beside a, where both have known sines and neither is right."""
    at_b, at_c = corner(figure, (a, b, c), b), corner(figure, (a, b, c), c)
    x, y = round(figure.angles[at_b]), round(figure.angles[at_c])
    if x == y or x not in SINES or y not in SINES or abs(figure.angles[corner(figure, (a, b, c), a)] - 90) < 1e-6:
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
