"""From a text to a Verdict: find the stated answer, read it by the problem's kind, compare it with the
gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from r3v.grading import choice, compare, expression, number, numeric, own, rules, where
from r3v.grading import text as free_text
from r3v.grading.number import Reading, Unread
from r3v.grading.where import MAX_PAYLOAD, Statement
from r3v.grading.writing import words
from r3v.records import LETTERS, Graded, Outcome, Problem, Verdict

MAX_STATEMENTS = 12  # of one strength, counted from the end
OWN = "grader"
"""Key of `Problem.meta` that names a grader of the user's own (see `r3v.grading.own`)."""
GRADER_VERSION = 2
"""Goes up whenever a text may be judged otherwise than before; files of graded texts keep it."""

_READERS = {"choice": choice, "number": numeric, "text": free_text, "expression": expression}


def grade(problem: Problem, text: str) -> Verdict:
    """Judge the answer that `text` names against the gold; the gold plays no part in finding it.

    UNPARSED when no answer is named, UNAVAILABLE when the gold cannot be read or math-verify gave up; the
    reason names the problem. `extracted` is what `extract` returns."""
    if OWN in problem.meta:
        return own.judged(problem.meta[OWN], problem, text)
    reading = find(problem, text)
    if isinstance(reading, Unread):
        return Verdict(Outcome.UNPARSED, None, reading.reason)
    return _compare(problem, reading)


def grader_name(problem: Problem | None = None) -> str:
    """The grader of a problem with its version, as files of verdicts keep it: "r3v 2", or the name of one's own."""
    if problem is not None and OWN in problem.meta:
        return own.grader_name(problem.meta[OWN])
    return f"r3v {GRADER_VERSION}"


def grader_named(spec: str | None) -> str:
    """The same for a grader as a recipe names it (`data.grader`). Raises ConfigError for what is missing."""
    return f"r3v {GRADER_VERSION}" if spec is None else own.grader_name(spec)


def regrade(graded: Sequence[Graded], problems: Mapping[str, Problem]) -> tuple[list[Graded], int]:
    """The same candidates judged anew from their texts, and how many verdicts changed (outcome or answer).

    What an engine never answered stays UNAVAILABLE. Raises KeyError for a problem that is not among `problems`."""
    found, changed = [], 0
    for item in graded:
        if item.verdict.outcome is Outcome.UNAVAILABLE and not item.candidate.text:
            found.append(item)
            continue
        verdict = grade(problems[item.candidate.problem_id], item.candidate.text)
        old = item.verdict
        changed += (verdict.outcome, verdict.extracted) != (old.outcome, old.extracted)
        found.append(Graded(item.candidate, verdict))
    return found, changed


def extract(problem: Problem, text: str) -> str | None:
    """The canonical form of the answer that `text` names, None if it names none.

    choice: the letter (the first, where the dataset repeats an option), or the stated value if it is no
    option; number: the value; text: the words in lower case; expression: the value, or the expanded
    expression."""
    if OWN in problem.meta:
        return own.judged(problem.meta[OWN], problem, text).extracted
    reading = find(problem, text)
    return None if isinstance(reading, Unread) else _canonical(problem, reading)


def normalise(problem: Problem, answer: str) -> str:
    """The canonical form of a short answer such as "B", "95.0" or "The Nile." (a rationale goes to
    `extract`).

    An answer that cannot be read by the problem's kind is returned as lower-case words.
    """
    if OWN in problem.meta:
        return words(answer[:MAX_PAYLOAD])
    reading = _read(problem, answer)
    return words(answer[:MAX_PAYLOAD]) if isinstance(reading, Unread) else _canonical(problem, reading)


