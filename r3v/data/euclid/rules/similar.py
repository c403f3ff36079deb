"""Rules of two triangles: when they are congruent or similar, and what follows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from r3v.data.euclid.engine import equal
from r3v.data.euclid.exact import near, number
from r3v.data.euclid.figure import Fact, Figure, Quantity, pair
from r3v.data.euclid.rules.base import close, implies, para, product, right, same, table
from r3v.data.euclid.solve import Instance

RULES = table(
    ("similar_aa", "similar_triangle_judgment_aa", "Triangles with two pairs of equal angles are similar."),
    ("mirror_similar_aa", "mirror_similar_triangle_judgment_aa", "The same for triangles of opposite orientation."),
    (
        "similar_by_parallel",
        "parallel_property_corresponding_angle similar_triangle_judgment_aa",
        "A parallel to one side cuts off a similar triangle.",
    ),
    (
        "similar_by_crossing",
        "parallel_property_alternate_interior_angle similar_triangle_judgment_aa",
        "Two lines that cross between parallels make similar triangles.",
    ),
    ("similar_sas", "similar_triangle_judgment_sas", "An equal angle between sides in proportion: similar."),
    ("mirror_similar_sas", "mirror_similar_triangle_judgment_sas", "The same for opposite orientation."),
    ("similar_ratio", "similar_triangle_property_line_ratio", "Sides of similar triangles are in proportion."),
    ("mirror_similar_ratio", "mirror_similar_triangle_property_line_ratio", "The same for opposite orientation."),
    ("similar_angles", "similar_triangle_property_angle_equal", "Angles of similar triangles are equal."),
    ("mirror_similar_angles", "mirror_similar_triangle_property_angle_equal", "The same for opposite orientation."),
    (
        "similar_area",
        "similar_triangle_property_area_square_ratio",
        "Areas of similar triangles are in the squared proportion of the sides.",
    ),
    (
        "mirror_similar_area",
        "mirror_similar_triangle_property_area_square_ratio",
        "The same for opposite orientation.",
    ),
    (
        "similar_perimeter",
        "similar_triangle_property_perimeter_ratio",
        "Perimeters of similar triangles are in the proportion of the sides.",
    ),
    ("congruent_sss", "congruent_triangle_judgment_sss", "Three pairs of equal sides: congruent."),
    ("mirror_congruent_sss", "mirror_congruent_triangle_judgment_sss", "The same for opposite orientation."),
    ("congruent_sas", "congruent_triangle_judgment_sas", "Two pairs of equal sides and the angle between: congruent."),
    ("mirror_congruent_sas", "mirror_congruent_triangle_judgment_sas", "The same for opposite orientation."),
    ("congruent_aas", "congruent_triangle_judgment_aas", "Two pairs of equal angles and a pair of sides: congruent."),
    ("mirror_congruent_aas", "mirror_congruent_triangle_judgment_aas", "The same for opposite orientation."),
    ("congruent_hl", "congruent_triangle_judgment_hl", "Right triangles with equal hypotenuse and leg: congruent."),
    ("mirror_congruent_hl", "mirror_congruent_triangle_judgment_hl", "The same for opposite orientation."),
    ("congruent_sides", "congruent_triangle_property_line_equal", "Sides of congruent triangles are equal."),
    ("mirror_congruent_sides", "mirror_congruent_triangle_property_line_equal", "The same for opposite orientation."),
    ("congruent_angles", "congruent_triangle_property_angle_equal", "Angles of congruent triangles are equal."),
    (
        "mirror_congruent_angles",
        "mirror_congruent_triangle_property_angle_equal",
        "The same for opposite orientation.",
    ),
    (
        "proportional_parts",
        "parallel_property_corresponding_angle similar_triangle_judgment_aa similar_triangle_property_line_ratio",
        "A parallel to one side divides the other two sides in the same ratio.",
    ),
)
Triangle = tuple[str, str, str]


def ground(figure: Figure) -> Iterator[Instance]:
    for one, other in combinations(figure.triangles, 2):
        sides = sorted(_sides(figure, one)), sorted(_sides(figure, other))
        ratios = [a / b for a, b in zip(*sides, strict=True)]
        if max(ratios) - min(ratios) > 1e-6 * max(ratios):
            continue
        for order in permutations(other):
            ratio = [figure.distance(*p) / figure.distance(*q) for p, q in zip(_edges(one), _edges(order), strict=True)]
            if max(ratio) - min(ratio) > 1e-6 * max(ratio):
                continue
            mirror = "" if _turning(figure, one) * _turning(figure, order) > 0 else "mirror_"
            yield from _pair(figure, one, (order[0], order[1], order[2]), mirror, close(ratio[0], 1.0))
    yield from _divided(figure)


def _edges(t: tuple[str, ...]) -> list[tuple[str, str]]:
    """The sides opposite the first, second and third vertex."""
    return [(t[1], t[2]), (t[0], t[2]), (t[0], t[1])]


def _sides(figure: Figure, t: Triangle) -> list[float]:
    return [figure.distance(*edge) for edge in _edges(t)]


def _turning(figure: Figure, t: tuple[str, ...]) -> float:
    (ax, ay), (bx, by), (cx, cy) = (figure.points[v] for v in t)
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def _angles(figure: Figure, t: tuple[str, ...]) -> list[Quantity]:
    found = [figure.angle(t[1], t[0], t[2]), figure.angle(t[0], t[1], t[2]), figure.angle(t[0], t[2], t[1])]
    return [a for a in found if a is not None]


def _needs(pairs: list[tuple[Quantity, Quantity]]) -> list[Fact]:
    """Equalities of pairs; a quantity equals itself."""
    return [equal(a, b) for a, b in pairs if a != b]


def _pair(figure: Figure, one: Triangle, other: Triangle, mirror: str, alike: bool) -> Iterator[Instance]:
    at = list(zip(_angles(figure, one), _angles(figure, other), strict=True))
    by = [(figure.length_key(*p), figure.length_key(*q)) for p, q in zip(_edges(one), _edges(other), strict=True)]
    said = lambda needs: lambda n: " and ".join(n.fact(f) for f in needs) or "shared sides"  # noqa: E731
    if alike:
        fact = ("congruent", one, other)
        yield from _congruence(figure, at, by, fact, mirror, said)
        if mirror and one == other:
            return
        words = lambda n: n.fact(fact)  # noqa: E731
        for a, b in by:
            if a != b:
                yield same(f"{mirror}congruent_sides", words, a, b, [fact])
        for a, b in at:
            if a != b:
                yield same(f"{mirror}congruent_angles", words, a, b, [fact])
        return
    fact = ("similar", one, other)
    for i, j in combinations(range(3), 2):
        needs = _needs([at[i], at[j]])
        yield implies(f"{mirror}similar_aa", _shared(at[i], at[j], needs), needs, fact)
    yield from _by_parallel(figure, one, other, fact)
    yield from _by_proportion(figure, at, by, fact, mirror)
    yield from _proportions(one, other, by, fact, mirror)
    for a, b in at:
        if a != b:
            yield same(f"{mirror}similar_angles", lambda n: n.fact(fact), a, b, [fact])


def _shared(first: tuple[Quantity, Quantity], second: tuple[Quantity, Quantity], needs: list[Fact]):
    """The words for two pairs of equal angles, one of which may be a shared angle."""
    common = next((a for a, b in (first, second) if a == b), None)
    if common is None:
        return lambda n: " and ".join(n.fact(f) for f in needs)
    return lambda n: " and ".join([*(n.fact(f) for f in needs), f"{n.quantity(common)} is shared"])


def _congruence(figure: Figure, at, by, fact: Fact, mirror: str, said) -> Iterator[Instance]:
    needs = _needs(by)
    yield implies(f"{mirror}congruent_sss", said(needs), needs, fact)
    for i in range(3):
        j, k = (x for x in range(3) if x != i)
        needs = _needs([by[j], at[i], by[k]])
        yield implies(f"{mirror}congruent_sas", said(needs), needs, fact)
        for side in range(3):
            needs = _needs([at[j], at[k], by[side]])
            yield implies(f"{mirror}congruent_aas", said(needs), needs, fact)
        if close(figure.angles[at[i][0]], 90.0):
            for leg in (j, k):
                equalities = _needs([by[i], by[leg]])
                needs = [right(at[i][0]), right(at[i][1]), *equalities]
                why = lambda n, e=equalities: f"right angles and {' and '.join(n.fact(f) for f in e)}"  # noqa: E731
                yield implies(f"{mirror}congruent_hl", why, needs, fact)


def _by_parallel(figure: Figure, one: Triangle, other: Triangle, fact: Fact) -> Iterator[Instance]:
    """A shared vertex and opposite sides parallel."""
    for i in range(3):
        if one[i] != other[i]:
            continue
        (p, q), (r, s) = _edges(one)[i], _edges(other)[i]
        need = para(figure, p, q, r, s)
        if need is None or not _flat(figure, p, q, r, s):
            continue
        if figure.line_of[one[i], p] != figure.line_of[one[i], r]:
            continue
        crossing = figure.ray_of[one[i], p] is not figure.ray_of[one[i], r]
        rule = "similar_by_crossing" if crossing else "similar_by_parallel"
        yield implies(rule, lambda n, need=need: n.fact(need), [need], fact)


def _flat(figure: Figure, p: str, q: str, r: str, s: str) -> bool:
    turn = abs(figure.turn(p, q) - figure.turn(r, s)) % 180
    return min(turn, 180 - turn) < 1e-6


def _by_proportion(figure: Figure, at, by, fact: Fact, mirror: str) -> Iterator[Instance]:
    """Two sides in a known proportion and the angle between them."""
    for i in range(3):
        j, k = (x for x in range(3) if x != i)
        values = [near(figure.lengths[q]) for q in (*by[j], *by[k])]
        if any(v is None or not v.whole for v in values):
            continue
        needs = _needs([at[i]])
        a, b, c, d = (v for v in values if v is not None)
        needs += [("is", q, v) for q, v in zip((*by[j], *by[k]), (a, b, c, d), strict=True)]
        words = f"{a.text} / {b.text} = {c.text} / {d.text} and the angle between is equal"
        yield implies(f"{mirror}similar_sas", words, needs, fact)


def _proportions(one: Triangle, other: Triangle, by, fact: Fact, mirror: str) -> Iterator[Instance]:
    for (a, b), (c, d) in combinations(by, 2):
        yield product(
            f"{mirror}similar_ratio",
            lambda n, a=a, b=b, c=c, d=d: f"{n.quantity(a)} / {n.quantity(b)} = {n.quantity(c)} / {n.quantity(d)}",
            [(1, a), (1, d), (-1, b), (-1, c)],
            number(1),
            [fact],
        )
    area = [("area", *sorted(t)) for t in (one, other)]
    around = [("perimeter", *sorted(t)) for t in (one, other)]
    for a, b in by:
        yield product(
            f"{mirror}similar_area",
            lambda n, a=a, b=b: f"areas are as ({n.quantity(a)} / {n.quantity(b)})²",
            [(1, area[0]), (-1, area[1]), (-2, a), (2, b)],
            number(1),
            [fact],
        )
        yield product(
            "similar_perimeter",
            lambda n, a=a, b=b: f"perimeters are as {n.quantity(a)} / {n.quantity(b)}",
            [(1, around[0]), (-1, around[1]), (-1, a), (1, b)],
            number(1),
            [fact],
        )
        for (x, y), (p, q) in (((a, b), (area[0], area[1])), ((b, a), (area[1], area[0]))):
            of_areas = pair("ratio", p, q)
            why = lambda n, x=x, y=y, r=of_areas: f"{n.quantity(r)} = ({n.quantity(x)} / {n.quantity(y)})²"  # noqa: E731
            yield product(f"{mirror}similar_area", why, [(1, of_areas), (-2, x), (2, y)], number(1), [fact])
            yield product(f"{mirror}similar_area", why, [(1, of_areas), (-2, pair("ratio", x, y))], number(1), [fact])


def _divided(figure: Figure) -> Iterator[Instance]:
    """D on ab and E on ac with de parallel to bc: AD / DB = AE / EC."""
    for tri in figure.triangles:
        for a, b, c in ((tri[0], tri[1], tri[2]), (tri[1], tri[0], tri[2]), (tri[2], tri[0], tri[1])):
            for d in _inside(figure, a, b):
                for e in _inside(figure, a, c):
                    need = para(figure, d, e, b, c)
                    if need is None or not _flat(figure, d, e, b, c):
                        continue
                    ad, db, ae, ec = (figure.length_key(*x) for x in ((a, d), (d, b), (a, e), (e, c)))
                    yield product(
                        "proportional_parts",
                        lambda n, ad=ad, db=db, ae=ae, ec=ec, need=need: (
                            f"{n.fact(need)}, {n.quantity(ad)} / {n.quantity(db)} = {n.quantity(ae)} / {n.quantity(ec)}"
                        ),
                        [(1, ad), (1, ec), (-1, db), (-1, ae)],
                        number(1),
                        [need],
                    )


def _inside(figure: Figure, p: str, q: str) -> list[str]:
    """Points of the drawn line pq between p and q."""
    names = figure.lines[figure.line_of[p, q]]
    i, j = sorted((names.index(p), names.index(q)))
    return list(names[i + 1 : j])
