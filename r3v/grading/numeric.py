"""Reads the number that a statement gives: the statement is read whole, with the words around the number, or not.

`number` reads a number with its unit. Here: words in front that change nothing ("about", "it is"), a remark in
parentheses or at the end, and a subject with its link ("x = 5", "the angle is 95 degrees")."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from r3v.grading import compare, rules, writing
from r3v.grading.number import Quantity, Reading, Unread, of_plain
from r3v.records import Problem

MAX_DEPTH = 6
SENTENCE_END = re.compile(
    r"(?:(?<=[A-Za-z]{3})|(?<=[\d°%)$*}]))[.!?。]\s*(?=\s[A-Z(]|[\u4e00-\u9fff]|\n).*$", re.DOTALL
)
_LIST = re.compile(r"[,;]\s|\band\b|\bor\b|&")
_NAME = re.compile(
    r"(?:m\s?)?[∠△⊙|]*[A-Za-zµ\u0370-\u03ff\u4e00-\u9fff∠△⊙]"
    r"(?:[A-Za-z\u0370-\u03ff\u4e00-\u9fff∠△⊙'|\s]|_\s?(?:\{[A-Za-z0-9△∠ ]*\}|[A-Za-z0-9△∠]+(?![A-Za-z0-9△∠]))"
    r"|(?<=∠)\d|(?<=angle )\d|(?<=[A-Za-z])\d(?!\w)|\([A-Za-z, ]*\))*"
)
_ARITHMETIC = re.compile(r"(?:[\d\s.,+\-*/^(){}\[\]÷√π°%$]|\\(?:sqrt|frac)|sqrt|(?:sin|cos|tan)(?=\s*\(?\d+\s*°))+")


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a problem helps to read a number: its unit and its question; and whether nouns count as units."""

    unit: str = ""
    question: str = ""
    nouns: bool = True

    @classmethod
    def of(cls, problem: Problem, nouns: bool = True) -> Asked:
        return cls(problem.unit or "", problem.question[:2000], nouns)


_FACTORIAL = re.compile(r"[\d)}π]\s*!\W*$")


class _Contradiction(Exception):
    """A remark gives another value than the statement."""


def refused(clause: str) -> bool:
    """The clause says that there is no answer, or denies one."""
    return any(pattern.search(clause) for pattern in _refusals(rules.TABLE))


@lru_cache(maxsize=4)
def _refusals(table: rules.Table) -> list[re.Pattern[str]]:
    return table.patterns("refusal")


@lru_cache(maxsize=4)
def _reasons(table: rules.Table) -> list[re.Pattern[str]]:
    return table.patterns("reason")


@lru_cache(maxsize=4)
def _withdrawals(table: rules.Table) -> list[re.Pattern[str]]:
    return table.patterns("taken back")


def withdrawn(text: str) -> bool:
    """Words that take back the statement before them."""
    return any(pattern.search(text) for pattern in _withdrawals(rules.TABLE))


def main_clause(payload: str) -> str:
    """The payload up to the end of its first sentence or the reason given for it."""
    clause = SENTENCE_END.sub("", payload)
    for pattern in _reasons(rules.TABLE):
        clause = pattern.sub("", clause)
    return clause


def rest_withdraws(payload: str) -> bool:
    """What follows the first sentence of a payload takes it back, or goes on with another choice."""
    rest = payload[len(SENTENCE_END.sub("", payload)) :]
    return bool(rest.strip()) and (withdrawn(rest) or bool(re.match(r"\W*(?:or|and)\b", rest, re.IGNORECASE)))


def quantity(text: str, asked: Asked) -> Quantity | Unread | None:
    """The number that a text is, whole; Unread where it contradicts itself, None where it is no number."""
    try:
        return _within(writing.plain(text), asked, 0)
    except _Contradiction as error:
        return Unread(str(error), blocks=True)


def parsed(text: str, asked: Asked) -> Quantity | None:
    return of_plain(text, asked.unit, asked.question, asked.nouns)


def _within(text: str, asked: Asked, depth: int) -> Quantity | None:
    """`text` is spelled already."""
    text = text.strip().rstrip(".,;:").strip()
    if not text or depth > MAX_DEPTH or len(text) > 300:
        return None
    found = parsed(text, asked)
    if found is not None:
        return found
    table = rules.TABLE
    if text[0] == "(" and text[-1] == ")" and text.count("(") == 1:
        return _within(text[1:-1], asked, depth + 1)
    remark = re.match(r"^(.*\S)\s*(?<=[\s\d°%)])\(([^()]*)\)$", text)
    if remark:
        return _with_remark(remark[1], remark[2], asked, depth)
    for pattern in _compiled(table, "lead", "^(?:", ")"):
        match = pattern.match(text)
        if match and match.end():
            return _within(text[match.end() :], asked, depth + 1)
    for pattern in _compiled(table, "tail", "(?:", ")"):
        match = pattern.search(text)
        if match and match.start():
            return _within(text[: match.start()], asked, depth + 1)
    return _linked(text, asked, depth)


@lru_cache(maxsize=32)
def _compiled(table: rules.Table, stage: str, before: str, behind: str) -> list[re.Pattern[str]]:
    return table.patterns(stage, before, behind)


def _with_remark(head: str, remark: str, asked: Asked, depth: int) -> Quantity | None:
    """ "5 (since 2 + 3 = 5)", "1/2 (0.5)", "12 (cm)"; a remark with another value is a contradiction."""
    if any(pattern.fullmatch(remark.strip()) for pattern in _compiled(rules.TABLE, "remark", "", "")):
        return _within(head, asked, depth + 1)
    found = _within(head, asked, depth + 1)
    if found is None:
        return None
    other = _within(remark, asked, depth + 1)
    if other is not None:
        if not _agree(found, other):
            raise _Contradiction(f"{head[:40]!r} and {remark[:40]!r} contradict each other")
        return found
    return parsed(f"{head} {remark}", asked) if not found.unit else None


