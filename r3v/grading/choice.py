"""Multiple choice: the answer may be named by letter, by option text or by option value.

Rules:
- A letter is a label, also where option texts are letters themselves: "B" is the second option.
- "B. Blue" and "Blue (B)" are B. A letter and another option's text or value together ("B. Red", "13° (C)")
  contradict each other: unread. So do two letters.
- Options that carry their own label ("(A) red", "A. 10") are compared without it.
- A letter behind the last option is an answer that is not there: the letter itself is extracted, and it is WRONG.
- A value equal to no option is extracted as that value, and it is WRONG. Where all options are values, words that were
  not read as one ("more than 45") are unread; where they are texts, other words are WRONG, unless they hold an option.
- A value is matched first by equality, then by rounding to printed decimals (so "3.46" finds 3.4641016), and only if it
  finds one option; texts are matched whole, so "4" never finds "45".
- Repeated options are one answer: naming either names both, and the first letter of them is the canonical one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from r3v.grading import compare, numeric, rules
from r3v.grading.number import Quantity, Reading, Unread
from r3v.grading.writing import plain, unwrap, words
from r3v.records import LETTERS, Problem

MAX_VALUE_WORDS = 6  # a stated answer of more words that equals no option is prose, not a value
_OWN_LABEL = re.compile(r"^\s*[\(\[]?([A-Z])[\)\].:、]\s*(?=\S)")
_LETTER = re.compile(
    r"^(?:[\(\[{]\s*(?P<wrapped>[A-Za-z])\s*[\)\]}]|(?P<bare>[A-Z])(?![A-Za-z0-9_'°^/+*=]))\s*(?P<mark>(?:[.):,;]|[—–-](?=\s))*)\s*(?P<rest>.*)$",
    re.DOTALL | re.IGNORECASE,
)
_LAST = re.compile(
    r"^(?P<head>.*\S)[\s,;:-]+(?:(?:option|choice|letter)\s+\(?(?P<named>[A-Z])\)?|[\(\[](?P<wrapped>[A-Z])[\)\]])$",
    re.DOTALL,
)
_NEW_SENTENCE = re.compile(r"[A-Z\u4e00-\u9fff]\S*(?:\s+\S+){2,}")
_AND = re.compile(r"^(?:and|or|/|&|,|;|\+)?\s*(?:(?:option|choice)\s+)?[\(\[{]?[A-Z][\)\]}]?(?:$|[\s,;.&/)(\]])")


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its words; its number if it is one; whether at most a known unit stands behind that, as in "3 cm" and
    not in "3 red balls"; and the index of the first option equal to it."""

    words: str
    quantity: Quantity | None
    measured: bool
    first: int


@lru_cache(maxsize=4096)
def _read_options(table: rules.Table, choices: tuple[str, ...]) -> tuple[Option, ...]:
    found: list[Option] = []
    for i, choice in enumerate(without_labels(choices)):
        value = numeric.quantity(choice, numeric.Asked())
        value = value if isinstance(value, Quantity) else None
        measured = value is not None and (not value.unit or value.measure is not None)
        text, first = words(choice[:1000]) or choice.strip(), i
        for option in found:
            if text == option.words or (
                value is not None and option.quantity is not None and _same(value, option.quantity)
            ):
                first = option.first
                break
        found.append(Option(text, value, measured, first))
    return tuple(found)


def without_labels(choices: tuple[str, ...]) -> tuple[str, ...]:
    """The options without the labels they carry, where every one carries its own: "(A) red" -> "red"."""
    labels = [_OWN_LABEL.match(choice) for choice in choices]
    if all(label is not None and label[1] == LETTERS[i] for i, label in enumerate(labels)):
        return tuple(choice[label.end() :].strip() for choice, label in zip(choices, labels, strict=True) if label)
    return choices


def options(problem: Problem) -> tuple[Option, ...]:
    return _read_options(rules.TABLE, problem.choices or ())


