"""A problem with all that is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from r3v.data.euclid.engine import Node
from r3v.data.euclid.exact import Exact
from r3v.data.euclid.figure import Clause, Figure, Quantity
from r3v.data.euclid.names import Names
from r3v.records import Problem


@dataclass(frozen=True, slots=True)
class Item:
    """A problem with all that is known about it and that no solver sees."""

    problem: Problem
    rationale: str
    steps: tuple[Node, ...]
    figure: Figure = field(repr=False)
    names: Names = field(repr=False)
    target: Quantity = ()
    answer: Exact = field(default_factory=lambda: Exact(()))
    givens: tuple[tuple[Quantity, Exact], ...] = ()
    """Every value that is stated beside those of the clauses, the distraction included."""
    pictured: tuple[tuple[Quantity, Exact], ...] = ()
    """The givens that stand on the picture alone."""
    clauses: tuple[Clause, ...] = ()
    """The clauses that the question says."""
    marked: tuple[Clause, ...] = ()
    """The clauses that are left to marks on the picture."""

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node.rule for node in self.steps))
