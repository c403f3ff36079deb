"""A theorem book as a teacher: one page of advice for every rule of the world euclid, offered as notes like any other.

Its pages are written from the rules alone (`r3v.data.euclid.rules.advice`). Which page a failure calls for, the
theorems of the problem's solution say, which data name as its skills (`geoqa:DIR?split=train&skills=theorems`): a page
fits where all its theorems are among them, or one that is more than bookkeeping. Of several, the first of these
decides: pages about more than bookkeeping, pages that fit whole, those about the most theorems of the solution, and
the words that are nearest to the question's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from r3v.data.euclid.choose import PLAIN, TRIVIAL
from r3v.data.euclid.rules import RULES
from r3v.data.euclid.rules.advice import ADVICE
from r3v.embedding.lexical import Lexical
from r3v.errors import DataError
from r3v.notebook.evolve.supervisors import Failure, Lesson
from r3v.notebook.store.note import Note
from r3v.records import Problem

_BOOKKEEPING = frozenset(tag for rule in (*PLAIN, *TRIVIAL) for tag in RULES[rule].tags)
"""Theorems that nearly every solution uses, such as the sum of two angles side by side."""
LOOKED_AT = 64
"""Training problems that are looked at for theorems before a run begins."""


@dataclass(frozen=True, slots=True)
class Page:
    """The advice on one rule."""

    rule: str
    theorems: tuple[str, ...]
    guidance: str

    @property
    def subject(self) -> str:
        return self.rule.replace("_", " ")

    @property
    def plain(self) -> bool:
        """Whether the page is about nothing but bookkeeping."""
        return _BOOKKEEPING.issuperset(self.theorems)

    @property
    def note(self) -> Note:
        return Note(id=self.rule, subject=self.subject, guidance=self.guidance, author=TheoremBook.name)


class TheoremBook:
    """A supervisor that asks no model."""

    name = "theorem book"

    def __init__(self) -> None:
        self.pages = tuple(Page(rule, RULES[rule].tags, text) for rule, text in ADVICE.items())
        self._words = Lexical()
        self._rows_ND = self._words.embed_notes([page.note for page in self.pages])

    def lessons(self, failures: Sequence[Failure]) -> list[Lesson | None]:
        pages = [self.page(failure.problem) for failure in failures]
        return [Lesson(page.subject, page.guidance) if page else None for page in pages]

    def page(self, problem: Problem) -> Page | None:
        """The page that this problem calls for; None where it names no theorem of the book."""
        used = set(problem.skills)
        told = used - _BOOKKEEPING
        fitting = [
            i
            for i, page in enumerate(self.pages)
            if used.issuperset(page.theorems) or not told.isdisjoint(page.theorems)
        ]
        if not fitting:
            return None
        alike_N = self._rows_ND @ self._words.embed_problems([problem])[0]

        def rank(i: int) -> tuple[bool, bool, int, float]:
            page = self.pages[i]
            whole = used.issuperset(page.theorems)
            return not page.plain, whole, len(used.intersection(page.theorems)), float(alike_N[i])

        return self.pages[max(fitting, key=rank)]

    def beside(self, problem: Problem, right: Page, texts: Mapping[str, str]) -> Page:
        """A page about none of the problem's theorems, whose text (`texts`: rule -> as it is shown) is as long as that
        of `right`, or as near to it as there is; which of several, the problem's id decides."""
        used = set(problem.skills)
        others = [page for page in self.pages if used.isdisjoint(page.theorems)]
        if not others:
            raise DataError("found every theorem of the book on one problem, expected some", row=problem.id)

        def apart(page: Page) -> int:
            return abs(len(texts[page.rule]) - len(texts[right.rule]))

        least = min(map(apart, others))
        drawn = [page for page in others if apart(page) == least]
        digest = hashlib.sha256(f"beside|{problem.id}".encode()).digest()
        return drawn[int.from_bytes(digest[:6], "big") % len(drawn)]


def check_named(problems: Iterable[Problem]) -> None:
    """Raises DataError where none of the first problems names a theorem, so that the book could give no lesson."""
    known = {tag for rule in ADVICE for tag in RULES[rule].tags}
    first = list(islice(problems, LOOKED_AT))
    if not any(known & set(problem.skills) for problem in first):
        raise DataError(
            f"found no theorem among the skills of {len(first)} problems, so the theorem book has no page for them",
            field="skills",
            fix="Let the data name them (geoqa:DIR?split=train&skills=theorems), or take another supervisor.kind",
        )
