"""Grading: what counts as naming an answer, and which answers are right. Expected values are literal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from r3v.grading import answers_equal, extract, grade, normalise, number
from r3v.records import Outcome, Problem

ANGLES = Problem("angles", "q", "B", "choice", choices=("30.0", "95.0", "45.0", "4.330127018922193"))
COLOURS = Problem("colours", "q", "B", "choice", choices=("Red", "Blue", "The big cat", "None"))
FIVE = Problem("five", "q", "5", "number", unit="clubs")
CHART = Problem("chart", "q", "45", "number", tolerance=0.05)
PARIS = Problem("paris", "q", "Paris", "text")
YES = Problem("yes", "q", "Yes", "text")


def seen(problem: Problem, text: str) -> str:
    verdict = grade(problem, text)
    assert verdict.extracted == extract(problem, text)
    return f"{verdict.outcome.value} {verdict.extracted}"


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "(B)",
        "B.",
        "[B]",
        "B)",
        "b",
        "(b)",
        "**B**",
        "Answer: B",
        "answer: B",
        "Answer: \nB",
        "Answer:\n\nB",
        "**Answer:** B",
        "**Answer: B**",
        "Final Answer: (B)",
        "Answer: B<|im_end|>",
        "<answer>B</answer>",
        "#### B",
        "The answer is B.",
        "the correct answer is (B)",
        "The correct option is: B",
        "\\boxed{B}",
        "$\\boxed{\\text{B}}$",
        "option B",
        "Option B.",
        "Therefore, the answer is option B.",
        "so B is correct",
        "(B) is the correct answer",
        "This matches option B.",
        "We choose option (B).",
        "Answer: B. 95",
        "Answer: (B) 95.0",
        "Answer: B, not C",
        "Answer: B because 180 - 85 = 95",
        "(A) holds. Answer: B",
        "Option A is too small.\nAnswer: B",
        "Answer: A\nWait, that is wrong.\nAnswer: B",
        "Answer: B\nAnswer: B\nAns",
        "Answer: B\nAnswer:",
        "故选B",
        "95",
        "95.0",
        "95°",
        "Answer: 95",
        "Answer: 95.0",
        "Answer: 95°",
        "Answer: $95^\\circ$",
        "Answer: 95 degrees",
        "\\boxed{95^{\\circ}}",
        "Answer: x = 95",
        "Answer: 180 - 85 = 95",
        "Answer: The angle is 95 degrees.",
        "Solution [2] is right.\nAnswer: 95",
        "[2] Answer: 95",
        "The answer to the question is 95.",
        "Answer: +95",
    ],
)
def test_every_common_way_to_name_option_b(text):
    assert seen(ANGLES, text) == "correct B"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: 45", "wrong C"),
        ("Answer: 4", "wrong 4"),  # never found inside 45 or 4.33
        ("Answer: 5", "wrong 5"),
        ("Answer: 4.33", "wrong D"),  # the option rounded to the decimals given
        ("Answer: \\frac{5\\sqrt{3}}{2}", "wrong D"),
        ("Answer: 5√3/2", "wrong D"),
        ("Answer: 100", "wrong 100"),
        ("Answer: E", "wrong E"),
        ("(Z)", "wrong Z"),
        ("angle A is 30.\nAnswer: A", "wrong A"),
    ],
)
def test_named_and_wrong(text, expected):
    assert seen(ANGLES, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "Answer:",
        "Answer: ",
        "\\boxed{",
        "\\boxed{}",
        "So 180 - 85 = 95",
        "Therefore angle C = 95.",
        "= 95",
        "The angle is 95 degrees",
        "1. Read 85.\n2.",
        "Answer: B or C",
        "Answer: A and B",
        "Answer: (A), (B)",
        "The answer is not B",
        "Answer: 30 or 95",
        "If the answer is B then",
        "does not match option B",
        "Is option B right?",
        "angle A is right",
        "angle B is correct",
        "∠B is correct",
        "B. 45",
        "Answer: B) 30",
        "None of the solutions is right.",
        "None",
        "Solution [2] is right.",
        "Answer: I don't know",
        "Answer: none",
        "reads 'Answer: ' followed by your final answer.",
        "The answer is obtained by subtracting.",
        "Choices: (A) 30.0 (B) 95.0",
        "Angle A and angle B",
        "So option B is wrong.",
        "which is option B?",
        "Because of this\nB",
        "the answer",
        "Option B gives 95, option C gives 45",
    ],
)
def test_text_that_names_no_option_is_unparsed(text):
    assert seen(ANGLES, text) == "unparsed None"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Blue", "correct B"),
        ("B. Blue", "correct B"),
        ("Answer: B. Blue", "correct B"),
        ("Answer: blue.", "correct B"),
        ("Answer: It is blue.", "correct B"),
        ("The answer is the Blue", "correct B"),
        ("Answer: big cat", "wrong C"),
        ("Answer: none", "wrong D"),
        ("Answer: bluebell", "wrong bluebell"),
        ("Answer: green", "wrong green"),
        ("B. Red", "unparsed None"),
        ("Answer: not blue", "unparsed None"),
        ("Answer: blue or red", "unparsed None"),
        ("I like blue things", "unparsed None"),
        ("A cat is seen.", "unparsed None"),
    ],
)
def test_option_texts(text, expected):
    assert seen(COLOURS, text) == expected


def test_repeated_options_are_one_answer():
    """Options B and D are both 40: the value, either letter, all name the gold D; the first letter is
    canonical."""
    problem = Problem("twice", "q", "D", "choice", choices=("30", "40", "50", "40.0"))
    for text in ("Answer: 40", "Answer: B", "Answer: D"):
        assert seen(problem, text) == "correct B"
    assert seen(problem, "Answer: A") == "wrong A"
    assert answers_equal(problem, "B", "D")


def test_a_value_between_two_options_is_not_guessed():
    """4.33 fits 4.330 and 4.3301 when rounded; 4.3301 is exact for one."""
    problem = Problem("near", "q", "A", "choice", choices=("4.3302", "4.3301", "9"))
    assert seen(problem, "Answer: 4.33") == "unparsed None"
    assert seen(problem, "Answer: 4.3301") == "wrong B"


def test_a_letter_is_a_label_even_where_options_are_letters():
    problem = Problem("points", "q", "A", "choice", choices=("B", "A", "C", "D"))
    assert seen(problem, "Answer: A") == "correct A"


def test_options_that_share_a_number_are_told_apart_by_their_words():
    problem = Problem("balls", "q", "A", "choice", choices=("3 red balls", "3 blue balls", "4 red balls"))
    assert seen(problem, "Answer: 3 red balls") == "correct A"
    assert seen(problem, "Answer: 3 blue balls") == "wrong B"
    assert seen(problem, "Answer: red") == "wrong red"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: 5", "correct 5"),
        ("Answer: 5 clubs", "correct 5"),
        ("Answer: 5.0 clubs.", "correct 5"),
        ("Answer: five", "correct 5"),
        ("Answer: There were 5 clubs.", "correct 5"),
        ("The answer is approximately 5", "correct 5"),
        ("5 clubs", "correct 5"),
        ("We add.\n\n5", "correct 5"),
        ("We add.\n5\n", "correct 5"),
        ("We add.\n5<|im_end|>", "correct 5"),
        ("We add.\n5", "unparsed None"),  # perhaps of a longer line
        ("Answer: 10/2", "correct 5"),
        ("Answer: 2 + 3 = 5", "correct 5"),
        ("Answer: 5 (since 2 + 3 = 5)", "correct 5"),
        ("Answer: 50", "wrong 50"),
        ("Answer: 5.01", "wrong 5.01"),
        ("Answer: 5k", "wrong 5000"),
        ("Answer: 2 + 3", "unparsed None"),
        ("Answer: 5 or 6", "unparsed None"),
        ("Answer: 5 out of 10", "unparsed None"),
        ("Answer: x = 5, y = 6", "unparsed None"),
        ("Answer: 5x", "unparsed None"),
        ("Answer: nan", "unparsed None"),
        ("Answer: infinity", "unparsed None"),
        ("Answer: not 5", "unparsed None"),
        ("Answer: many", "unparsed None"),
        ("So 2 + 3 = 5", "unparsed None"),
        ("First 2.\n5.", "unparsed None"),  # the marker of step 5
        ("", "unparsed None"),
    ],
)
def test_numbers(text, expected):
    assert seen(FIVE, text) == expected


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("45", "Answer: 45%", "correct"),
        ("45%", "Answer: 45", "correct"),
        ("0.45", "Answer: 45%", "correct"),
        ("45%", "Answer: 0.45", "correct"),
        ("45", "Answer: 47", "correct"),
        ("45", "Answer: 47.3", "wrong"),
        ("1000", "Answer: 1,000", "correct"),
        ("1,000", "Answer: 1000", "correct"),
        ("2015", "Answer: 2010", "wrong"),
        ("2015", "Answer: 2105", "wrong"),
        ("2015", "Answer: 2015", "correct"),
        ("2010", "Answer: 2,015", "correct"),  # grouped digits are an amount, not a year
        ("3000", "Answer: 2900", "correct"),
        ("5700000", "Answer: 5.7M", "correct"),
        ("5.7 million", "Answer: 5,700,000", "correct"),
        ("0", "Answer: 0.01", "wrong"),
        ("0", "Answer: 0", "correct"),
        ("-45", "Answer: 45", "wrong"),
        ("-45", "Answer: −45", "correct"),
    ],
)
def test_chart_numbers_with_a_tolerance_of_five_percent(gold, text, expected):
    assert grade(replace(CHART, answer=gold), text).outcome.value == expected


def test_nan_and_infinity_equal_nothing_not_even_as_gold():
    for gold in ("nan", "inf"):
        verdict = grade(replace(CHART, answer=gold), "Answer: 5")
        assert verdict.outcome is Outcome.UNAVAILABLE
        assert "problem chart" in verdict.reason
        assert grade(replace(CHART, answer=gold), f"Answer: {gold}").outcome is Outcome.UNPARSED


@pytest.mark.parametrize(
    ("problem", "text", "expected"),
    [
        (PARIS, "Paris", "correct paris"),
        (PARIS, "Answer: paris.", "correct paris"),
        (PARIS, "The answer is the Paris!", "correct paris"),
        (PARIS, "Answer: Paris. It lies on the Seine.", "correct paris"),
        (PARIS, "Answer: Paris, France", "wrong paris france"),
        (replace(PARIS, answer="Paris, France"), "Answer: Paris", "wrong paris"),
        (replace(PARIS, answer="U.S."), "Answer: US", "correct us"),
        (replace(PARIS, answer="St. Louis"), "Answer: St. Louis", "correct st louis"),
        (replace(PARIS, answer="1,000"), "Answer: 1000", "correct 1000"),
        (replace(PARIS, answer="5 clubs"), "Answer: 5", "wrong 5"),
        (replace(PARIS, answer="It rose. Then it fell"), "Answer: It rose. Then it fell", "correct it rose"),
        (PARIS, "The map shows that the city is Paris", "unparsed None"),
        (PARIS, "Step one.\nParis", "unparsed None"),
        (PARIS, "Answer: I don't know", "unparsed None"),
        (YES, "Yes.", "correct yes"),
        (YES, "Answer: Yes, it is.", "correct yes"),
        (YES, "Answer: No", "wrong no"),
        (YES, "Answer: yes and no", "wrong yes and no"),
    ],
)
def test_text(problem, text, expected):
    assert seen(problem, text) == expected


def test_what_a_text_names_does_not_depend_on_the_gold():
    """Selection at test time uses `extract`, so the gold must play no part in it."""
    texts = [
        "Answer: Yes it rose. Then it fell",
        "Answer: B",
        "B. Blue",
        "Answer: 5 clubs",
        "Answer: 4.33",
        "Paris",
    ]
    for text in texts:
        for kind, golds in (
            ("text", ("Yes", "Yes it rose. Then it fell", "5")),
            ("number", ("5", "4.33", "x")),
        ):
            assert len({extract(Problem("p", "q", gold, kind), text) for gold in golds}) == 1  # type: ignore[arg-type]
        assert len({extract(replace(ANGLES, answer=letter), text) for letter in "ABCD"}) == 1


def test_votes_for_the_same_answer_are_the_same_string():
    assert {extract(ANGLES, t) for t in ("B", "Answer: 95", "Answer: 95.0 degrees", "\\boxed{B}")} == {"B"}
    assert {extract(FIVE, t) for t in ("Answer: 5", "Answer: 5.00", "Answer: 10/2", "5 clubs")} == {"5"}
    assert normalise(ANGLES, "95 degrees") == "B"
    assert normalise(FIVE, "1,000") == "1000"
    assert normalise(PARIS, "The Nile.") == "nile"
    assert normalise(FIVE, "Dunno!") == "dunno"


@pytest.mark.parametrize(
    ("problem", "a", "b", "expected"),
    [
        (ANGLES, "B", "95", True),
        (ANGLES, "B", "45", False),
        (CHART, "100", "104", True),
        (CHART, "104", "100", True),
        (CHART, "2010", "2015", False),
        (FIVE, "5 clubs", "5.0", True),
        (FIVE, "5", "unreadable", False),
        (PARIS, "the Nile", "nile", True),
        (PARIS, "", "", False),
    ],
)
def test_answers_equal(problem, a, b, expected):
    assert answers_equal(problem, a, b) is expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("twenty-five", "25"), ("Ninety nine degrees", "99"), ("thirty", "30"), ("five apples", "5"),
     ("one hundred", None), ("five six", None), ("twenty twenty", None)],
)  # fmt: skip
def test_number_words_are_read_whole_or_not_at_all(text: str, value: str | None) -> None:
    """ "twenty-five" is not 20, and "one hundred" is not 1."""
    quantity = number.parse(text)
    assert (quantity and quantity.canonical) == value
