"""Reads the number that a statement gives; `number` holds what a written number is and when two are equal."""

from __future__ import annotations

import re

from r3v.grading import number
from r3v.grading.clean import plain_math, unwrap
from r3v.grading.reading import REFUSAL, Reading, Unread, main_clause
from r3v.records import Problem

_EQUALS = re.compile(r"=|≈|\\approx|\\simeq|\bequals\b|\bis\b|\bare\b")
_LIST = re.compile(r"[,;]\s|\band\b|\bor\b|&")


def read(problem: Problem, payload: str, strong: bool = True) -> Reading | Unread:
    """The one number of a statement: the whole, what stands behind the last "=", or the only number in it.

    Two different numbers ("5 or 6", "5 out of 10") are no answer, and neither is unevaluated arithmetic.
    """
    clause = unwrap(main_clause(payload))
    for text in dict.fromkeys((unwrap(payload), clause)):
        quantity = number.parse(text, problem.unit)
        if quantity is not None:
            return Reading(quantity.canonical, payload, quantity)
    if REFUSAL.match(clause):
        return Unread(f"{clause[:60]!r} is no number", blocks=True)
    parts = _EQUALS.split(plain_math(clause))
    if len(parts) > 1 and not _LIST.search(plain_math(clause)):
        quantity = number.parse(parts[-1], problem.unit)
        if quantity is not None:
            return Reading(quantity.canonical, payload, quantity)
    distinct = {quantity.canonical: quantity for quantity in number.tokens(clause, problem.unit)}
    if len(distinct) > 1:
        return Unread(f"{clause[:60]!r} names more than one number", blocks=True)
    if len(distinct) == 1 and _alone(clause):
        (quantity,) = distinct.values()
        return Reading(quantity.canonical, payload, quantity)
    return Unread(f"no number in {clause[:60]!r}")


def _alone(clause: str) -> bool:
    """No operator, root or denial that would make the only number a part of something else."""
    return not re.search(
        r"[+*×/^√π=<>]|\\[a-z]|\bnot\b|n't\b|\bpi\b|\bsqrt\b|\d\s*-|-\s+\d|\d\s*[a-z]\b", plain_math(clause)
    )


def read_bare(problem: Problem, line: str, single: bool) -> Reading | Unread:
    """Without "Answer:", a last line that is only a number (with a unit) names it; "2." after other lines is
    a list marker."""
    if not single and re.match(r"^\s*\(?\d+[.)]\s*$", line):
        return Unread("no answer is stated")
    quantity = number.parse(line, problem.unit, max_unit_words=2) if "=" not in line else None
    return Reading(quantity.canonical, line, quantity) if quantity else Unread("no answer is stated")
