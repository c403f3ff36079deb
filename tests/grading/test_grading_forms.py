# ruff: noqa: E501 (lists of forms are read across)
"""Written forms of values, from a grammar that knows nothing of the reader: what a gold may look like in a reply.

A pair is a gold and a reply that writes either the gold or another value. Every written form of the gold must be
CORRECT or UNPARSED, every form of another value WRONG or UNPARSED; forms are drawn together with their surroundings (a
sentence, a name before "=", bold, a thought before it) and a marker.

    python tests/grading/test_grading_forms.py 1000000      counts over a million pairs, about four minutes
"""

from __future__ import annotations

import json
import math
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from r3v.grading import grade
from r3v.records import LETTERS, Outcome, Problem

SAMPLE, SLOW = 3_000, 1_000_000


@dataclass(frozen=True)
class Value:
    """A number and how a data set writes it; `kind` picks the forms."""

    kind: str
    plain: str
    number: float
    parts: tuple[int, ...] = ()


def whole(rng: random.Random) -> Value:
    n = rng.choice([rng.randint(0, 20), rng.randint(0, 400), rng.randint(1000, 99_999), rng.randint(10**6, 10**9)])
    n = -n if rng.random() < 0.25 else n
    return Value("whole", str(n), float(n), (n,))


def decimal(rng: random.Random) -> Value:
    cents = rng.randint(1, 99_999) * rng.choice([1, 1, 1, -1])
    cents += cents % 10 == 0
    return Value("decimal", f"{cents / 100:.2f}", cents / 100, (cents,))


def fraction(rng: random.Random) -> Value:
    below = rng.randint(2, 12)
    above = rng.choice([n for n in range(1, 40) if math.gcd(n, below) == 1])
    sign = rng.choice([1, 1, 1, -1])
    return Value("fraction", f"{'-' if sign < 0 else ''}{above}/{below}", sign * above / below, (sign, above, below))


def root(rng: random.Random) -> Value:
    before, inside = rng.randint(1, 12), rng.choice([2, 3, 5, 6, 7, 10, 11, 13, 15])
    return Value(
        "root", f"{before}√{inside}" if before > 1 else f"√{inside}", before * math.sqrt(inside), (before, inside)
    )


def whole_root(rng: random.Random) -> Value:
    index, n = rng.choice([(2, 15), (3, 9), (4, 5)]), 0
    n = rng.randint(2, index[1])
    return Value("whole root", str(n), float(n), (index[0], n))


def power(rng: random.Random) -> Value:
    base, exponent = rng.randint(2, 12), rng.randint(2, 5)
    return Value("power", str(base**exponent), float(base**exponent), (base, exponent))


def pi(rng: random.Random) -> Value:
    n = rng.randint(1, 40)
    return Value("pi", f"{n}π" if n > 1 else "π", n * math.pi, (n,))


KINDS = {"whole": whole, "decimal": decimal, "fraction": fraction, "root": root, "whole root": whole_root,
         "power": power, "pi": pi}  # fmt: skip
SIGNS = ["-", "\u2212", "\u2010", "\u2011", "\u2012", "\u2013", "\uff0d", "\ufe63", "minus ", "negative "]
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
VULGAR = {(1, 2): "½", (1, 3): "⅓", (2, 3): "⅔", (1, 4): "¼", (3, 4): "¾", (1, 5): "⅕", (2, 5): "⅖", (3, 5): "⅗",
          (4, 5): "⅘", (1, 6): "⅙", (5, 6): "⅚", (1, 7): "⅐", (1, 8): "⅛", (3, 8): "⅜", (5, 8): "⅝", (7, 8): "⅞",
          (1, 9): "⅑", (1, 10): "⅒"}  # fmt: skip


