"""Forward chaining over a figure: from the givens to everything that follows, each by its shortest derivation.

The rules (`r3v.data.euclid.rules`) are written out for the figure once, as instances that say what they need and what
they give. A known fact wakes the instances that mention it; the cheapest conclusion is settled first, as in Dijkstra's
algorithm, where the cost of a conclusion is the number of steps that its whole derivation holds. Every value is
compared with the coordinates when it is settled, so a rule that is wrong cannot go unnoticed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from r3v.data.euclid.exact import Exact
from r3v.data.euclid.figure import Fact, Figure, Quantity
from r3v.data.euclid.solve import Equal, Implies, Instance, Relation, value_of, working

MOST_STEPS = 7


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
        solved = value_of(instance, unknown, {n.key: n.value for n in nodes if n.value is not None})
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
