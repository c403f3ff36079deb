"""Euclid: the rules against values worked out by hand, every problem against its coordinates, all of it repeatable."""

# Exact numbers that cannot be are None; where a test knows better, a None fails it anyway.
# pyright: reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportOptionalMemberAccess=false

from __future__ import annotations

import hashlib
import random
import re
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import __version__ as PILLOW
from places import ROOT

from r3v.data import load
from r3v.data.euclid import CONSTRUCTIONS, RULES, Item, item_of, lessons, make, reading, source
from r3v.data.euclid.engine import Knowledge, chain
from r3v.data.euclid.exact import PI, Exact, near, number
from r3v.data.euclid.figure import Figure, foot, mid, polar, sided, triangle
from r3v.data.euclid.picture import BLOCKED, draw
from r3v.data.euclid.rules import stated, written_out
from r3v.data.euclid.source import RARE
from r3v.errors import ConfigError, DataError
from r3v.grading import grade
from r3v.recipes.research.euclid_theorems import coverage, example, occurring, read_table, training_theorems
from r3v.records import BytesImage, Problem, image_hash
from r3v.reflection.arithmetic import steps as arithmetic_steps

A_FEW = 60
BOOK = ROOT / "docs" / "theorems.md"
GEOWORLD = (
    "d82f128a4e5e9b1dc7f260355c331e3061facb45775c5e2b7fecfe5b5afeaf8d",
    "3f0d845fb3df12845a33a841b112978a247b71384a1abff0944b32a23dbcba88",
)
"""Hash of the texts, and of texts and pictures as Pillow 13.0.0 draws them."""


def known(figure: Figure, **values: int) -> Knowledge:
    """What follows from a figure and some values: `angle_BAC=40`, `AB=5`, `radius_O=3`."""
    figure.close()
    facts = [fact for clause in figure.clauses for fact in stated(figure, clause.facts)]
    for name, value in values.items():
        kind, _, at = name.rpartition("_")
        quantity = figure.angle(*at) if kind == "angle" else (kind, at) if kind else figure.length(*at)
        assert quantity is not None, name
        facts.append((quantity, number(value)))
    return chain(written_out(figure), facts)


def figure(**points: tuple[float, float]) -> Figure:
    found = Figure("test", random.Random(0))
    found.at(**points)
    return found


def items(count: int, start: int = 0) -> list[Item]:
    return [make("train", 5, start + k) for k in range(count)]


# -- exact numbers -------------------------------------------------------------------------------------------------


def test_exact_numbers_keep_roots_and_pi() -> None:
    """√12 = 2√3; 2√3 · √3 = 6; (1 + √2)(1 - √2) = -1; 6 / √3 = 2√3; 9π / 3 = 3π."""
    root3, root2 = number(3).root(), number(2).root()
    assert number(12).root() == number(2) * root3
    assert (number(2) * root3 * root3) == number(6)
    assert (number(1) + root2) * (number(1) - root2) == number(-1)
    assert number(6).over(root3) == number(2) * root3
    assert (number(9) * PI).over(number(3)).text == "3π"
    assert number(1).over(number(1) + root2) is None
    assert (number(2) + root3).root() is None
    assert number(Fraction(16, 3)).text == "16/3"
    assert number(Fraction(16, 3)).decimal == "5.333"
    assert (number(2) + number(3) * root3).text == "2 + 3√3"
    assert near(4.5) == number(Fraction(9, 2))
    assert near(2 * 3**0.5) == number(2) * root3
    assert near(2.123) is None


# -- rules, each against a value worked out by hand ----------------------------------------------------------------


def test_parallels_and_isosceles() -> None:
    """DE ∥ BC with angle B = 70: angle ADE = 70, BDE = 110; AB = AC: angle C = 70, A = 180 - 140 = 40."""
    b, c, a = triangle(70, 70, 4.0)
    f = figure(A=a, B=b, C=c, D=mid(a, b, 0.4), E=mid(a, c, 0.4))
    for line in ("ADB", "AEC", "BC", "DE"):
        f.line(line)
    f.say("DE parallel BC", ("para", "D", "E", "B", "C"))
    f.say("AB = AC", ("eq", ("length", "A", "B"), ("length", "A", "C")))
    found = known(f, angle_ABC=70)
    value = lambda name: found.nodes[f.angle(*name)].value  # noqa: E731
    assert value("ADE") == number(70)
    assert value("BDE") == number(110)
    assert value("ACB") == number(70)
    assert value("BAC") == number(40)
    assert [node.rule for node in found.derivation(f.angle(*"BAC"))] == ["apex_angle"]