def write(value: Value, rng: random.Random) -> str:
    """One way to write a value."""
    sign = rng.choice(SIGNS) if value.number < 0 else rng.choice(["", "", "", "", "+"])
    if value.kind == "whole":
        n = abs(value.parts[0])
        forms = [str(n)] * 4 + [f"{n:,}", f"{n}.0", f"${n}$", f"\\text{{{n}}}", str(n).translate(WIDE), f"{n:,}".replace(",", "{,}"),
                 f"{n:,}".replace(",", "\u202f"), f"{n:,}".replace(",", "\\,")]  # fmt: skip
        if n % 1000 == 0 and n:
            forms.append(f"{n // 1000} thousand")
        if n > 9999 and n % 100 == 0:
            forms.append(f"{n // 10**4}.{n % 10**4 // 100:02d} * 10^4")
        return sign + rng.choice(forms)
    if value.kind == "decimal":
        n = abs(value.parts[0])
        return sign + rng.choice([f"{n / 100:.2f}", f"{n / 100:.3f}", f"{n / 100:,.2f}", f"${n / 100:.2f}$"])
    if value.kind == "fraction":
        _, above, below = value.parts
        forms = [
            f"{above}/{below}",
            f"\\frac{{{above}}}{{{below}}}",
            f"$\\dfrac{{{above}}}{{{below}}}$",
            f"{above} / {below}",
        ]
        if above < 10 and below < 10:
            forms.append(f"\\frac{above}{below}")
        n, rest = divmod(above, below)
        if n:
            forms += [f"{n} {rest}/{below}", f"{n}\\frac{{{rest}}}{{{below}}}", f"${n}\\tfrac{{{rest}}}{{{below}}}$"]
        if (rest, below) in VULGAR:
            forms.append(f"{n or ''}{VULGAR[rest, below]}")
        return sign + rng.choice(forms)
    if value.kind == "root":
        before, inside = value.parts
        first = str(before) if before > 1 else ""
        return first + rng.choice([f"√{inside}", f"\\sqrt{{{inside}}}", f"√({inside})", f"√{{{inside}}}", f"{'*' if first else ''}sqrt({inside})",
                                   f"{chr(92) + 'cdot ' if first else ''}\\sqrt{{{inside}}}"])  # fmt: skip
    if value.kind == "whole root":
        index, n = value.parts
        inside = n**index
        named = {2: ("√", "square"), 3: ("∛", "cube"), 4: ("∜", "fourth")}[index]
        forms = [
            f"{named[0]}{inside}",
            f"the {named[1]} root of {inside}",
            f"\\sqrt[{index}]{{{inside}}}",
            f"{inside}^{{1/{index}}}",
        ]
        return rng.choice(forms)
    if value.kind == "power":
        base, exponent = value.parts
        forms = [
            f"{base}^{exponent}",
            f"{base}^{{{exponent}}}",
            f"${base}^{exponent}$",
            f"{base}**{exponent}",
            f"{base}{str(exponent).translate(RAISED)}",
        ]
        forms += [f"{base} {'squared' if exponent == 2 else 'cubed'}"] if exponent < 4 else []
        return rng.choice(forms)
    (n,) = value.parts
    first = str(n) if n > 1 else ""
    return first + rng.choice(["π", "\\pi", " pi", "𝜋", "\\,\\pi"])


UNITS = [
    "",
    "",
    "",
    " cm",
    " cm^2",
    " cm²",
    "°",
    " degrees",
    " apples",
    " km/h",
    "\\,\\mathrm{cm}",
    "\\text{ m}",
    " units",
    " kg",
]
FRAMES = ["{x}"] * 8 + ["**{x}**", "{x}.", "It is {x}.", "about {x}", "x = {x}", "AB = {x}", "∠ABC = {x}", "The total is {x}.",
          "The area of the triangle is {x}", "\\({x}\\)", "{x} (approximately)", "≈ {x}", "{x} because the sides are equal", "there are {x}",
          "`{x}`", "{x}, since we add both", "so {x}"]  # fmt: skip
MARKERS = ["Answer: {s}"] * 6 + ["Final answer: {s}", "**Answer:** {s}", "<answer>{s}</answer>", "\\boxed{{{s}}}", "The answer is {s}", "#### {s}",
           "答案：{s}", "Ans: {s}", "**Final Answer**\n\n{s}", "Réponse : {s}", "Respuesta: {s}", "Antwort: {s}", "答：{s}", "{{\"answer\": {j}}}",
           "Answer:\n{s}", "### Answer\n{s}", "故答案为：{s}", "Ответ: {s}"]  # fmt: skip
BEFORE = ["", "", "We add both numbers.\n", "<think>Perhaps the answer is {o}. No.</think>\n", "Step 1: read {o}.\nStep 2: compute.\n\n",
          "<think>\nAnswer: {o}\n\\boxed{{{o}}}</think>", "#### Step 3: compare {o}\n"]  # fmt: skip
MISLEADING = ["the square root of {x} and 1", "half of {x}", "more than {x}", "at least {x}", "less than {x}", "not {x}", "{x} or {y}", "{x} and {y}", "±{x}",
              "{x} dozen eggs", "{x} tenths", "log {x}", "sin {x}", "{x} + {y}", "x - {x}", "2x = {x}", "x^2 = {x}", "between {x} and {y}",
              "{x} to {y}", "twice {x}", "{x} times {y}", "{x}x", "{x}‰", "{x} out of {y}", "{x} < x", "{x} more than {y}", "{x}:{y}", "if {x}", "{x}?",
              "5 less than {x}", "the reciprocal of {x}", "{x} mod {y}", "{x} hundredths", "\\log_2 {x}", "\\frac{{{x}}}{{y}}", "{x}!"]  # fmt: skip
