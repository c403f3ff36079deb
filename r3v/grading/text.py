"""Free text: equal after case, articles, punctuation and markup are removed; plain numbers by value.

"Paris, France" is not "Paris", and "Paris" is not "Paris, France": whether a qualifier adds or changes
something cannot be told from the words, so both ways are WRONG. A leading yes or no is the whole answer
("Yes, it is."). A gold that is a plain number takes it with a unit ("3 1/2" takes "3 1/2 cups"); a gold with a unit of
its own is compared as words. "Unknown" or "none" may be a right answer, so it is read as one; "I don't know" names
none."""

from __future__ import annotations

import re
from dataclasses import replace

from r3v.grading import compare, number
from r3v.grading.number import Reading, Unread
from r3v.grading.numeric import main_clause
from r3v.grading.writing import unwrap, words
from r3v.records import Problem

BARE_WORDS = 5  # a whole reply of at most this many words is taken for a direct answer
_YES_NO = re.compile(
    r"^(yes|no)(?=$|[.,;!:]\s+(?!(?:and|or)\b)|\s+(?:it|they|he|she|there|this|that|the|we|you|i)\b)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^(?:sorry\b|(?:i|we)\s+(?:do\s*n[o']t|cannot|can\s*not|can't|am not|'m not)\b"
    r"|i'm\s+(?:not|sorry|unable)\b)",
    re.IGNORECASE,
)


def plain_number(quantity: number.Quantity | None) -> bool:
    """A number with nothing behind it but % ("45%", "1,000"); "5 clubs" is text."""
    return quantity is not None and not quantity.unit


def normal(text: str) -> Reading | None:
    """The normal form of a short answer, None if nothing is left of it."""
    text = unwrap(text)
    shown = words(text)
    if not shown:
        return None
    match = _YES_NO.match(text)
    if match:
        return Reading(match[1].lower(), text)
    quantity = number.parse(text)
    return Reading(quantity.canonical if quantity and plain_number(quantity) else shown, text, quantity)


def read(problem: Problem, payload: str, strong: bool = True) -> Reading | Unread:
    """The answer that a statement gives: its first sentence without the reason behind it."""
    clause = unwrap(main_clause(payload))
    if _REFUSAL.match(clause):
        return Unread(f"{clause[:60]!r} is no answer", blocks=True)
    reading, whole = normal(clause), normal(payload)
    if reading is None:
        return whole or Unread("an empty answer")
    return replace(reading, whole=whole.canonical if whole else "")


def read_bare(problem: Problem, line: str, single: bool) -> Reading | Unread:
    """Without "Answer:", only a reply that is one short line names an answer."""
    if single and len(line.split()) <= BARE_WORDS and not line.rstrip().endswith((":", ",")):
        return read(problem, line)
    return Unread("no answer is stated")


def equal(gold: Reading, answer: Reading, tolerance: float | None) -> bool:
    if gold.quantity is not None and answer.quantity is not None and plain_number(gold.quantity):
        return compare.equal(gold.quantity, answer.quantity, tolerance)
    return gold.canonical in (answer.canonical, answer.whole)
