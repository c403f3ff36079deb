"""Rules of circles: radii, central and inscribed angles, arcs and chords, tangents, sectors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from r3v.data.euclid.figure import Figure, Quantity
from r3v.data.euclid.rules.base import close, implies, linear, right, same, side_of, table
from r3v.data.euclid.solve import Instance

RULES = table(
    ("radii", "radius_of_circle_property_length_equal", "Radii of a circle are equal."),
    (
        "radius_triangle",
        "radius_of_circle_property_length_equal isosceles_triangle_judgment_line_equal "
        "isosceles_triangle_property_angle_equal",
        "Two radii make an isosceles triangle.",
    ),
    (
        "radius_apex",
        "radius_of_circle_property_length_equal isosceles_triangle_judgment_line_equal "
        "isosceles_triangle_property_angle_equal triangle_property_angle_sum",
        "In the isosceles triangle of two radii the central angle and twice the base angle sum to 180.",
    ),
    ("diameter_by_centre", "diameter_of_circle_judgment_pass_centre", "A chord through the centre is a diameter."),
    (
        "diameter_radius",
        "circle_property_length_of_radius_and_diameter diameter_of_circle_property_length_equal",
        "A diameter is twice the radius.",
    ),
    ("diameter_angle", "diameter_of_circle_property_right_angle", "The angle in a semicircle is 90."),
    (
        "diameter_by_angle",
        "diameter_of_circle_judgment_right_angle",
        "A chord that is seen from the circle under 90 is a diameter.",
    ),
    (
        "inscribed_central",
        "arc_property_center_angle arc_property_circumference_angle_external",
        "An inscribed angle is half of the central angle over the same arc.",
    ),
    (
        "inscribed_reflex",
        "arc_property_center_angle arc_property_circumference_angle_internal",
        "An inscribed angle over the larger arc is 180 minus half of the central angle.",
    ),
    (
        "same_arc",
        "arc_property_circumference_angle_external",
        "Inscribed angles over the same arc are equal.",
    ),
    (
        "cyclic_opposite",
        "arc_property_circumference_angle_external arc_property_circumference_angle_internal",
        "Opposite angles of a quadrilateral inscribed in a circle sum to 180.",
    ),
    (
        "cyclic_exterior",
        "arc_property_circumference_angle_external arc_property_circumference_angle_internal "
        "adjacent_complementary_angle",
        "An exterior angle of a quadrilateral inscribed in a circle equals the opposite inner angle.",
    ),
    ("arc_central", "arc_property_center_angle", "An arc has the measure of its central angle."),
    (
        "arc_inscribed",
        "arc_property_circumference_angle_external",
        "An inscribed angle is half of its arc.",
    ),
)


def ground(figure: Figure) -> Iterator[Instance]:
    for centre, names in figure.circles.items():
        yield from _radii(figure, centre, names)
        yield from _inscribed(figure, centre, names)


def _radii(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    radius = ("radius", o)
    drawn = [figure.length_key(o, p) for p in names if (o, p) in figure.line_of]
    why = f"radii of circle {o} are equal"
    for a, b in combinations(drawn, 2):
        yield same("radii", why, a, b)
    for a in drawn:
        yield same("radii", why, a, radius)
    yield linear("diameter_radius", "a diameter is twice the radius", [(1, ("diameter", o)), (-2, radius)])
    for p, q in combinations(sorted(names), 2):
        if (p, q) not in figure.line_of:
            continue
        pq, fact = figure.length_key(p, q), ("diameter", *sorted((p, q)), o)
        if close(figure.lengths[pq], 2 * figure.distance(o, p)):
            words = f"{p}{q} is a diameter"
            if o in figure.lines[figure.line_of[p, q]]:
                yield implies("diameter_by_centre", f"{p}{q} passes through the centre {o}", [], fact)
            yield linear("diameter_radius", words, [(1, pq), (-2, radius)], 0, [fact])
            yield same("diameter_radius", words, pq, ("diameter", o), [fact])
            for half in (figure.length(o, p), figure.length(o, q)):
                if half:
                    yield linear("diameter_radius", words, [(1, pq), (-2, half)], 0, [fact])
            for c in names:
                angle = figure.angle(p, c, q)
                if angle:
                    yield linear("diameter_angle", words, [(1, angle)], 90, [fact])
                    yield implies("diameter_by_angle", lambda n, a=angle: f"{n.quantity(a)} = 90", [right(angle)], fact)
        elif (o, p) in figure.line_of and (o, q) in figure.line_of:
            at_o, at_p, at_q = figure.angle(p, o, q), figure.angle(o, p, q), figure.angle(o, q, p)
            if at_o and at_p and at_q:
                words = f"{o}{p} = {o}{q}"
                yield same("radius_triangle", words, at_p, at_q)
                for base in (at_p, at_q):
                    yield linear("radius_apex", words, [(1, at_o), (2, base)], 180)


def _inscribed(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    for p, q in combinations(sorted(names), 2):
        if close(figure.distance(p, q), 2 * figure.distance(o, p)):
            continue
        arc, central = figure.arc(o, p, q), figure.angle(p, o, q)
        if central:
            yield same("arc_central", f"{p}{o}{q} is the central angle of arc {p}{q}", arc, central)
        seen = []
        for c in names:
            angle = figure.angle(p, c, q)
            if c in (p, q) or angle is None:
                continue
            far = side_of(figure, p, q, c) * side_of(figure, p, q, o) > 0
            seen.append((c, angle, far))
            if far:
                yield linear("arc_inscribed", f"the inscribed angle is half of arc {p}{q}", [(1, arc), (-2, angle)])
                if central:
                    why = f"inscribed and central angle over arc {p}{q}"
                    yield linear("inscribed_central", why, [(1, central), (-2, angle)])
            elif central:
                why = f"{c} lies on the smaller arc {p}{q}"
                yield linear("inscribed_reflex", why, [(1, central), (2, angle)], 360)
        for (c, a, one), (d, b, other) in combinations(seen, 2):
            if a == b:
                continue
            if one == other:
                yield same("same_arc", f"inscribed angles over arc {p}{q}", a, b)
            else:
                why = f"{p}{c}{q}{d} is inscribed in circle {o}"
                yield linear("cyclic_opposite", why, [(1, a), (1, b)], 180)
                yield from _outside(figure, (p, c, q), d, a, b, why)


def _outside(
    figure: Figure, at: tuple[str, str, str], d: str, a: Quantity, b: Quantity, why: str
) -> Iterator[Instance]:
    """Beside each of two opposite angles of a cyclic quadrilateral, the exterior angles equal the other one."""
    p, c, q = at
    for vertex, other in ((c, b), (d, a)):
        for back, side in ((p, q), (q, p)):
            ray = figure.ray_of[vertex, back]
            beyond = next((r for r in figure.rays[vertex] if r.line == ray.line and r is not ray), None)
            outer = figure.between(beyond, figure.ray_of[vertex, side]) if beyond else None
            if outer:
                yield same("cyclic_exterior", why, outer, other)