CUT_OFF = ["<think>First guess. Answer: {x}", "#### Step {x}: compute", "<think>\\boxed{{{x}}} no...</think> I cannot tell.", "Suppose the answer is {x}. Then",
           "If it were right angled, the answer would be {x}.", "Answer: {x}\nWait, that is wrong.", "\\boxed{{{x}", "The answer is not {x}",
           "Answer: {x}\nAnswer: {y}", "<answer>{x}</answer> <answer>{y}</answer>", "step {x}", "{x} is read first, then", "Maybe Answer: {x}? No."]  # fmt: skip


def other_than(value: Value, rng: random.Random) -> Value:
    """Another value, often one that a careless reader confuses with the first."""
    while True:
        near = rng.random()
        if near < 0.3 and value.kind == "whole":
            n = rng.choice([-value.parts[0], value.parts[0] * 10, value.parts[0] + 1, value.parts[0] * 1000])
            other = Value("whole", str(n), float(n), (n,))
        elif near < 0.5 and value.kind in ("root", "whole root", "power", "pi"):
            n = rng.choice(value.parts)
            other = Value("whole", str(n), float(n), (n,))
        elif near < 0.6 and value.kind == "whole" and 2 <= value.parts[0] < 60:
            n = value.parts[0]
            other = rng.choice([Value("pi", "", n * math.pi, (n,)), Value("power", "", float(n**2), (n, 2)),
                                Value("root", "", 2 * math.sqrt(n), (2, n))])  # fmt: skip
        else:
            other = rng.choice(list(KINDS.values()))(rng)
        if abs(other.number - value.number) > 0.02 * max(abs(value.number), abs(other.number), 0.5):
            return other


def reply(value: Value, other: Value, rng: random.Random) -> tuple[str, str, bool]:
    """(the form, the whole reply, whether the value is given alone) that states `value`."""
    form = write(value, rng)
    unit = rng.choice(UNITS) if value.kind != "fraction" else rng.choice(["", " cm", "°"])
    if value.number < 0 and unit == " apples":
        unit = ""
    shown = (
        f"{form}{unit}"
        if not form.endswith("$")
        else f"{form}{unit.replace(chr(92), ' ') if chr(92) not in unit else ''}"
    )
    frame = rng.choice(FRAMES)
    statement = frame.replace("{x}", shown)
    marker = rng.choice(MARKERS)
    statement = shown if marker.startswith("####") else statement  # nothing but the value stands behind it
    if "{{" in marker and "answer" in marker:
        said = marker.format(j=json.dumps(statement, ensure_ascii=rng.random() < 0.5))
    else:
        said = marker.format(s=statement)
    return form, rng.choice(BEFORE).format(o=other.plain) + said, frame == "{x}" and not unit


def choices_with(value: Value, rng: random.Random) -> tuple[tuple[str, ...], int]:
    texts, numbers = [value.plain], [value.number]
    while len(texts) < 4:
        other = other_than(value, rng)
        if other.plain and all(abs(other.number - n) > 0.02 * max(abs(n), abs(other.number), 0.5) for n in numbers):
            texts.append(other.plain)
            numbers.append(other.number)
    place = rng.randrange(4)
    texts[0], texts[place] = texts[place], texts[0]
    return tuple(texts), place


def option_form(choices: tuple[str, ...], place: int, rng: random.Random) -> str:
    letter, text = LETTERS[place], choices[place]
    return rng.choice([letter, f"({letter})", f"{letter}.", f"**{letter}**", f"({letter}) {text}", f"{letter}. {text}", f"option {letter}", text,
                       f"{text} ({letter})", f"{letter}, because it fits", f"\\text{{{letter}}}", f"（{letter}）", chr(ord(letter) + 0xFEE0), f"{letter}: {text}",
                       f"\\textbf{{({letter})}}\\ {text}", f"It is {letter}."])  # fmt: skip


LETTER_MARKERS = ["Answer: {s}"] * 4 + [
    "Final answer: {s}",
    "<answer>{s}</answer>",
    "\\boxed{{{s}}}",
    "The answer is {s}",
    "故选：{s}",
    "答案是{s}",
    "#### {s}",
]


