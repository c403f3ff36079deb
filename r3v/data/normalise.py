"""Text of geometry data sets made readable: "triangle A B C" -> "triangle ABC", 80.0 -> 80, 1.7320508 ->
1.732.

Only what a conversion script did to the text is undone; what a person wrote ("3.14", "0.60", "1.4142") is
left alone. Readers keep the original in `Problem.meta`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from r3v.grading import numeric, rules, where
from r3v.grading.number import Quantity
from r3v.records import AnswerKind, Problem

LONG = 4
"""Decimals beyond this many are an artefact of floating point and are rounded to three."""

_DECIMAL = re.compile(r"(?<![\d.])\d+\.\d+(?:[eE][+-]?\d{1,3})?(?!\.?\d)")
_POINT = r"[A-Z]′{0,2}"
_POINTS = re.compile(rf"(?<![\w′'\\]){_POINT}(?: {_POINT})+(?![\w′'])")
_PLACEHOLDER = re.compile(r"N_(\d+)")
_REMARK = re.compile(r"\((?:the )?results? (?:remain|retain|keep)s? N_\d+ ?\)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PLAIN = re.compile(r"[-+−]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?\s?%?")
_FRACTION = re.compile(r"[-+−]?\d+\s*/\s*\d+")
_FRACTION_COMMAND = re.compile(r"\\[dtc]?frac")
_EXPRESSION = re.compile(r"\\(?:frac|sqrt|pi)|sqrt|\bpi\b|[√π^]|\d\s*\*|\b(?:sin|cos|tan|log)\b")


def tidy_decimal(text: str) -> str:
    """`80.0` -> `80`, `29.99999` -> `30`, `12.3333333` -> `12.333`, `0.0769230` -> `0.0769`; `0.60` stays."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    if not value.is_finite():
        return text
    scientific = "e" in text.lower()
    if scientific:
        if not -12 < value.adjusted() < 12:
            return text
        text = format(value, "f")
    places = len(text.partition(".")[2])
    if value == value.to_integral_value() and (scientific or not text.partition(".")[2].strip("0")):
        return format(value.to_integral_value(), "f")
    if places <= LONG:
        return text
    small = abs(value) < Decimal("0.1") and value != 0
    rounded = round(value, 2 - value.adjusted() if small else 3)
    shown = format(rounded, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def tidy_numbers(text: str) -> str:
    """`tidy_decimal` for every decimal number in the text."""
    return _DECIMAL.sub(lambda match: tidy_decimal(match.group()), text)


def join_points(text: str) -> str:
    """Runs of single capital letters become one name: "angle A B C" -> "angle ABC"."""
    return _POINTS.sub(lambda match: match.group().replace(" ", ""), text)


def tidy_question(text: str) -> str:
    """All of the above, no prompt wrapper, no blanks before punctuation, no zero-width characters.
    Idempotent."""
    text = re.sub(r"[\u200b\u200c\u200d\ufeff]", "", text)
    text = re.sub(r"^(?:\s*(?:<image>|Calculation:))+", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = join_points(tidy_numbers(text))
    text = re.sub(r" ' s(?!\w)", "'s", text)
    text = re.sub(r" +([,.;?!])(?=\s|$)", r"\1", text)
    return re.sub(r"\( +(?!\))", "(", re.sub(r"(?<!\() +\)", ")", text)).strip()


def tidy_choices(choices: Sequence[str]) -> tuple[str, ...]:
    """Numbers rounded as in the question, and "None" (an option the conversion could not read) made to say
    so.

    Options that differed still differ: where rounding would merge two, all keep their digits.
    """
    plain = tuple(re.sub(r"\s+", " ", choice).strip() for choice in choices)
    named = tuple("none of these" if choice == "None" else choice for choice in plain)
    rounded = tuple(tidy_numbers(choice) for choice in named)
    return rounded if len(set(rounded)) == len(set(named)) else named


def fill_placeholders(template: str, numbers: Sequence[str]) -> str:
    """`N_0`, `N_1`, ... replaced by numbers. Raises IndexError for a number that is not there.

    Two slips of UniGeo are mended: a remark "(results remain N_1)", whose number was pi and never recorded,
    is left out; and one index out of range stands for the one number that no other placeholder uses.
    """
    template = _REMARK.sub("", template).rstrip()
    used = {int(k) for k in _PLACEHOLDER.findall(template)}
    beyond, unused = sorted(k for k in used if k >= len(numbers)), sorted(set(range(len(numbers))) - used)
    mended = dict(zip(beyond, unused, strict=True)) if len(beyond) == len(unused) == 1 else {}
    return _PLACEHOLDER.sub(lambda match: numbers[mended.get(int(match.group(1)), int(match.group(1)))], template)


def placeholder_numbers(template: str, original: str) -> list[str] | None:
    """The numbers behind `N_k` in an English template, recovered from the original text it was translated
    from.

    Numbers of the template and of the original are matched position by position if they agree; otherwise
    the literal numbers of the template are taken out of the original and the rest filled in order. None if
    neither is unambiguous: a wrong number would make a wrong problem.
    """
    tokens = re.findall(r"N_(\d+)|(\d+(?:\.\d+)?)", template)
    wanted = sorted({int(k) for k, _ in tokens if k})
    if not wanted:
        return []
    found = _NUMBER.findall(re.sub(r"^\s*[(（]\d+分[)）]", "", original))
    if len(found) == len(tokens):
        values: dict[int, str] = {}
        pairs = list(zip(tokens, found, strict=True))
        if all(
            literal == number if literal else values.setdefault(int(k), number) == number
            for (k, literal), number in pairs
        ):
            return [values[k] for k in wanted] if wanted == list(range(len(wanted))) else None
    literals = Counter(literal for _, literal in tokens if literal)
    if wanted != list(range(len(wanted))) or any(found.count(number) > n for number, n in literals.items()):
        return None
    rest = [number for number in found if number not in literals]
    return rest if len(rest) == len(wanted) else None


def is_number(text: str) -> bool:
    """A plain number, possibly with sign, thousands separators, $, % or as a fraction."""
    text = text.strip()
    return bool(_FRACTION.fullmatch(text)) or (bool(re.search(r"\d", text)) and bool(_PLAIN.fullmatch(text)))


def clean_gold(text: str) -> str:
    """The answer alone: "<answer> 145° </answer>" -> "145°", "\\boxed{5}" -> "5"; a thought before it is left out.

    A minus that is typed as another dash becomes one. Text without tags stays as it is."""
    said = where.said(text)
    found = where.statements(said.strip(), choice=False) if said is not None else []
    marked = [statement for statement in found if statement.strength >= rules.BOX]
    if len({statement.payload for statement in marked}) == 1 and _alone(said or "", marked[-1]):
        text = marked[-1].payload
    elif said is not None and said.strip():
        text = said
    return re.sub(r"^[‐‑‒–](?=[\d.])", "-", re.sub(r"</?(?:final_)?answer>", "", text).strip())


def _alone(said: str, statement: where.Statement) -> bool:
    """Nothing but markup stands beside the statement."""
    said = said.strip()
    around = said[: statement.start] + said[statement.end :]
    return not re.sub(r"</?(?:final_)?answer>|[$\s.]", "", around)


def read_number(text: str) -> Quantity | None:
    """The number that a gold is, with no unit or a known one; None for any other text."""
    if not re.search(r"[\d¼-¾⅐-⅞零一二两三四五六七八九十百千]", text):
        return None
    found = numeric.quantity(text, numeric.Asked(nouns=False))
    return found if isinstance(found, Quantity) else None


def read_as(problem: Problem) -> str | None:
    """How a gold is read, where that is not simply its text: without tags, as a number with a unit; else None."""
    text = str(problem.meta.get("gold", problem.answer))
    if problem.kind == "number" and not is_number(text):
        found = read_number(problem.answer)
        if found is not None:
            unit = f" with unit {found.unit!r}" if found.unit else ""
            return f"gold {text!r:.60} is read as the number {found.canonical}{unit}"
    return f"gold {text!r:.60} is read as {problem.answer!r:.60}" if "gold" in problem.meta else None


def answer_kind(text: str) -> AnswerKind:
    """number (with its unit), expression (roots, pi, powers, LaTeX) or text, from what the grader reads in a gold."""
    text = clean_gold(text)
    if is_number(text):
        return "number"
    found = read_number(text)
    if found is not None:
        return "expression" if found.closed or _FRACTION_COMMAND.search(text) else "number"
    return "expression" if _EXPRESSION.search(text) else "text"


def gold_tolerance(original: str, choices: Sequence[str] = ()) -> float | None:
    """0.005 when the gold was a long decimal (a root or pi), so that 3.46 is right for 3.4641016; None
    otherwise.

    Also None when another option lies within one per cent, where the tolerance would accept both.
    """
    if len(original.partition(".")[2]) <= LONG or not is_number(original):
        return None
    try:
        gold = float(original.replace("−", "-"))
    except ValueError:  # a fraction, a percentage or a price
        return None
    others = [float(c) for c in choices if _DECIMAL.fullmatch(c) or c.isdecimal()]
    near = [other for other in others if other != gold and abs(other - gold) <= 0.01 * abs(gold)]
    return None if near else 0.005
