"""Rules of lines: angles round a point, lengths along a line, parallels, bisectors, and equalities passed on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from r3v.data.euclid.engine import equal
from r3v.data.euclid.exact import near
from r3v.data.euclid.figure import EPS, Figure, Quantity, Ray
from r3v.data.euclid.rules.base import close, implies, linear, right, same, table
from r3v.data.euclid.solve import Instance

RULES = table(
    ("linear_pair", "adjacent_complementary_angle", "Two adjacent angles on a straight line sum to 180."),
    ("vertical_angles", "vertical_angle", "Vertical angles are equal."),
    ("angle_parts", "angle_addition", "An angle is the sum of the two parts a ray divides it into."),
    ("flat_angle", "flat_angle", "The angles along one side of a straight line sum to 180."),
    ("round_angle", "round_angle", "The angles round a point sum to 360."),
    (
        "alternate_angles",
        "parallel_property_alternate_interior_angle",
        "Alternate interior angles at parallel lines are equal.",
    ),
    ("corresponding_angles", "parallel_property_corresponding_angle", "Corresponding angles at parallels are equal."),
    (
        "cointerior_angles",
        "parallel_property_ipsilateral_internal_angle",
        "Interior angles on the same side of a transversal of parallel lines sum to 180.",
    ),
    (
        "parallel_by_corresponding",
        "parallel_judgment_corresponding_angle",
        "Equal corresponding angles make lines parallel.",
    ),
    (
        "parallel_by_alternate",
        "parallel_judgment_alternate_interior_angle",
        "Equal alternate interior angles make lines parallel.",
    ),
    (
        "parallel_by_cointerior",
        "parallel_judgment_ipsilateral_internal_angle",
        "Interior angles on one side that sum to 180 make lines parallel.",
    ),
    ("parallel_by_perpendiculars", "parallel_judgment_per_per", "Two perpendiculars of one line are parallel."),
    ("parallel_by_parallels", "parallel_judgment_par_par", "Two parallels of one line are parallel."),
    ("bisector_halves", "angle_addition", "A bisector divides an angle into two equal halves."),
    ("bisector_by_halves", "bisector_of_angle_judgment_angle_equal", "A ray that halves an angle is its bisector."),
    ("segment_parts", "line_addition", "A segment is the sum of its parts."),
    ("midpoint_halves", "line_addition", "A midpoint divides a segment into two equal halves."),
    ("midpoint_by_halves", "midpoint_of_line_judgment", "A point that halves a segment is its midpoint."),
    ("equality", "", "Equal quantities have equal values."),
    ("equal_chain", "", "Quantities that equal the same quantity are equal."),
    ("ratio", "", "A ratio times the second quantity is the first."),
    ("sum_of_two", "", "The two quantities are added or subtracted."),
)
EXTEND = ("parallel_property_collinear_extend",)


def ground(figure: Figure) -> Iterator[Instance]:
    for vertex in figure.rays:
        yield from _round(figure, vertex)
    yield from _parallels(figure)
    for names in figure.lines:
        for p, q, r in combinations(names, 3):
            pq, qr, pr = (figure.length_key(*two) for two in ((p, q), (q, r), (p, r)))
            yield linear(
                "segment_parts",
                lambda n, pq=pq, qr=qr, pr=pr: f"{n.quantity(pr)} = {n.quantity(pq)} + {n.quantity(qr)}",
                [(1, pq), (1, qr), (-1, pr)],
            )
            if close(figure.lengths[pq], figure.lengths[qr]):
                fact = ("mid", q, *sorted((p, r)))
                why = f"{q} is the midpoint of {p}{r}"
                yield same("midpoint_halves", why, pq, qr, [fact])
                for half in (pq, qr):
                    yield linear("midpoint_halves", why, [(1, pr), (-2, half)], 0, [fact])
                yield implies("midpoint_by_halves", lambda n, a=pq, b=qr: n.fact(equal(a, b)), [equal(pq, qr)], fact)


def _straight(figure: Figure, vertex: str) -> list[tuple[Ray, Ray]]:
    """Pairs of opposite rays of one line."""
    rays = figure.rays[vertex]
    return [(r, s) for r, s in combinations(rays, 2) if r.line == s.line]


def _round(figure: Figure, vertex: str) -> Iterator[Instance]:
    rays = figure.rays[vertex]
    straight = _straight(figure, vertex)
    for left, end in straight:
        line = f"{left.points[-1]}{vertex}{end.points[-1]}"
        others = [ray for ray in rays if ray.line != left.line]
        for ray in others:
            a, b = figure.between(left, ray), figure.between(ray, end)
            if a and b:
                why = f"{line} is a straight line"
                yield linear("linear_pair", why, [(1, a), (1, b)], 180)
        for r, s in permutations(others, 2):
            parts = (figure.between(left, r), figure.between(r, s), figure.between(s, end))
            if all(parts) and close(sum(figure.angles[p] for p in parts if p), 180.0):
                why = f"{line} is a straight line"
                yield linear("flat_angle", why, [(1, p) for p in parts if p], 180)
    for (a, b), (c, d) in combinations(straight, 2):
        for first, other in (((a, c), (b, d)), ((a, d), (b, c))):
            p, q = figure.between(*first), figure.between(*other)
            if p and q:
                yield same("vertical_angles", "vertical angles are equal", p, q)
    for r, s, t in combinations(rays, 3):
        for one, between, other in ((r, s, t), (s, t, r), (t, r, s)):
            yield from _parts(figure, one, between, other)
        around = (figure.between(r, s), figure.between(s, t), figure.between(t, r))
        if all(around) and len(rays) == 3 and close(sum(figure.angles[p] for p in around if p), 360.0):
            yield linear("round_angle", f"the angles round {vertex} sum to 360", [(1, p) for p in around if p], 360)


def _parts(figure: Figure, one: Ray, between: Ray, other: Ray) -> Iterator[Instance]:
    a, b, whole = figure.between(one, between), figure.between(between, other), figure.between(one, other)
    if not (a and b and whole) or not close(figure.angles[a] + figure.angles[b], figure.angles[whole]):
        return
    yield linear(
        "angle_parts",
        lambda n: f"{n.quantity(whole)} = {n.quantity(a)} + {n.quantity(b)}",
        [(1, a), (1, b), (-1, whole)],
    )
    if close(figure.angles[a], figure.angles[b]):
        p, q = sorted((one.points[0], other.points[0]))
        fact = ("bis", between.vertex, p, between.points[0], q)

        def why(n: object, names: tuple[Quantity, Quantity] = (a, whole)) -> str:
            return f"{between.vertex}{between.points[-1]} bisects {n.quantity(names[1])}"  # type: ignore[attr-defined]

        yield same("bisector_halves", why, a, b, [fact])
        yield linear("bisector_halves", why, [(1, whole), (-2, a)], 0, [fact])
        yield linear("bisector_halves", why, [(1, whole), (-2, b)], 0, [fact])
        yield implies("bisector_by_halves", lambda n: n.fact(equal(a, b)), [equal(a, b)], fact)


def _parallels(figure: Figure) -> Iterator[Instance]:
    turns = [figure.turn(names[0], names[-1]) % 180 for names in figure.lines]
    flat = [
        (i, j)
        for i, j in combinations(range(len(turns)), 2)
        if min(abs(turns[i] - turns[j]), 180 - abs(turns[i] - turns[j])) < EPS
        and not set(figure.lines[i]) & set(figure.lines[j])
    ]
    facts = {two: ("para", *two) for two in flat}
    for two, fact in facts.items():
        yield from _perpendiculars(figure, *two)
        yield from _transversals(figure, *two)
        for k in range(len(turns)):
            a, b = (min(two[0], k), max(two[0], k)), (min(two[1], k), max(two[1], k))
            if a in facts and b in facts:
                why = lambda n, i=two[0], j=two[1], k=k: (  # noqa: E731
                    f"{n.line(i)} and {n.line(j)} are both parallel to {n.line(k)}"
                )
                yield implies("parallel_by_parallels", why, [facts[a], facts[b]], fact)


def _perpendiculars(figure: Figure, i: int, j: int) -> Iterator[Instance]:
    """Right angles of both lines with a third one."""
    for p in figure.lines[i]:
        for q in figure.lines[j]:
            k = figure.line_of.get((p, q))
            if k is None:
                continue
            why = lambda n, k=k: f"both are perpendicular to {n.line(k)}"  # noqa: E731
            for a in _right_angles(figure, p, i, k):
                for b in _right_angles(figure, q, j, k):
                    yield implies("parallel_by_perpendiculars", why, [right(a), right(b)], ("para", i, j))


def _right_angles(figure: Figure, vertex: str, line: int, other: int) -> list[Quantity]:
    """The angles of 90 degrees between two lines at a point of both."""
    rays = figure.rays[vertex]
    found = [figure.between(r, s) for r in rays for s in rays if (r.line, s.line) == (line, other)]
    return [angle for angle in found if angle and close(figure.angles[angle], 90.0)]


def _transversals(figure: Figure, i: int, j: int) -> Iterator[Instance]:
    fact = ("para", i, j)
    toward = lambda p, q: figure.turn(p, q)  # noqa: E731
    words = lambda n: f"{n.line(i)} is parallel to {n.line(j)}"  # noqa: E731
    for p in figure.lines[i]:
        for q in figure.lines[j]:
            if (p, q) not in figure.line_of:
                continue
            cross = figure.line_of[p, q]
            longer = len(figure.lines[i]) > 2 or len(figure.lines[j]) > 2 or len(figure.lines[cross]) > 2
            tags = EXTEND if longer else ()
            for r in (ray for ray in figure.rays[p] if ray.line == i):
                for s in (ray for ray in figure.rays[q] if ray.line == j):
                    aligned = abs((r.turn - s.turn + 180) % 360 - 180) < 90
                    for t in (ray for ray in figure.rays[p] if ray.line == cross):
                        for u in (ray for ray in figure.rays[q] if ray.line == cross):
                            inner = abs((t.turn - toward(p, q) + 180) % 360 - 180) < 90
                            back = abs((u.turn - toward(q, p) + 180) % 360 - 180) < 90
                            a, b = figure.between(r, t), figure.between(s, u)
                            if a is None or b is None or a == b:
                                continue
                            if inner and back and not aligned:
                                yield same("alternate_angles", words, a, b, [fact], tags)
                                yield _judged("parallel_by_alternate", a, b, fact)
                            elif inner and back and aligned:
                                yield linear("cointerior_angles", words, [(1, a), (1, b)], 180, [fact], tags)
                                yield from _supplementary(figure, a, b, fact)
                            elif inner != back and aligned:
                                yield same("corresponding_angles", words, a, b, [fact], tags)
                                yield _judged("parallel_by_corresponding", a, b, fact)


def _judged(rule: str, a: Quantity, b: Quantity, fact: tuple) -> Instance:
    return implies(rule, lambda n: n.fact(equal(a, b)), [equal(a, b)], fact)


def _supplementary(figure: Figure, a: Quantity, b: Quantity, fact: tuple) -> Iterator[Instance]:
    """Cointerior angles whose values are whole degrees are known to be supplementary once both values are."""
    x, y = near(figure.angles[a]), near(figure.angles[b])
    if x is not None and y is not None:
        why = lambda n: f"{n.quantity(a)} + {n.quantity(b)} = {x.text} + {y.text} = 180"  # noqa: E731
        yield implies("parallel_by_cointerior", why, [("is", a, x), ("is", b, y)], fact)
