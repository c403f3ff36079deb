"""Which problem of the English release is which problem of FormalGeo, that is, which picture belongs to which text.

Test problems carry their GeoQA number, and so do FormalGeo's: the numbers join them, where the answers are equal. The
training problems carry none, but they stand in the order of their numbers: the file is a few runs, each sorted by the
digits as text ("128" before "13"). They are joined in two passes over the whole file.

1. *Equal text.* A pair may join where the English text is equal once signs are spelled out, numbers replaced by a mark
   and everything but letters left out; where every number of the text stands in the Chinese original; and where the
   answers are equal within 2 %.
2. *Like text.* Between two neighbours that pass 1 has joined, texts that are alike by 0.8 or more (`difflib`, on the
   same letters) may join as well, where the answers are equal.

In each pass that set of pairs is taken which is largest among those in order: numbers rise from row to row, and each
new run costs as much as `RUN` pairs, so that no pair is taken for its text alone where its neighbours speak against it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from r3v.grading.number import parse

ALIKE, CLOSE, RUN = 0.8, 0.02, 20.0
_SIGNS = {
    "∠": "angle", "Ð": "angle", "⊙": "circle", "△": "triangle", "⊿": "triangle", "∥": "parallel",
    "⊥": "perpendicular", "丄": "perpendicular", "▱": "parallelogram", "□": "parallelogram", "∽": "similar",
    "⁀": "arc", "⌒": "arc", "≌": "congruent",
}  # fmt: skip
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_OPTION = re.compile(r"^\(([A-Z])\) ?(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """What of a training problem is compared: its letters, its numbers, the value of its answer."""

    letters: str
    numbers: frozenset[float]
    answer: float | None


@dataclass(frozen=True)
class Drawn:
    """The same of a FormalGeo problem; `numbers` are those of the Chinese original."""

    letters: str
    numbers: frozenset[float]
    answer: float | None


def letters(text: str) -> str:
    """English question -> its letters in lower case, signs spelled out, each number a "#"."""
    text = text.replace("<image>", "").replace("Calculation:", "").replace("\u200b", "")
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    return re.sub(r"[^a-z#]", "", re.sub(r"N_\d+|\d+(?:\.\d+)?", "#", text).lower())


def numbers(text: str) -> frozenset[float]:
    return frozenset(float(found) for found in _NUMBER.findall(text))


def value(text: str) -> float | None:
    """The value of an answer such as "40", "3/2" or "2*sqrt(3)"; None for what is no number."""
    found = parse(text.strip(), nouns=False)
    return None if found is None else float(found.value)


def equal(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) <= CLOSE * max(abs(a), abs(b))


def training(record: Mapping[str, Any]) -> Asked:
    """A record of the training release."""
    said = record["messages"][0]["content"]
    question = said.split("\nChoices:")[0]
    options = dict(_OPTION.findall(said))
    letter = re.search(r"Answer:\s*\(?([A-Z])", record["messages"][1]["content"])
    return Asked(letters(question), numbers(question), value(options.get(letter[1], "") if letter else ""))


def drawn(problem: Mapping[str, Any]) -> Drawn:
    """A problem of FormalGeo."""
    english, chinese = problem.get("problem_text_en") or "", problem.get("problem_text_cn") or ""
    return Drawn(letters(english), numbers(chinese), value(str(problem["problem_answer"])))


def join_test(tests: Mapping[str, Mapping[str, Any]], drawings: Mapping[int, Drawn]) -> list[int]:
    """The numbers of the test problems that FormalGeo has, with an equal answer, in the order of the file."""
    found = []
    for key, record in tests.items():
        gold = record["choice_numbers"][record["label"]]
        number = int(key)
        if number in drawings and gold is not None and equal(float(gold), drawings[number].answer):
            found.append(number)
    return found


def join_training(problems: Sequence[Asked], drawings: Mapping[int, Drawn]) -> dict[int, int]:
    """Row of the training release -> GeoQA number."""
    order = {number: place for place, number in enumerate(sorted(drawings, key=str))}
    by_letters: dict[str, list[int]] = {}
    for number, problem in drawings.items():
        by_letters.setdefault(problem.letters, []).append(number)
    pairs = [
        (row, number, 1.0)
        for row, problem in enumerate(problems)
        for number in by_letters.get(problem.letters, ())
        if equal(problem.answer, drawings[number].answer) and problem.numbers <= drawings[number].numbers
    ]
    first = in_order(pairs, order)
    more = list(_alike(problems, drawings, first, order))
    return in_order([*((row, number, 1.0) for row, number in first.items()), *more], order)


def _alike(
    problems: Sequence[Asked], drawings: Mapping[int, Drawn], joined: Mapping[int, int], order: Mapping[int, int]
) -> Iterable[tuple[int, int, float]]:
    """Pairs of like text between two joined neighbours, with their likeness."""
    numbers_in_order, used, rows = sorted(order, key=order.__getitem__), set(joined.values()), sorted(joined)
    for before, behind in pairwise(rows):
        window = numbers_in_order[order[joined[before]] + 1 : order[joined[behind]]]
        for row in range(before + 1, behind):
            for number in window:
                if number in used or not equal(problems[row].answer, drawings[number].answer):
                    continue
                matcher = difflib.SequenceMatcher(None, problems[row].letters, drawings[number].letters, False)
                if (likeness := matcher.ratio()) >= ALIKE:
                    yield row, number, likeness


def in_order(pairs: Sequence[tuple[int, int, float]], order: Mapping[int, int]) -> dict[int, int]:
    """Of (row, number, weight) the heaviest set in which places in `order` rise with the rows, a new run costing `RUN`.

    The heaviest chain that ends with each pair is the pair behind the best of: the heaviest chain of earlier rows that
    ends at a lower place (kept in a Fenwick tree of maxima), or the heaviest of all earlier rows, less `RUN`.
    """
    tree: list[tuple[float, int]] = [(0.0, -1)] * (len(order) + 1)
    score, back = [0.0] * len(pairs), [-1] * len(pairs)
    best = (0.0, -1)
    by_row: dict[int, list[int]] = {}
    for i, (row, _, _) in enumerate(pairs):
        by_row.setdefault(row, []).append(i)
    for row in sorted(by_row):
        for i in by_row[row]:
            place, ahead = order[pairs[i][1]], (0.0, -1)
            while place > 0:
                ahead = max(ahead, tree[place])
                place -= place & -place
            weight, back[i] = max(ahead, (best[0] - RUN, best[1]))
            score[i] = weight + pairs[i][2]
        for i in by_row[row]:  # only now: two pairs of a row never follow each other
            place = order[pairs[i][1]] + 1
            while place <= len(order):
                tree[place] = max(tree[place], (score[i], i))
                place += place & -place
            best = max(best, (score[i], i))
    found, i = {}, best[1]
    while i >= 0:
        found[pairs[i][0]] = pairs[i][1]
        i = back[i]
    return dict(sorted(found.items()))