def test_similar_triangles_in_proportion() -> None:
    """DE ∥ BC, AD = 4, AB = 6, DE = 3: BC = 3 · 6 / 4 = 4.5."""
    a, b, c = sided(4.5, 6.0, 6.0)
    f = figure(A=a, B=b, C=c, D=mid(a, b, 4 / 6), E=mid(a, c, 4 / 6))
    for line in ("ADB", "AEC", "BC", "DE"):
        f.line(line)
    f.say("DE parallel BC", ("para", "D", "E", "B", "C"))
    found = known(f, AD=4, AB=6, DE=3)
    node = found.nodes[("length", "B", "C")]
    assert node.value == number(Fraction(9, 2))
    assert [n.rule for n in found.derivation(node.key)] == ["similar_by_parallel", "similar_ratio"]


def test_circle_rules() -> None:
    """AB a diameter, angle ABC = 35: ACB = 90, BAC = 55; D over the same arc AC: ADC = 35; central AOC = 70."""
    o = (0.0, 0.0)
    f = figure(O=o, A=polar(o, 180, 5), B=polar(o, 0, 5), C=polar(o, 110, 5), D=polar(o, -60, 5))
    f.line("AOB")
    f.join("AC", "BC", "AD", "CD", "OC")
    f.circle("O", "A", "B", "C", "D")
    f.say("AB is the diameter of circle O", ("diameter", "A", "B", "O"))
    found = known(f, angle_ABC=35)
    value = lambda name: found.nodes[f.angle(*name)].value  # noqa: E731
    assert value("ACB") == number(90)
    assert value("BAC") == number(55)
    assert value("ADC") == number(35)
    assert value("AOC") == number(70)


def test_two_tangents_and_the_inscribed_angle() -> None:
    """PA, PB tangents with angle P = 50: AOB = 130, and C on the larger arc sees AB under 65."""
    o, r = (0.0, 0.0), 5.0
    f = figure(O=o, A=polar(o, 180 - 65, r), B=polar(o, 180 + 65, r), C=polar(o, 10, r))
    f.put("P", polar(o, 180, r / 0.42261826174069944))
    f.circle("O", "A", "B", "C")
    f.join("PA", "PB", "OA", "OB", "AC", "BC")
    f.say("PA and PB are tangents", ("tangent", "A", "O", "P"), ("tangent", "B", "O", "P"))
    found = known(f, angle_APB=50)
    assert found.nodes[f.angle(*"AOB")].value == number(130)
    assert found.nodes[f.angle(*"ACB")].value == number(65)
    assert [n.rule for n in found.derivation(f.angle(*"ACB"))] == ["tangent_kite", "inscribed_central"]


def test_right_triangle_rules() -> None:
    """Legs 3 and 4: hypotenuse 5, area 6, sin A = 3/5, median 2.5; the altitude by area 3 · 4 / 5 is not given here."""
    f = figure(C=(0.0, 0.0), B=(3.0, 0.0), A=(0.0, 4.0), M=(1.5, 2.0))
    f.line("AMB")
    f.join("AC", "BC", "CM")
    f.say("angle C = 90", ("right", "A", "C", "B"))
    f.say("M is the midpoint of AB", ("mid", "M", "A", "B"))
    found = known(f, BC=3, AC=4)
    assert found.nodes[("length", "A", "B")].value == number(5)
    assert found.nodes[("area", "A", "B", "C")].value == number(6)
    assert found.nodes[("sin", "A", "C", "M")].value == number(Fraction(3, 5))
    assert found.nodes[("length", "C", "M")].value == number(Fraction(5, 2))
    assert found.nodes[("perimeter", "A", "B", "C")].value == number(12)


