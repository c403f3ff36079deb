"""The check of rationales: gold is right, typical mistakes are not, and a lucky answer never is."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3v.data.geoworld import FAMILIES, NOVEL, Item, make, rationale_is_right
from r3v.data.geoworld.oracle import _Known


def items(family: str, count: int) -> list[Item]:
    split = "novel" if family in NOVEL else "train"
    return [make(family, level, seed, split) for level, seed in product(range(1, 6), range(count))]


def triangle() -> Item:
    """A plain triangle_sum item; the tests below rewrite its rationale."""
    found = next(
        item
        for item in (make("triangle_sum", 3, seed, "train") for seed in range(50))
        if "extra" not in [g.key for g in item.draft.givens]
    )
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_is_right_and_mistakes_are_not_even_with_the_right_answer(family: str) -> None:
    for item in items(family, 12):
        p = item.problem
        assert rationale_is_right(p, item.rationale), item.rationale
        assert rationale_is_right(p.open(), item.rationale), "asked without choices too"
        for text, _ in item.wrong:
            assert not rationale_is_right(p, text), text
            lucky = f"{text.rpartition('Answer:')[0]}Answer: {p.gold_text}"
            assert not rationale_is_right(p, lucky), lucky
        bare = f"{item.reading}\nAnswer: {p.gold_text}"
        assert not rationale_is_right(p, bare), "an answer without a derivation is luck"


@pytest.mark.parametrize("family", FAMILIES)
def test_any_changed_number_makes_a_rationale_wrong(family: str) -> None:
    """Each number of the gold rationale in turn is raised by 1: reading, theorem, operand, result or
    answer.
    """
    for item in items(family, 2):
        for match in re.finditer(r"\d+", item.rationale):
            text = f"{item.rationale[: match.start()]}{int(match[0]) + 1}{item.rationale[match.end() :]}"
            assert not rationale_is_right(item.problem, text), text


def test_another_way_to_the_same_result_is_right() -> None:
    item = triangle()
    a, b = (g.value for g in item.draft.givens)
    gold, (left, right) = item.problem.gold_text, [g.text for g in item.draft.givens]
    for steps in (
        f"{a} + {b} = {a + b}. 180 - {a + b} = {gold}.",
        f"180 - {b} = {180 - b}. {180 - b} - {a} = {gold}.",
        f"180 - {a} - {b} = {gold}.",
        f"180 - ({a} + {b}) = {gold}.",
    ):
        assert rationale_is_right(item.problem, f"{left}, {right}. {steps}\nAnswer: {gold}"), steps
        assert rationale_is_right(item.problem, f"{steps}\nAnswer: {item.problem.answer}"), "the letter names it too"


def test_what_is_not_right() -> None:
    """One defect each: reading, theorem, arithmetic, a number from nowhere, no derivation, two answers."""
    item = triangle()
    a, b = (g.value for g in item.draft.givens)
    gold, (left, right) = item.problem.gold_text, [g.text for g in item.draft.givens]
    good = f"180 - {a} - {b} = {gold}."
    label = left.split(" = ")[0]
    for text in (
        f"{label} = {a + 1}. {good}\nAnswer: {gold}",
        f"{left}. The angles of a triangle sum to 360. {good}\nAnswer: {gold}",
        f"180 - {a} = {180 - a + 1}. {good}\nAnswer: {gold}",
        f"{int(gold) + 7} - 7 = {gold}.\nAnswer: {gold}",
        f"{good} {a} + {b} = {a + b}.\nAnswer: {gold}",
        f"{good}\nAnswer: {gold}\nAnswer: {gold}",
        f"{good}\nAnswer: {gold} or so",
        f"{good}\nAnswer: {int(gold) + 1}",
        f"{good}",
        f"QX = 12. {good}\nAnswer: {gold}",
        f"180 - {a} - {b} = {gold} = {gold}.\nAnswer: {gold}",
        f"{a} / 0 = 0. {good}\nAnswer: {gold}",
        f"__import__(os) = 1. {good}\nAnswer: {gold}",
        "",
    ):
        assert not rationale_is_right(item.problem, text), text
    assert rationale_is_right(item.problem, f"{left}, {right}. {good}\nAnswer: {gold}")


def test_a_wrong_method_that_agrees_by_luck_is_not_right() -> None:
    """Rectangle 3 x 6: area and perimeter are both 18, but as functions of the sides they differ."""
    item = next(i for i in items("rectangle_area", 12) if i.draft.variant == "plain")
    p, q = item.draft.givens[:2]
    draft = replace(item.draft, givens=(replace(p, value=3), replace(q, value=6)))
    known = _Known(draft)
    assert known.accept("3 + 6 = 9")
    assert known.accept("9 * 2 = 18")
    assert not known.derived()
    known = _Known(draft)
    assert known.accept("3 * 6 = 18")
    assert known.derived()


@settings(max_examples=150)
@given(st.text(alphabet="0123456789 +-*/=().,ABsqrtAnswer:\n", max_size=120))
def test_no_text_raises(text: str) -> None:
    assert rationale_is_right(triangle().problem, text) in (True, False)
