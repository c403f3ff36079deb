"""A problem in words: the question as GeoQA asks it, and the derivation in sentences with the calculation after each.

Numbers stand in the text or on the picture; what is on the picture is read out first in the solution.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from r3v.data.euclid.engine import Node
from r3v.data.euclid.exact import Exact
from r3v.data.euclid.figure import Clause, Figure, Quantity, parts_of
from r3v.data.euclid.names import Names

OPENINGS = (
    ("As shown in the figure, ", 14),
    ("As shown in the figure, it is known that ", 2),
    ("As shown in the figure, given that ", 2),
    ("It is known that ", 1),
    ("In the figure, ", 1),
    ("", 2),
)
ASK_ANGLE = (
    ("then the degree of {0} is ()", 8),
    ("then {0} is equal to ()", 4),
    ("then {0} = ()", 3),
    ("then the size of {0} is ()", 3),
    ("then {0} is ()", 1),
    ("the degree of {0} is ()", 1),
    ("what is the degree of {0}? ()", 1),
    ("find {0}", 1),
    ("then the value of {0} is ()", 1),
)
ASK_LENGTH = (
    ("then the length of {0} is ()", 8),
    ("then {0} = ()", 3),
    ("then {0} is equal to ()", 3),
    ("the length of {0} is ()", 1),
    ("then the length of the line segment {0} is ()", 2),
    ("what is the length of {0}? ()", 1),
    ("then the value of {0} is ()", 1),
    ("find {0}", 1),
)
ASK_OTHER = (
    ("then {0} is ()", 6),
    ("then {0} is equal to ()", 3),
    ("{0} is ()", 1),
    ("what is {0}? ()", 1),
    ("find {0}", 1),
)
ASK_VALUE = (("then the value of {0} is ()", 4), ("then {0} = ()", 2), ("then {0} is equal to ()", 1))


def pick(rng: random.Random, weighted: Sequence[tuple[str, int]]) -> str:
    return rng.choices([text for text, _ in weighted], weights=[w for _, w in weighted])[0]


def ask(names: Names, target: Quantity, rng: random.Random) -> str:
    name = names.quantity(target)
    kind = target[0]
    if " ".join(target) in names.figure.story:
        return pick(rng, ASK_OTHER).format(name)
    table = {"angle": ASK_ANGLE, "arc": ASK_ANGLE[:1], "length": ASK_LENGTH}.get(kind, ASK_OTHER)
    if kind in ("sum", "difference", "ratio", "sin", "cos", "tan"):
        table = ASK_VALUE
    if kind == "length" and names.figure.centre_of(*target[1:]) and rng.random() < 0.5:
        name = f"chord {name}"
        table = ASK_LENGTH[:1]
    if kind == "ratio" and rng.random() < 0.4:
        a, b = map(names.quantity, parts_of(target))
        name = f"{a} / {b}"
    return pick(rng, table).format(name)


def given(names: Names, quantity: Quantity, value: Exact, rng: random.Random) -> str:
    """A value in the text of a question."""
    kind, name = quantity[0], names.quantity(quantity)
    if kind == "ratio":
        fraction = value.fraction
        a, b = map(names.quantity, parts_of(quantity))
        if fraction is not None:
            return rng.choice(
                (
                    f"{a} : {b} = {fraction.numerator} : {fraction.denominator}",
                    f"{a} / {b} = {fraction.numerator} / {fraction.denominator}",
                )
            )
    if kind in ("angle", "length", "sin", "cos", "tan", "ratio", "sum", "difference", "arc"):
        if " ".join(quantity) in names.figure.story and not name.isupper():
            return f"{name} is {value.text}"
        return f"{name} = {value.text}"
    return f"{name} is {value.text}"


def question(
    names: Names,
    clauses: Sequence[Clause],
    shown: Sequence[tuple[Quantity, Exact]],
    target: Quantity,
    rng: random.Random,
) -> str:
    """The whole question. `shown` are the givens that the text states."""
    figure = names.figure
    texts = [clause.text for clause in clauses if clause.text]
    stated = [given(names, q, v, rng) for q, v in shown]
    if stated and rng.random() < 0.35:
        stated[0] = f"if {stated[0]}"
    elif len(stated) > 1 and rng.random() < 0.3:
        stated[-1] = f"and {stated[-1]}"
    if figure.opening:
        texts.insert(0, figure.opening)
    opening = pick(rng, OPENINGS)
    body = ", ".join([*texts, *stated, ask(names, target, rng)])
    if stated and rng.random() < 0.12 and texts:
        first = stated[0][0].upper() + stated[0][1:] if stated[0].startswith("if") else "If " + stated[0]
        body = f"{', '.join(texts)}. {', '.join([first, *stated[1:], ask(names, target, rng)])}"
    text = opening + body
    return text[0].upper() + text[1:]


def capital(text: str) -> str:
    """With a capital first, unless the first word is the name of a line or a function."""
    return text[0].upper() + text[1:] if text and text.partition(" ")[0] not in ("sin", "cos", "tan") else text


def sentence(names: Names, node: Node) -> str:
    """One step of a derivation."""
    assert node.instance is not None
    why = capital(node.instance.why(names))
    if node.value is None:
        return f"{why}, so {names.fact(node.key)}."
    name = names.quantity(node.key)
    if node.source:
        return f"{why}, so {name} = {names.quantity(node.source)} = {node.value.text}."
    working = node.working
    if working.replace(" ", "") == node.value.text:
        working = ""
    if not working and why.lower().startswith(f"{name} = ".lower()):
        return f"{why} = {node.value.text}."
    if working and why.lower().startswith(f"{name} = ".lower()):
        return f"{why} = {working} = {node.value.text}."
    if working:
        return f"{why}: {name} = {working} = {node.value.text}."
    return f"{why}, so {name} = {node.value.text}."


def solution(names: Names, steps: Sequence[Node], read: Sequence[tuple[Quantity, Exact]], answer: Exact) -> str:
    """The derivation in words; ends in a line "Answer: ..."."""
    parts = []
    if read:
        listed = ", ".join(f"{names.quantity(q)} = {v.text}" for q, v in read)
        parts.append(f"The figure shows {listed}.")
    parts += [sentence(names, node) for node in steps]
    if answer.text != answer.decimal:
        parts.append(f"{rounded(answer)}.")
    return f"{' '.join(parts)}\nAnswer: {answer.decimal}"


def rounded(value: Exact) -> str:
    """A value with roots or π, and its decimal: "4√3 = 6.928"."""
    return f"{value.text} = {value.decimal}"


_LETTERS = re.compile(r"(?<![A-Za-z])[A-Z]+(?![a-z])")


def relabel(text: str, letters: dict[str, str]) -> str:
    """The text with other letters for the points; words and single lower-case letters stay."""
    return _LETTERS.sub(lambda m: "".join(letters.get(c, c) for c in m[0]), text)


def relabelled(figure: Figure, letters: dict[str, str]) -> None:
    """Give the points of a figure that is not closed yet other letters, in place."""

    def one(name: object) -> object:
        if isinstance(name, str):
            return letters.get(name, name) if len(name) == 1 else relabel_key(name)
        if isinstance(name, tuple):
            return sort_key(tuple(one(part) for part in name))
        return name

    def relabel_key(name: str) -> str:
        if " " not in name:
            return name
        return " ".join(str(x) for x in sort_key(tuple(one(part) for part in name.split(" "))))

    figure.points = {letters.get(p, p): at for p, at in figure.points.items()}
    figure.lines = [tuple(letters.get(p, p) for p in names) for names in figure.lines]
    figure.circles = {letters.get(o, o): tuple(letters.get(p, p) for p in names) for o, names in figure.circles.items()}
    figure.polygons = [tuple(letters.get(p, p) for p in names) for names in figure.polygons]
    figure.hidden = {letters.get(p, p) for p in figure.hidden}
    figure.clauses = [
        Clause(relabel(c.text, letters), tuple(_facts(one, f) for f in c.facts), c.optional) for c in figure.clauses
    ]
    figure.goals = [one(q) for q in figure.goals]  # type: ignore[misc]
    figure.offers = [one(q) for q in figure.offers]  # type: ignore[misc]
    figure.story = {relabel_key(k): relabel(v, letters) for k, v in figure.story.items()}
    figure.opening = relabel(figure.opening, letters)
    figure.renumber(letters)


def _facts(one, fact: tuple) -> tuple:
    return (fact[0], *(one(part) for part in fact[1:]))


_SORTED_FROM = {"length": 1, "angle": 2, "arc": 2, "sin": 2, "cos": 2, "tan": 2, "sector": 2, "curve": 2}


def sort_key(parts: tuple) -> tuple:
    """A quantity in its one spelling: letters in order where the order means nothing."""
    if parts and parts[0] in _SORTED_FROM:
        start = _SORTED_FROM[parts[0]]
        return (*parts[:start], *sorted(parts[start:]))
    if parts and parts[0] in ("area", "perimeter") and len(parts) == 4:
        return (parts[0], *sorted(parts[1:]))
    return parts
