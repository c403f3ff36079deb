"""Grading holds for any text: nothing raises or runs away, a stated gold is CORRECT, half a rationale is not.

The last test runs over every multiple-choice problem of the real GeoQA data.
"""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from r3v import prompts
from r3v.grading import answers_equal, extract, grade, normalise
from r3v.records import LETTERS, Outcome, Problem

ANGLES = Problem("angles", "q", "B", "choice", choices=("30.0", "95.0", "45.0", "4.330127018922193"))
COLOURS = Problem("colours", "q", "B", "choice", choices=("Red", "Blue", "The big cat", "None"))
FIVE = Problem("five", "q", "5", "number", unit="clubs")
CHART = Problem("chart", "q", "45", "number", tolerance=0.05)
PARIS = Problem("paris", "q", "Paris", "text")
YES = Problem("yes", "q", "Yes", "text")
ALL = (ANGLES, COLOURS, FIVE, CHART, PARIS, YES)

fragments = st.sampled_from(
    [
        "Answer: ",
        "answer is ",
        "\\boxed{",
        "}",
        "(A)",
        "B",
        "option ",
        "\n",
        "95",
        "95.0",
        "%",
        "$",
        "-",
        "/",
        ",",
        "\\frac{1}{2}",
        "^\\circ",
        "**",
        "or ",
        "not ",
        "Blue",
        "nan",
        "1e999",
        "√",
        "π",
        "9^9",
        "�",
        "\x00",
        "½",
        "²",
        "١",
        "ⅷ",
        "．",
        "####",
        "'",
        "is correct",
        "(",
        ")",
        "{",
        "<",
        "=",
    ]
)
any_text = st.one_of(st.text(max_size=200), st.lists(fragments, max_size=25).map("".join))


@settings(max_examples=250)
@given(any_text, st.sampled_from(ALL))
@example("Answer: ²", FIVE)
@example("Answer: 1/0", FIVE)
@example("Answer: " + "9" * 5000, CHART)
def test_no_text_raises_or_takes_a_second(text, problem):
    verdict = grade(problem, text)
    assert verdict.outcome is not Outcome.UNAVAILABLE
    assert (extract(problem, text) is None) == (verdict.outcome is Outcome.UNPARSED)
    assert isinstance(normalise(problem, text), str)
    assert answers_equal(problem, text, text) in (True, False)


@pytest.mark.parametrize(
    "piece",
    ["Answer: ", "(", "\\boxed{", "answer to ", "1,", " ", "\n", "9", "a.", "-", "**", "<|", "'", "1 "],
)
@pytest.mark.parametrize("problem", ALL, ids=lambda p: p.id)
def test_a_megabyte_of_anything_is_graded_in_a_second(piece, problem):
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    grade(problem, text)
    assert time.process_time() - start < 1.0
    assert grade(problem, text + "\nAnswer: 5.").outcome is not Outcome.UNAVAILABLE


number_golds = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.3f}"),
    st.integers(1000, 10**9).map(lambda x: f"{x:,}"),
    st.sampled_from(["3/4", "1 1/2", "45%", "$5.20", "2√3", "\\frac{3}{4}", "1.2e3", "4.330127018922193", "5 clubs"]),
)


@settings(max_examples=150)
@given(number_golds)
def test_stating_the_gold_number_is_correct(gold):
    assert grade(Problem("p", "q", gold, "number"), f"Some steps.\nAnswer: {gold}").correct


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from(
            [
                "Paris",
                "New York",
                "the U.S.",
                "It's Bob",
                "1,000",
                "rock 'n' roll",
                "a",
                "yes",
                "No",
                "none",
                "H2O",
                "-5",
                "up to 3",
            ]
        ),
        min_size=1,
        max_size=3,
    )
)
def test_stating_the_gold_text_is_correct(parts):
    gold = " ".join(parts)
    assert grade(Problem("p", "q", gold, "text"), f"Some steps.\nAnswer: {gold}").correct


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(number_golds, st.sampled_from(["Red", "Blue", "None", "12:30 P.M.", "$40 or more"])),
        min_size=2,
        max_size=6,
    ),
    st.data(),
)
def test_stating_the_gold_letter_or_option_is_correct(choices, data):
    index = data.draw(st.integers(0, len(choices) - 1))
    problem = Problem("p", "q", LETTERS[index], "choice", choices=tuple(choices))
    assert grade(problem, f"Some steps.\nAnswer: {LETTERS[index]}").correct
    assert grade(problem, f"Some steps.\nAnswer: {choices[index]}").correct
    assert grade(problem, f"Some steps.\nAnswer: ({LETTERS[index]}) {choices[index]}").correct


