"""Practice of theorems: the theorem and the steps asked for, nothing that is measured on, answers that are checked."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from r3v.curriculum.generators import aims_of, generator
from r3v.curriculum.practice import theorems
from r3v.curriculum.practice.generate import FIRST_SEED, contents
from r3v.curriculum.practice.item import Target, provenance_of
from r3v.curriculum.practice.quality import sift
from r3v.curriculum.practice.theorems import Asked, EuclidGenerator
from r3v.data.euclid import TAGS
from r3v.data.euclid.choose import split_of
from r3v.data.geoworld import source
from r3v.errors import ConfigError
from r3v.records import LETTERS

HOMES = dict.fromkeys(("vertical_angle", "adjacent_complementary_angle"), ("crossing_lines", "bend_outside"))


@pytest.fixture(autouse=True)
def homes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding the constructions of every theorem takes seconds."""
    monkeypatch.setattr(theorems, "theorem_homes", lambda: HOMES)


@pytest.mark.parametrize(("skill", "level"), [("vertical_angle", None), ("vertical_angle", 1), (None, 1)])
def test_every_problem_has_the_theorem_and_steps_asked_for(skill: str | None, level: int | None) -> None:
    made = list(EuclidGenerator().generate(Target(skill, level), 4, seed=3))
    assert len(made) == 4
    for problem in made:
        assert skill is None or skill in problem.skills
        assert level is None or problem.meta["steps"] == level
        provenance = provenance_of(problem)
        assert provenance.target == {"skill": skill, "level": level}
        assert (provenance.generator, provenance.answer) == ("euclid", "constructed")
        assert (problem.split, problem.source) == ("practice", "euclid")
        assert problem.meta["seed"] >= FIRST_SEED
        assert split_of(problem.meta["content"]) == "train"
    assert len(contents(made)) == len({p.id for p in made}) == 4


def test_the_same_seed_gives_the_same_problems_and_another_seed_others() -> None:
    one, again, other = (list(EuclidGenerator().generate(Target("vertical_angle"), 3, seed=s)) for s in (0, 0, 1))
    assert one == again
    assert {p.id for p in one}.isdisjoint(p.id for p in other)
    beside = list(EuclidGenerator().generate(Target("adjacent_complementary_angle"), 3, seed=0))
    assert {p.id for p in one}.isdisjoint(p.id for p in beside), "at home in the same constructions"


def test_questions_are_the_same_with_the_same_numbers_in_like_words_whatever_points_are_called() -> None:
    asked = Asked(["In triangle ABC, AB = AC, angle BAC = 40, then the size of angle ABC is ()"])
    assert "In triangle PQR, PQ = PR, angle QPR = 40, then the size of angle PQR is ()" in asked
    assert "As shown in the figure, in triangle PQR, PQ = PR, angle QPR = 40, then angle PQR is ()" in asked
    assert "In triangle PQR, PQ = PR, angle QPR = 50, then the size of angle PQR is ()" not in asked, "another number"
    assert "AB is a chord of circle O, angle AOB = 40, find angle C" not in asked, "other words"


def test_what_is_measured_on_is_never_made() -> None:
    """Of three problems one is excluded by its content and one by its question with other letters: both are missing."""
    target = Target("vertical_angle")
    first, second, third = EuclidGenerator().generate(target, 3, seed=5)
    turned = re.sub(r"\b[A-Z]+\b", lambda m: "".join(chr(90 - (ord(c) - 65)) for c in m[0]), second.question)
    assert turned != second.question
    found = list(EuclidGenerator(exclude=contents([first]), asked=[turned]).generate(target, 4, seed=5))
    assert len(found) == 4
    assert contents([first, second]).isdisjoint(contents(found))
    assert third.id == found[0].id, "nothing else is left out"


def test_the_verifier_takes_what_was_made_and_finds_planted_errors() -> None:
    making = EuclidGenerator()
    problem = next(making.generate(Target("vertical_angle"), 1, seed=7))
    assert making.check(problem).state == "right"
    assert making.check(problem.open()).state == "right", "choices may be taken away"
    other = next(letter for letter in LETTERS[: len(problem.choices or ())] if letter != problem.answer)
    assert making.check(replace(problem, answer=other)).state == "wrong"
    assert making.check(replace(problem, question=problem.question + " Why?")).state == "unknown"
    assert making.check(source("gate", 1)[0]).state == "unknown"
    sifted = sift([problem, replace(problem, id="spoilt", answer=other)], check=making.check)
    assert [p.id for p in sifted.kept] == [problem.id]
    assert sifted.counts == {"refuted": 1}


def test_impossible_targets_are_named_and_rare_ones_end() -> None:
    with pytest.raises(ConfigError, match="did you mean 'vertical_angle'"):
        EuclidGenerator().generate(Target("vertical_angel"), 1)
    with pytest.raises(ConfigError, match="expected 1 to 5"):
        EuclidGenerator().generate(Target(None, 6), 1)
    homeless = list(EuclidGenerator().generate(Target("vertical_angle", 5), 40, seed=0))
    assert all(p.meta["steps"] == 5 for p in homeless)
    assert aims_of("euclid") == set(TAGS)
    assert aims_of("geoworld") is None
    assert generator("euclid").name == "euclid"
