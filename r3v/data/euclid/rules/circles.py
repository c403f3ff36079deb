"""Rules of circles: radii, central and inscribed angles, arcs and chords, tangents, sectors."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, pairwise, permutations

from r3v.data.euclid.engine import Instance, equal
from r3v.data.euclid.exact import PI, number
from r3v.data.euclid.figure import Fact, Figure, Quantity
from r3v.data.euclid.rules.base import close, implies, linear, product, right, same, table

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
    ("arc_parts", "arc_addition_measure", "An arc is the sum of its parts."),
    ("semicircle_arcs", "arc_addition_measure flat_angle", "The arcs of a semicircle sum to 180."),
    ("arcs_round", "round_arc", "The arcs round a circle sum to 360."),
    (
        "equal_arcs_inscribed",
        "congruent_arc_judgment_length_equal congruent_arc_property_measure_equal "
        "arc_property_circumference_angle_external",
        "Inscribed angles over equal arcs are equal.",
    ),
    (
        "equal_arcs_central",
        "congruent_arc_judgment_length_equal congruent_arc_property_measure_equal arc_property_center_angle",
        "Central angles over equal arcs are equal.",
    ),
    (
        "equal_arcs_half",
        "congruent_arc_judgment_length_equal congruent_arc_property_measure_equal arc_property_center_angle "
        "arc_property_circumference_angle_external",
        "An inscribed angle is half of the central angle over an equal arc.",
    ),
    (
        "equal_chords",
        "congruent_arc_judgment_measure_equal congruent_arc_property_chord_equal",
        "Equal arcs have equal chords.",
    ),
    (
        "arcs_of_equal_chords",
        "congruent_arc_judgment_chord_equal congruent_arc_property_length_equal",
        "Equal chords have equal arcs.",
    ),
    (
        "perpendicular_chord",
        "circle_property_chord_perpendicular_bisect_chord",
        "A radius perpendicular to a chord halves the chord.",
    ),
    (
        "perpendicular_arc",
        "circle_property_chord_perpendicular_bisect_arc",
        "A radius perpendicular to a chord halves its arc.",
    ),
    (
        "midpoint_chord",
        "circle_property_chord_perpendicular_bisect_chord",
        "A radius through the midpoint of a chord is perpendicular to it.",
    ),
    ("tangent_radius", "tangent_of_circle_property_perpendicular", "A tangent is perpendicular to the radius."),
    (
        "tangent_by_right_angle",
        "tangent_of_circle_judgment_perpendicular",
        "A perpendicular to a radius at its end is a tangent.",
    ),
    ("tangent_lengths", "tangent_of_circle_property_length_equal", "Two tangents from one point are equal."),
    (
        "tangent_centre",
        "tangent_of_circle_property_length_equal",
        "The line from the centre to a point halves the angle of its two tangents.",
    ),
    (
        "tangent_kite",
        "tangent_of_circle_property_perpendicular quadrilateral_property_angle_sum",
        "The angle of two tangents and the central angle of their points sum to 180.",
    ),
    (
        "tangent_chord",
        "circle_property_angle_of_osculation",
        "The angle between tangent and chord equals the inscribed angle over the chord.",
    ),
    (
        "tangent_power",
        "circle_property_circular_power_tangent_and_segment_line",
        "The square of a tangent is the product of the segments of a secant from the same point.",
    ),
    (
        "sector_area",
        "sector_area_formula",
        "The area of a sector is πr² times its angle over 360.",
    ),
    ("arc_length", "arc_length_formula", "The length of an arc is 2πr times its angle over 360."),
    ("circle_area", "circle_area_formula", "The area of a circle is πr²."),
    ("circumference", "circle_perimeter_formula", "The circumference of a circle is 2πr."),
)


def ground(figure: Figure) -> Iterator[Instance]:
    for centre, names in figure.circles.items():
        yield from _radii(figure, centre, names)
        yield from _inscribed(figure, centre, names)
        yield from _arcs(figure, centre, names)
        yield from _chords(figure, centre, names)
        yield from _tangents(figure, centre, names)
        yield from _measures(figure, centre, names)


def _radii(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    radius = ("radius", o)
    drawn = [figure.length_key(o, p) for p in names if (o, p) in figure.line_of]
    why = f"radii of circle {o} are equal"
    for a, b in combinations(drawn, 2):
        yield same("radii", why, a, b)
    for a in drawn:
        yield same("radii", why, a, radius)
    yield linear("diameter_radius", "a diameter is twice the radius", [(1, ("diameter", o)), (-2, radius)])
    for p, q in combinations(names, 2):
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


def _side(figure: Figure, p: str, q: str, x: str) -> float:
    """Positive or negative: on which side of the line pq the point x lies."""
    (ax, ay), (bx, by), (cx, cy) = (figure.points[v] for v in (p, q, x))
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def _inscribed(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    for p, q in combinations(names, 2):
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
            far = _side(figure, p, q, c) * _side(figure, p, q, o) > 0
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


def _arcs(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    chords = [two for two in combinations(names, 2) if not close(figure.distance(*two), 2 * figure.distance(o, two[0]))]
    size = {two: figure.measure(figure.arc(o, *two)) for two in chords}
    for p, m, q in permutations(names, 3):
        if p < q and all(tuple(sorted(x, key=names.index)) in size for x in ((p, m), (m, q), (p, q))):
            a, b, whole = figure.arc(o, p, m), figure.arc(o, m, q), figure.arc(o, p, q)
            if close(figure.measure(a) + figure.measure(b), figure.measure(whole)):
                why = f"arc {p}{q} = arc {p}{m} + arc {m}{q}"
                yield linear("arc_parts", why, [(1, a), (1, b), (-1, whole)])
                if close(figure.measure(a), figure.measure(b)):
                    for half in (a, b):
                        yield linear("arc_parts", why, [(1, whole), (-2, half)], 0, [equal(a, b)])
        elif p < q and close(figure.distance(p, q), 2 * figure.distance(o, p)):
            a, b = figure.arc(o, p, m), figure.arc(o, m, q)
            fact = ("diameter", p, q, o)
            yield linear("semicircle_arcs", f"{p}{q} is a diameter", [(1, a), (1, b)], 180, [fact])
            if close(figure.measure(a), 90.0):
                for half in (a, b):
                    yield linear("semicircle_arcs", f"{p}{q} is a diameter", [(1, half)], 90, [fact, equal(a, b)])
    around = [figure.arc(o, p, q) for p, q in zip(names, (*names[1:], *names[:1]), strict=True)]
    if len(names) >= 3 and close(sum(figure.measure(a) for a in around), 360.0):
        yield linear("arcs_round", "the arcs round the circle sum to 360", [(1, a) for a in around], 360)
        if max(map(figure.measure, around)) - min(map(figure.measure, around)) < 1e-6:
            needs = [equal(a, b) for a, b in pairwise(around)]
            for a in around:
                yield linear("arcs_round", f"{len(around)} equal arcs", [(len(around), a)], 360, needs)
    for one, other in combinations(chords, 2):
        if close(size[one], size[other]):
            yield from _equal_arcs(figure, o, names, one, other)


def _over(figure: Figure, o: str, names: tuple[str, ...], two: tuple[str, str]) -> list[Quantity]:
    """Inscribed angles over the smaller arc of a chord, each once."""
    found = []
    for c in names:
        angle = figure.angle(two[0], c, two[1]) if c not in two else None
        if angle and _side(figure, *two, c) * _side(figure, *two, o) > 0:
            found.append(angle)
    return list(dict.fromkeys(found))


def _equal_arcs(figure: Figure, o: str, names: tuple[str, ...], one, other) -> Iterator[Instance]:
    a, b = figure.arc(o, *one), figure.arc(o, *other)
    fact = equal(a, b)
    words = lambda n: n.fact(fact)  # noqa: E731
    yield same("equality", words, a, b, [fact])
    angles = _over(figure, o, names, one), _over(figure, o, names, other)
    central = figure.angle(one[0], o, one[1]), figure.angle(other[0], o, other[1])
    for x in angles[0]:
        for y in angles[1]:
            if x != y:
                yield same("equal_arcs_inscribed", words, x, y, [fact])
                yield same("equal_arcs_inscribed", lambda n, x=x, y=y: n.fact(equal(x, y)), a, b, [equal(x, y)])
    if central[0] and central[1]:
        yield same("equal_arcs_central", words, central[0], central[1], [fact])
        yield same("equal_arcs_central", lambda n: n.fact(equal(*central)), a, b, [equal(*central)])
    for middle, inscribed in ((central[0], angles[1]), (central[1], angles[0])):
        for x in inscribed:
            if middle:
                yield linear("equal_arcs_half", words, [(1, middle), (-2, x)], 0, [fact])
    chords = figure.length(*one), figure.length(*other)
    if chords[0] and chords[1]:
        yield same("equal_chords", words, chords[0], chords[1], [fact])
        yield same("arcs_of_equal_chords", lambda n: n.fact(equal(*chords)), a, b, [equal(*chords)])


def _chords(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    """A line through the centre that is perpendicular to a chord."""
    for p, q in combinations(names, 2):
        line = figure.line_of.get((p, q))
        if line is None or o in figure.lines[line]:
            continue
        for m in figure.lines[line]:
            if m in (p, q) or (o, m) not in figure.line_of:
                continue
            angle = figure.angle(o, m, p)
            if not angle or not close(figure.angles[angle], 90.0):
                continue
            through = figure.line_of[o, m]
            why = lambda n, t=through, c=p + q: f"{n.line(t)} passes through {o} and is perpendicular to {c}"  # noqa: E731
            need, mid = right(angle), ("mid", m, *sorted((p, q)))
            halves = figure.length_key(p, m), figure.length_key(m, q)
            yield same("perpendicular_chord", why, *halves, [need])
            for half in halves:
                yield linear("perpendicular_chord", why, [(1, figure.length_key(p, q)), (-2, half)], 0, [need])
            yield implies("perpendicular_chord", why, [need], mid)
            words = lambda n, t=through, c=p + q: f"{n.line(t)} passes through {o} and halves {c}"  # noqa: E731
            for x in (angle, figure.angle(o, m, q)):
                if x:
                    yield linear("midpoint_chord", words, [(1, x)], 90, [mid])
            for c in figure.lines[through]:
                if c in names:
                    a, b = figure.arc(o, p, c), figure.arc(o, c, q)
                    yield same("perpendicular_arc", why, a, b, [need])


def tangents(figure: Figure, o: str) -> list[tuple[str, str]]:
    """(point of contact, another point) of every line that touches the circle."""
    found = []
    for p in figure.circles[o]:
        for ray in figure.rays.get(p, []):
            turn = abs((ray.turn - figure.turn(p, o) + 180) % 360 - 180)
            if close(turn, 90.0):
                found += [(p, x) for x in ray.points]
    return found


def touching(figure: Figure, o: str, p: str, x: str) -> Fact:
    """The fact that px touches the circle at p, under the name of its line."""
    return ("touches", figure.line_of[p, x], p, o)


def _tangents(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    lines = tangents(figure, o)
    for p, x in lines:
        fact = touching(figure, o, p, x)
        words = f"{x}{p} is tangent to circle {o} at {p}"
        angle = figure.angle(o, p, x)
        if angle:
            yield linear("tangent_radius", words, [(1, angle)], 90, [fact])
            yield implies("tangent_by_right_angle", lambda n, a=angle: f"{n.quantity(a)} = 90", [right(angle)], fact)
        for q in names:
            chord = figure.angle(x, p, q) if q != p else None
            if chord is None:
                continue
            for c in names:
                inscribed = figure.angle(p, c, q) if c not in (p, q) else None
                if inscribed and _side(figure, p, q, c) * _side(figure, p, q, x) < 0:
                    yield same("tangent_chord", words, chord, inscribed, [fact])
        yield from _secants(figure, o, names, p, x, fact)
    for (p, x), (q, y) in combinations(lines, 2):
        if x == y and p != q:
            yield from _two_tangents(figure, o, x, p, q)


def _secants(figure: Figure, o: str, names: tuple[str, ...], p: str, x: str, fact: Fact) -> Iterator[Instance]:
    for ray in figure.rays[x]:
        cut = [r for r in ray.points if r in names]
        if len(cut) == 2 and p not in cut:
            near, far = (figure.length_key(x, r) for r in cut)
            tangent = figure.length_key(x, p)
            yield product(
                "tangent_power",
                lambda n, t=tangent, a=near, b=far: f"{n.quantity(t)}² = {n.quantity(a)} * {n.quantity(b)}",
                [(2, tangent), (-1, near), (-1, far)],
                number(1),
                [fact],
            )


def _two_tangents(figure: Figure, o: str, x: str, p: str, q: str) -> Iterator[Instance]:
    needs = [touching(figure, o, p, x), touching(figure, o, q, x)]
    words = f"{x}{p} and {x}{q} are tangents of circle {o}"
    yield same("tangent_lengths", words, figure.length_key(x, p), figure.length_key(x, q), needs)
    tip, central = figure.angle(p, x, q), figure.angle(p, o, q)
    if tip and central:
        why = f"{words}, so angles {o}{p}{x} and {o}{q}{x} are 90"
        yield linear("tangent_kite", why, [(1, tip), (1, central)], 180, needs)
    if (o, x) in figure.line_of:
        one, other = figure.angle(p, x, o), figure.angle(o, x, q)
        if one and other and tip:
            yield same("tangent_centre", words, one, other, needs)
            for half in (one, other):
                yield linear("tangent_centre", words, [(1, tip), (-2, half)], 0, needs)


def _measures(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    radius = ("radius", o)
    yield product("circle_area", lambda n: f"area = π * {n.quantity(radius)}²", [(1, ("disc", o)), (-2, radius)], PI)
    yield product(
        "circumference",
        lambda n: f"circumference = 2 * π * {n.quantity(radius)}",
        [(1, ("round", o)), (-1, radius)],
        PI * number(2),
    )
    for p, q in combinations(names, 2):
        angle = figure.angle(p, o, q)
        if angle is None:
            continue
        sector, curve = ("sector", o, *sorted((p, q))), ("curve", o, *sorted((p, q)))
        yield product(
            "sector_area",
            lambda n, a=angle: f"area of the sector = {n.quantity(a)} / 360 * π * {n.quantity(radius)}²",
            [(1, sector), (-1, angle), (-2, radius)],
            PI * number(Fraction(1, 360)),
        )
        yield product(
            "arc_length",
            lambda n, a=angle: f"length of the arc = {n.quantity(a)} / 180 * π * {n.quantity(radius)}",
            [(1, curve), (-1, angle), (-1, radius)],
            PI * number(Fraction(1, 180)),
        )
