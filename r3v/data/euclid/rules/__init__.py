"""The theorems of the world: one table, and their instances for a figure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations

from r3v.data.euclid.engine import Ground, equal, ground
from r3v.data.euclid.exact import Exact, number
from r3v.data.euclid.figure import Fact, Figure, Quantity, parts_of
from r3v.data.euclid.rules import (
    arcs,
    cevians,
    circles,
    lines,
    parallelograms,
    quads,
    right_triangles,
    similar,
    tangents,
    triangles,
)
from r3v.data.euclid.rules.base import Rule, close, linear, product, same
from r3v.data.euclid.rules.quads import KINDS, shape
from r3v.data.euclid.rules.tangents import touching
from r3v.data.euclid.solve import Equal, Instance

RULES: dict[str, Rule] = {
    **lines.RULES,
    **triangles.RULES,
    **right_triangles.RULES,
    **cevians.RULES,
    **similar.RULES,
    **quads.RULES,
    **parallelograms.RULES,
    **circles.RULES,
    **arcs.RULES,
    **tangents.RULES,
}
TAGS: tuple[str, ...] = tuple(sorted({*lines.EXTEND, *(tag for rule in RULES.values() for tag in rule.tags)}))

__all__ = ["RULES", "TAGS", "Rule", "stated", "written_out"]


def stated(figure: Figure, facts: tuple[Fact, ...]) -> list[tuple[Fact, Exact | None]]:
    """The facts of a clause as the engine spells them: (quantity, value) or (fact, None)."""
    found: list[tuple[Fact, Exact | None]] = []
    for fact in facts:
        kind, at = fact[0], fact[1:]
        match kind:
            case "value":
                found.append((at[0], at[1]))
            case "right":
                found += [(angle, number(90)) for angle in _crossing(figure, at, fact)]
            case "para":
                i, j = figure.line_of[at[0], at[1]], figure.line_of[at[2], at[3]]
                found.append((("para", min(i, j), max(i, j)), None))
            case "mid":
                found.append((("mid", at[0], *sorted(at[1:])), None))
            case "bis":  # vertex, arm, bisector, arm
                arms = sorted(figure.ray_of[at[0], p].points[0] for p in (at[1], at[3]))
                found.append((("bis", at[0], arms[0], figure.ray_of[at[0], at[2]].points[0], arms[1]), None))
            case "perpbis":  # two points of the line, two ends
                found.append((("perpbis", figure.line_of[at[0], at[1]], *sorted(at[2:])), None))
            case "tangent":  # point of contact, centre, another point
                found.append((touching(figure, at[1], at[0], at[2]), None))
            case "diameter":
                found.append((("diameter", *sorted(at[:2]), at[2]), None))
            case "eq":
                found.append((equal(at[0], at[1]), None))
            case "similar" | "congruent":
                found.append((_paired(figure, kind, at[0], at[1]), None))
            case _ if kind in KINDS:
                found.append((shape(kind, tuple(at)), None))
            case _:
                raise ValueError(f"found fact {fact!r} in {figure.kind}, expected a kind that rules know")
    return found


def _crossing(figure: Figure, at: tuple[str, ...], fact: Fact) -> list[Quantity]:
    """All angles between the two lines of a right angle."""
    p, vertex, q = at
    if figure.angle(p, vertex, q) is None:
        raise ValueError(f"found fact {fact!r} about an angle that is not drawn in {figure.kind}")
    first, other = figure.line_of[vertex, p], figure.line_of[vertex, q]
    rays = figure.rays[vertex]
    pairs = [figure.between(r, s) for r in rays for s in rays if (r.line, s.line) == (first, other)]
    return [angle for angle in pairs if angle]


def _paired(figure: Figure, kind: str, one: tuple[str, ...], other: tuple[str, ...]) -> Fact:
    """The triangles of a similarity in the order the rules use: the first sorted, the second to match."""
    first, second = (one, other) if sorted(one) < sorted(other) else (other, one)
    match = dict(zip(first, second, strict=True))
    order = tuple(sorted(first))
    return (kind, order, tuple(match[p] for p in order))


def written_out(figure: Figure) -> Ground:
    """Every rule for every place of the figure where it may hold."""
    rooms = (module.ground for module in (lines, triangles, similar, quads, circles, arcs, tangents))
    every = chain(*(room(figure) for room in rooms), _equalities(figure), _wanted(figure))
    return ground(figure, every)


def _equalities(figure: Figure) -> Iterator[Instance]:
    """Values pass along a given equality; equalities follow from one another."""
    for quantities in (figure.angles, figure.lengths):
        groups: list[list[Quantity]] = []
        for q, value in quantities.items():
            home = next((g for g in groups if close(quantities[g[0]], value)), None)
            if home is None:
                groups.append([q])
            else:
                home.append(q)
        for group in groups:
            if len(group) < 2 or (close(quantities[group[0]], 90.0) and group[0][0] == "angle"):
                continue
            for a, b in combinations(group, 2):
                yield Equal("equality", (equal(a, b),), lambda n, a=a, b=b: n.fact(equal(a, b)), (), a, b)
            if len(group) <= 6:
                for a, b, c in combinations(group, 3):
                    for x, y, z in ((a, b, c), (b, c, a), (c, a, b)):
                        needs = [equal(x, y), equal(y, z)]
                        why = lambda n, e=tuple(needs): " and ".join(n.fact(f) for f in e)  # noqa: E731
                        yield same("equal_chain", why, x, z, needs)


def _wanted(figure: Figure) -> Iterator[Instance]:
    """Sums, differences and ratios that the figure wants to ask for or to give."""
    listed = [*figure.goals, *figure.offers]
    for q in dict.fromkeys(listed):
        if q[0] in ("sum", "difference"):
            a, b = parts_of(q)
            sign = 1 if q[0] == "sum" else -1
            yield linear("sum_of_two", lambda n, q=q: n.quantity(q), [(1, a), (sign, b), (-1, q)])
        elif q[0] == "ratio":
            a, b = parts_of(q)
            why = lambda n, a=a, b=b: f"{n.quantity(a)} : {n.quantity(b)} = {n.quantity(a)} / {n.quantity(b)}"  # noqa: E731
            yield product("ratio", why, [(1, q), (1, b), (-1, a)], number(1))
