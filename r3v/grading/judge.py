"""From a text to a Verdict: find the stated answer, read it by the problem's kind, compare it with the
gold."""

from __future__ import annotations

from functools import lru_cache

from r3v.grading import choice, expression, number, numeric, statements
from r3v.grading import text as free_text
from r3v.grading.clean import words
from r3v.grading.reading import MAX_PAYLOAD, Reading, Unread
from r3v.records import LETTERS, Outcome, Problem, Verdict

_READERS = {"choice": choice, "number": numeric, "text": free_text, "expression": expression}


def grade(problem: Problem, text: str) -> Verdict:
    """Judge the answer that `text` names against the gold; the gold plays no part in finding it.

    UNPARSED when no answer is named, UNAVAILABLE when the gold cannot be read or math-verify gave up; the
    reason names the problem. `extracted` is what `extract` returns."""
    reading = find(problem, text)
    if isinstance(reading, Unread):
        return Verdict(Outcome.UNPARSED, None, reading.reason)
    return _compare(problem, reading)


def extract(problem: Problem, text: str) -> str | None:
    """The canonical form of the answer that `text` names, None if it names none.

    choice: the letter (the first, where the dataset repeats an option), or the stated value if it is no
    option; number: the value; text: the words in lower case; expression: the value, or the expanded
    expression."""
    reading = find(problem, text)
    return None if isinstance(reading, Unread) else _canonical(problem, reading)


def normalise(problem: Problem, answer: str) -> str:
    """The canonical form of a short answer such as "B", "95.0" or "The Nile." (a rationale goes to
    `extract`).

    An answer that cannot be read by the problem's kind is returned as lower-case words.
    """
    reading = _read(problem, answer)
    return words(answer[:MAX_PAYLOAD]) if isinstance(reading, Unread) else _canonical(problem, reading)


def answers_equal(problem: Problem, a: str, b: str) -> bool:
    """Whether two short answers are the same, by the rules used against the gold (tolerance included).

    Symmetric: each is tried as the reference. Answers that cannot be read are equal only if their words are.
    """
    first, second = _read(problem, a), _read(problem, b)
    if isinstance(first, Unread) or isinstance(second, Unread):
        same_words = bool(words(a)) and words(a) == words(b)
        return isinstance(first, Unread) and isinstance(second, Unread) and same_words
    return _equal(problem, first, second) or _equal(problem, second, first)


def find(problem: Problem, text: str) -> Reading | Unread:
    """The last answer that `text` states explicitly, else a last line that is nothing but an answer."""
    tail, clipped = statements.clip(text)
    if not tail:
        return Unread("the text is empty")
    reader = _READERS[problem.kind]
    reason = "no answer is stated"
    for statement in reversed(statements.statements(tail, problem.kind == "choice")):
        reading = reader.read(problem, statement.payload, statement.strong)
        if isinstance(reading, Reading):
            if statement.strong or _short(problem, reading):
                return reading
            reason = "a sentence about the answer, not the answer"
        elif reading.blocks:
            return reading
        else:
            reason = reading.reason
    last = statements.last_line(text, tail, clipped)
    if last is None or _has_marker(last[0]):
        return Unread(reason)
    bare = reader.read_bare(problem, *last)
    return Unread(reason) if isinstance(bare, Unread) and not bare.blocks else bare


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
def _gold(kind: str, answer: str, unit: str | None, choices: tuple[str, ...] | None) -> Reading | Unread:
    return _read(Problem("gold", "gold", answer, kind, choices=choices, unit=unit), answer)  # type: ignore[arg-type]


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
        return number.equal(gold.quantity, answer.quantity, problem.tolerance)
    if problem.kind == "text":
        return free_text.equal(gold, answer, problem.tolerance)
    return expression.compare(gold, answer, problem.tolerance).status == "equal"


def _compare(problem: Problem, reading: Reading) -> Verdict:
    if problem.kind == "choice":
        return _choice(problem, reading)
    gold = _gold(problem.kind, problem.answer, problem.unit, None)
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
