"""Rules of arcs and chords."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, permutations

from r3v.data.euclid.engine import equal
from r3v.data.euclid.figure import Figure, Quantity
from r3v.data.euclid.rules.base import close, implies, linear, right, same, side_of, table
from r3v.data.euclid.solve import Instance

RULES = table(
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
)


def ground(figure: Figure) -> Iterator[Instance]:
    for centre, names in figure.circles.items():
        yield from _arcs(figure, centre, names)
        yield from _chords(figure, centre, names)


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
        if angle and side_of(figure, *two, c) * side_of(figure, *two, o) > 0:
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
        angle_fact = equal(central[0], central[1])
        yield same("equal_arcs_central", words, central[0], central[1], [fact])
        yield same("equal_arcs_central", lambda n: n.fact(angle_fact), a, b, [angle_fact])
    for middle, inscribed in ((central[0], angles[1]), (central[1], angles[0])):
        for x in inscribed:
            if middle:
                yield linear("equal_arcs_half", words, [(1, middle), (-2, x)], 0, [fact])
    chords = figure.length(*one), figure.length(*other)
    if chords[0] and chords[1]:
        chord_fact = equal(chords[0], chords[1])
        yield same("equal_chords", words, chords[0], chords[1], [fact])
        yield same("arcs_of_equal_chords", lambda n: n.fact(chord_fact), a, b, [chord_fact])


def _chords(figure: Figure, o: str, names: tuple[str, ...]) -> Iterator[Instance]:
    """A line through the centre that is perpendicular to a chord."""
    for p, q in combinations(sorted(names), 2):
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