def answers_equal(problem: Problem, a: str, b: str) -> bool:
    """Whether two short answers are the same, by the rules used against the gold (tolerance included).

    Symmetric: each is tried as the reference. Answers that cannot be read are equal only if their words are.
    """
    if OWN in problem.meta:
        return bool(words(a)) and words(a) == words(b)
    first, second = _read(problem, a), _read(problem, b)
    if isinstance(first, Unread) or isinstance(second, Unread):
        same_words = bool(words(a)) and words(a) == words(b)
        return isinstance(first, Unread) and isinstance(second, Unread) and same_words
    return _equal(problem, first, second) or _equal(problem, second, first)


def find(problem: Problem, text: str) -> Reading | Unread:
    """The answer that the strongest statement of `text` gives, else a last line that is nothing but an answer."""
    said = where.said(text)
    if said is None:
        return Unread("the thought was cut off: nothing was answered")
    tail, clipped = where.clip(said)
    if not tail:
        return Unread("the text is empty")
    found = where.statements(tail, problem.kind == "choice")
    reason, floor = "no answer is stated", -1
    for strength in sorted({statement.strength for statement in found}, reverse=True):
        group = [s for s in found if s.strength == strength and s.start > floor]
        settled = _settle(problem, tail, group)
        if isinstance(settled, Reading) or (settled is not None and settled.blocks):
            return settled
        if settled is not None:
            reason = settled.reason
            if strength > rules.SENTENCE:  # a weaker statement counts if it comes after what was not read
                floor = max(floor, group[-1].start)
    last = where.last_line(said, tail, clipped)
    if last is None or floor >= 0 or _has_marker(last[0]):
        return Unread(reason)
    bare = _READERS[problem.kind].read_bare(problem, *last)
    return Unread(reason) if isinstance(bare, Unread) and not bare.blocks else bare


def _settle(problem: Problem, tail: str, group: list[Statement]) -> Reading | Unread | None:
    """What statements of one strength say together: the last of those that were not taken back, if none of the others
    differs. None where all were taken back or there is none."""
    if not group:
        return None
    ends = [statement.start for statement in group[1:]] + [len(tail)]
    standing = [s for s, end in zip(group, ends, strict=True) if not numeric.withdrawn(tail[s.end : max(s.end, end)])]
    different = {s.payload: s for s in standing}  # a model in a loop repeats itself
    standing = sorted(different.values(), key=lambda s: s.start)[-MAX_STATEMENTS:]
    last: Reading | Unread | None = None
    for statement in reversed(standing):
        reading = _stated(problem, statement)
        if isinstance(reading, Unread):
            if reading.blocks or (last is None and statement.strength > rules.SENTENCE):
                return reading if last is None else last
            last = last or (reading if statement is standing[0] else None)
            continue
        if not isinstance(last, Reading):
            last = reading
        elif not _agree(problem, reading, last):
            return Unread(f"{reading.raw[:40]!r} and {last.raw[:40]!r} are both stated", blocks=True)
    return last


def _stated(problem: Problem, statement: Statement) -> Reading | Unread:
    """One statement, read by the kind of the problem."""
    payload, reader = statement.payload, _READERS[problem.kind]
    clause = numeric.main_clause(payload)
    if payload.rstrip(" *_$`").endswith(("?", "？")) and len(clause) == len(payload):
        return Unread(f"{payload[:60]!r} is a question")
    if statement.cut and len(clause) == len(payload):
        return Unread("the statement is longer than an answer")
    if statement.strength == rules.HASH:
        return reader.read_bare(problem, payload, True)
    reading = reader.read(problem, payload, statement.strong)
    if isinstance(reading, Reading) and not statement.strong and not _short(problem, reading):
        return Unread("a sentence about the answer, not the answer")
    return reading


def _agree(problem: Problem, a: Reading, b: Reading) -> bool:
    """Two statements give the same answer."""
    if a.canonical == b.canonical:
        return True
    if a.quantity is not None and b.quantity is not None and problem.kind != "choice":
        return compare.equal(a.quantity, b.quantity) or compare.equal(b.quantity, a.quantity)
    return problem.kind == "expression" and expression.compare(a, b, None).status == "equal"


