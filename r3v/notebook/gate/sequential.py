"""The statistics of the gate: an exact group-sequential sign-flip test on paired outcomes. No model, no notes.

An item is solved in both arms with the same seed; its difference is +1 (right only with the edit), -1 (right only
without) or 0. Items that flip are solved again with fresh seeds, and the item's score is the sum of its differences.
If the edit does nothing, both arms of an item are exchangeable, so that given the sizes of the scores every sign is
a fair coin - whatever the noise of each item, and although only flipped items are repeated, since who is repeated
does not depend on a sign. The distribution of the running sum is therefore known exactly.

The budget is divided into looks. At each look the boundary is the smallest sum whose chance of being reached now or
earlier stays within the error spent so far, alpha * t ** 2 at the share t of the budget (an alpha-spending function:
Lan and DeMets 1983; the power family of Kim and DeMets 1987). Crossing accepts. Stopping early for lack of promise
only lowers the error. Deciding at most once in this way keeps the rate of accepted do-nothing edits at or below
alpha for every noise level; edits that harm are accepted less often still.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Differences = Callable[[Sequence[int], int], Sequence[int | None]]
"""(item numbers, repeat) -> with minus without for each: 1, 0, -1, or None where an arm is unavailable."""

FIRST = 0.75
"""Share of a look's pairs that goes to items not seen yet; the rest is kept to repeat those that flip."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`alpha`: largest chance to accept an edit that does nothing. `budget`: most paired solves. `repeats`: fresh
    solves of each flipped item. `least`: fewest items with an outcome in both arms that can accept."""

    alpha: float = 0.05
    budget: int = 128
    looks: int = 4
    repeats: int = 1
    least: int = 5


@dataclass(frozen=True, slots=True)
class Look:
    """One look: paired solves so far, the sum of scores, the sum that accepts (None: none can), error spent."""

    pairs: int
    total: int
    boundary: int | None
    spent: float


@dataclass(frozen=True, slots=True)
class Trial:
    """How a test ended. `scores` maps item number to its score; items without an outcome are not in it."""

    crossed: bool
    end: str
    pairs: int
    unavailable: int
    scores: dict[int, int]
    looks: tuple[Look, ...]


@functools.lru_cache(maxsize=4096)
def _signs(sizes: tuple[int, ...]) -> np.ndarray:
    """Distribution [2 * sum + 1] of the sum of these sizes with fair signs, from minus the sum upwards."""
    found = np.ones(1)
    for size in sizes:
        coin = np.zeros(2 * size + 1)
        coin[0] = coin[-1] = 0.5
        found = np.convolve(found, coin)
    return found


class Boundary:
    """The running null distribution and the error spent; `look` gives the next boundary."""

    def __init__(self, alpha: float) -> None:
        self.alpha, self.spent = alpha, 0.0
        self._mass, self._offset = np.ones(1), 0

    def look(self, sizes: Sequence[int], share: float) -> int | None:
        """The smallest sum that accepts after new items with these absolute scores (zeros may be among them);
        `share` of the budget is used, 1 at the last look. None where no sum can accept yet."""
        kept = tuple(sorted(size for size in sizes if size))
        self._mass = np.convolve(self._mass, _signs(kept))
        self._offset += sum(kept)
        tail = np.cumsum(self._mass[::-1])[::-1]
        within = np.nonzero(tail <= self.alpha * share**2 - self.spent + 1e-12)[0]
        within = within[self._mass[within] > 0.0]
        if not len(within):
            return None
        first = int(within[0])
        self.spent += float(tail[first])
        self._mass = self._mass.copy()
        self._mass[first:] = 0.0
        return first - self._offset


def run(plan: Plan, items: int, differences: Differences) -> Trial:
    """Test items 0 .. items - 1 in their order, until the boundary is crossed, hope is lost, or the budget or the
    items are used up."""
    state = _State(plan, items, differences)
    boundary, looks = Boundary(plan.alpha), []
    for number in range(1, plan.looks + 1):
        sizes = state.advance(round(plan.budget * number / plan.looks))
        last = number == plan.looks or state.exhausted
        if last:
            sizes += state.finish()
        bound = boundary.look(sizes, 1.0 if last else number / plan.looks)
        looks.append(Look(state.pairs, state.total, bound, boundary.spent))
        enough = len(state.scores) >= plan.least
        if enough and bound is not None and state.total >= bound:
            return state.trial(True, "boundary crossed", looks)
        if last:
            return state.trial(False, "budget used" if state.pairs >= plan.budget else "items used up", looks)
        if _hopeless(state, number / plan.looks):
            return state.trial(False, "stopped for lack of promise", looks)
    raise AssertionError("the last look returns")


def _hopeless(state: _State, share: float) -> bool:
    """A sum one standard deviation below zero, or not above zero from half of the budget on."""
    spread = math.sqrt(sum(score * score for score in state.scores.values()))
    return (state.total <= -spread and spread > 0) or (share >= 0.5 and state.total <= 0)


class _State:
    """Which items were solved, and their scores."""

    def __init__(self, plan: Plan, items: int, differences: Differences) -> None:
        self.plan, self.items, self.differences = plan, items, differences
        self.next = self.pairs = self.unavailable = 0
        self.scores: dict[int, int] = {}

    @property
    def total(self) -> int:
        return sum(self.scores.values())

    @property
    def exhausted(self) -> bool:
        return self.next >= self.items

    def advance(self, until: int) -> list[int]:
        """New items and repeats of the flipped ones up to `until` pairs; their absolute scores."""
        room = until - self.pairs
        first = room if not self.plan.repeats else max(1, round(room * FIRST))
        fresh = self._first(min(first, room))
        flipped = [item for item in fresh if self.scores[item]]
        for repeat in range(1, self.plan.repeats + 1):
            self._ask(flipped[: max(0, until - self.pairs)], repeat)
        return [abs(self.scores[item]) for item in fresh]

    def finish(self) -> list[int]:
        """What is left of the budget goes to new items."""
        return [abs(self.scores[item]) for item in self._first(self.plan.budget - self.pairs)]

    def _first(self, count: int) -> list[int]:
        numbers = list(range(self.next, min(self.items, self.next + max(0, count))))
        self.next += len(numbers)
        return self._ask(numbers, 0)

    def _ask(self, numbers: list[int], repeat: int) -> list[int]:
        """Solve a pair of each; those with an outcome."""
        if not numbers:
            return []
        self.pairs += len(numbers)
        known = []
        for number, difference in zip(numbers, self.differences(numbers, repeat), strict=True):
            if difference is None:
                self.unavailable += 1
                continue
            self.scores[number] = self.scores.get(number, 0) + difference
            known.append(number)
        return known

    def trial(self, crossed: bool, end: str, looks: list[Look]) -> Trial:
        return Trial(crossed, end, self.pairs, self.unavailable, dict(self.scores), tuple(looks))
