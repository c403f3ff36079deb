"""The theorem book: a page for every rule, which page a problem calls for, notes from it, and notes given by hand."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from notebook_world import parts

from r3v.data.euclid.rules import RULES
from r3v.data.euclid.rules.advice import ADVICE
from r3v.errors import ConfigError, DataError
from r3v.notebook.evolve.book import TheoremBook, check_named
from r3v.notebook.evolve.config import NotebookConfig, SupervisorConfig
from r3v.notebook.evolve.controls import NONE, OWN, RIGHT, WRONG, describe_controls
from r3v.notebook.evolve.evolve import evolve
from r3v.notebook.evolve.qualify import describe, qualify
from r3v.notebook.evolve.supervisors import Failure, unusable
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Outcome, Problem, Prompt, Verdict

CENTRAL, INSCRIBED = "arc_property_center_angle", "arc_property_circumference_angle_external"
SUM, PARTS = "triangle_property_angle_sum", "angle_addition"
BOOK = TheoremBook()
KINDS = {
    "midline": ("midsegment_of_triangle_judgment_midpoint", "midsegment_of_triangle_property_length"),
    "tangent_lengths": ("tangent_of_circle_property_length_equal",),
    "circle_area": ("circle_area_formula",),
}
QUESTIONS = {
    "midline": "In triangle ABC, D and E are the midpoints of AB and AC, BC = {}, then DE = ()",
    "tangent_lengths": "PA and PB are the two tangents from P to circle O, PA = {}, then the tangent PB = ()",
    "circle_area": "The radius of circle O is {}, then the area of the circle is ()",
}


def problem(number: int, *skills: str, question: str = "") -> Problem:
    return Problem(f"p{number}", question or f"Find angle {number}.", str(1000 + number), "number", skills=skills)


def named(first: int, count: int) -> list[Problem]:
    rules = list(KINDS)
    found = []
    for i in range(first, first + count):
        rule = rules[i % 3]
        found.append(problem(i, *KINDS[rule], question=QUESTIONS[rule].format(i)))
    return found


def test_every_rule_that_stands_for_a_theorem_has_a_page_of_its_own_words() -> None:
    assert set(ADVICE) == {name for name, rule in RULES.items() if rule.tags}
    assert len(set(ADVICE.values())) == len(ADVICE)
    for page in BOOK.pages:
        lesson = BOOK.lessons([_failure(problem(1, *page.theorems))])[0]
        assert lesson is not None
        assert unusable(lesson, problem(1)) is None
        assert page.guidance[0].isupper()
        assert page.guidance.endswith(".")
        assert 30 < len(page.guidance) <= 110, page.rule


def _failure(asked: Problem) -> Failure:
    return Failure(asked, "Answer: 3", Verdict(Outcome.WRONG))


def test_a_page_fits_where_all_its_theorems_are_used() -> None:
    """Of central and inscribed angle together, the page on both. An angle sum alone is bookkeeping, taken where there
    is nothing else. One theorem of a page's two is enough where no page fits whole, unless it is bookkeeping."""

    def rule(*skills: str, question: str = "") -> str | None:
        page = BOOK.page(problem(1, *skills, question=question))
        return page.rule if page else None

    assert rule(CENTRAL, INSCRIBED, SUM) == "inscribed_central"
    assert rule(SUM, PARTS) in ("angle_sum", "angle_parts", "bisector_halves")
    assert rule(SUM) == "angle_sum"
    assert rule(SUM, "circle_area_formula") == "circle_area"
    assert rule(SUM, PARTS, "circle_area_formula") == "circle_area", "bisectors have parts too, which is bookkeeping"
    assert rule("midsegment_of_triangle_property_length") == "midline"
    assert rule("midsegment_of_triangle_property_length", SUM) == "midline"
    assert rule(CENTRAL) == "arc_central", "a page that fits whole comes before one on both angles"
    assert rule("unheard_of") is None
    assert rule() is None
    sines = {
        rule("sine_theorem", question="In a right triangle with an angle of 30 find the leg opposite it"),
        rule("sine_theorem", question="Divide each side by the sine of the opposite angle"),
    }
    assert sines == {"half_hypotenuse", "law_of_sines"}, "of one theorem's pages, the one in the question's words"


