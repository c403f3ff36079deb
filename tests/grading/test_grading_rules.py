"""Every row of the reader's table is needed: without it, an example here is graded otherwise.

Each example is a gold, a reply and the verdict, written out by hand; the test takes one row away at a time."""

from __future__ import annotations

import pytest

from r3v.grading import choice, compare, grade, numeric, rules
from r3v.grading.number import Quantity
from r3v.records import Problem

COLOURS = ("red", "blue", "green", "gray")
Case = tuple[str, str, str]


def graded(gold: str, reply: str) -> str:
    """`gold` is a number with its unit; "B of red, blue" is a choice; "text of Paris" is text; a question goes before a
    bar, a unit before a semicolon."""
    question, _, gold = gold.rpartition("|")
    unit, _, gold = gold.rpartition(";")
    letter, of, listed = gold.partition(" of ")
    if of and letter == "text":
        problem = Problem("p", question or "q", listed, "text")
    elif of:
        problem = Problem("p", question or "q", letter, "choice", choices=tuple(listed.split(", ")))
    else:
        problem = Problem("p", question or "q", gold, "number", unit=unit or None)
    return grade(problem, reply).outcome.value


C = "B of red, blue, green"
V = "B of 10, 20, 30"
EXAMPLES: dict[str, list[Case]] = {
    # where
    "turn end": [("5", "Answer: 5<|im_end|>\nAnswer: 6", "correct")],
    "other turn end": [("5", "Answer: 5<end_of_turn>\nAnswer: 6", "correct")],
    "think": [("5", "<think>Answer: 6</think>Answer: 5", "correct"), ("5", "<think>Answer: 5", "unparsed")],
    "thought": [("5", "<thought>Answer: 5", "unparsed")],
    "reasoning": [("5", "<reasoning>Answer: 5", "unparsed")],
    "begin of thought": [("5", "<|begin_of_thought|>Answer: 6<|end_of_thought|>\nAnswer: 5", "correct")],
    "kimi thought": [("5", "◁think▷Answer: 5", "unparsed")],
    "bracket thought": [("5", "[THINK]Answer: 5", "unparsed")],
    "seed thought": [("5", "<seed:think>Answer: 5", "unparsed")],
    "analysis channel": [("5", "<|channel|>analysis<|message|>Answer: 6<|channel|>final<|message|>5", "correct")],
    "answer tag": [("5", "<answer>5</answer>\nAnswer: 6", "correct")],
    "box token": [("5", "<|begin_of_box|>5<|end_of_box|>\nAnswer: 6", "correct")],
    "box": [("5", "\\boxed{5}\nAnswer: 6", "correct")],
    "final answer": [("5", "Answer: 6\nFinal answer: 5", "correct")],
    "answer": [("5", "Answer: 5\nThe answer is 6", "correct")],
    "chinese answer": [("5", "答案：5", "correct")],
    "chinese reply": [("5", "答：5", "correct")],
    "japanese answer": [("5", "正解：5", "correct")],
    "korean answer": [("5", "정답: 5", "correct")],
    "german answer": [("5", "Antwort: 5", "correct")],
    "french answer": [("5", "Réponse : 5", "correct")],
    "spanish answer": [("5", "Respuesta: 5", "correct")],
    "portuguese answer": [("5", "Resposta: 5", "correct")],
    "italian answer": [("5", "Risposta: 5", "correct")],
    "dutch answer": [("5", "Antwoord: 5", "correct")],
    "russian answer": [("5", "Ответ: 5", "correct")],
    "arabic answer": [("5", "الجواب: 5", "correct")],
    "hindi answer": [("5", "उत्तर: 5", "correct")],
    "turkish answer": [("5", "Cevap: 5", "correct")],
    "vietnamese answer": [("5", "Đáp án: 5", "correct")],
    "indonesian answer": [("5", "Jawaban: 5", "correct")],
    "polish answer": [("5", "Odpowiedź: 5", "correct")],
    "hashes": [("5", "2 + 3\n#### 5", "correct")],
    "heading": [("5", "We add.\n## Answer\n5", "correct")],
    "plain heading": [("5", "We add.\nFinal Answer\n5", "correct")],
    "json field": [("5", '{"answer": 5, "sure": true}', "correct")],
    "the answer is": [("5", "We add. The answer is 5.", "correct")],
    "correct option": [(C, "The correct option is: B", "correct")],
    "chinese sentence": [("5", "故答案为：5．", "correct")],
    "chinese choice": [(C, "解：如图．故选：B．", "correct")],
    "choose option": [(C, "We choose option (B).", "correct")],
    "choose letter": [(C, "So we choose (B).", "correct")],
    "option is correct": [(C, "So B is the correct answer", "correct")],
    "option is right": [(C, "Therefore option B is right", "correct")],
    "supposed": [("5", "If it is right angled, the answer is 5", "unparsed")],
    "hypothetical": [("5", "Were it right angled, the answer would be 5", "unparsed")],
    "denied": [("5", "This is not the correct answer is 5", "unparsed")],
    "a name of a point": [(C, "angle B is correct", "unparsed")],
    "wait": [("5", "Answer: 6\nWait.\nAnswer: 5", "correct")],
    "actually": [("5", "Answer: 6\nActually:\nAnswer: 5", "correct")],
    "no": [("5", "Answer: 6\nNo.\nAnswer: 5", "correct")],
    "wrong": [("5", "Answer: 6\nbut that is wrong\nAnswer: 5", "correct")],
    "mistake": [("5", "Answer: 6\nbut I misread it\nAnswer: 5", "correct")],
    "again": [("5", "Answer: 6\nbut let me recompute\nAnswer: 5", "correct")],
    "chinese taken back": [("5", "答案：6\n不对\n答案：5", "correct")],
    "unwilling": [("text of I am", "Answer: I don't know", "unparsed"), (C, "Answer: I cannot tell", "unparsed")],
    "unknown": [(C, "Answer: unknown", "unparsed")],
    "none of": [(C, "Answer: none of these", "unparsed")],
    "impossible": [(C, "Answer: it cannot be found", "unparsed")],
    "because": [("5", "Answer: 5 because 2 + 3 = 5", "correct")],
    "chinese because": [("5", "答案：5，因为相等", "correct")],
    # spelling
    "invisible": [("5", "Answer: \u200b5\u200b", "correct")],
    "root with raised index": [("2", "Answer: ³√8", "correct")],
    "raised fraction": [("0.5", "Answer: ¹⁄₂", "correct")],
    "raised": [("25", "Answer: 5²", "correct")],
    "vulgar fraction": [("3.4", "Answer: 3⅖", "correct")],
    "unit sign": [("5 cm^2", "Answer: 5㎠", "correct"), ("5 cm^2", "Answer: 6㎠", "wrong")],
    "degree sign": [("5", "Answer: 5º", "correct")],
    "compatible": [(C, "Answer: Ｂ", "correct")],
    "minus": [("-5", "Answer: \u20115", "correct")],
    "plus": [("5", "Answer: ➕5", "correct")],
    "arabic point": [("1.5", "Answer: ١٫٥", "correct")],
    "fraction slash": [("0.5", "Answer: 1∕2", "correct")],
    "quotes": [("1000", "Answer: 1’000", "correct")],
    "size of braces": [("2", "Answer: \\left(2\\right)", "correct")],
    "thousands in braces": [("12500", "Answer: 12{,}500", "correct")],
    "empty group": [("5", "Answer: 5{}^{\\circ}", "correct")],
    "degree command": [("5", "Answer: 5^\\circ", "correct")],
    "text command": [("5", "Answer: \\underline{5} cm", "correct")],
    "text command around": [("8", "Answer: \\mathrm{2^{3}} cm", "correct")],
    "blank command": [("5", "Answer: 5\\,cm", "correct")],
    "no blank": [("5", "Answer: \\!5", "correct")],
    "percent command": [("5%", "Answer: 5\\%", "correct")],
    "fraction command": [("0.5", "Answer: \\dfrac{1}{2}", "correct")],
    "fraction of digits": [("0.5", "Answer: \\frac12", "correct")],
    "fraction of digit and group": [("0.5", "Answer: \\frac1{2}", "correct")],
    "fraction of group and digit": [("0.5", "Answer: \\frac{1}2", "correct")],
    "pi command": [("8π", "Answer: 8\\pi", "correct")],
    "times command": [("2000", "Answer: 2\\times10^3", "correct")],
    "times sign": [("2000", "Answer: 2×10^3", "correct")],
    "power of ten by x": [("2000", "Answer: 2 x 10^3", "correct")],
    "power by stars": [("8", "Answer: 2**3", "correct")],
    "about command": [("5", "Answer: \\approx 5", "correct")],
    "angle command": [("5", "Answer: \\angle A = 5", "correct")],
    "triangle command": [("5", "Answer: S_{\\triangle ABC} = 5", "correct")],
    "greek": [("5", "Answer: \\alpha = 5", "correct")],
    "chinese minus": [("-5", "Answer: 负5", "correct")],
    "chinese root": [("2", "Answer: 根号4", "correct")],
    "chinese percent": [("5%", "Answer: 百分之5", "correct")],
    "chinese fraction": [("2/3", "Answer: 3分之2", "correct")],
    "and a half": [("2.5", "Answer: 2 and a half", "correct")],
    "and a fraction": [("2.5", "Answer: 2 and 1/2", "correct")],
    # values
    "mixed number": [("2.5", "Answer: 2 1/2", "correct")],
    "mixed number in LaTeX": [("2.5", "Answer: 2\\frac{1}{2}", "correct")],
    "power of ten by e": [("2000", "Answer: 2e3", "correct")],
    "thousands": [("1000", "Answer: 1,000", "correct")],
    "lakhs": [("100000", "Answer: 1,00,000", "correct")],
    "thousands by blanks": [("1000", "Answer: 1 000", "correct")],
    "thousands by marks": [("1000", "Answer: 1'000", "correct")],
    "number": [("5", "Answer: 5", "correct")],
    "fraction": [("0.5", "Answer: \\frac{1}{2}", "correct")],
    "root": [("2√3", "Answer: 2\\sqrt{3}", "correct")],
    "cube root": [("2", "Answer: ∛8", "correct")],
    "fourth root": [("2", "Answer: ∜16", "correct")],
    "root with an index": [("2", "Answer: the 5th root of 32", "correct")],
    "pi": [("8π", "Answer: 8π", "correct")],
    "operator": [("0.5", "Answer: 1/2", "correct")],
    "index": [("2", "Answer: \\sqrt[3]{8}", "correct")],
    "sign in words": [("-5", "Answer: minus 5", "correct")],
    "positive": [("5", "Answer: positive 5", "correct")],
    "squared": [("25", "Answer: 5 squared", "correct")],
    "cubed": [("8", "Answer: 2 cubed", "correct")],
    "percent": [("5%", "Answer: 0.05", "correct")],
    "permille": [("0.005", "Answer: 5‰", "correct")],
    "dollar": [("5", "Answer: $5", "correct")],
    "euro": [("5", "Answer: €5", "correct")],
    "pound sterling": [("5", "Answer: £5", "correct")],
    "yuan": [("5", "Answer: ¥5", "correct")],
    "rupee": [("5", "Answer: ₹5", "correct")],
    "cent": [("$;0.05", "Answer: 5¢", "correct")],
    "degree": [("5", "Answer: 5°", "correct")],
    "celsius": [("5 °F", "Answer: 5 °C", "wrong"), ("5", "Answer: 5 °C", "correct")],
    "fahrenheit": [("5", "Answer: 5 °F", "correct")],
    "hundred": [("500", "Answer: 5 hundred", "correct")],
    "thousand": [("5000", "Answer: 5 thousand", "correct")],
    "million": [("5000000", "Answer: 5M", "correct")],
    "billion": [("5000000000", "Answer: 5 bn", "correct")],
    "trillion": [("5000000000000", "Answer: 5 trillion", "correct")],
    "lakh": [("500000", "Answer: 5 lakh", "correct")],
    "crore": [("50000000", "Answer: 5 crore", "correct")],
    "ten thousand": [("50000", "Answer: 5万", "correct")],
    "hundred million": [("500000000", "Answer: 5亿", "correct")],
    "dozen": [("60", "Answer: 5 dozen", "correct")],
    "tens in words": [("25", "Answer: twenty-five", "correct")],
    "number in words": [("5", "Answer: five", "correct")],
    "chinese number": [("12", "Answer: 十二", "correct")],
    "article": [("12", "Answer: a dozen", "correct")],
    "half": [("0.5", "Answer: one half", "correct")],
    "third": [("2/3", "Answer: two thirds", "correct")],
    "quarter": [("0.75", "Answer: three quarters", "correct")],
    "fifth": [("0.4", "Answer: two fifths", "correct")],
    "sixth": [("5/6", "Answer: five sixths", "correct")],
    "eighth": [("5/8", "Answer: five eighths", "correct")],
    "tenth": [("0.5", "Answer: 5 tenths", "correct")],
    "hundredth": [("0.05", "Answer: 5 hundredths", "correct")],
    "thousandth": [("0.005", "Answer: 5 thousandths", "correct")],
    "square unit": [("5 cm^2", "Answer: 500 square mm", "correct")],
    "cubic unit": [("5 cm^3", "Answer: 5000 cubic mm", "correct")],
    "per": [("5 km/h", "Answer: 5 kilometers per hour", "correct"), ("5 km/h", "Answer: 5 miles per hour", "wrong")],
    "of": [("5", "Answer: 5 cups of sugar", "correct"), ("5", "Answer: 5 kg of sugar", "correct")],
    "word": [("5", "Answer: 5 clubs", "correct")],
    "point": [("5", "Answer: 5 ft. of rope", "correct")],
    # around values
    "closing words": [("5", "Answer: therefore 5", "correct")],
    "about": [("5", "Answer: about 5", "correct")],
    "equal to": [("5", "Answer: equal to 5", "correct")],
    "it is": [("5", "Answer: it's 5", "correct")],
    "we get": [("5", "Answer: we get 5", "correct")],
    "a total of": [("5", "Answer: a total of 5", "correct")],
    "in a year": [("2010", "Answer: In 2008", "wrong")],
    "chinese is": [("5", "Answer: 约5", "correct")],
    "in total": [("5", "Answer: 5 in total", "correct")],
    "left over": [("5", "Answer: 5 apples left", "correct")],
    "approximately": [("5", "Answer: 5 cm, approximately", "correct")],
    "rounded": [("5.3", "Answer: 5.3, rounded to the nearest tenth", "correct")],
    "is the answer": [("5", "Answer: 5 is the answer", "correct")],
    "hedge remark": [("5", "Answer: 5 (approximately)", "correct")],
    "reason remark": [("5", "Answer: 5 (by the sine rule)", "correct")],
    "equation": [("5", "Answer: x = 5", "correct")],
    "is": [("5", "Answer: The angle is 5", "correct")],
    "has": [("5", "Answer: Linda has 5 apples", "correct")],
    "chinese link": [("5", "Answer: 面积等于5", "correct")],
    "suppositions": [("5", "Answer: he thinks x is 5", "unparsed")],
    "denials": [("5", "Answer: no angle is 5", "unparsed")],
    "multiples": [("5", "Answer: half of x is 5", "unparsed")],
    "several statements": [("5", "Answer: the base, then, is 5", "unparsed")],
    # labels
    "option": [(C, "Answer: option B", "correct")],
    "it is option": [(C, "Answer: it is (B)", "correct")],
    "so option": [(C, "Answer: so (B)", "correct")],
    "is correct": [(C, "Answer: B is true", "correct")],
    "not the other": [(C, "Answer: B, not C", "correct")],
    "chinese item": [(C, "Answer: B项", "correct")],
    # units
    "meter": [("500 cm", "Answer: 5 m", "correct")],
    "centimeter": [("5 m", "Answer: 500 cm", "correct")],
    "millimeter": [("5 cm", "Answer: 50 mm", "correct")],
    "decimeter": [("5 m", "Answer: 50 dm", "correct")],
    "kilometer": [("5 km", "Answer: 5000 m", "correct"), ("5 km", "Answer: 5 m", "wrong")],
    "inch": [("1 ft", "Answer: 12 inches", "correct")],
    "foot": [("1 yd", "Answer: 3 feet", "correct")],
    "yard": [("3 ft", "Answer: 1 yard", "correct")],
    "mile": [("5280 ft", "Answer: 1 mile", "correct")],
    "hectare": [("10000 m^2", "Answer: 1 ha", "correct"), ("1 m^2", "Answer: 1 ha", "wrong")],
    "acre": [("4840 yd^2", "Answer: 1 acre", "correct")],
    "liter": [("1000 cm^3", "Answer: 1 L", "correct")],
    "milliliter": [("5 cm^3", "Answer: 5 ml", "correct"), ("5 L", "Answer: 5 ml", "wrong")],
    "second": [("1 min", "Answer: 60 seconds", "correct")],
    "minute": [("1 h", "Answer: 60 minutes", "correct")],
    "hour": [("60 min", "Answer: 1 hour", "correct")],
    "day": [("24 h", "Answer: 1 day", "correct")],
    "week": [("7 days", "Answer: 1 week", "correct")],
    "month": [("1 year", "Answer: 12 months", "correct")],
    "year": [("12 months", "Answer: 1 year", "correct")],
    "gram": [("1 kg", "Answer: 1000 g", "correct")],
    "kilogram": [("1000 g", "Answer: 1 kg", "correct")],
    "milligram": [("1 g", "Answer: 1000 mg", "correct")],
    "tonne": [("1000 kg", "Answer: 1 t", "correct")],
    "pound": [("16 oz", "Answer: 1 lb", "correct")],
    "ounce": [("1 lb", "Answer: 16 oz", "correct")],
    "degrees": [("5 °", "Answer: 5度", "correct"), ("π rad", "Answer: 180°", "correct")],
    "radian": [("180°", "Answer: π rad", "correct")],
    "degrees celsius": [("5 °F", "Answer: 5 °C", "wrong")],
    "degrees fahrenheit": [("5 °C", "Answer: 5 °F", "wrong")],
    "kelvin": [("5 °C", "Answer: 5 kelvin", "wrong")],
    "dollars": [("100 cents", "Answer: 1 dollar", "correct")],
    "cents": [("1 dollar", "Answer: 100 cents", "correct")],
    "euros": [("5 dollars", "Answer: 5 euros", "wrong")],
    "pounds sterling": [("5 dollars", "Answer: £5", "wrong")],
    "yuan and renminbi": [("5 dollars", "Answer: 5 yuan", "wrong")],
    "jiao": [("5元", "Answer: 50角", "correct")],
    "rupees": [("5 dollars", "Answer: 5 rupees", "wrong")],
    "yen": [("5 dollars", "Answer: 5 yen", "wrong")],
    "miles per hour": [("5 miles per hour", "Answer: 5 mph", "correct"), ("5 m/s", "Answer: 5 mph", "wrong")],
    "kilometers per hour": [("5 m/s", "Answer: 18 kmh", "correct")],
    "newton": [("5 joules", "Answer: 5 N", "wrong")],
    "joule": [("5 kJ", "Answer: 5000 J", "correct")],
    "kilojoule": [("5000 J", "Answer: 5 kJ", "correct")],
    "watt": [("5 J", "Answer: 5 W", "wrong")],
    "volt": [("5 A", "Answer: 5 V", "wrong")],
    "ampere": [("5 V", "Answer: 5 A", "wrong")],
    "ohm": [("5 V", "Answer: 5 Ω", "wrong")],
    "pascal": [("5 N", "Answer: 5 Pa", "wrong")],
    "hertz": [("5 s", "Answer: 5 Hz", "wrong")],
    "mole": [("5 g", "Answer: 5 mol", "wrong")],
    "a unit": [("5", "Answer: 5 square units", "correct"), ("5", "Answer: 5 cubic unit", "correct")],
    # nouns
    "plural": [("5", "Answer: 5 clubs", "correct")],
    "irregular plurals": [("5", "Answer: 5 people", "correct")],
    "counting words": [("5", "Answer: 5个苹果", "correct")],
    "comparisons": [("5", "Answer: 5 less", "unparsed"), ("5", "Answer: 5 more apples", "unparsed")],
    "further multiples": [("5", "Answer: 5 pairs", "unparsed")],
    "verbs and pronouns": [("5", "Answer: 5 equals", "unparsed")],
    "times of day": [("1", "Answer: 1 pm", "unparsed")],
}  # fmt: skip