def _same(a: Quantity, b: Quantity) -> bool:
    b = compare.in_units_of(b, a)
    alike = a.measure == b.measure and (a.measure is not None or a.unit.casefold() == b.unit.casefold())
    return compare.same(a.value, b.value) and a.percent == b.percent and alike


def _named(problem: Problem, index: int, raw: str) -> Reading:
    table = options(problem)
    first = table[index].first
    equal = "".join(LETTERS[i] for i, row in enumerate(table) if row.first == first)
    return Reading(LETTERS[first], raw, equal_options=equal)


@lru_cache(maxsize=16)
def _labels(table: rules.Table, meaning: str) -> list[re.Pattern[str]]:
    chosen = [rule for rule in table.stage("label") if rule.meaning == meaning]
    return [
        re.compile(("^(?:%s)" if meaning == "before" else "(?:%s)") % rule.pattern, re.IGNORECASE) for rule in chosen
    ]


def read(problem: Problem, payload: str, strong: bool = True) -> Reading | Unread:
    """The option that a stated answer names."""
    clause = numeric.main_clause(payload)
    for text in dict.fromkeys((payload, clause)):
        found = _whole(problem, text)
        if found is None:
            continue
        if isinstance(found, Reading) and text is not payload and (problem_is_taken := _rest(problem, payload, found)):
            return problem_is_taken
        return found
    shown = unwrap(clause)
    if numeric.refused(shown):
        return Unread(f"{shown[:60]!r} names no option", blocks=True)
    return _no_option(problem, payload, shown, strong)


def _rest(problem: Problem, payload: str, found: Reading) -> Unread | None:
    """The sentences behind the statement take it back, or begin with another option."""
    rest = payload[len(numeric.SENTENCE_END.sub("", payload)) :].strip(" .!?\n")
    if not rest:
        return None
    return _other_option(problem, rest, found.equal_options or found.canonical)


def _other_option(problem: Problem, rest: str, letters: str) -> Unread | None:
    """A sentence behind the answer that takes it back, or begins with another option."""
    shown = words(rest)
    for i, option in enumerate(options(problem)):
        if shown.startswith(f"{option.words} ") and len(option.words) > 1 and LETTERS[i] not in letters:
            return Unread(f"{rest[:60]!r} names option {LETTERS[i]} as well", blocks=True)
    if numeric.withdrawn(rest) or re.match(r"(?:or|and)\b", rest, re.IGNORECASE):
        return Unread(f"{rest[:60]!r} takes the answer back", blocks=True)
    return None


def _whole(problem: Problem, payload: str) -> Reading | Unread | None:
    """A text that is nothing but a label, an option, a value, or a label with its option; None for anything else."""
    text = unwrap(payload)
    index = _by_words(problem, text)
    if index is not None:
        return _named(problem, index, payload)
    spelled = plain(text)
    for _ in range(4):
        found = _by_label(problem, spelled)
        if found is not None:
            return found
        index = _by_words(problem, spelled)
        if index is not None:
            return _named(problem, index, payload)
        shorter = _without(spelled)
        if shorter == spelled:
            break
        spelled = shorter
    return _by_value(problem, spelled, payload)


def _without(text: str) -> str:
    for pattern in _labels(rules.TABLE, "before"):
        match = pattern.match(text)
        if match and match.end() and match.end() < len(text):
            return text[match.end() :].strip()
    return text


def _by_words(problem: Problem, text: str) -> int | None:
    """The option whose text this is; one letter is always a label."""
    shown = words(text)
    if re.search(r"[\(\[]A[\)\]]|\bA$", text):  # a label, which `words` takes for an article
        return None
    if len(shown) < 2 and re.fullmatch(r"[\(\[{]?[A-Za-z][\)\]}]?[.):]?", text.strip()):
        return None
    found = {option.first for option in options(problem) if shown and option.words == shown}
    return found.pop() if found else None