def _agree(a: Quantity, b: Quantity) -> bool:
    return compare.equal(a, b) or compare.equal(b, a)


def _linked(text: str, asked: Asked, depth: int) -> Quantity | None:
    """The value behind "=" or a verb, where what stands before is the name of a quantity or arithmetic."""
    for rule in rules.TABLE.stage("link"):
        places = list(_link(rule.pattern).finditer(text))
        if not places:
            continue
        if rule.name == "equation":
            return _equation(text, asked, depth)
        for place in places:
            subject, behind = text[: place.start()].strip(), text[place.end() :].strip()
            if not _is_subject(subject):
                return None
            found = _within(behind, asked, depth + 1)
            if found is not None:
                return found
    return None


@lru_cache(maxsize=64)
def _link(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_RELATIVE = re.compile(r"\b(?:who|which|that)\s+(?:is|are|was|were|has|have|had|will be)\b", re.IGNORECASE)


def _is_subject(subject: str) -> bool:
    """A noun phrase: no second statement, no denial, nothing that is done to its value."""
    if not subject or len(subject.split()) > 25 or re.search(r"[=<>≈+*/^]|[?!]", subject):
        return False
    if any(pattern.search(subject) for pattern in _compiled(rules.TABLE, "subject", "", "")):
        return False
    other = _RELATIVE.sub("", subject)
    return not any(
        _link(rule.pattern).search(other) for rule in rules.TABLE.stage("link") if rule.name in ("is", "chinese link")
    )


def _equation(text: str, asked: Asked, depth: int) -> Quantity | None:
    """ "x = 2·3 = 6": the last part; "3√2 ≈ 4.24": the exact form, where the other is its rounding."""
    parts = [part.strip() for part in re.split(r"[=≈]", text)]
    if not all(parts) or _LIST.search(text):
        return None
    last = _within(parts[-1], asked, depth + 1)
    if last is None:
        return None
    if not _is_left(parts[0], asked):
        return None
    exact = parsed(parts[-2], replace(asked, nouns=False))
    if exact is None or compare.same(exact.value, last.value):
        return last
    if compare.equal(exact, last) or compare.rounds_to(exact, last) or _near(exact, last):
        return replace(exact, unit=exact.unit or last.unit, measure=exact.measure or last.measure)
    raise _Contradiction(f"{parts[-2][:40]!r} is not {parts[-1][:40]!r}")


def _near(exact: Quantity, shown: Quantity) -> bool:
    """Rounded to a whole number, as after "≈"."""
    return shown.decimals == 0 and abs(float(exact.value) - float(shown.value)) <= 0.5


def _is_left(part: str, asked: Asked) -> bool:
    """What may stand before "=": arithmetic, a name, names that are added or divided, or what the question asks for.

    "2x", "x - 30" and "x^2" are none: the value behind "=" is not that of x."""
    if _ARITHMETIC.fullmatch(part) and re.search(r"[\dπ]", part):
        return True
    if "|" in part and not re.fullmatch(r"\|[A-Z]{2}\|", part):  # "|x| = 7" leaves the sign of x open
        return False
    names = re.split(r"\s*[+\-*/:]\s*", part)
    if len(names) == 1 and len(part.split()) <= 8 and _NAME.fullmatch(part) and not _blocked(part):
        return True
    if len(names) > 1 and all(_NAME.fullmatch(name) and " " not in name for name in names):
        return True
    squeezed = _squeezed(part)
    return len(squeezed) > 1 and squeezed in _squeezed(writing.plain(asked.question[-250:]))


def _squeezed(text: str) -> str:
    return re.sub(r"[\s$*]", "", text).casefold()


def _blocked(words: str) -> bool:
    return any(pattern.search(words) for pattern in _compiled(rules.TABLE, "subject", "", ""))


def read(problem: Problem, payload: str, strong: bool = True) -> Reading | Unread:
    """The one number of a statement. Two different numbers ("5 or 6"), a number in words that were not read ("more than
    5") and unevaluated arithmetic are no answer."""
    return read_with(Asked.of(problem), payload)


def read_with(asked: Asked, payload: str) -> Reading | Unread:
    clause = main_clause(payload)
    if _FACTORIAL.search(payload):
        return Unread(f"{payload[:60]!r} may be a factorial")
    for text in dict.fromkeys((payload, clause)):
        found = quantity(text, asked)
        if isinstance(found, Unread):
            return found
        if found is not None:
            if text is not payload and rest_withdraws(payload):
                return Unread(f"{payload[:60]!r} takes its answer back", blocks=True)
            return Reading(found.canonical, payload, found)
    shown = writing.unwrap(clause)
    if refused(shown):
        return Unread(f"{shown[:60]!r} is no number", blocks=True)
    several = len(set(re.findall(r"\d+(?:\.\d+)?", shown))) > 1
    return Unread(f"{shown[:60]!r} is not read as one number", blocks=several)


def read_bare(problem: Problem, line: str, single: bool) -> Reading | Unread:
    """Without "Answer:", a last line that is only a number (with a unit) names it; "2." after other lines is a list
    marker."""
    if not single and re.match(r"^\s*\(?\d+[.)]\s*$", line):
        return Unread("no answer is stated")
    if re.search(r"[=≈]", line) or len(re.findall(r"[A-Za-z]+", writing.plain(line))) > 3:
        return Unread("no answer is stated")
    asked = Asked.of(problem)
    found = parsed(writing.plain(line), asked)
    return Reading(found.canonical, line, found) if found else Unread("no answer is stated")
