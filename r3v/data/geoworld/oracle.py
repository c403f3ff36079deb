"""Whether a rationale is right, not only its answer: the world's own check, for measuring how lucky
positives are.

Every number in a step must come from the givens, from constants of the right method or from an earlier
step. What a step computes is followed as a function of the givens: the same steps are run on shifted
givens too, and the answer counts as derived only if it agrees with the gold method there. So a right
answer reached by a wrong method, which agrees on the printed numbers by luck, is not right; any
algebraically equal method is.
"""

from __future__ import annotations

import itertools
import math
import random
import re

from r3v.data.geoworld.core import Draft, constants, evaluate, given_values, run
from r3v.data.geoworld.make import item_of
from r3v.records import Problem

_ANSWER = re.compile(r"^\s*Answer:\s*(.+?)\s*$", re.MULTILINE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_EXPRESSION = re.compile(r"[\d.+\-*/() ]|sqrt")
_FREE_CONSTANTS = frozenset({"2", "90", "180", "360"})
_SHIFTS = 5
_MAX_BINDINGS = 256

Vector = tuple[float, ...]
"""A quantity under the real givens, then under each shift of them."""


def rationale_is_right(problem: Problem, text: str) -> bool:
    """True only if readings, theorem, every step, the way to the answer and the answer are right. Never
    raises for text.
    """
    item = item_of(problem)
    answers = list(_ANSWER.finditer(text))
    if len(answers) != 1 or text[answers[0].end() :].strip():
        return False
    if answers[0][1].rstrip(".") not in (item.problem.gold_text, item.problem.answer):
        return False
    known = _Known(item.draft)
    body = text[: answers[0].start()]
    sentences = [s.strip() for s in re.split(r"\.(?=\s|$)|\n", body)]
    return all(known.accept(s) for s in sentences if s) and known.derived()


class _Known:
    """What a rationale has established so far."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        rng = random.Random("geoworld shifts")
        base = given_values(draft)
        worlds = [base]
        for _ in range(_SHIFTS):
            worlds.append({key: value * rng.uniform(0.985, 1.015) for key, value in base.items()})
        self.givens = {g.key: tuple(w[g.key] for w in worlds) for g in draft.givens}
        self.readings = {g.label: float(g.value) for g in draft.givens}
        self.gold = tuple(run(draft.right, w)[0] for w in worlds)
        self.stated = constants(draft.right)
        self.results: list[set[Vector]] = []
        self.theorems = {_plain(draft.right.theorem)}
        self.errors = {_plain(m.theorem) for m in draft.wrong} - self.theorems

    def accept(self, sentence: str) -> bool:
        """Take in one sentence; False if it is wrong or not understood."""
        if "=" not in sentence:
            return self._prose(sentence)
        return all(self._clause(clause.strip()) for clause in sentence.split(","))

    def _prose(self, sentence: str) -> bool:
        """Words: any but a theorem of a wrong method; numbers in them must be known."""
        if _plain(sentence) in self.theorems:
            return True
        if _plain(sentence) in self.errors:
            return False
        return all(n in self.stated or self._sources(n, free=False) for n in _NUMBER.findall(sentence))

    def _clause(self, clause: str) -> bool:
        """A reading ("angle A = 40"), a stated fact ("AB = AC"), the target's value, or a step ("180 - 40 =
        140").
        """
        left, _, right = (part.strip() for part in clause.rpartition("="))
        if clause in self.draft.facts:
            return True
        if not re.fullmatch(r"\d+(?:\.\d+)?", right):
            return False
        if left in self.readings:
            return float(right) == self.readings[left]
        if left == self.draft.target:
            return any(_close(v, self.gold) for v in self._sources(right))
        return self._step(left, right)

    def _step(self, expression: str, result: str) -> bool:
        if _EXPRESSION.sub("", expression) or not re.search(r"[-+*/]|sqrt", expression):
            return False
        numbers = _NUMBER.findall(expression)
        sources = [sorted(self._sources(n)) for n in numbers]
        if not numbers or not all(sources) or math.prod(map(len, sources)) > _MAX_BINDINGS:
            return False
        names = iter(range(len(numbers)))
        generic = _NUMBER.sub(lambda _: f"x{next(names)}", expression)
        reached: set[Vector] = set()
        for binding in itertools.product(*sources):
            worlds = [{f"x{i}": v[w] for i, v in enumerate(binding)} for w in range(len(self.gold))]
            try:
                reached.add(tuple(evaluate(generic, world) for world in worlds))
            except (ValueError, SyntaxError):
                return False
        reached = {v for v in reached if abs(v[0] - float(result)) < 1e-9}
        if reached:
            self.results.append(reached)
        return bool(reached)

    def _sources(self, text: str, free: bool = True) -> set[Vector]:
        """Everything the number `text` may stand for; `free` allows 2, 90, 180 and 360 in any method."""
        value = float(text)
        found = {v for v in self.givens.values() if abs(v[0] - value) < 1e-9}
        found |= {v for vectors in self.results for v in vectors if abs(v[0] - value) < 1e-9}
        if text in self.stated or (free and text in _FREE_CONSTANTS):
            found.add((value,) * len(self.gold))
        return found

    def derived(self) -> bool:
        """Whether the last step (with no steps, a given) is the gold as a function of the givens."""
        reached = self.results[-1] if self.results else set(self.givens.values())
        return any(_close(v, self.gold) for v in reached)


def _plain(sentence: str) -> str:
    return " ".join(re.findall(r"\w+", sentence.lower()))


def _close(a: Vector, b: Vector) -> bool:
    return all(abs(x - y) <= 1e-7 * max(1.0, abs(y)) for x, y in zip(a, b, strict=True))
