"""What a GeoWorld problem is made of: givens, methods (right and wrong), a figure in true units, and their
text.

A family is a function that draws a `Draft`. Everything else (question, rationales, choices, picture, the
check of a rationale) follows from the draft, so that the words, the numbers and the drawing cannot
disagree.
"""

from __future__ import annotations

import ast
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r3v.records import Problem

Point = tuple[float, float]
Measure = tuple[str, ...]
"""How a quantity is measured on the drawing: ("angle", P, V, Q), ("length", P, Q), ("area", P, Q, R, ...),
("perimeter", P, Q, R, ...), ("disc", O, P) or ("sector", P, O, Q)."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Given:
    """A number the figure or the text shows: `label` = `value`, and what it measures."""

    key: str
    label: str
    value: int
    measure: Measure
    text_only: bool = False

    @property
    def text(self) -> str:
        return f"{self.label} = {self.value}"


@dataclass(frozen=True, slots=True)
class Method:
    """A theorem sentence and steps such as "180 - a = s"; names are keys of givens or results of earlier
    steps.

    The value of the last step is the answer. With no steps, the answer is the value of the given `result`.
    """

    theorem: str
    steps: tuple[str, ...] = ()
    result: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something drawn: a segment, circle (centre, point on it), angle arc, right angle, or equal-length
    ticks.
    """

    kind: str
    points: tuple[str, ...]
    dashed: bool = False
    count: int = 1


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem before it has letters on paper: what is given, what is asked, how it is solved, how it is
    drawn.

    `points` are in the units of the lengths. `hidden` points carry no letter. `extras` are segments whose
    length may be added as a number that nobody needs.
    """

    intro: str
    facts: tuple[str, ...]
    givens: tuple[Given, ...]
    target: str
    target_measure: Measure
    right: Method
    wrong: tuple[Method, ...]
    note: str
    skills: tuple[str, ...]
    points: Mapping[str, Point]
    marks: tuple[Mark, ...]
    hidden: tuple[str, ...] = ()
    extras: tuple[tuple[str, str], ...] = ()
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of problem. `build` draws one and may return None for parameters that do not work out."""

    name: str
    build: Callable[[Draw], Draft | None]
    novel: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A problem with all that is known about it and that no solver sees."""

    problem: Problem
    rationale: str
    wrong: tuple[tuple[str, str], ...]
    reading: str
    note: str
    truth: Mapping[str, Any]
    draft: Draft = field(repr=False)


class Draw:
    """The random choices of one draft: numbers suited to the level and letters for the vertices."""

    pool = "ABCDEFGHKMNPQ"

    def __init__(self, rng: random.Random, level: int, wide: bool) -> None:
        self.rng, self.level = rng, level
        plain = level == 1 and not wide and rng.random() < 0.8
        letters = list(self.pool)
        if not plain:
            rng.shuffle(letters)
        self._letters = letters
        if level > 1 and not wide and rng.random() < 0.4:
            self._letters = list(self.pool)

    def names(self, count: int) -> list[str]:
        """The first letters of this problem's alphabet; O is never among them, it is kept for centres."""
        return self._letters[:count]

    def angle(self, low: int, high: int, even: bool = False) -> int:
        """Degrees in [low, high]: tens at level 1, fives at level 2, any integer above; even where it is
        halved.
        """
        step = {1: 10, 2: 5}.get(self.level, 1)
        if even and step % 2:
            step *= 2
        return self.rng.randrange(math.ceil(low / step), high // step + 1) * step

    def length(self, low: int, high: int, even: bool = False) -> int:
        """A length in [low, high]; the upper end shrinks at the lower levels."""
        top = max(low + 3, {1: (low + high) // 2, 2: (low + 3 * high) // 4}.get(self.level, high))
        value = self.rng.randint(low, top)
        return value + value % 2 if even else value

    @property
    def deep(self) -> bool:
        """Whether this problem composes two rules."""
        return self.level >= 4

    def flip(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance


def number(value: float) -> str:
    """An integer without a point, halves with one decimal."""
    return str(round(value)) if abs(value - round(value)) < 1e-9 else f"{value:.1f}"


def evaluate(expression: str, values: Mapping[str, float]) -> float:
    """The value of an expression of numbers, names, + - * / and sqrt(). Raises ValueError for anything
    else.
    """
    return _value(ast.parse(expression, mode="eval").body, values)


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.Call(func=ast.Name(id="sqrt"), args=[inner]):
            return math.sqrt(max(_value(inner, values), 0.0))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left, values), _value(right, values)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div() if b != 0:
                    return a / b
    raise ValueError(f"cannot evaluate {ast.unparse(node)!r}")


def run(method: Method, values: Mapping[str, float]) -> tuple[float, list[str]]:
    """Follow a method: its answer and its steps written with numbers, such as "180 - 40 = 140"."""
    known = dict(values)
    lines, answer = [], known.get(method.result, 0.0)
    for step in method.steps:
        expression, _, name = step.partition(" = ")
        answer = known[name] = evaluate(expression, known)
        written = re.sub(r"[a-z_]\w*", lambda m: number(known[m[0]]) if m[0] != "sqrt" else "sqrt", expression)
        lines.append(f"{written} = {number(answer)}")
    return answer, lines


def constants(method: Method) -> set[str]:
    """The numbers a method brings in itself, such as 180."""
    return {n for step in method.steps for n in _NUMBER.findall(step)}


def given_values(draft: Draft) -> dict[str, float]:
    return {g.key: float(g.value) for g in draft.givens}


def reading_text(draft: Draft) -> str:
    return ", ".join(g.text for g in draft.givens) + "."


def rationale_text(draft: Draft, method: Method) -> tuple[str, str]:
    """The rationale that follows `method`, and the answer it ends in."""
    answer, lines = run(method, given_values(draft))
    body = " ".join([reading_text(draft), method.theorem, *(f"{line}." for line in lines)])
    return f"{body}\nAnswer: {number(answer)}", number(answer)


def question_text(draft: Draft, place: str) -> str:
    """The question; with `place` "text" it states all numbers, with "figure" only those a figure cannot
    show.
    """
    shown = [g.text for g in draft.givens if place == "text" or g.text_only]
    parts = [*draft.facts, *shown]
    if not parts:
        return f"{draft.intro}, find {draft.target}."
    return f"{draft.intro}, {', '.join(parts)}. Find {draft.target}."


def operations(method: Method) -> Sequence[str]:
    """Skill tags of the arithmetic in a method, each once, in order of use."""
    tags = []
    for step in method.steps:
        expression = step.partition(" = ")[0]
        if "sqrt" in expression:
            tags.append("square_root")
        elif re.fullmatch(r"(\w+) \* \1", expression):
            tags.append("square")
        else:
            tags += [_operation(op, operand) for op, operand in re.findall(r"([-+*/]) (\w+)", expression)]
    return [f"arithmetic:{tag}" for tag in dict.fromkeys(tags)]


def _operation(op: str, operand: str) -> str:
    if operand == "2" and op in "*/":
        return "double" if op == "*" else "halve"
    return {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}[op]
