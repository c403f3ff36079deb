"""Mathematical expressions: cheap comparison of text and of closed forms first, then math-verify in the pool.

math-verify guards itself with signals, which fail outside the main thread, so its timeouts are off and ours,
in a process that can be killed, are on (`pool`)."""

from __future__ import annotations

import re
from functools import lru_cache

from r3v.grading import compare as numbers
from r3v.grading import number, numeric, pool
from r3v.grading.number import Quantity, Reading, Unread
from r3v.grading.writing import plain, unwrap
from r3v.records import Problem

MAX_EXPRESSION = 200
_NAMES = "sin cos tan cot sec csc arcsin arccos arctan log exp lim sqrt max min mod gcd pmod and inf"
_FUNCTIONS = frozenset(_NAMES.split())
_ALIASES = (
    (re.compile(r"\\(?:left|right|displaystyle|limits)(?![A-Za-z])"), ""),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*(\d+|[A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\sqrt\s*(\d)(?!\d)"), r"\\sqrt{\1}"),
    (re.compile(r"π|(?<![\\A-Za-z])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"[*·×]|\\times(?![A-Za-z])"), r"\\cdot "),
    (re.compile(r"\\[,;! ]|~"), " "),
    (re.compile(r"−|–"), "-"),
)


def latex(text: str) -> str:
    """One way of typing an expression: "2*sqrt(3)" -> "2\\\\cdot \\\\sqrt{3}"; the value is not computed."""
    text = unwrap(text)
    for pattern, replacement in _ALIASES:
        text = pattern.sub(replacement, text)
    return re.sub(r"\s+", " ", text).strip()


def _squeezed(text: str) -> str:
    """Without spaces, except the one that ends a LaTeX command before a letter."""
    return re.sub(r"(\\[A-Za-z]+) (?=[A-Za-z])|\s+", lambda m: m[0] if m[1] else "", text)


def looks_like_math(text: str) -> bool:
    """No prose: math-verify would read "banana" as a product of letters, equal to any anagram."""
    bare = re.sub(r"\\[A-Za-z]+|\{[a-z]+\}", " ", text)
    prose = [w for w in re.findall(r"[A-Za-z]{3,}", bare) if w.lower() not in _FUNCTIONS]
    return bool(text) and len(text) <= MAX_EXPRESSION and not prose and bool(re.search(r"[\w∞∅]", text))


def _read(text: str, problem: Problem) -> Reading | Unread | None:
    found = numeric.quantity(text, numeric.Asked.of(problem, nouns=False)) if "=" not in text else number.parse(text)
    if isinstance(found, Unread):
        return found
    shown = latex(text)
    if isinstance(found, Quantity):
        return Reading(found.canonical, latex(_without_unit(text, found)), found)
    return Reading(_squeezed(shown), shown) if looks_like_math(shown) else None


def _without_unit(text: str, found: Quantity) -> str:
    """The expression alone, as math-verify takes it: to it "9\\pi cm" is a product of four factors."""
    if not found.unit:
        return text
    shown = plain(text)
    for end in range(len(shown), 0, -1):
        alone = number.parse(shown[:end], nouns=False)
        if alone is not None and not alone.unit and numbers.same(alone.value, found.value):
            return shown[:end]
    return text


def read(problem: Problem, payload: str, strong: bool = True) -> Reading | Unread:
    """The expression that a statement gives, or what stands behind its last "=" if the left side is prose."""
    clause = numeric.main_clause(payload)
    shown = unwrap(clause)
    if numeric.refused(shown):
        return Unread(f"{shown[:60]!r} is no expression", blocks=True)
    behind = re.split(r"\bis\b|\bequals\b|:", shown)[-1]
    for text in dict.fromkeys((unwrap(payload), shown, behind, shown.split("=")[-1])):
        reading = _read(text, problem)
        if reading is not None:
            if text != unwrap(payload) and numeric.rest_withdraws(payload):
                return Unread(f"{payload[:60]!r} takes its answer back", blocks=True)
            return reading
    return Unread(f"no expression in {shown[:60]!r}")


def read_bare(problem: Problem, line: str, single: bool) -> Reading | Unread:
    """Without "Answer:", a last line that is nothing but an expression; an equation is a step."""
    if re.search(r"=|≈|\\approx", line) or (not single and re.match(r"^\(?\w[.)]?$", plain(line))):
        return Unread("no answer is stated")
    return _read(line, problem) or Unread("no answer is stated")


def compare(gold: Reading, answer: Reading, tolerance: float | None) -> pool.Answer:
    """Equal, different, or why it cannot be told. The gold side of a failed parse is named as such."""
    if gold.canonical == answer.canonical:
        return pool.Answer("equal")
    if gold.quantity is not None and answer.quantity is not None:
        return pool.Answer("equal" if numbers.equal(gold.quantity, answer.quantity, tolerance) else "different")
    result = _verify(gold.raw, answer.raw)
    if result.status == "down":  # a process that did not start says nothing about this pair
        _verify.cache_clear()
    return result


@lru_cache(maxsize=8192)
def _verify(gold: str, answer: str) -> pool.Answer:
    return pool.shared().ask({"op": "verify", "gold": gold, "answer": answer})


@lru_cache(maxsize=8192)
def symbolic(shown: str) -> str | None:
    """One string for expressions that expand to the same ("x(x+1)" and "x^2+x"), None where none was
    found."""
    answer = pool.shared().ask({"op": "canonical", "answer": shown}, tries=1)
    return answer.text if answer.status == "canonical" else None
