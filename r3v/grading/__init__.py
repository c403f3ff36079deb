"""Grades answers: one module for sampling, training and evaluation, deterministic, and it never guesses.

    grade(problem, text) -> Verdict       CORRECT, WRONG, UNPARSED (none named), UNAVAILABLE (engine failed)
    extract(problem, text) -> str | None  the answer the text names, equal strings for equal answers (votes)

`statements` says where a text states its answer; `choice`, `numeric`, `text` and `expression` read it;
`official` keeps the datasets' own graders for parity. No text makes these functions raise, and none takes a
second of processor time."""

from __future__ import annotations

from r3v.grading.judge import answers_equal, extract, grade, normalise
from r3v.grading.official import OFFICIAL
from r3v.grading.pool import close_shared as close

__all__ = ["OFFICIAL", "answers_equal", "close", "extract", "grade", "normalise"]
