"""Forward chaining over a figure: from the givens to everything that follows, each by its shortest derivation.

The rules (`r3v.data.euclid.rules`) are written out for the figure once, as instances that say what they need and what
they give. A known fact wakes the instances that mention it; the cheapest conclusion is settled first, as in Dijkstra's
algorithm, where the cost of a conclusion is the number of steps that its whole derivation holds. Every value is
compared with the coordinates when it is settled, so a rule that is wrong cannot go unnoticed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from r3v.data.euclid.exact import Exact, number
from r3v.data.euclid.figure import Fact, Figure, Quantity
from r3v.data.euclid.names import Names

Why = Callable[[Names], str]
MOST_STEPS = 7


@dataclass(slots=True)
class Instance:
    """A rule written out for named points. `needs` are facts; a need ("is", quantity, Exact) wants that value."""

    rule: str
    needs: tuple[Fact, ...]
    why: Why
    tags: tuple[str, ...] = ()
    """Theorem tags beside those of the rule, for this instance alone."""

    def keys(self) -> Iterable[Fact]:
        """What may wake this instance."""
        for need in self.needs:
            yield need[1] if need[0] == "is" else need
            if need[0] == "eq":
                yield need[1]
                yield need[2]


@dataclass(slots=True)
class Implies(Instance):
    """From facts to a fact."""

    gives: Fact = ()


@dataclass(slots=True)
class Equal(Instance):
    """Two quantities are equal: a fact, and a way for a value to pass from one to the other."""

    a: Quantity = ()
    b: Quantity = ()

    def keys(self) -> Iterable[Fact]:
        yield from Instance.keys(self)
        yield self.a
        yield self.b


@dataclass(slots=True)
class Relation(Instance):
    """An equation of quantities, solved for the only one that is not known.

    form "linear": sum of c·q = const. form "product": product of q^c = const. form "squares": a² + b² = c² with
    `terms` a, b, c. form "cosines": c² = a² + b² ± ab.
    """

    form: str = "linear"
    terms: tuple[tuple[int, Quantity], ...] = ()
    const: Exact = field(default_factory=lambda: number(0))

    def keys(self) -> Iterable[Fact]:
        yield from Instance.keys(self)
        for _, q in self.terms:
            yield q


@dataclass(slots=True)
class Node:
    """Something known: a value of a quantity or a fact, and the instance it comes from; None for givens."""

    key: Fact
    value: Exact | None
    instance: Instance | None
    premises: tuple[Node, ...]
    support: frozenset[int]
    index: int
    source: Quantity = ()
    """The quantity that an equal value was taken from."""

    @property
    def rule(self) -> str:
        """The name of the rule, "" for givens."""
        return self.instance.rule if self.instance else ""

    @property
    def tags(self) -> tuple[str, ...]:
        """Theorem tags that this step has beside those of its rule."""
        return self.instance.tags if self.instance else ()

    @property
    def working(self) -> str:
        """The calculation of a value, such as "180 - 80 - 60"."""
        if not isinstance(self.instance, Relation):
            return ""
        return working(self.instance, self.key, {p.key: p.value for p in self.premises if p.value is not None})

    @property
    def steps(self) -> int:
        return len(self.support)


@dataclass(slots=True)
class Knowledge:
    """All that follows from some givens: quantity or fact -> node."""

    nodes: dict[Fact, Node]
    order: list[Node]

    def derivation(self, key: Fact) -> list[Node]:
        """The derived nodes that the node of `key` rests on, in the order they were found, itself last."""
        support = self.nodes[key].support
        return [node for node in self.order if node.index in support]

    def givens(self, key: Fact) -> list[Node]:
        """The givens that the derivation of `key` uses."""
        found: dict[int, Node] = {}
        stack = [self.nodes[key]]
        seen = set()
        while stack:
            node = stack.pop()
            if node.index in seen:
                continue
            seen.add(node.index)
            if node.instance is None:
                found[node.index] = node
            stack.extend(node.premises)
        return [found[i] for i in sorted(found)]


@dataclass(frozen=True, slots=True)
class Ground:
    """A figure's instances and which of them each fact wakes; the same for any choice of givens."""

    figure: Figure
    instances: tuple[Instance, ...]
    wakes: dict[Fact, tuple[int, ...]]
    free: tuple[Instance, ...]
    """Those that need nothing, such as vertical angles: they hold before any value is known."""


def ground(figure: Figure, instances: Iterable[Instance]) -> Ground:
    listed = tuple(instances)
    wakes: dict[Fact, list[int]] = {}
    for i, instance in enumerate(listed):
        for key in dict.fromkeys(instance.keys()):
            wakes.setdefault(key, []).append(i)
    free = tuple(instance for instance in listed if not instance.needs)
    return Ground(figure, listed, {key: tuple(found) for key, found in wakes.items()}, free)


