"""A grader of one's own: answers that are lists, compared whatever their order.

    data:
      grader: recipes/grader_example.py:as_sets

`r3v.grading.own` says what a grader must do; the reader of the library finds the statement, and only its content is
judged here."""

from __future__ import annotations

import re
from dataclasses import replace

from r3v.grading import extract
from r3v.records import Outcome, Problem, Verdict


def items(text: str) -> tuple[str, ...]:
    """ "2, 3 and 5" -> ("2", "3", "5"), sorted."""
    return tuple(sorted(part for part in re.findall(r"[^\s,;{}()\[\]]+", text.casefold()) if part != "and"))


def as_sets(problem: Problem, text: str) -> Verdict:
    """CORRECT where the items are those of the gold, in any order; UNPARSED where nothing is stated."""
    plain = {key: value for key, value in problem.meta.items() if key != "grader"}
    stated = extract(replace(problem, kind="text", choices=None, answer=problem.gold_text, meta=plain), text)
    if stated is None:
        return Verdict(Outcome.UNPARSED, None, "no list is stated")
    named = items(stated)
    right = named == items(problem.gold_text)
    return Verdict(Outcome.CORRECT if right else Outcome.WRONG, ", ".join(named))