def test_special_angles_give_roots() -> None:
    """Angle A = 30, C = 90, BC = 2: AB = 4, AC = 2√3, area 2√3."""
    f = figure(C=(0.0, 0.0), B=(2.0, 0.0), A=(0.0, 2 * 3**0.5))
    f.polygon("A", "B", "C")
    f.say("angle C = 90", ("right", "A", "C", "B"))
    found = known(f, angle_BAC=30, BC=2)
    assert found.nodes[("length", "A", "B")].value == number(4)
    assert found.nodes[("length", "A", "C")].value.text == "2√3"
    assert found.nodes[("area", "A", "B", "C")].value.text == "2√3"


def test_parallelogram_and_rhombus() -> None:
    """Diagonals 6 and 8 of a rhombus: side 5, perimeter 20, area 24."""
    f = figure(O=(0.0, 0.0), A=(0.0, 3.0), C=(0.0, -3.0), B=(-4.0, 0.0), D=(4.0, 0.0))
    f.polygon("A", "B", "C", "D")
    f.line("AOC")
    f.line("BOD")
    f.say("in rhombus ABCD", ("rhombus", "A", "B", "C", "D"))
    found = known(f, AC=6, BD=8)
    assert found.nodes[("length", "A", "B")].value == number(5)
    assert found.nodes[("perimeter", "A", "B", "C", "D")].value == number(20)
    assert found.nodes[("area", "A", "B", "C", "D")].value == number(24)


def test_altitude_makes_mirror_similar_triangles() -> None:
    """Right angle C, CD perpendicular AB, AC = 15, AD = 9: AB = 15 · 15 / 9 = 25."""
    f = figure(C=(0.0, 0.0), B=(20.0, 0.0), A=(0.0, 15.0))
    f.put("D", foot((0.0, 0.0), f.points["A"], f.points["B"]))
    f.line("ADB")
    f.join("AC", "BC", "CD")
    f.say("angle C = 90", ("right", "A", "C", "B"))
    f.say("CD perpendicular AB", ("right", "C", "D", "A"))
    found = known(f, AC=15, AD=9)
    assert found.nodes[("length", "A", "B")].value == number(25)


def test_a_wrong_value_is_noticed() -> None:
    """A given that the coordinates deny stops the chaining."""
    b, c, a = triangle(70, 70, 4.0)
    f = figure(A=a, B=b, C=c)
    f.polygon("A", "B", "C")
    with pytest.raises(AssertionError, match="the coordinates say 70"):
        known(f, angle_ABC=71)


# -- problems ------------------------------------------------------------------------------------------------------


def test_every_answer_holds_on_the_coordinates() -> None:
    for item in items(A_FEW):
        found = item.figure.measure(item.target)
        assert found == pytest.approx(float(item.answer), rel=1e-6), item.problem.id
        assert float(item.problem.gold_text) == pytest.approx(found, abs=6e-4), item.problem.id
        for quantity, value in item.givens:
            assert item.figure.measure(quantity) == pytest.approx(float(value), rel=1e-6)


def test_every_construction_makes_problems() -> None:
    for name in CONSTRUCTIONS:
        item = make("train", 1, 3, name)
        assert item.figure.kind == name
        assert item.steps
        assert 1 <= item.problem.meta["steps"] <= 5
    assert len(CONSTRUCTIONS) >= 60


def test_steps_of_a_solution_add_up() -> None:
    """Every "expression = value" of a solution, read again from its text, holds."""
    counted = 0
    for item in items(A_FEW):
        for step in arithmetic_steps(item.rationale):
            assert step.left == pytest.approx(step.right, abs=6e-4), (item.problem.id, step.text, item.rationale)
            counted += 1
    assert counted > A_FEW


def test_solutions_are_graded_right() -> None:
    for item in items(40):
        for problem in (item.problem, item.problem.open()):
            assert grade(problem, item.rationale).outcome.name == "CORRECT", (problem, item.rationale)


def test_solutions_read_what_only_the_picture_shows() -> None:
    """A value that stands in the picture alone is said first; a value in the text is in the question."""
    pictured = 0
    for item in items(A_FEW):
        used = {node.key for step in item.steps for node in step.premises}
        for quantity, value in item.givens:
            told = f"{item.names.quantity(quantity)} = {value.text}"
            if (quantity, value) in item.pictured:
                pictured += 1
                assert told not in item.problem.question
                assert quantity not in used or told in item.rationale.partition(".")[0] + item.rationale
            elif quantity[0] in ("angle", "length"):
                assert value.text in item.problem.question
    assert pictured > 10


