"""The arithmetic reader and the filters against lucky positives, on literal texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reflection_fakes import FakePolicy, choice, graded, number

from r3v.errors import ConfigError
from r3v.prompts import style
from r3v.records import Problem
from r3v.reflection.arithmetic import last_value, steps, value_of
from r3v.reflection.filters import FILTERS, computed_last, keep, long_enough, measure_filters, steps_hold

FULL = style("full")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("180 - 65 = 115", [True]),
        ("180 - 65 = 105", [False]),
        ("angle C = 180° - 50° - 70° = 60°", [True]),
        ("3 + 4 = 7 = 14 / 2", [True, True]),
        ("3² + 4² = 25 and √(25) = 5", [True, True]),
        ("10 / 3 = 3.33", [True]),
        ("10 / 3 = 3.34", [False]),
        ("10 / 3 = 3", [False]),
        ("10 / 3 ≈ 3.3", [True]),
        ("2√3 × √3 = 6", [True]),
        (r"\frac{1}{2} \times 6 \times 4 = 12", [True]),
        (r"\sqrt{16} + 1 = 4", [False]),
        ("1,000 + 500 = 1,500", [True]),
        ("5 cm + 3 cm = 8 cm.", [True]),
        ("1 / 0 = 1", [False]),
        ("2 × π = 6.28", [True]),
        ("step 1: 90 - 30 = 60. step 2: 60 × 2 = 121", [True, False]),
        ("(3 + 4) × 2 = 14", [True]),
        ("-3 + 5 = 2", [True]),
    ],
)
def test_steps_are_found_and_judged(text: str, expected: list[bool]) -> None:
    assert [step.holds for step in steps(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "x - 65 = 115",
        "2x + 5 = 15",
        "∠A + 50 = 120",
        "angle 1 = 180 - 50",
        "∠1 = 180 - 50",
        "AB² + 16 = 25",
        "sin 30 = 0.5",
        "2 sin 30 + 1 = 2",
        "10 - 4 = 2x",
        "10 - 4 = 2 + y",
        "20% - 5 = 15",
        "AB = 12",
        "no arithmetic at all",
        "",
    ],
)
def test_what_cannot_be_read_is_left_alone(text: str) -> None:
    assert steps(text) == [] or all(step.holds for step in steps(text))


@given(st.integers(-999, 999), st.integers(-999, 999), st.integers(-2000, 2000))
def test_a_sum_holds_exactly_when_it_is_right(a: int, b: int, c: int) -> None:
    (step,) = steps(f"{a} + {b} = {c}") if b >= 0 else steps(f"{a} - {-b} = {c}")
    assert step.holds == (a + b == c)


@settings(max_examples=300)
@given(st.text(alphabet="0123456789+-*/^=()√π²., xA°\\sqrt{}\n", max_size=80))
def test_no_text_raises(text: str) -> None:
    steps(text)
    last_value(text)
    value_of(text)


def test_value_of_answers() -> None:
    found = [value_of(t) for t in ("95°", "10√3 cm", "x = 5/2", r"\frac{3}{4}", "blue", "")]
    assert found == [95.0, pytest.approx(17.3205, abs=1e-4), 2.5, 0.75, None, None]


def test_last_value_is_right_of_the_last_equality() -> None:
    assert last_value("180 - 65 = 115, then 115 / 5 = 23") == 23.0
    assert last_value("the sum is 40 so 20") == 20.0
    assert last_value("nothing") is None


def test_computed_last_compares_with_the_option_named() -> None:
    """Options are 50, 60, 70, 80, so B names 60."""
    problem = choice(answer="B")
    assert computed_last(problem, "180 - 50 - 70 = 60\nAnswer: B")
    assert computed_last(problem, "180 - 50 - 70 = 60\nAnswer: 60")
    assert not computed_last(problem, "180 - 50 = 130\nAnswer: B")
    assert not computed_last(problem, "It looks right.\nAnswer: B")
    color = Problem(id="c", question="Which?", answer="A", kind="choice", choices=("red", "blue"))
    assert computed_last(color, "It is red.\nAnswer: A")


def test_steps_hold_and_long_enough() -> None:
    problem = number()
    assert steps_hold(problem, "180 - 120 = 60\nAnswer: 60")
    assert not steps_hold(problem, "180 - 110 = 60\nAnswer: 60")
    assert not long_enough(problem, "Answer: 60")
    assert not long_enough(problem, "Answer: 60 because " + "x" * 60)
    assert long_enough(problem, "x" * 51)


def test_grounded_compares_with_a_blank_image_of_the_same_size() -> None:
    """The fake likes the text better with the picture, and the other text better without it."""

    def weigh(prompt, text: str) -> float:
        blank = prompt.images[0].describe() == "blank 8x6"
        return -2.0 if blank == (text == "sees") else -1.0

    problem = choice(images=True)
    policy = FakePolicy(weigh=weigh)
    assert keep("grounded", problem, ["sees", "guesses"], FULL, policy) == [True, False]
    assert keep("grounded", choice(), ["no picture"], FULL, policy) == [True]
    with pytest.raises(ConfigError, match="give build_examples a policy"):
        keep("grounded", problem, ["x"], FULL)


def test_unknown_filter_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="computed_last, steps_hold, long_enough, grounded"):
        keep("computed-last", number(), ["x"], FULL)


def test_measure_filters_counts_precision_and_cost() -> None:
    """Three positives: right, lucky with a false step, right but with a slip that steps_hold drops; one
    negative.

    none: 2 of 3 right. steps_hold keeps only the first: precision 1/1, cost 1 of 2.
    """
    problem = number()
    items = graded(
        problem,
        "180 - 120 = 60. Answer: 60",
        "90 - 20 = 60. Answer: 60",
        "1 + 1 = 3 but 180 - 120 = 60. Answer: 60",
        "Answer: 50",
    )
    pairs = [(problem, item) for item in items]
    rows = measure_filters(pairs, lambda p, text: "180 - 120" in text, style=FULL, names=["steps_hold"])
    none, held = rows
    assert (none.name, none.n, none.kept, none.precision, none.cost) == (
        "none",
        3,
        3,
        pytest.approx(2 / 3),
        0.0,
    )
    assert (held.kept, held.precision, held.cost) == (1, 1.0, 0.5)
    assert held.precision_ci95[0] < 1.0 <= held.precision_ci95[1] + 1e-9
    assert set(FILTERS) == {"computed_last", "steps_hold", "long_enough", "grounded"}
    assert [r.name for r in measure_filters(pairs, lambda p, t: True, style=FULL)][-1] == "all"
