"""Multiple choice: the answer may be named by letter, by option text or by option value.

Rules:
- A letter is a label, also where option texts are letters themselves: "B" is the second option.
- "B. Blue" is B. A letter and another option's text together ("B. Red") contradict each other: unread.
- A letter behind the last option is an answer that is not there: the letter itself is extracted, and it is
  WRONG.
- A value equal to no option is extracted as that value, and it is WRONG.
- A value is matched as a number first by equality, then by rounding to printed decimals (so "3.46" finds
  3.4641016), and only if it finds one option; texts are matched whole, so "4" never finds "45".
- Repeated options are one answer: naming either names both, and the first letter of them is the canonical
  one."""

from __future__ import annotations

import re
from functools import lru_cache

from r3v.grading import number
from r3v.grading.clean import plain_math, unwrap, words
from r3v.grading.reading import REFUSAL, Reading, Unread, main_clause
from r3v.records import LETTERS, Problem

MAX_VALUE_WORDS = 6  # a stated answer of more words that equals no option is prose, not a value
_LABEL = re.compile(
    r"^(?:(?:option|choice|letter|answer)\s+)?(?:[\(\[]\s*(?P<wrapped>[A-Za-z])\s*[\)\]]|(?P<bare>[A-Z])(?![\w'’°^]))"
    r"\s*(?P<mark>[.):,;—–-]*)\s*(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_AFTER_LABEL = re.compile(
    r"^(?:because|since|as|is|which|with|for|where|so|correct|right|not\b|,|\(|=|-|—)", re.IGNORECASE
)
_OTHER_LETTER = re.compile(r"^(?:and|or|/|&|,|;)\s*(?:option\s+|choice\s+)?[\(\[]?[A-Z][\)\]]?(?![\w'])")
_LEAD_IN = re.compile(
    r"^(?:(?:it|this|that|he|she|they|there|these)(?:\s+(?:is|are|was|were)|'s)|the\s+(?:option|choice|value|one)"
    r"(?:\s+is)?|option|choice)\s+",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def _options(choices: tuple[str, ...]) -> tuple[tuple[str, number.Quantity | None, int], ...]:
    """For each option: its words, its number if it is one, and the index of the first option equal to it."""
    table: list[tuple[str, number.Quantity | None, int]] = []
    for i, choice in enumerate(choices):
        text, quantity = words(choice[:1000]) or choice.strip(), number.parse_measure(choice)
        first = i
        for j, (other_text, other_quantity, _) in enumerate(table):
            if text == other_text or _same_measure(quantity, other_quantity):
                first = table[j][2]
                break
        table.append((text, quantity, first))
    return tuple(table)


def _same_measure(a: number.Quantity | None, b: number.Quantity | None) -> bool:
    if a is None or b is None:
        return False
    return number.same(a.value, b.value) and a.percent == b.percent and a.unit == b.unit


def _named(problem: Problem, index: int, raw: str) -> Reading:
    table = _options(problem.choices or ())
    first = table[index][2]
    equal = "".join(LETTERS[i] for i, row in enumerate(table) if row[2] == first)
    return Reading(LETTERS[first], raw, equal_options=equal)


def read(problem: Problem, payload: str, strong: bool = True) -> Reading | Unread:
    """The option that a stated answer names."""
    whole = unwrap(payload)
    clause = unwrap(main_clause(payload))
    for text in dict.fromkeys((whole, clause)):
        label = _by_label(problem, text)
        if label is not None:
            return label
        index = by_value(problem, text)
        if isinstance(index, Unread):
            return index
        if index is not None:
            return _named(problem, index, payload)
    if REFUSAL.match(clause):
        return Unread(f"{clause[:60]!r} names no option", blocks=True)
    return _no_option(problem, payload, clause, strong)


def _by_label(problem: Problem, text: str) -> Reading | Unread | None:
    """A letter at the start: "(B)", "B.", "B. Blue", "option B"."""
    table = _options(problem.choices or ())
    match = _LABEL.match(text)
    if match is None:
        return None
    letter, rest = match["wrapped"] or match["bare"], unwrap(match["rest"])
    alone = not rest and not match["mark"].startswith("-")
    if letter.islower():
        if not alone or (match["bare"] and words(text) in [row[0] for row in table]):
            return None
        letter = letter.upper()
    if _OTHER_LETTER.match(match["mark"].lstrip(".):") + rest):
        return Unread(f"{text[:60]!r} names more than one option", blocks=True)
    # without a mark, "A triangle" begins with an article; the words after a label are its own text or a
    # reason
    marked = bool(match["wrapped"] or match["mark"] or alone)
    index = LETTERS.index(letter)
    named = by_value(problem, rest) if rest else None
    if isinstance(named, int) and index < len(table):
        if table[named][2] != table[index][2]:
            return Unread(f"letter {letter} and the text of option {LETTERS[named]} contradict each other", blocks=True)
        return _named(problem, index, text)
    if not marked and not _AFTER_LABEL.match(rest):
        return None
    if index >= len(table):
        return Reading(letter, text) if marked and (alone or match["wrapped"]) else None
    return _named(problem, index, text)


def by_value(problem: Problem, text: str) -> int | Unread | None:
    """Index of the option whose text or number `text` is; Unread where it is two different ones; None for
    none."""
    table = _options(problem.choices or ())
    for form in dict.fromkeys((text, _LEAD_IN.sub("", text))):
        wanted = words(form)
        found = {row[2] for row in table if wanted and row[0] == wanted}
        if found:
            return found.pop()
    quantity = number.parse(_after_equals(text), problem.unit)
    if quantity is None:
        return None
    options = [(row[1], row[2]) for row in table if row[1] is not None]
    rules = (
        lambda option: number.same(option.value, quantity.value) and option.percent == quantity.percent,
        lambda option: number.same(option.value, quantity.value),
        lambda option: number.rounds_to(option, quantity) or number.rounds_to(quantity, option),
        lambda option: option.percent != quantity.percent and number.equal(option, quantity),
    )
    for rule in rules:
        found = {first for option, first in options if rule(option)}
        if len(found) > 1:
            return Unread(f"{text[:60]!r} fits options {', '.join(LETTERS[i] for i in sorted(found))}", blocks=True)
        if found:
            return found.pop()
    return None


def _after_equals(text: str) -> str:
    """ "x = 5" -> "5"; several assignments stay as they are."""
    parts = re.split(r"=|≈|\\approx", text)
    return parts[-1] if len(parts) > 1 and not re.search(r"[,;]|\band\b", parts[-1]) else text


def _no_option(problem: Problem, payload: str, clause: str, strong: bool) -> Reading | Unread:
    """The answer is no option as it stands: a number in a sentence, a value that is not offered, or prose."""
    if re.search(r"\bor\b", clause):
        return Unread(f"{clause[:60]!r} names more than one answer", blocks=True)
    quantity = number.parse(_after_equals(clause), problem.unit)
    if quantity is not None:
        return Reading(quantity.canonical, payload, quantity)
    values = number.tokens(clause, problem.unit)
    distinct = {value.canonical: value for value in values}
    if len(distinct) > 1:
        return Unread(f"{clause[:60]!r} names more than one number", blocks=True)
    if distinct:
        (value,) = distinct.values()
        index = by_value(problem, value.written)
        if isinstance(index, int):
            return _named(problem, index, payload)
        if isinstance(index, Unread):
            return index
        if strong:
            return Reading(value.canonical, payload, value)
    text = words(clause)
    if strong and text and len(text.split()) <= MAX_VALUE_WORDS:
        return Reading(text, payload)
    return Unread(f"{clause[:60]!r} names no option")


def read_bare(problem: Problem, line: str, single: bool) -> Reading | Unread:
    """A last line with no "Answer:" counts only if it is nothing but a label, an option or a value."""
    if not single and re.match(r"^\s*\(?\d+[.)]\s*$", line):  # a list marker
        return Unread("no answer is stated")
    text = unwrap(line)
    match = _LABEL.match(text)
    if match and (match["wrapped"] or match["bare"]) and (match["wrapped"] or match["bare"]).isupper():
        rest = unwrap(match["rest"])
        if not rest or isinstance(by_value(problem, rest), int):
            label = _by_label(problem, text)
            if label is not None:
                return label
    index = by_value(problem, text) if "=" not in text else None
    if isinstance(index, Unread):
        return index
    if index is not None:
        return _named(problem, index, line)
    if single and match and not match["rest"] and len(text.strip("()[]. ")) == 1:
        return _by_label(problem, text) or Unread("no answer is stated")
    quantity = number.parse(plain_math(line), problem.unit, max_unit_words=2)
    return Reading(quantity.canonical, line, quantity) if quantity else Unread("no answer is stated")
