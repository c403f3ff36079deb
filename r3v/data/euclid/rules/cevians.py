"""Rules of the lines of a triangle: altitudes and medians, midlines, bisectors, perpendicular bisectors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Figure, Quantity
from r3v.data.euclid.rules.base import close, implies, linear, para, product, right, same, table
from r3v.data.euclid.rules.right_triangles import HALF
from r3v.data.euclid.solve import Instance

RULES = table(
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
    (
        "triangle_area",
        "altitude_of_triangle_judgment triangle_area_formula_common",
        "The area of a triangle is half of base times height.",
    ),
    (
        "median_area",
        "median_of_triangle_judgment",
        "A median divides a triangle into two triangles of equal area.",
    ),
)


def altitude(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
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


def midline(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
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


def bisector(figure: Figure, a: str, b: str, c: str) -> Iterator[Instance]:
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


def bisected_segments(figure: Figure) -> Iterator[Instance]:
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