def pair(rng: random.Random) -> tuple[str, Problem, str, bool]:
    """(form, problem, reply, whether the reply states the gold)."""
    value = rng.choice(list(KINDS.values()))(rng)
    other = other_than(value, rng)
    drawn = rng.random()
    problem = Problem("p", "What is asked?", value.plain, "number")
    if drawn < 0.1 and value.number:  # no dozen of eggs is none
        text = rng.choice(MARKERS[:7]).format(s=rng.choice(MISLEADING).format(x=value.plain, y=rng.randint(2, 9)))
        return "misleading", problem, text, False
    if drawn < 0.15:
        return "withdrawn", problem, rng.choice(CUT_OFF).format(x=value.plain, y=other.plain or "1"), False
    if drawn < 0.35:
        options, place = choices_with(value, rng)
        right = rng.random() < 0.5
        stated = place if right else rng.choice([i for i in range(4) if i != place])
        problem = Problem("p", "What is asked?", LETTERS[place], "choice", choices=options)
        text = rng.choice(BEFORE).format(o=options[rng.randrange(4)]) + rng.choice(LETTER_MARKERS).format(
            s=option_form(options, stated, rng)
        )
        return "option", problem, text, right
    right = rng.random() < 0.5
    stated = value if right else other
    _, text, _ = reply(stated, other if right else value, rng)
    return stated.kind, problem, text, right


def count(n: int, seed: int = 0) -> tuple[Counter[tuple[str, bool, str]], list[str]]:
    """Outcomes by (form, states the gold, outcome) over n pairs, and the false ones."""
    rng, found, false = random.Random(seed), Counter[tuple[str, bool, str]](), []
    for _ in range(n):
        form, problem, text, right = pair(rng)
        outcome = grade(problem, text).outcome
        found[form, right, outcome.value] += 1
        if outcome not in (Outcome.UNPARSED, Outcome.CORRECT if right else Outcome.WRONG):
            false.append(f"gold {problem.answer!r} {problem.choices or ''}: {text!r} is {outcome.value}")
    return found, false


def unread(found: Counter[tuple[str, bool, str]], form: str) -> float:
    rows = {key: n for key, n in found.items() if key[0] == form and key[1]}
    return sum(n for key, n in rows.items() if key[2] == "unparsed") / max(1, sum(rows.values()))


def test_no_form_is_taken_for_another_value():
    found, false = count(SAMPLE)
    assert not false, "\n".join(false[:20])
    assert sum(found.values()) == SAMPLE
    assert {form for form, _, _ in found} == {*KINDS, "misleading", "withdrawn", "option"}


@pytest.mark.slow
def test_a_million_pairs():
    found, false = count(SLOW)
    assert not false, "\n".join(false[:20])
    assert sum(found.values()) == SLOW


SHAPES: tuple[tuple[str, str], ...] = (
    ("option", r"[A-F]"),
    ("fraction", r"-?\d+/\d+"),
    ("decimal", r"-?\$?[\d,]+\.\d+"),
    ("whole", r"-?\$?[\d,]+(?: [a-z ]+)?"),
)


def test_few_forms_of_real_replies_are_unread(real_data):
    """Forms weighted as they stand behind "Answer:" in 1,712 rationales: less than 3 % are UNPARSED."""
    folder, seen = real_data("tabmwp"), Counter[str]()
    for name in ("mm_self_improve_qwenvl_sft_gpt.json", "mm_self_improve_llava_sft_gpt.subset.json"):
        for row in json.loads((folder / name).read_text(encoding="utf-8")):
            stated = row["conversations"][1]["value"].rpartition("Answer:")[2].strip()
            seen[next((form for form, shape in SHAPES if re.fullmatch(shape, stated)), "other")] += 1
    assert sum(seen.values()) == 1712
    found, _ = count(SAMPLE, seed=2)
    share = sum(n * (unread(found, form) if form != "other" else 1.0) for form, n in seen.items()) / sum(seen.values())
    assert share < 0.03


def main(n: int, say: Callable[[str], None] = print, part: int = 20_000) -> None:
    found, false = Counter[tuple[str, bool, str]](), []
    for seed in range(-(-n // part)):
        more, wrong = count(min(part, n - seed * part), seed)
        found += more
        false += wrong
        say(f"{sum(found.values())} pairs, {len(false)} false")
    for form in sorted({key[0] for key in found}):
        row = {
            (right, outcome): found[form, right, outcome]
            for right in (True, False)
            for outcome in ("correct", "wrong", "unparsed")
        }
        say(f"{form:<12} gold: " + " ".join(f"{o} {row[True, o]}" for o in ("correct", "wrong", "unparsed"))
            + " | other: " + " ".join(f"{o} {row[False, o]}" for o in ("correct", "wrong", "unparsed")))  # fmt: skip
    for line in false[:40]:
        say(line)


if __name__ == "__main__":
    main(int(sys.argv[1]))