RATIONALES = [
    (
        ANGLES,
        "Angle A is 45.0 and angle B is 40.\nThe sum is 180, so 180 - 85 = 95.\nOption A is too small.\n",
    ),
    (COLOURS, "The largest bar is blue.\nBlue is more than Red by 3.\nSo we take that one.\n"),
    (FIVE, "Step 1. There are 2 clubs on Monday.\nStep 2. There are 3 more on Friday: 2 + 3 = 5.\n5.\n"),
    (PARIS, "The map shows France.\nIts capital is Paris, on the Seine.\n"),
]


@pytest.mark.parametrize(("problem", "rationale"), RATIONALES, ids=[problem.id for problem, _ in RATIONALES])
def test_half_a_rationale_names_no_answer(problem, rationale):
    """Cut after any character before the answer line, it is UNPARSED, but for one short line of text that
    could be a direct answer, which is then WRONG; never CORRECT. With the answer line it is CORRECT."""
    for end in range(len(rationale) + 1):
        verdict = grade(problem, rationale[:end])
        assert not verdict.correct, rationale[:end]
        assert verdict.outcome is Outcome.UNPARSED or "\n" not in rationale[:end].strip(), rationale[:end]
    assert grade(problem, f"{rationale}Answer: {problem.gold_text}").correct


@pytest.mark.parametrize("style", ["full", "short"])
def test_what_the_prompts_ask_for_is_read(style):
    s = prompts.style(style)
    for problem in (ANGLES, COLOURS, FIVE, PARIS):
        target = prompts.select_target(s, 1, prompts.answer_text(problem))
        assert grade(problem, target).correct
        assert grade(problem, prompts.answer_line(s, prompts.answer_text(problem, letters=True))).correct
        assert grade(problem, prompts.select_target(s, None, "")).outcome in (Outcome.UNPARSED, Outcome.WRONG)


# ---------------------------------------------------------------------------------------------- real GeoQA


def geoqa_problems(folder) -> list[Problem]:
    problems = []
    for line in (folder / "join_multiple_choice.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        record = row["record"]
        if row["split"] == "train":
            question, _, listed = record["messages"][0]["content"].partition("\nChoices:\n")
            choices = tuple(choice.split(" ", 1)[1].strip() for choice in listed.split("\n"))
            letter = record["messages"][1]["content"].split()[-1]
        else:
            question, choices = record["problem"], tuple(str(number) for number in record["choice_numbers"])
            letter = LETTERS[record["label"]]
        problems.append(Problem(f"{row['split']}-{row['geoqa_id']}", question, letter, "choice", choices=choices))
    return problems


def test_real_geoqa_letters_and_values(real_data):
    """3,298 problems: the gold letter and the gold value are CORRECT, every other letter WRONG but for the
    options that repeat the gold, and every other option's value likewise. 4 problems have such an option
    (counted below by float equality, not by the grader)."""
    problems = geoqa_problems(real_data("geoqa"))
    assert len(problems) == 3298
    count: Counter[str] = Counter()
    for problem in problems:
        assert grade(problem, f"Reasoning.\nAnswer: {problem.answer}").correct
        assert grade(problem, f"Reasoning.\nAnswer: {problem.gold_text}").correct, problem
        for letter, choice in zip(LETTERS, problem.choices or (), strict=False):
            if letter == problem.answer:
                continue
            by_letter, by_value = (grade(problem, f"Answer: {stated}").outcome for stated in (letter, choice))
            assert by_letter == by_value
            count[by_letter.value] += 1
        count["open"] += grade(problem.open(), f"Answer: {problem.gold_text}").correct
    repeats = sum(
        choice != "None" and float(choice) == float(problem.gold_text)
        for problem in problems
        for letter, choice in zip(LETTERS, problem.choices or (), strict=False)
        if letter != problem.answer
    )
    assert repeats == 4
    assert count == {"wrong": 3 * 3298 - 4, "correct": 4, "open": 3298}
