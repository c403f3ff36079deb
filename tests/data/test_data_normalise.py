"""Text normalisation: what a conversion script did is undone, what a person wrote stays."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3v.data.normalise import (
    answer_kind,
    fill_placeholders,
    gold_tolerance,
    is_number,
    placeholder_numbers,
    tidy_choices,
    tidy_decimal,
    tidy_question,
)


@pytest.mark.parametrize(
    ("raw", "tidy"),
    [
        ("80.0", "80"),
        ("29.99999", "30"),
        ("12.3333333", "12.333"),
        ("1.7320508075688772", "1.732"),
        ("0.0769230769", "0.0769"),  # three significant digits below 0.1
        ("1507.9644737231008", "1507.964"),
        ("0.60", "0.60"),  # written by a person
        ("1.4142", "1.4142"),
        ("0.0", "0"),
        ("1.5e-02", "0.015"),
        ("2.0E+3", "2000"),
    ],
)
def test_decimals(raw: str, tidy: str) -> None:
    assert tidy_decimal(raw) == tidy


@pytest.mark.parametrize(
    ("raw", "tidy"),
    [
        (
            "<image>Calculation: As shown in the figure , in triangle A B C , angle B = 80.0 , so C is ()",
            "As shown in the figure, in triangle ABC, angle B = 80, so C is ()",
        ),
        ("intersects circle O ' s tangent B C at point C .", "intersects circle O's tangent BC at point C."),
        ("points A , B , and C are on circle O", "points A, B, and C are on circle O"),
        ("A ship sails from A to B", "A ship sails from A to B"),
        ("rotate triangle A B C to A′ B′ C", "rotate triangle ABC to A′B′C"),
        ("AD = 2 B C ( not cm )", "AD = 2 BC (not cm)"),
        ("\\frac{1.0}{2.0} of l_{2.0}", "\\frac{1}{2} of l_{2}"),
        ("the area of \u200b\u200btriangle A D E", "the area of triangle ADE"),
        ("version 1.2.3 stays", "version 1.2.3 stays"),
    ],
)
def test_questions(raw: str, tidy: str) -> None:
    assert tidy_question(raw) == tidy


@given(st.text(alphabet=st.sampled_from(list("ABCxyz .,()0123456789′'\u200b=")), max_size=60))
def test_tidy_question_is_idempotent_and_keeps_letters(text: str) -> None:
    once = tidy_question(text)
    assert tidy_question(once) == once
    assert re.sub(r"[^A-Za-z]", "", once) == re.sub(r"[^A-Za-z]", "", text)


@given(st.decimals(min_value=0, max_value=100000, places=12))
def test_tidy_decimal_keeps_three_figures(value) -> None:
    """Rounding to three decimals, or three significant digits below 0.1, errs by at most half of the last
    digit."""
    shown = float(tidy_decimal(f"{value:f}"))
    assert abs(shown - float(value)) <= max(0.0005, 0.005 * float(value)) + 1e-12


def test_choices_that_differ_still_differ() -> None:
    assert tidy_choices(["7.0", "9.0", "None"]) == ("7", "9", "none of these")
    assert tidy_choices(["1.00001", "1.00002"]) == ("1.00001", "1.00002")
    assert tidy_choices(["35.0", "70.0", "70.0"]) == ("35", "70", "70")


def test_placeholders() -> None:
    assert fill_placeholders("angle A = N_0 , N_1 and N_0", ["80.0", "60.0"]) == "angle A = 80.0 , 60.0 and 80.0"
    assert fill_placeholders("N_10", [str(i) for i in range(11)]) == "10"
    assert fill_placeholders("N_0 : N_1 , AE = N_3", ["1", "3", "5"]) == "1 : 3 , AE = 5"
    assert fill_placeholders("side N_0 , area is () (results remain N_1)", ["4"]) == "side 4 , area is ()"
    with pytest.raises(IndexError):
        fill_placeholders("N_0 N_1 N_2", ["1"])


@given(st.lists(st.integers(0, 999).map(str), min_size=1, max_size=12))
def test_placeholders_are_all_filled(numbers: list[str]) -> None:
    template = " , ".join(f"x = N_{k}" for k in range(len(numbers)))
    assert re.findall(r"\d+", fill_placeholders(template, numbers)) == numbers


def test_numbers_behind_placeholders() -> None:
    """By position when both texts have the same numbers; by elimination otherwise; never by guessing."""
    assert placeholder_numbers("∠A = N_0, ∠B = N_1", "∠A=80°,∠B=60°") == ["80", "60"]
    chinese = "为37°,BC=20m,(sin37°≈0.60,cos37°≈0.80)"
    assert placeholder_numbers("N_0, BC = N_1 (sin37°≈N_2, cos37°≈N_3)", chinese) == [
        "37",
        "20",
        "0.60",
        "0.80",
    ]
    assert placeholder_numbers("a ∥ b, ∠1 = N_0, find ∠2", "(4分)如图,∠1=108°,则∠2") == ["108"]
    assert placeholder_numbers("angle 1 = N_0", "∠1=40°,旋转100°") is None
    assert placeholder_numbers("BC = N_0 and N_1", "BC=10cm") is None
    assert placeholder_numbers("no numbers", "没有") == []


def test_kinds_and_tolerance() -> None:
    assert [answer_kind(x) for x in ("140", "13/2", "1,000", "$5.20", "45%", "-3", ".5")] == ["number"] * 7
    assert [answer_kind(x) for x in ("2*sqrt(3)", "9*pi", "\\frac{1}{2}")] == ["expression"] * 3
    assert [answer_kind(x) for x in ("Yes", "5 clubs", "[1, 2]", "-")] == ["text"] * 4
    assert not is_number("")
    assert not is_number("$")
    assert not is_number("1,00")
    assert gold_tolerance("3.4641016151377544", ["1.73", "3.4641016151377544", "6"]) == 0.005
    assert gold_tolerance("3.4641016151377544", ["3.4641016151377544", "3.45"]) is None
    assert gold_tolerance("80.0") is None
    assert gold_tolerance("sqrt(2)") is None


@pytest.mark.parametrize("text", ["12.34567%", "$1.23456", "1,234.56789", "sNaN", "Infinity"])
def test_odd_golds_are_left_alone(text: str) -> None:
    """Prices and percentages have no tolerance of their own, and what is no finite number is not rounded."""
    assert gold_tolerance(text) is None
    assert tidy_decimal(text) == text


def test_a_unicode_minus_is_a_sign() -> None:
    assert is_number("\u22125")
    assert answer_kind("\u22121/2") == "number"
    assert gold_tolerance("\u22121.4142135") == 0.005
