"""Fields of a raw row, checked: what is there must have the right type, or the error names file, row and
field."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from r3v.data.normalise import clean_gold
from r3v.data.rows import Row
from r3v.data.shown import shown
from r3v.errors import DataError
from r3v.grading import expression, numeric
from r3v.grading.choice import without_labels
from r3v.grading.number import Reading, Unread
from r3v.records import LETTERS, Problem

AnswerForm = Literal["auto", "letter", "text", "index", "index1"]
ANSWER_FORMS: tuple[AnswerForm, ...] = ("auto", "letter", "text", "index", "index1")
_MISSING = object()
_OF_DEGREES = re.compile(r"\b(?:sin|cos|tan|cot|sec|csc)\b.*(?:°|\\circ|\\degree)")


def _expression(problem: Problem, gold: str) -> Reading | Unread:
    """As the grader reads it; "sin 30°" is none, because nothing it is compared with would be computed in degrees."""
    return Unread("a function of degrees") if _OF_DEGREES.search(gold) else expression.read(problem, gold)


READERS = {"number": (numeric.read, "a number"), "expression": (_expression, "an expression")}
"""Kinds of golds that are read, by the grader's own readers, and what they are called."""


def get(row: Row, name: str, default: Any = _MISSING) -> Any:
    """The value of a field; dots reach into nested objects. Raises DataError when it is absent and has no
    default."""
    value: Any = row.value
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            if default is not _MISSING:
                return default
            here = ", ".join(sorted(map(str, value))[:12]) if isinstance(value, dict) else type(value).__name__
            raise row.error(f"is missing; the row has {here}", name, "Name the right field in the spec")
        value = value[part]
    return value


def as_text(row: Row, name: str, value: Any) -> str:
    """Text, or a finite number written as text. Raises DataError for empty text and every other type."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise row.error(f"found {type(value).__name__} {shown(value)}, expected text or a number", name)
    if isinstance(value, float) and not math.isfinite(value):
        raise row.error(f"found {value}, expected a finite number", name)
    text = str(value).strip()
    if not text:
        raise row.error("found an empty value, expected text", name, "Fill it in, or leave the row out")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise row.error(f"found {text!r:.60}, half of a surrogate pair, expected text", name, "Correct it") from error
    return text


def text(row: Row, name: str) -> str:
    """A field that must be non-empty text or a number."""
    return as_text(row, name, get(row, name))


def choices(row: Row, name: str, value: Any) -> tuple[str, ...]:
    """A list of 2 to 26 non-empty options, or an object from letters to options."""
    if isinstance(value, dict):
        expected = list(LETTERS[: len(value)])
        if sorted(value) != expected:
            raise row.error(f"found keys {sorted(map(str, value))}, expected {expected}", name)
        value = [value[letter] for letter in expected]
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise row.error(f"found {type(value).__name__}, expected a list of options", name)
    if not 2 <= len(value) <= len(LETTERS):
        raise row.error(f"found {len(value)} options, expected 2 to {len(LETTERS)}", name)
    return tuple(as_text(row, f"{name}[{i}]", option) for i, option in enumerate(value))


def letter(row: Row, name: str, gold: Any, options: Sequence[str], form: AnswerForm = "auto") -> str:
    """The letter of the right option; see `gold_of`."""
    return gold_of(row, name, gold, options, form)[0]


def gold_of(
    row: Row, name: str, gold: Any, options: Sequence[str], form: AnswerForm = "auto"
) -> tuple[str, AnswerForm]:
    """(letter of the right option, how the gold names it): by a letter, by the text of an option, or by its position
    (from 0 or from 1).

    `auto` takes text that equals an option, then a letter; where the two disagree it raises rather than choose. A
    position is taken only where the form says so, and a gold that is a whole number (no text) may be one: it counts as
    the text of an option where it could be the position of no other.
    """
    letters = LETTERS[: len(options)]
    gold = clean_gold(gold) if isinstance(gold, str) else gold
    said = as_text(row, name, gold)
    whole = _whole(gold)
    if form in ("index", "index1"):
        position = int(said) if said.isdecimal() else -1 if whole is None else whole
        position -= form == "index1"
        if not 0 <= position < len(options):
            raise row.error(f"found {said!r}, expected the position of one of {len(options)} options", name)
        return letters[position], form
    by_letter = said.strip("().").upper() if len(said.strip("().")) == 1 else ""
    by_letter = by_letter if by_letter and by_letter in letters and form != "text" else ""
    bare = without_labels(tuple(options))
    ways = {said} if whole is None else {said, str(whole)}
    matches = [i for i, option in enumerate(options) if ways & {option.strip(), bare[i]}] if form != "letter" else []
    by_text = letters[matches[0]] if matches else ""
    if by_letter and by_text and by_letter != by_text:
        raise row.error(
            f"gold {said!r} is option ({by_text}) by its text and ({by_letter}) by its letter",
            name,
            "Say which is meant with the option answer_is=text or answer_is=letter",
        )
    if not by_letter and not by_text:
        raise row.error(
            f"gold {said!r:.80} is not among the choices {list(options)!r:.200}",
            name,
            "Correct the row; for positions use answer_is=index (from 0) or answer_is=index1",
        )
    if form == "auto" and by_text and whole is not None:
        places = {"from 0": whole, "from 1": whole - 1}
        others = {how: letters[i] for how, i in places.items() if 0 <= i < len(options) and letters[i] != by_text}
        if others:
            said_too = " and ".join(f"({other}) by its position {how}" for how, other in others.items())
            raise row.error(
                f"gold {said}, a whole number, is option ({by_text}) by its text, {said_too}",
                name,
                "Say which is meant with the option answer_is=text, answer_is=index (from 0) or answer_is=index1",
            )
    return (by_text, "text") if by_text else (by_letter, "letter")


def _whole(gold: Any) -> int | None:
    """A whole number that a table holds as such, also as the float that a column with gaps makes of it."""
    if isinstance(gold, float) and gold.is_integer():
        return int(gold)
    return gold if isinstance(gold, int) and not isinstance(gold, bool) else None


def tags(row: Row, name: str, value: Any) -> tuple[str, ...]:
    """Skills: one text or a list of texts."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    if not isinstance(value, Sequence):
        raise row.error(f"found {type(value).__name__}, expected a text or a list of texts", name)
    return tuple(as_text(row, name, tag) for tag in value)


def content_id(*parts: Any) -> str:
    """12 hexadecimal digits of the content, for rows without an id: stable whatever the order of rows."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def make(row: Row, **values: Any) -> Problem:
    """A Problem whose errors name the file and row of its origin. A gold number or expression that the grader cannot
    read is one: no answer would ever equal it.

    The gold and the options are read here, once: tags around a gold and labels that all options carry go, so that no
    target and no prompt repeats them; `meta["gold"]` keeps a gold that was written otherwise."""
    raw, options = values.get("answer"), values.get("choices")
    if isinstance(raw, str) and (answer := clean_gold(raw)) != raw and answer:
        values |= {"answer": answer, "meta": {**values.get("meta", {}), "gold": raw}}
    if options:
        values["choices"] = without_labels(tuple(options))
    try:
        problem = Problem(**values)
    except DataError as error:
        raise row.error(error.what, error.field, error.fix) from error
    reader, wanted = READERS.get(problem.kind, (None, ""))
    if reader is not None and isinstance(reader(problem, problem.answer), Unread):
        raise row.error(
            f"found {problem.answer!r:.60}, expected {wanted}", "answer", "Correct it, or give another answer kind"
        )
    return problem
