"""Grades answers: one module for sampling, training and evaluation, deterministic, and it never guesses.

    grade(problem, text) -> Verdict       CORRECT, WRONG, UNPARSED (none named), UNAVAILABLE (engine failed)
    extract(problem, text) -> str | None  the answer the text names, equal strings for equal answers (votes)

`where` finds the statement that is the answer; `numeric`, `choice`, `text` and `expression` read it whole or not at
all; `rules` is the table of what they know. `own` takes a grader of the user's, `official` keeps the datasets' own
for parity. No text makes these functions raise, and none takes a second of processor time."""

from __future__ import annotations

from r3v.grading.judge import (
    GRADER_VERSION,
    answers_equal,
    extract,
    grade,
    grader_name,
    grader_named,
    normalise,
    regrade,
)
from r3v.grading.official import OFFICIAL
from r3v.grading.own import Grader, load_grader
from r3v.grading.pool import close_shared as close

__all__ = [
    "GRADER_VERSION",
    "OFFICIAL",
    "Grader",
    "answers_equal",
    "close",
    "extract",
    "grade",
    "grader_name",
    "grader_named",
    "load_grader",
    "normalise",
    "regrade",
]
