"""How a set of choice problems is asked and what counts as right: one name each, used by `r3v eval --protocol`.

choices  the choices are shown; a letter, an option's text or its value names one
open     the choices are not shown; the value stated must be nearest to the gold choice, alone, and be it
         (r3v.grading.nearest says how near: exactly, or 0.5 % where the choice is a root or pi written out)
top10    asked open, ten samples in the order that the seed fixes; the first whose value is a choice counts, and it is
         wrong where none is

In each an answer that is no choice is no vote, so `majority` is a majority among choices. top10 is how GeoQA's program
generators (NGS, Chen et al. 2021) are scored, with programs in a beam for samples.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from r3v.data.normalise import gold_tolerance
from r3v.errors import ConfigError, DataError
from r3v.grading.judge import OWN
from r3v.grading.nearest import OPTIONS, TOLERANCES, VALUES, choices_of, gold_of
from r3v.records import LETTERS, Problem
from r3v.run.evaluation import PROTOCOL

NEAREST = "r3v.grading.nearest:nearest_choice"


@dataclass(frozen=True)
class Protocol:
    """`open`: asked without choices. `selectors`, `n`: what it is measured with where it fixes that."""

    name: str
    open: bool
    selectors: tuple[str, ...] = ()
    n: int | None = None

    @property
    def main(self) -> str:
        """The selector whose figure the protocol is about."""
        return self.selectors[0] if self.selectors else "greedy"


PROTOCOLS = {
    p.name: p for p in (Protocol("choices", False), Protocol("open", True), Protocol("top10", True, ("first",), 10))
}


def protocol(name: str) -> Protocol:
    """The protocol of that name. Raises ConfigError."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    near = difflib.get_close_matches(name, PROTOCOLS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"found protocol {name!r}, expected one of {', '.join(PROTOCOLS)}{hint}")


def asked(problems: Sequence[Problem], how: Protocol) -> list[Problem]:
    """The problems as the protocol asks them. Raises DataError for one that it cannot ask."""
    return [_asked(problem, how) for problem in problems]


def _asked(problem: Problem, how: Protocol) -> Problem:
    if problem.kind != "choice" or not problem.choices:
        raise DataError(
            f"found a problem without choices, which protocol {how.name} needs",
            file=problem.source or None,
            row=problem.id,
            field="choices",
            fix="Leave --protocol away",
        )
    meta = {**problem.meta, PROTOCOL: how.name}
    if not how.open:
        return replace(problem, meta=meta)
    if OWN in meta:
        raise ConfigError(
            f"problem {problem.id} names a grader of its own, and protocol {how.name} has one; use choices"
        )
    values = meta.get("choices")
    if not isinstance(values, list) or len(values) != len(problem.choices):
        values = list(problem.choices)
    meta |= {
        OWN: NEAREST,
        OPTIONS: list(problem.choices),
        VALUES: [str(value) for value in values],
        TOLERANCES: [gold_tolerance(str(value)) for value in values],
    }
    found = replace(problem, choices=None, answer=problem.gold_text, kind="number", tolerance=None, meta=meta)
    if gold_of(choices_of(meta), found) is None:
        raise DataError(
            f"gold {problem.gold_text!r} is no number, so it cannot be asked open",
            file=problem.source or None,
            row=problem.id,
            field="choices",
            fix="Use protocol choices",
        )
    return found


def guessed(problems: Sequence[Problem]) -> tuple[float, dict[int, int]]:
    """What guessing a letter gives: the expected share of right answers, and how many problems have how many choices.

    Of k choices, of which m are equal to the gold (repeated ones are one answer), a letter is right with m / k.
    """
    counts: dict[int, int] = {}
    total = 0.0
    for problem in problems:
        choices = problem.choices or ()
        counts[len(choices)] = counts.get(len(choices), 0) + 1
        total += sum(_equal(problem, i) for i in range(len(choices))) / len(choices) if choices else 0.0
    return total / len(problems) if problems else 0.0, dict(sorted(counts.items()))


def _equal(problem: Problem, index: int) -> bool:
    """Whether naming this option is right."""
    from r3v.grading import grade

    return grade(problem, f"Answer: {LETTERS[index]}").correct