def test_the_wrong_page_is_as_long_and_about_none_of_the_theorems() -> None:
    texts = {page.rule: page.guidance for page in BOOK.pages}
    chosen = set()
    for i in range(12):
        asked = problem(i, CENTRAL, INSCRIBED, SUM)
        right = BOOK.page(asked)
        assert right is not None
        wrong = BOOK.beside(asked, right, texts)
        assert not set(wrong.theorems) & set(asked.skills)
        assert abs(len(wrong.guidance) - len(right.guidance)) <= 2
        assert BOOK.beside(asked, right, texts) == wrong, "the same each time"
        chosen.add(wrong.rule)
    assert chosen <= set(ADVICE)


class Reader:
    """A solver that is right iff it is told the page its problem calls for."""

    def answer(self, prompt: Prompt, index: int) -> str:
        number = int(prompt.problem_id[1:])
        return f"Answer: {1000 + number if ADVICE[list(KINDS)[number % 3]] in prompt.messages[-1].text else 1}"

    @property
    def policy(self) -> ScriptedPolicy:
        return ScriptedPolicy(self.answer, name="reader")


def test_a_notebook_of_the_book_goes_through_the_same_gate(tmp_path: Path) -> None:
    """Three kinds of problem, of which each page helps a third: three notes, by the book, each passed by the gate."""
    with ExitStack() as stack:
        made = parts(tmp_path, stack, Reader().policy, train=named(0, 48), pool=named(300, 60))
        config = replace(made.config, supervisor=SupervisorConfig(kind="theorem_book"))
        made = replace(made, config=config, supervisor=BOOK, writer=None)
        found = evolve(made)
        notes = made.notebook.notes()
        assert {note.guidance for note in notes.values()} == {ADVICE[rule] for rule in KINDS}
        assert {note.subject for note in notes.values()} == {"midline", "tangent lengths", "circle area"}
        assert {note.author for note in notes.values()} == {"theorem book"}
        assert found["accepted"] >= 3
        assert {d.data["gate"] for d in made.notebook.events("accepted") if "gate" in d.data} == {"paired"}
        with pytest.raises(DataError, match="no page for them"):
            evolve(replace(made, train=[problem(1)]))


def test_notes_given_by_hand_are_compared_in_pairs(tmp_path: Path) -> None:
    """Nine problems with a page and one without: the right page makes all nine right, the wrong one none, and the
    notebook, which is empty, none: three differences of 1 or -1 and one of 0."""
    with ExitStack() as stack:
        made = parts(tmp_path, stack, Reader().policy)
        asked = [*named(0, 9), problem(90)]
        report = qualify(made.shelf.recall({}), made.solver, made.style, asked, by_hand=True)
        found = report["controls"]
        assert (found["n"], found["unnamed"]) == (9, 1)
        assert abs(found["characters"][RIGHT] - found["characters"][WRONG]) <= 2
        told = {(p["figure"], p["control"]): (p["difference"], p["wins"], p["losses"]) for p in found["paired"]}
        assert told == {
            (RIGHT, NONE): (1.0, 9, 0), (WRONG, NONE): (0.0, 0, 0), (RIGHT, WRONG): (1.0, 9, 0),
            (OWN, RIGHT): (-1.0, 0, 9),
        }  # fmt: skip
        assert found["rules"] == {rule: {"n": 3, NONE: 0, RIGHT: 3, WRONG: 0} for rule in sorted(KINDS)}
        assert [row["problem"] for row in found["rows"]] == [p.id for p in asked[:9]]
        assert describe(report).endswith("\n".join(describe_controls(found)))
        assert "right note 100.0 %, no note      0.0 %: +100.0" in describe(report)
        calls = made.solver.ledger.usage("solver").calls
        again = qualify(made.shelf.recall({}), made.solver, made.style, asked, by_hand=True)
        assert again["controls"] == found
        assert made.solver.ledger.usage("solver").calls == calls == 10 + 9 + 9, "nothing is asked twice"
        with pytest.raises(DataError, match="found no page of the theorem book"):
            qualify(made.shelf.recall({}), made.solver, made.style, [problem(1)], by_hand=True)


def test_settings_and_data_that_the_book_cannot_serve() -> None:
    with pytest.raises(ConfigError, match="take one of them out"):
        NotebookConfig(supervisor=SupervisorConfig(kind="theorem_book", path="large")).check()
    with pytest.raises(DataError, match="found no theorem among the skills of 2 problems"):
        check_named([problem(1), problem(2, "unheard_of")])
    check_named([problem(1), problem(2, SUM)])