def equal(a: Quantity, b: Quantity) -> Fact:
    return ("eq", a, b) if a < b else ("eq", b, a)


def chain(base: Ground, givens: Sequence[tuple[Fact, Exact | None]], most: int = MOST_STEPS) -> Knowledge:
    """Everything that follows from `givens` (a quantity and its value, or a fact and None) in at most `most` steps.

    Raises AssertionError where a rule contradicts the coordinates.
    """
    return _Chain(base, most).run(givens)


class _Chain:
    """One run of the chaining: what is known, and a heap of conclusions that wait, cheapest first."""

    def __init__(self, base: Ground, most: int) -> None:
        self.base, self.most = base, most
        self.known: dict[Fact, Node] = {}
        self.order: list[Node] = []
        self.heap: list[tuple[int, int, Node]] = []
        self.ticket = count()

    def run(self, givens: Sequence[tuple[Fact, Exact | None]]) -> Knowledge:
        for key, value in givens:
            self.push(Node(key, value, None, (), frozenset(), next(self.ticket)))
        for instance in self.base.free:
            self.wake(instance)
        while self.heap:
            _, _, node = heapq.heappop(self.heap)
            if node.key in self.known:
                continue
            if node.value is not None:
                self.verify(node)
            self.known[node.key] = node
            self.order.append(node)
            for i in self.base.wakes.get(node.key, ()):
                self.wake(self.base.instances[i])
        return Knowledge(self.known, self.order)

    def push(self, node: Node) -> None:
        heapq.heappush(self.heap, (node.steps, node.index, node))

    def verify(self, node: Node) -> None:
        assert node.value is not None
        found = self.base.figure.measure(node.key)
        if abs(found - float(node.value)) > 1e-5 * max(1.0, abs(found)):
            raise AssertionError(
                f"{self.base.figure.kind}: rule {node.rule or 'given'!r} says {node.key} = {node.value.text}, "
                f"the coordinates say {found}"
            )

    def have(self, need: Fact) -> tuple[Node, ...] | None:
        """The nodes that make `need` known, or None."""
        if need[0] == "is":
            node = self.known.get(need[1])
            return (node,) if node is not None and node.value == need[2] else None
        node = self.known.get(need)
        if node is not None:
            return (node,)
        if need[0] == "eq":
            a, b = self.known.get(need[1]), self.known.get(need[2])
            if a is not None and b is not None and a.value == b.value:
                return (a, b)
        return None

    def wake(self, instance: Instance) -> None:
        premises: list[Node] = []
        for need in instance.needs:
            found = self.have(need)
            if found is None:
                return
            premises += found
        if isinstance(instance, Implies):
            if instance.gives not in self.known:
                self.conclude(instance, instance.gives, None, premises)
        elif isinstance(instance, Equal):
            self.pass_on(instance, premises)
        elif isinstance(instance, Relation):
            self.solve(instance, premises)

    def pass_on(self, instance: Equal, premises: list[Node]) -> None:
        a, b = self.known.get(instance.a), self.known.get(instance.b)
        if a is None and b is None:
            key = equal(instance.a, instance.b)
            if key not in self.known:
                self.conclude(instance, key, None, premises)
        elif a is None or b is None:
            source, target = (a, instance.b) if a is not None else (b, instance.a)
            assert source is not None
            self.conclude(instance, target, source.value, [*premises, source], source=source.key)

    def solve(self, instance: Relation, premises: list[Node]) -> None:
        unknown, nodes = None, []
        for term in instance.terms:
            node = self.known.get(term[1])
            if node is not None:
                nodes.append(node)
            elif unknown is None:
                unknown = term
            else:
                return
        if unknown is None:
            return
        solved = _value(instance, unknown, {n.key: n.value for n in nodes if n.value is not None})
        if solved is not None and float(solved) > 0 and solved.simple:
            self.conclude(instance, unknown[1], solved, [*premises, *nodes])

    def conclude(
        self,
        instance: Instance,
        key: Fact,
        value: Exact | None,
        premises: list[Node],
        source: Quantity = (),
    ) -> None:
        index = next(self.ticket)
        support = frozenset((index,)).union(*(p.support for p in premises))
        if len(support) > self.most:
            return
        by_index = {p.index: p for p in premises}
        self.push(Node(key, value, instance, tuple(by_index.values()), support, index, source))


