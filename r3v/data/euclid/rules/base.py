"""What a rule is, and the small words that every room of rules uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from r3v.data.euclid.exact import Exact, number
from r3v.data.euclid.figure import Fact, Figure, Quantity
from r3v.data.euclid.names import Names
from r3v.data.euclid.solve import Equal, Implies, Instance, Relation, Why

Grounder = Callable[[Figure], Iterator[Instance]]
RIGHT = number(90)


@dataclass(frozen=True, slots=True)
class Rule:
    """A theorem as the engine uses it. `tags` are the theorems of FormalGeo it stands for; a rule of everyday
    bookkeeping (an equality passed on) has none."""

    name: str
    tags: tuple[str, ...]
    says: str


def table(*rows: tuple[str, str, str]) -> dict[str, Rule]:
    """Rules from rows of (name, tags separated by blanks, what it says)."""
    return {name: Rule(name, tuple(tags.split()), says) for name, tags, says in rows}


def linear(
    rule: str,
    why: Why | str,
    terms: Sequence[tuple[int, Quantity]],
    const: int | Exact = 0,
    needs: Sequence[Fact] = (),
    tags: tuple[str, ...] = (),
) -> Relation:
    value = const if isinstance(const, Exact) else number(const)
    return Relation(rule, tuple(needs), _why(why), tags, "linear", tuple(terms), value)


def product(
    rule: str,
    why: Why | str,
    terms: Sequence[tuple[int, Quantity]],
    const: Exact,
    needs: Sequence[Fact] = (),
    tags: tuple[str, ...] = (),
) -> Relation:
    """Exponents of a quantity that occurs twice are added up."""
    merged: dict[Quantity, int] = {}
    for power, quantity in terms:
        merged[quantity] = merged.get(quantity, 0) + power
    kept = tuple((power, quantity) for quantity, power in merged.items() if power)
    return Relation(rule, tuple(needs), _why(why), tags, "product", kept, const)


def same(
    rule: str, why: Why | str, a: Quantity, b: Quantity, needs: Sequence[Fact] = (), tags: tuple[str, ...] = ()
) -> Equal:
    return Equal(rule, tuple(needs), _why(why), tags, a, b)


def implies(rule: str, why: Why | str, needs: Sequence[Fact], gives: Fact, tags: tuple[str, ...] = ()) -> Implies:
    return Implies(rule, tuple(needs), _why(why), tags, gives)


def _why(why: Why | str) -> Why:
    return (lambda names: why) if isinstance(why, str) else why


def right(angle: Quantity) -> Fact:
    """The need that an angle is known to be 90."""
    return ("is", angle, RIGHT)


def para(figure: Figure, p: str, q: str, r: str, s: str) -> Fact | None:
    """The fact that pq is parallel to rs, or None where one of them is not drawn."""
    i, j = figure.line_of.get((p, q)), figure.line_of.get((r, s))
    if i is None or j is None or i == j:
        return None
    return ("para", min(i, j), max(i, j))


def close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(1.0, abs(a))


def known_words(names: Names, *quantities: Quantity) -> str:
    return " and ".join(names.quantity(q) for q in quantities)


def corner(figure: Figure, tri: tuple[str, ...], vertex: str) -> Quantity:
    """The angle of a drawn triangle at one of its vertices."""
    p, q = (v for v in tri if v != vertex)
    key = figure.angle(p, vertex, q)
    assert key is not None
    return key


def side_of(figure: Figure, p: str, q: str, x: str) -> float:
    """Positive or negative: on which side of the line pq the point x lies."""
    (ax, ay), (bx, by), (cx, cy) = (figure.points[v] for v in (p, q, x))
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
