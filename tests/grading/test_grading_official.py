"""The official graders keep the defects they are known for; ours, beside them, does not have them."""

from __future__ import annotations

import pytest

from r3v.grading import OFFICIAL, grade
from r3v.records import Problem

LETTERS = Problem("g", "q", "B", "choice", choices=("30.0", "40.0", "45.0", "60.0"))
SUBSTRING = Problem("s", "q", "B", "choice", choices=("4", "45"))
TABLE = Problem("t", "q", "B", "choice", choices=("shortage", "surplus"))
FREE = Problem("f", "q", "1,735", "number", unit="$")
CHART = Problem("c", "q", "45", "number", tolerance=0.05)


def official(name: str, problem: Problem, text: str, seed: int = 0) -> bool:
    return OFFICIAL[name](problem, text, seed=seed).correct


def test_the_names():
    assert sorted(OFFICIAL) == ["chartqa", "clevr_math", "geoqa", "m3cot", "tabmwp"]


@pytest.mark.parametrize(
    ("name", "problem", "text", "theirs", "ours"),
    [
        ("geoqa", LETTERS, "Answer: B", True, "correct"),
        ("geoqa", LETTERS, "the answer is (B)", True, "correct"),
        ("geoqa", LETTERS, "(A) holds. Answer: B", False, "correct"),  # taken for A
        ("geoqa", LETTERS, "Answer: it is 40.0", False, "correct"),  # a value is no letter
        ("geoqa", SUBSTRING, "45", False, "correct"),  # "4" is found first
        ("tabmwp", TABLE, "Answer: B", True, "correct"),
        ("tabmwp", TABLE, "Answer: surplus", True, "correct"),
        ("tabmwp", TABLE, "There would be surplus of", True, "unparsed"),  # the most similar option
        ("tabmwp", FREE, "Answer: $1,735.00", True, "correct"),
        ("tabmwp", FREE, "The price is $1,735", True, "unparsed"),  # any last number
        ("tabmwp", FREE, "Answer: \\frac{3470}{2}", True, "correct"),
        ("tabmwp", FREE, "Answer: 1734", False, "wrong"),
        ("chartqa", CHART, "Answer: 47", True, "correct"),
        ("chartqa", CHART, "Answer: 45%", False, "correct"),
        ("chartqa", Problem("k", "q", "1000", "number", tolerance=0.05), "Answer: 1,000", False, "correct"),
        ("chartqa", Problem("y", "q", "2015", "number", tolerance=0.05), "Answer: 2010", True, "wrong"),
        ("chartqa", Problem("n", "q", "nan", "number", tolerance=0.05), "Answer: nan", True, "unparsed"),
        ("chartqa", Problem("b", "q", "Yes", "text"), "Answer: Yes.", False, "correct"),
        ("chartqa", Problem("b", "q", "Yes", "text"), "Answer: yes", True, "correct"),
        ("clevr_math", Problem("m", "q", "3", "number"), "3", True, "correct"),
        ("clevr_math", Problem("m", "q", "3", "number"), "Answer: 3", True, "correct"),
        ("clevr_math", Problem("m", "q", "5", "number"), "Answer: 5 - 2 = 3", True, "wrong"),
        ("clevr_math", Problem("m", "q", "3", "number"), "there are 3 cubes", False, "unparsed"),
    ],
)
def test_theirs_and_ours(name, problem, text, theirs, ours):
    assert official(name, problem, text) is theirs
    assert grade(problem, text).outcome.value == ours


def test_geoqa_counts_an_empty_text_right_three_times_in_four():
    """2,000 draws at p = .75: standard error .0097, so within .04; and each draw can be repeated."""
    right = [official("geoqa", LETTERS, "", seed) for seed in range(2000)]
    assert sum(right) / 2000 == pytest.approx(0.75, abs=0.04)
    assert right[:20] == [official("geoqa", LETTERS, "", seed) for seed in range(20)]
    assert grade(LETTERS, "").outcome.value == "unparsed"


def test_tabmwp_draws_an_option_for_a_letter_out_of_range():
    right = [official("tabmwp", TABLE, "Answer: F", seed) for seed in range(1000)]
    assert sum(right) / 1000 == pytest.approx(0.5, abs=0.07)
    assert grade(TABLE, "Answer: F").outcome.value == "wrong"


@pytest.mark.parametrize("name", sorted(OFFICIAL))
@pytest.mark.parametrize(
    "text", ["", "\ud800", "9" * 6000, "(" * 100_000, "Answer:" * 20_000, "1/0", "Answer: 1/0", "inf"]
)
def test_no_text_raises(name, text):
    for problem in (LETTERS, TABLE, FREE, CHART):
        assert OFFICIAL[name](problem, text).outcome.value in ("correct", "wrong")


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("The answer is (b).", "B", True),
        ("Answer: A. As (B) shows", "A", False),  # a later letter in passing
        ("It is 45.", "A", True),  # "4" is found in "45"
        ("so B", "B", True),
        ("as a rule", "A", True),  # the article is an option
        ("nobody knows", "A", False),
    ],
)
def test_m3cot_defects(text: str, gold: str, right: bool) -> None:
    problem = Problem("m", "?", gold, "choice", choices=("4", "7", "9"))
    assert OFFICIAL["m3cot"](problem, text).correct is right