def test_options_are_four_and_distinct() -> None:
    for item in items(A_FEW):
        choices = item.problem.choices
        assert choices is not None
        assert len(set(choices)) == 4
        assert all(float(choice) > 0 for choice in choices)


def test_questions_vary_and_end_as_they_should() -> None:
    questions = [item.problem.question for item in items(A_FEW)]
    assert len(set(questions)) == A_FEW
    assert len({re.sub(r"[A-Z]+|\d+(\.\d+)?", "", q) for q in questions}) > A_FEW * 0.8
    assert all(re.search(r"\(\)$|^.*find .*$", q, re.IGNORECASE) for q in questions)
    assert not any("  " in q or " ," in q for q in questions)


def test_a_construction_without_content_in_a_split_is_stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number 18 of this seed draws `ladder`, of which no try finds anything for the gate."""
    assert make("gate", 1, 18).figure.kind != "ladder"
    monkeypatch.setitem(make.__globals__, "_TRIES", 0)
    with pytest.raises(ConfigError, match=r"found no problem of split gate \(seed 9, number 0\) in ladder; name more"):
        make("gate", 9, 0, "ladder")


def test_the_same_arguments_make_the_same_problem() -> None:
    make.__globals__["_make"].cache_clear()
    first = [make("train", 9, k) for k in range(6)]
    make.__globals__["_make"].cache_clear()
    again = [make("train", 9, k) for k in range(6)]
    for one, other in zip(first, again, strict=True):
        assert one.problem == other.problem
        assert one.rationale == other.rationale
        assert draw(one)[0].tobytes() == draw(other)[0].tobytes()
    assert first[0].problem != make("train", 10, 0).problem


def test_splits_share_no_content() -> None:
    contents = {split: {p.meta["content"] for p in source(split, 20)} for split in ("train", "gate", "test")}
    assert not contents["train"] & contents["gate"]
    assert not contents["train"] & contents["test"]
    assert not contents["gate"] & contents["test"]


def test_skills_are_the_tags_of_the_steps() -> None:
    for item in items(40):
        tags = {tag for node in item.steps for tag in (*RULES[node.rule].tags, *node.tags)}
        assert set(item.problem.skills) == tags
        assert tags


# -- pictures and reading ------------------------------------------------------------------------------------------


def test_labels_are_inside_and_apart() -> None:
    for item in items(60):
        picture, layout = draw(item)
        assert picture.size == layout.size
        assert min(picture.size) >= 48
        assert max(picture.size) <= 310
        low, high = picture.getextrema()
        assert low < 120 < high
        assert layout.cost < BLOCKED, item.problem.id
        for label in layout.labels:
            x0, y0, x1, y1 = label.box
            assert 0 <= x0 < x1 <= picture.width, (item.problem.id, label)
            assert 0 <= y0 < y1 <= picture.height, (item.problem.id, label)


def test_readings_tell_what_was_drawn() -> None:
    """Letters, numbers and the points of a line, against the layout."""
    seen = set()
    for item in items(60):
        found = reading(item, random.Random(item.problem.id))
        _, layout = draw(item)
        seen.add(found.task)
        told = found.target.rstrip(".").split(", ")
        if found.task == "letters":
            assert told == sorted(label.text for label in layout.labels if label.kind == "letter")
        if found.task == "numbers" and found.target != "None.":
            assert sorted(told) == sorted(label.text for label in layout.labels if label.kind in ("number", "mark"))
        if found.task == "values":
            assert len(told) == len(item.pictured)
        assert found.target.endswith(".")
    assert len(seen) >= 6, seen


def test_reader_and_lessons() -> None:
    problems = load("euclid:train?n=5")
    assert len(problems) == 5
    assert problems[2] == source("train")[2]
    assert item_of(problems[2]).problem == problems[2]
    found = list(lessons(4))
    assert [lesson.image for lesson in found] == [p.images[0] for p in source("train", 4)]
    assert all(lesson.rationale.splitlines()[-1].startswith("Answer: ") for lesson in found)
    only = load("euclid:test?n=3&constructions=two_tangents,ladder")
    assert {p.meta["construction"] for p in only} <= {"two_tangents", "ladder"}
    with pytest.raises(ConfigError, match="found euclid split 'nowhere'"):
        load("euclid:nowhere")
    with pytest.raises(ConfigError, match="found theorems"):
        load("euclid:train?theorems=nothing")
    with pytest.raises(ConfigError, match="found constructions"):
        load("euclid:train?constructions=nothing")
    with pytest.raises(DataError, match="expected a problem of the world euclid"):
        item_of(Problem("x", "q", "1", "number", images=(BytesImage(b""),)))


def test_problems_of_one_theorem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem uses the theorem asked for, and the first n are the same whatever n."""
    homes = {"circle_property_angle_of_osculation": ("tangent_chord", "tangent_by_angle")}
    monkeypatch.setattr(sys.modules["r3v.data.euclid.source"], "theorem_homes", lambda: homes)
    spec = "euclid:train?theorems=circle_property_angle_of_osculation&n="
    found = list(load(f"{spec}4"))
    assert all("circle_property_angle_of_osculation" in p.skills for p in found)
    assert len({p.id for p in found}) == 4
    assert list(load(f"{spec}2")) == found[:2]