def _value(r: Relation, unknown: tuple[int, Quantity], values: Mapping[Fact, Exact]) -> Exact | None:
    """The unknown of a relation, or None where it is no exact number."""
    c, key = unknown
    if r.form == "linear":
        total = r.const
        for k, q in r.terms:
            if q != key:
                total = total + number(-k) * values[q]
        return total.over(number(c))
    if r.form == "product":
        above, below = _sides(r, unknown, values)
        total = number(1)
        for v in above:
            total = total * v
        for v in below:
            quotient = total.over(v)
            if quotient is None:
                return None
            total = quotient
        return total.root() if abs(c) == 2 else total
    (sign, a), (_, b), (_, hypotenuse) = r.terms
    if r.form == "cosines":
        if key != hypotenuse:
            return None
        x, y = values[a], values[b]
        return (x * x + y * y + number(sign) * x * y).root()
    return _square_sum(r, key, values)[2].root()


def _sides(r: Relation, unknown: tuple[int, Quantity], values: Mapping[Fact, Exact]) -> tuple[list[Exact], list[Exact]]:
    """What is multiplied and what is divided by to solve a product."""
    c, key = unknown
    above = [v for k, q in r.terms if q != key and k * c < 0 for v in [values[q]] * abs(k)]
    below = [v for k, q in r.terms if q != key and k * c > 0 for v in [values[q]] * abs(k)]
    const = r.const.fraction
    if const is None:
        (above if c > 0 else below).append(r.const)
    else:
        top, bottom = (const.numerator, const.denominator) if c > 0 else (const.denominator, const.numerator)
        above += [number(top)] * (top != 1)
        below += [number(bottom)] * (bottom != 1)
    return above, below


def _square_sum(r: Relation, key: Quantity, values: Mapping[Fact, Exact]) -> tuple[Exact, Exact, Exact, str]:
    """The two known sides of a right triangle, the square of the third, and the sign between."""
    (_, a), (_, b), (_, c) = r.terms
    first, other = (a, b) if key == c else (c, b if key == a else a)
    x, y = values[first], values[other]
    return (x, y, x * x + y * y, "+") if key == c else (x, y, x * x - y * y, "-")


def working(r: Relation, key: Quantity, values: Mapping[Fact, Exact]) -> str:
    """The calculation that solves a relation for `key`, such as "180 - 80 - 60"; "" where there is nothing to do."""
    unknown = next(term for term in r.terms if term[1] == key)
    if r.form == "linear":
        return _linear_text(r, unknown, values)
    if r.form == "product":
        return _product_text(r, unknown, values)
    if r.form == "cosines":
        (sign, a), (_, b), _ = r.terms
        x, y = values[a], values[b]
        total = x * x + y * y + number(sign) * x * y
        mark = "+" if sign > 0 else "-"
        return f"√({_squared(x)} + {_squared(y)} {mark} {_factor(x)} * {_factor(y)}) = √{_factor(total)}"
    x, y, total, mark = _square_sum(r, key, values)
    return f"√({_squared(x)} {mark} {_squared(y)}) = √{_factor(total)}"


def _linear_text(r: Relation, unknown: tuple[int, Quantity], values: Mapping[Fact, Exact]) -> str:
    c, key = unknown
    parts = [] if not r.const.terms else [(1, r.const)]
    parts += [(-k, values[q]) for k, q in r.terms if q != key]
    if c < 0:
        parts = [(-k, v) for k, v in parts]
    parts.sort(key=lambda part: part[0] < 0)
    text = ""
    for k, v in parts:
        plain = v.text if len(v.terms) < 2 or k == 1 else f"({v.text})"
        written = plain if abs(k) == 1 else f"{abs(k)} * {plain}"
        text += written if not text and k > 0 else f" {'+' if k > 0 else '-'} {written}"
    if abs(c) != 1:
        text = f"({text}) / {abs(c)}" if len(parts) > 1 else f"{text} / {abs(c)}"
    return text.strip() if len(parts) > 1 or abs(c) != 1 or abs(parts[0][0]) != 1 else ""


def _product_text(r: Relation, unknown: tuple[int, Quantity], values: Mapping[Fact, Exact]) -> str:
    """Multiplied first and divided then."""
    above, below = _sides(r, unknown, values)
    text = " * ".join(map(_factor, above)) if above else "1"
    text += "".join(f" / {_factor(v)}" for v in below)
    if abs(unknown[0]) == 2:
        return f"√({text})" if len(above) + len(below) > 1 else f"√{text}"
    return text if len(above) + len(below) > 1 else ""


def _factor(v: Exact) -> str:
    text = v.text
    return f"({text})" if any(mark in text for mark in " /√") else text


def _squared(v: Exact) -> str:
    return f"{_factor(v)}²"
