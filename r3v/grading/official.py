"""The datasets' own graders, for parity with published numbers only; `OFFICIAL[name](problem, text, seed=0)`.

Rewritten from a description of their behaviour, defects included, with the defect named in each docstring.
They return CORRECT or WRONG, never UNPARSED, because the originals had no such outcome. Where an original
draws at random without a seed, ours draws from (seed, problem id, text), so that a result can be repeated.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable

from r3v.records import LETTERS, Outcome, Problem, Verdict

MAX_TEXT = 20_000  # the originals had no limit; longer texts are read from their end


def _rng(seed: int, problem: Problem, text: str) -> random.Random:
    return random.Random(repr((seed, problem.id, text)))


def _verdict(correct: bool, extracted: str | None, reason: str = "") -> Verdict:
    return Verdict(Outcome.CORRECT if correct else Outcome.WRONG, extracted, reason)


def geoqa(problem: Problem, text: str, seed: int = 0) -> Verdict:
    """GeoQA letter ladder of the Qwen2-VL re-implementation of R3V, which used it for M3CoT as well.

    The part behind the last lower-case "answer"; in it the last letter in parentheses; else its very last
    letter; else the first option whose text is a substring; else a draw. Defects: "(A) holds. Answer: B" is
    A, since "Answer" does not split; a value ("... is 40.0") ends in the letter "s" and is wrong; "4" is
    found in "45"; when nothing parses the answer is RIGHT with probability 0.75, where the comment beside the
    code says 25 % (the copy used for training counts it wrong instead)."""
    part = text[-MAX_TEXT:].split("answer")[-1]
    wrapped = re.findall(r"\(([A-Za-z])\)", part)
    letters = wrapped or re.findall(r"[A-Za-z]", part)
    if letters:
        return _verdict(letters[-1] == problem.answer, letters[-1])
    for letter, choice in zip(LETTERS, problem.choices or (), strict=False):
        if part.strip() and choice in part:
            return _verdict(letter == problem.answer, letter, "option text found as a substring")
    return _verdict(_rng(seed, problem, text).random() < 0.75, None, "nothing parsed: right with probability 0.75")


def tabmwp(problem: Problem, text: str, seed: int = 0) -> Verdict:
    """TabMWP: LaTeX fractions rewritten; for choices always some option, for free text a number ladder.

    Defects: multiple choice never fails to parse: a letter out of range draws a RANDOM option, and a text
    without an answer takes the most similar option, so half a rationale is often "right"; fractions are
    compared at three decimals; numbers elsewhere in a rationale without an answer line are taken for the
    answer."""
    text = re.sub(r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text[-MAX_TEXT:])
    stated = re.findall(r"(?:[Aa]nswer\s*(?::|is))\s*(.+)", text)
    if problem.choices:
        chosen = _tabmwp_option(problem, text, stated[-1] if stated else None, seed)
        gold = problem.gold_text
    else:
        numbers = re.findall(r"-?\$?\d[\d,.:/]*", text)
        chosen = stated[-1] if stated else (numbers[-1] if numbers else text)
        gold = problem.answer
    return _verdict(_tabmwp_normal(problem, chosen) == _tabmwp_normal(problem, gold), chosen)


def _tabmwp_option(problem: Problem, text: str, stated: str | None, seed: int) -> str:
    choices = problem.choices or ()
    answer = (stated if stated is not None else text).strip()
    letter = re.match(r"^\(?([A-Z])\)?(?=$|[\s.):,])", answer)
    if letter and stated is not None:
        index = LETTERS.index(letter[1])
        return choices[index] if index < len(choices) else _rng(seed, problem, text).choice(choices)
    if answer in choices:
        return answer
    tail = answer[-1000:]  # the ratio is quadratic
    return max(choices, key=lambda choice: difflib.SequenceMatcher(None, tail, choice).ratio())


def _tabmwp_normal(problem: Problem, answer: str) -> str:
    answer = answer.strip().strip(".").replace("$", "").replace(",", "").strip()
    if problem.unit:
        answer = answer.removesuffix(problem.unit).strip()
    fraction = re.fullmatch(r"(-?\d{1,15})/(\d{1,15})", answer)
    if fraction and int(fraction[2]):
        return f"{int(fraction[1]) / int(fraction[2]):.3f}"
    if re.fullmatch(r"-?\d{1,15}(\.\d{1,15})?", answer):
        return f"{float(answer):.3f}"
    return answer.casefold()


def chartqa(problem: Problem, text: str, seed: int = 0) -> Verdict:
    """ChartQA "relaxed accuracy": everything behind "Answer:", numbers within 5 %, else equal but for case.

    Defects: years count as numbers, so 2010 is right for 2015; "45%" is wrong for 45, "1,000" for 1000 and
    "Yes." for Yes; "nan" equals "nan" as a string."""
    answer = text.rpartition("Answer:")[2].strip()
    try:
        given, gold = float(answer), float(problem.gold_text)
    except ValueError:
        pass
    else:
        if gold and given == given and gold == gold:
            return _verdict(abs(given - gold) / abs(gold) <= 0.05, answer)
    return _verdict(answer.lower() == problem.gold_text.strip().lower(), answer)


def clevr_math(problem: Problem, text: str, seed: int = 0) -> Verdict:
    """CLEVR-Math: a bare 0-10, or the first whole number behind "Answer:", compared as strings; else
    "unknown".

    Defects: "Answer: 5 - 2 = 3" is 5, and a number of more than one token such as "-1" loses its sign.
    """
    answer = text.strip()
    if not re.fullmatch(r"10|[0-9]", answer):
        found = re.search(r"[0-9]+", text[-MAX_TEXT:].partition("Answer:")[2])
        answer = found[0] if found else "unknown"
    return _verdict(answer == problem.gold_text, answer)


def m3cot(problem: Problem, text: str, seed: int = 0) -> Verdict:
    """M3CoT's own judge: the last single letter in parentheses; else the last option, in the order of the options,
    whose text stands anywhere in the reply; else so for a capital letter between blanks; else for a small one.

    Defects: an earlier "Answer: A" loses to a later "(B)" in passing; "4" is found in "45"; where several options
    are mentioned the last one of the list wins, whatever the reply says of it; the article "a" is option A.
    """
    part = text[-MAX_TEXT:]
    letters = re.findall(r"\(([A-Za-z])\)", part)
    if letters:
        return _verdict(letters[-1].upper() == problem.answer, letters[-1].upper())
    choices = problem.choices or ()
    words = re.sub(r"[\n.,!?]", " ", part).split(" ")
    for names in (
        [LETTERS[i] for i, choice in enumerate(choices) if choice.lower() in part.lower()],
        [letter for letter in LETTERS[: len(choices)] if letter in words],
        [letter for letter in LETTERS[: len(choices)] if letter.lower() in words],
    ):
        if names:
            return _verdict(names[-1] == problem.answer, names[-1])
    return _verdict(False, None, "nothing parsed")


OFFICIAL: dict[str, Callable[..., Verdict]] = {
    "chartqa": chartqa,
    "clevr_math": clevr_math,
    "geoqa": geoqa,
    "m3cot": m3cot,
    "tabmwp": tabmwp,
}