@pytest.fixture
def table(monkeypatch):
    """Puts another table of rules to use; everything that was read is kept by table, so nothing need be forgotten."""

    def use(rows):
        monkeypatch.setattr(rules, "TABLE", rules.Table(rows))

    return use


def differing(names=None) -> list[str]:
    return [
        f"{name}: gold {gold!r}, {reply!r} is {found}, expected {expected}"
        for name, cases in EXAMPLES.items()
        if names is None or name in names
        for gold, reply, expected in cases
        if (found := graded(gold, reply)) != expected
    ]


def test_examples_are_graded_as_written():
    assert not differing(), "\n".join(differing())


def test_every_row_has_an_example_and_every_example_a_row():
    names = [rule.name for rule in rules.RULES]
    assert len(set(names)) == len(names)
    assert set(names) == set(EXAMPLES)


@pytest.mark.parametrize("name", [rule.name for rule in rules.RULES])
def test_without_the_row_its_example_is_graded_otherwise(name, table):
    table([rule for rule in rules.RULES if rule.name != name])
    assert differing({name}), f"nothing notices that the row {name!r} is gone"


def test_options_and_units_are_compared_as_read():
    """120 mm is 12 cm; 12 cm^2 is another thing; options that carry labels lose them."""
    mm, cm = (numeric.quantity(text, numeric.Asked()) for text in ("120 mm", "12 cm"))
    assert isinstance(mm, Quantity)
    assert isinstance(cm, Quantity)
    assert compare.equal(cm, mm)
    assert choice.without_labels(("(A) red", "(B) blue")) == ("red", "blue")
    assert choice.without_labels(("(A) red", "(C) blue")) == ("(A) red", "(C) blue")