def test_geoworld_stays_what_it_was() -> None:
    """Questions, rationales and pictures of GeoWorld in every family: one hash, so that sharing code cannot change
    them."""
    from r3v.data.geoworld import FAMILIES, NOVEL
    from r3v.data.geoworld import make as make_geoworld

    text = hashlib.sha256()
    for name in FAMILIES:
        item = make_geoworld(name, 3, 7, "novel" if name in NOVEL else "train")
        text.update(f"{item.problem.id}{item.problem.question}{item.problem.choices}{item.rationale}".encode())
        if PILLOW == "13.0.0":
            text.update(image_hash(item.problem.images[0]).encode())
    assert text.hexdigest() == GEOWORLD[PILLOW == "13.0.0"]


def test_exact_is_hashable_and_readable() -> None:
    assert len({number(2), number(2), Exact(())}) == 2
    assert repr(number(2)) == "Exact(2)"


def test_rare_theorems_are_at_home_where_the_book_has_an_example() -> None:
    rows = read_table(BOOK.read_text(encoding="utf-8"))
    for tag, homes in RARE.items():
        examples = {(construction, number) for tags, _, construction, number in rows.values() if tag in tags}
        assert {construction for construction, _ in examples} == set(homes)
        assert all(tag in make("train", 0, number, name).problem.skills for name, number in examples)


# -- the book of theorems --------------------------------------------------------------------------------------------


def test_every_row_of_the_book_can_be_made_again() -> None:
    """docs/theorems.md has a row for each rule with a theorem, and its example follows from the problem it names."""
    rows = read_table(BOOK.read_text(encoding="utf-8"))
    missing = [name for name in RULES if name not in rows]
    assert not missing, "run python -m r3v.recipes.research.euclid_theorems table"
    for name, (tags, step, construction, index) in rows.items():
        assert tags == RULES[name].tags, name
        assert example(name, construction, index).step == step, name


def test_coverage_counts_training_problems_alone(tmp_path: Path) -> None:
    """Two training problems, one with a theorem that no rule has: 1 of 2. The test row is never parsed."""
    (tmp_path / "join_multiple_choice.jsonl").write_text(
        '{"split": "train", "problem_id": 1}\n{"split": "train", "problem_id": 2}\n{"split": "test", not json\n'
    )
    (tmp_path / "formalgeo_raw_text.jsonl").write_text(
        '{"problem_id": 1, "theorem_seqs": ["triangle_property_angle_sum(ABC)", "vertical_angle(AOB,COD)"]}\n'
        '{"problem_id": 2, "theorem_seqs": ["vertical_angle(AOB,COD)", "unheard_of(ABC)"]}\n'
        '{"problem_id": 3, not json\n'
    )
    problems = training_theorems(tmp_path)
    assert problems == [
        frozenset(("triangle_property_angle_sum", "vertical_angle")),
        frozenset(("vertical_angle", "unheard_of")),
    ]
    covered, unknown = coverage(problems, occurring(["angle_sum", "vertical_angles"]))
    assert covered == 1
    assert unknown == {"unheard_of": 1}
    with pytest.raises(DataError, match="no such file"):
        training_theorems(tmp_path / "nowhere")
