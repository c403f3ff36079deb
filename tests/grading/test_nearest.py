"""Open answers judged against choices that were not shown: which choice a value is, alone, and when it is none."""

from __future__ import annotations

import pytest

from r3v.grading import extract, grade
from r3v.records import BytesImage, Outcome, Problem
from r3v.run.protocols import PROTOCOLS, asked, guessed, protocol
from r3v.selection.selector import blind


def problem(choices: list[str], gold: str, shown: list[str] | None = None) -> Problem:
    """`choices` as the release has them, `shown` as they stand in the prompt."""
    return Problem(
        "p", "How long is AB?", gold, "choice", (BytesImage(b"x"),), tuple(shown or choices), meta={"choices": choices}
    )


def opened(choices: list[str], gold: str, shown: list[str] | None = None) -> Problem:
    return asked([problem(choices, gold, shown)], PROTOCOLS["open"])[0]


ROOT = opened(["1.7320508075688772", "3.4641016151377544", "2.0", "4.0"], "B", ["1.732", "3.464", "2", "4"])
"""sqrt(3), 2 sqrt(3), 2 and 4; the gold is 2 sqrt(3)."""


@pytest.mark.parametrize(
    ("stated", "outcome", "named"),
    [
        ("2√3", Outcome.CORRECT, "3.464"),  # exactly the choice
        ("3.464", Outcome.CORRECT, "3.464"),
        ("3.46", Outcome.CORRECT, "3.464"),  # 0.12 % off
        ("3.48", Outcome.CORRECT, "3.464"),  # 0.46 % off
        ("3.5", Outcome.WRONG, None),  # 1.0 % off: nearest to the gold, and still no choice
        ("3.464 cm", Outcome.CORRECT, "3.464"),
        ("√3", Outcome.WRONG, "1.732"),
        ("1.73", Outcome.WRONG, "1.732"),  # 0.12 % off
        ("2", Outcome.WRONG, "2"),
        ("2.001", Outcome.WRONG, None),  # whole numbers are exact
        ("B", Outcome.UNPARSED, None),  # no letter was shown
    ],
)
def test_roots_written_as_decimals(stated: str, outcome: Outcome, named: str | None) -> None:
    verdict = grade(ROOT, f"So AB is found.\nAnswer: {stated}")
    assert (verdict.outcome, verdict.extracted) == (outcome, named)
    assert extract(ROOT, f"Answer: {stated}") == named


def test_no_answer_is_unparsed() -> None:
    assert grade(ROOT, "I do not know.").outcome is Outcome.UNPARSED


def test_a_value_between_two_choices_is_neither() -> None:
    """Both choices are long decimals within 1 % of each other: 1.41421356 and 1.42. 1.417 lies 0.00279 from the one and
    0.003 from the other, within 0.5 % (0.00707) of the first: nearest alone. Their middle, 1.41710678, is none."""
    near = opened(["1.41421356", "1.42", "5.0", "6.0"], "A")
    assert grade(near, "Answer: 1.4142").correct
    assert grade(near, "Answer: 1.42").extracted == "1.42"
    assert grade(near, "Answer: 1.41710678").outcome is Outcome.WRONG
    assert grade(near, "Answer: 1.41710678").extracted is None
    # nearer to 1.42 (0.0019 against 0.0039), which as a short decimal is only itself or what rounds to it
    assert grade(near, "Answer: 1.4181").extracted == "1.42"


def test_the_nearest_choice_must_be_the_one() -> None:
    """1.45 is within 0.5 % of no choice but 1.4521..., yet 1.45 stands among the choices itself."""
    both = opened(["1.4521839", "1.45", "3.0", "7.0"], "A")
    assert grade(both, "Answer: 1.45").extracted == "1.45"
    assert grade(both, "Answer: 1.45").outcome is Outcome.WRONG


def test_equal_choices_are_one_choice() -> None:
    """40 stands twice, and the gold is the second: the value is right, and extracted as the first."""
    twice = opened(["30.0", "40", "40.0", "60.0"], "C", ["30", "40", "40", "60"])
    verdict = grade(twice, "Answer: 40")
    assert (verdict.outcome, verdict.extracted) == (Outcome.CORRECT, "40")
    assert grade(opened(["8/2", "4", "5", "6"], "B"), "Answer: 4").correct


def test_a_choice_without_a_value_is_never_meant() -> None:
    none = opened(["None", "40.0", "45.0", "60.0"], "B", ["none of these", "40", "45", "60"])
    assert grade(none, "Answer: none of these").outcome is Outcome.UNPARSED
    assert grade(none, "Answer: 50").extracted is None
    assert grade(none, "Answer: 40°").correct


def test_negative_and_zero() -> None:
    signs = opened(["-2.0", "0.0", "2.0", "4.0"], "A", ["-2", "0", "2", "4"])
    assert grade(signs, "Answer: -2").correct
    assert grade(signs, "Answer: 0").extracted == "0"
    assert grade(signs, "Answer: 1").extracted is None  # half-way between 0 and 2


def test_percent_is_either_number() -> None:
    share = opened(["25%", "50%", "75%", "0.1"], "B")
    assert grade(share, "Answer: 50%").correct
    assert grade(share, "Answer: 0.5").correct


def test_what_is_extracted_does_not_need_the_gold() -> None:
    """Selectors see the problem with its gold replaced."""
    for text in ("Answer: 3.46", "Answer: 2", "Answer: 9", "nothing"):
        assert extract(blind(ROOT), text) == extract(ROOT, text)
    assert grade(blind(ROOT), "Answer: 3.46").outcome is Outcome.WRONG


def test_letter_guesser() -> None:
    """1/4 where the choices differ, 2/4 where the gold stands twice, 1/5 of five: (0.25 + 0.5 + 0.2) / 3."""
    told = guessed(
        [
            problem(["1", "2", "3", "4"], "A"),
            problem(["1", "2", "2", "4"], "C"),
            problem(["1", "2", "3", "4", "5"], "E"),
        ]
    )
    assert told[0] == pytest.approx(0.95 / 3)
    assert told[1] == {4: 2, 5: 1}


def test_protocols_ask_choices_or_nothing() -> None:
    one = problem(["1", "2", "3", "4"], "A")
    shown = asked([one], protocol("choices"))[0]
    assert (shown.choices, shown.answer, shown.kind) == (("1", "2", "3", "4"), "A", "choice")
    hidden = asked([one], protocol("top10"))[0]
    assert (hidden.choices, hidden.answer, hidden.kind) == (None, "1", "number")
    with pytest.raises(Exception, match="did you mean open"):
        protocol("opn")
    with pytest.raises(Exception, match="without choices"):
        asked([one.open()], protocol("open"))
    with pytest.raises(Exception, match="no number"):
        asked([problem(["rectangle", "rhombus"], "A")], protocol("open"))
    with pytest.raises(Exception, match="grader of its own"):
        asked([Problem("q", "?", "A", "choice", choices=("1", "2"), meta={"grader": "x:y"})], protocol("open"))