def _has_marker(line: str) -> bool:
    return line.rstrip("*_: \t").lower().endswith(("answer", "ans", "answer is"))


def _short(problem: Problem, reading: Reading) -> bool:
    """ "the answer is obtained by adding" is a sentence: weak statements must be short where any words would
    do."""
    return problem.kind != "text" or len(reading.canonical.split()) <= 6


def _read(problem: Problem, answer: str) -> Reading | Unread:
    answer = answer[:MAX_PAYLOAD]
    if problem.kind == "text":  # a short answer is taken whole: no sentence is cut from it
        return free_text.normal(answer) or Unread("an empty answer")
    return _READERS[problem.kind].read(problem, answer, True)


@lru_cache(maxsize=4096)
def _gold(table: rules.Table, kind: str, answer: str, unit: str | None) -> Reading | Unread:
    """The gold, read by the rules of an answer; a unit that the problem names is the gold's where it has none."""
    problem = Problem("gold", answer, answer, kind, unit=unit)  # type: ignore[arg-type]
    gold = _read(problem, answer)
    if isinstance(gold, Unread) or gold.quantity is None or gold.quantity.unit or not unit:
        return gold
    own = number.parse(f"1 {unit}", nouns=False)
    if own is None or own.measure is None:
        return gold
    return replace(gold, quantity=replace(gold.quantity, measure=own.measure))


def _canonical(problem: Problem, reading: Reading) -> str:
    if problem.kind == "expression" and reading.quantity is None:
        return expression.symbolic(reading.raw) or reading.canonical
    return reading.canonical


def _equal(problem: Problem, gold: Reading, answer: Reading) -> bool:
    if problem.kind == "choice":
        return gold.canonical == answer.canonical
    if problem.kind == "number":
        assert gold.quantity is not None
        assert answer.quantity is not None
        return compare.equal(gold.quantity, answer.quantity, problem.tolerance)
    if problem.kind == "text":
        return free_text.equal(gold, answer, problem.tolerance)
    return expression.compare(gold, answer, problem.tolerance).status == "equal"


def _compare(problem: Problem, reading: Reading) -> Verdict:
    if problem.kind == "choice":
        return _choice(problem, reading)
    gold = _gold(rules.TABLE, problem.kind, problem.answer, problem.unit)
    if isinstance(gold, Unread):
        return _unavailable(problem, reading)
    if problem.kind != "expression":
        return _verdict(problem, reading, _equal(problem, gold, reading))
    answer = expression.compare(gold, reading, problem.tolerance)
    if answer.status == "bad_gold":
        return _unavailable(problem, reading)
    if answer.status == "bad_answer":
        return Verdict(Outcome.UNPARSED, None, f"{reading.raw[:60]!r} is no expression that math-verify reads")
    if answer.status in ("failed", "down"):
        return Verdict(Outcome.UNAVAILABLE, reading.canonical, f"problem {problem.id}: {answer.text}")
    return _verdict(problem, reading, answer.status == "equal")


def _choice(problem: Problem, reading: Reading) -> Verdict:
    if not reading.equal_options:
        is_letter = len(reading.canonical) == 1 and reading.canonical in LETTERS
        why = "that option does not exist" if is_letter else "the value is none of the options"
        return Verdict(Outcome.WRONG, reading.canonical, why)
    return _verdict(problem, reading, problem.answer in reading.equal_options)


def _verdict(problem: Problem, reading: Reading, correct: bool) -> Verdict:
    return Verdict(Outcome.CORRECT if correct else Outcome.WRONG, _canonical(problem, reading))


def _unavailable(problem: Problem, reading: Reading) -> Verdict:
    return Verdict(
        Outcome.UNAVAILABLE,
        reading.canonical,
        f"problem {problem.id}: the gold {problem.answer[:60]!r} cannot be read as {problem.kind}; "
        "correct it, or give the problem another answer kind",
    )
