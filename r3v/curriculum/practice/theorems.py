"""Practice from the world of theorems: `euclid`. Its skills are theorem names, so problems of any data whose skills are
FormalGeo's theorems (`geoqa:...&skills=theorems`) have practice here."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from r3v.curriculum.practice.generate import FIRST_SEED
from r3v.curriculum.practice.hashes import jaccard, shingles
from r3v.curriculum.practice.item import (
    Checked,
    Provenance,
    Target,
    require_level,
    target_dict,
    with_provenance,
)
from r3v.data.euclid import TAGS, Item, make, theorem_homes
from r3v.errors import ConfigError, near
from r3v.records import Problem

STEPS = (1, 5)
"""Levels are numbers of steps with a theorem."""
TOLERANCE = 1e-5
"""Relative, between an answer and its measure on the coordinates."""
_MOST_MISSES = 400
_SEED_STRIDE = 10**9
ALIKE = 0.4
"""Jaccard similarity of pairs of words from which two questions with the same numbers are one. Low, because one dropped
too many costs nothing."""
_LABEL, _NUMBER = re.compile(r"\b[A-Z]{1,4}\b"), re.compile(r"\d+(?:\.\d+)?")
_SIGNS = str.maketrans({"∥": " parallel ", "⊥": " perpendicular ", "~": " similar ", "∠": " angle "})


class Asked:
    """Questions that must not be asked again: with the same numbers and in like words, whatever points are called."""

    def __init__(self, questions: Iterable[str] = ()) -> None:
        self._said: dict[tuple[str, ...], list[frozenset[str]]] = {}
        for question in questions:
            numbers, words = _told(question)
            self._said.setdefault(numbers, []).append(words)

    def __contains__(self, question: str) -> bool:
        numbers, words = _told(question)
        return any(jaccard(words, known) >= ALIKE for known in self._said.get(numbers, ()))


def _told(question: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """(its numbers in one order, the pairs of its words with points numbered as they come)."""
    names: dict[str, str] = {}

    def called(found: re.Match[str]) -> str:
        return "".join(names.setdefault(letter, f"p{len(names)}") for letter in found[0])

    numbers = tuple(sorted(_NUMBER.findall(question)))
    return numbers, shingles(_LABEL.sub(called, question.translate(_SIGNS)), width=2)


class EuclidGenerator:
    """Practice from Euclid: solution and answer by construction, the answer verified by measuring the figure.

    Items have contents of the split "train", which the other splits of this world cannot contain, and seeds from
    `FIRST_SEED` on. Contents in `exclude` are never made, nor what repeats a question in `asked` (as
    `Asked` says); one call makes each content once.
    """

    name = "euclid"

    def __init__(self, exclude: Collection[str] = (), asked: Iterable[str] = ()) -> None:
        self._exclude = frozenset(exclude)
        self._asked = Asked(asked)

    def generate(self, target: Target, n: int, *, seed: int = 0) -> Iterator[Problem]:
        """Up to `n` problems whose solution uses the theorem `target.skill`, in `target.level` steps; fewer where no
        more are found. Raises ConfigError for a theorem that no rule stands for."""
        require_level(target, *STEPS)
        if target.skill is not None and target.skill not in TAGS:
            raise ConfigError(
                f"found skill {target.skill!r}{near(target.skill, TAGS)}, which no rule of Euclid stands for"
            )
        return self._draw(target, n, seed)

    def _draw(self, target: Target, n: int, seed: int) -> Iterator[Problem]:
        homes = () if target.skill is None else theorem_homes().get(target.skill, ())
        only = ",".join(homes)
        # Theorems at home in the same constructions would get the same problems from the same number.
        rng = random.Random(f"practice|{target.skill}|{target.level}|{seed}")
        number = FIRST_SEED + seed * _SEED_STRIDE + rng.randrange(_SEED_STRIDE)
        seen = set(self._exclude)
        made = misses = index = 0
        while made < n and misses < _MOST_MISSES:
            item = make("train", number, index, only)
            index += 1
            misses += 1
            content = item.problem.meta["content"]
            if not _fits(item, target) or content in seen or item.problem.question in self._asked:
                continue
            misses = 0
            made += 1
            seen.add(content)
            yield self._labelled(item.problem, target, number)

    def _labelled(self, problem: Problem, target: Target, seed: int) -> Problem:
        named = replace(problem, id=f"practice-{problem.id}", split="practice")
        return with_provenance(named, Provenance(self.name, target_dict(target), seed, "constructed"))

    def check(self, problem: Problem) -> Checked:
        """Make the item again and measure its figure; the problem's question, choices and gold must be those."""
        meta = problem.meta
        if problem.source != "euclid" or not {"seed", "index", "only"} <= meta.keys():
            return Checked("unknown", "not an item of Euclid")
        item = make("train", int(meta["seed"]), int(meta["index"]), str(meta["only"]))
        if problem.question != item.problem.question or problem.choices not in (None, item.problem.choices):
            return Checked("unknown", "question or choices are not those of the item it was made from")
        if problem.gold_text != item.problem.gold_text:
            return Checked("wrong", f"the gold is stated as {problem.gold_text}, made as {item.problem.gold_text}")
        found, stated = item.figure.measure(item.target), float(item.answer)
        if abs(found - stated) > TOLERANCE * max(1.0, abs(stated)):
            return Checked("wrong", f"the answer is stated as {stated:g}, the figure measures {found:g}")
        return Checked("right", "measured on the figure")


def _fits(item: Item, target: Target) -> bool:
    problem = item.problem
    return (target.skill is None or target.skill in problem.skills) and target.level in (None, problem.meta["steps"])