def _by_label(problem: Problem, text: str) -> Reading | Unread | None:
    """A letter at the start or the end: "(B)", "B.", "B. Blue", "Blue (B)", "option B because ..."."""
    table = options(problem)
    match = _LETTER.match(text)
    if match is None:
        return _by_last(problem, text)
    letter, rest, mark = match["wrapped"] or match["bare"], unwrap(match["rest"]), match["mark"]
    for pattern in _labels(rules.TABLE, "behind"):
        shorter = pattern.sub("", f" {rest}" if mark.strip() == "" else f"{mark[-1]} {rest}").strip(" .,;:)")
        rest = shorter if pattern.search(f" {rest}") else rest
    alone = not rest and not mark.startswith("-")
    if letter.islower():
        if not alone or (match["bare"] and words(text) in [option.words for option in table]):
            return None
        letter = letter.upper()
    if _AND.match(mark.lstrip(".):") + rest):
        return Unread(f"{text[:60]!r} names more than one option", blocks=True)
    index = LETTERS.index(letter)
    if not rest:
        if index >= len(table):
            return Reading(letter, text) if alone or match["wrapped"] else None
        return _named(problem, index, text) if alone else None
    named = _whole_value(problem, rest)
    if isinstance(named, Unread):
        return named
    if named is None:
        new = mark.endswith(".") and index < len(table) and _NEW_SENTENCE.match(rest)
        return (_other_option(problem, rest, letter) or _named(problem, index, text)) if new else None
    if index >= len(table) or table[named].first != table[index].first:
        if not (match["wrapped"] or mark):  # "A triangle" begins with an article
            return None
        return Unread(f"letter {letter} and the text of option {LETTERS[named]} contradict each other", blocks=True)
    return _named(problem, index, text)


def _by_last(problem: Problem, text: str) -> Reading | Unread | None:
    match = _LAST.match(text)
    if match is None:
        return None
    letter = match["named"] or match["wrapped"]
    named = _whole_value(problem, unwrap(match["head"]))
    if isinstance(named, Unread):
        return named
    if named is None:
        return None
    index, table = LETTERS.index(letter), options(problem)
    if index >= len(table) or table[named].first != table[index].first:
        return Unread(f"{text[:60]!r} names option {LETTERS[named]} and letter {letter}", blocks=True)
    return _named(problem, index, text)


def _whole_value(problem: Problem, text: str) -> int | Unread | None:
    index = _by_words(problem, text)
    return index if index is not None else by_value(problem, text)[0]


def by_value(problem: Problem, text: str) -> tuple[int | Unread | None, Quantity | None]:
    """The option whose value `text` is, and the value; Unread where it is two different options, None for none."""
    table = options(problem)
    quantity = numeric.quantity(text, numeric.Asked.of(problem))
    if not isinstance(quantity, Quantity):
        return quantity, None
    valued = [o for o in table if o.quantity is not None and not _other_noun(o.quantity, quantity)]
    close = [o for o in valued if o.quantity and not compare.kinds_differ(o.quantity, quantity)] or valued
    for rule in _MATCHES:
        found = {option.first for option in close if option.quantity is not None and rule(option.quantity, quantity)}
        if len(found) > 1:
            named = ", ".join(LETTERS[i] for i in sorted(found))
            return Unread(f"{text[:60]!r} fits options {named}", blocks=True), quantity
        if found:
            return found.pop(), quantity
    return None, quantity


def _other_noun(option: Quantity, answer: Quantity) -> bool:
    """ "3 green balls" is not "3 red balls"; "3" may be."""
    counts = (option.unit and option.measure is None) or (answer.unit and answer.measure is None)
    return bool(counts and option.unit and answer.unit) and _stem(option.unit) != _stem(answer.unit)


def _stem(unit: str) -> str:
    return re.sub(r"s$", "", unit.casefold())


def _exact(option: Quantity, answer: Quantity) -> bool:
    return compare.same(option.value, answer.value) and option.percent == answer.percent and option.unit == answer.unit


def _equal(option: Quantity, answer: Quantity) -> bool:
    answer = compare.in_units_of(answer, option)
    return compare.same(option.value, answer.value)


def _percent(option: Quantity, answer: Quantity) -> bool:
    return _equal(option, answer) and option.percent == answer.percent


def _rounded(option: Quantity, answer: Quantity) -> bool:
    answer = compare.in_units_of(answer, option)
    return compare.rounds_to(option, answer) or compare.rounds_to(answer, option)


def _hundredth(option: Quantity, answer: Quantity) -> bool:
    return option.percent != answer.percent and compare.equal(option, answer)


_MATCHES = (_exact, _percent, _equal, _rounded, _hundredth)


def _by_value(problem: Problem, text: str, payload: str) -> Reading | Unread | None:
    index, quantity = by_value(problem, text)
    if isinstance(index, Unread):
        return index
    if index is not None:
        return _named(problem, index, payload)
    return Reading(quantity.canonical, payload, quantity) if quantity is not None else None


def _no_option(problem: Problem, payload: str, clause: str, strong: bool) -> Reading | Unread:
    """The answer is no option as it stands: other words, or prose."""
    shown, table = words(clause), options(problem)
    if re.search(r"\bor\b", clause):
        return Unread(f"{clause[:60]!r} names more than one answer", blocks=True)
    if all(option.measured for option in table):
        return Unread(f"{clause[:60]!r} is read as none of the values", blocks=len(set(re.findall(r"\d+", clause))) > 1)
    named = [o.first for o in table if o.words and re.search(rf"(?<!\w){re.escape(o.words)}(?!\w)", shown)]
    if named:
        return Unread(f"{clause[:60]!r} holds an option among words that were not read", blocks=len(set(named)) > 1)
    label = _LETTER.match(plain(clause))
    letters = {c for c in re.findall(r"(?<![\w'])[A-Z](?![\w'])", clause) if c in LETTERS[: len(table)]}
    if (label and (label["wrapped"] or label["mark"])) or letters - {"A"}:
        return Unread(f"{clause[:60]!r} holds a letter among words that were not read", blocks=len(letters) > 1)
    if re.fullmatch(r"(?:[A-Z][\s,;&/()]*){2,}", clause) and all(
        c in LETTERS[: len(table)] for c in clause if c.isalpha()
    ):
        return Unread(f"{clause[:60]!r} names more than one option", blocks=True)
    if strong and shown and len(shown.split()) <= MAX_VALUE_WORDS:
        return Reading(shown, payload)
    return Unread(f"{clause[:60]!r} names no option")


def read_bare(problem: Problem, line: str, single: bool) -> Reading | Unread:
    """A last line with no "Answer:" counts only if it is nothing but a label, an option or a value."""
    nothing = Unread("no answer is stated")
    if not single and re.match(r"^\s*\(?\d+[.)]\s*$", line):  # a list marker
        return nothing
    text = unwrap(line)
    match = _LETTER.match(plain(text))
    if (
        match
        and (match["wrapped"] or match["bare"]).isupper()
        and (not match["rest"] or _whole_value(problem, match["rest"]) is not None)
    ):
        return _by_label(problem, plain(text)) or nothing
    index = _by_words(problem, text)
    if index is not None:
        return _named(problem, index, line)
    if single and re.fullmatch(r"[\(\[]?[a-zA-Z][\)\]]?\.?", text):
        return _by_label(problem, text) or nothing
    if single:
        found = _whole(problem, _without(text)) if re.match(r"(?:option|choice)\b", text, re.IGNORECASE) else None
        if found is not None:
            return found
    if re.search(r"[=≈]", line) or len(re.findall(r"[A-Za-z]+", plain(text))) > 3:
        return nothing
    quantity = numeric.parsed(plain(text), numeric.Asked.of(problem))
    return _by_value(problem, plain(text), line) or nothing if quantity is not None else nothing
