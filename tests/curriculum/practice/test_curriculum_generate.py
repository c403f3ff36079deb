"""Practice for a skill and level: exact answers, fresh contents, and a verifier that finds planted errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from r3v.curriculum.generators import GENERATORS, generator
from r3v.curriculum.practice.generate import FIRST_SEED, GeoWorldGenerator, contents, skills_at
from r3v.curriculum.practice.item import Checked, Provenance, Target, add_check, provenance_of, with_provenance
from r3v.curriculum.practice.measure import measure
from r3v.data.geoworld import item_of, make
from r3v.data.geoworld.make import split_of
from r3v.errors import ConfigError, DataError
from r3v.records import LETTERS, Problem
from r3v.stats import wilson


@pytest.mark.parametrize(
    ("skill", "level"),
    [("theorem:midline", 1), ("perception:ignore_extra", 3), ("composition:two_rules", 5), (None, None)],
)
def test_every_problem_has_the_skill_and_level_asked_for(skill: str | None, level: int | None) -> None:
    target = Target(skill, level)
    made = list(GeoWorldGenerator().generate(target, 4, seed=3))
    assert len(made) == 4
    for problem in made:
        assert skill is None or skill in problem.skills
        assert level is None or problem.meta["level"] == level
        provenance = provenance_of(problem)
        assert provenance.target == {"skill": skill, "level": level}
        assert (provenance.generator, provenance.answer) == ("geoworld", "constructed")
        assert problem.split == "practice"
    assert len(contents(made)) == 4


def test_the_same_seed_gives_the_same_problems_and_another_seed_others() -> None:
    target = Target("theorem:pythagoras", 3)
    one, again, other = (list(GeoWorldGenerator().generate(target, 3, seed=s)) for s in (0, 0, 1))
    assert one == again
    assert {p.id for p in one}.isdisjoint(p.id for p in other)


def test_practice_stays_out_of_the_held_out_splits_and_of_excluded_contents() -> None:
    target = Target("theorem:triangle_sum", 1)
    probe = list(GeoWorldGenerator().generate(target, 5, seed=0))
    fresh = list(GeoWorldGenerator(exclude=contents(probe)).generate(target, 5, seed=0))
    assert contents(probe).isdisjoint(contents(fresh))
    for problem in fresh:
        assert problem.meta["seed"] >= FIRST_SEED
        draft = item_of(problem).draft
        givens = ",".join(g.text for g in draft.givens if g.key != "extra")
        assert split_of(f"{problem.meta['family']}|{draft.variant}|{draft.intro}|{givens}|{draft.target}") == "train"


def test_a_small_cell_ends_instead_of_repeating() -> None:
    """`circle_diameter` at level 1 has few contents: asked for more, the generator stops, each content once."""
    taken = contents(GeoWorldGenerator().generate(Target("theorem:diameter", 1), 12, seed=0))
    assert len(taken) == 12


def test_impossible_targets_name_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"at levels \[4, 5\] only"):
        GeoWorldGenerator().generate(Target("composition:two_rules", 2), 1)
    with pytest.raises(ConfigError, match="did you mean 'theorem:midline'"):
        GeoWorldGenerator().generate(Target("theorem:midlin"), 1)
    with pytest.raises(ConfigError, match="expected 1 to 5"):
        GeoWorldGenerator().generate(Target(None, 6), 1)
    with pytest.raises(ConfigError, match="geoworld, euclid, edit, agents"):
        generator("nothing")
    assert set(GENERATORS) == {"geoworld", "euclid", "edit", "agents"}


def test_the_skill_table_agrees_with_problems_that_were_made() -> None:
    for skill, families in list(skills_at(4).items())[::6]:
        family = families[0]
        assert any(skill in make(family, 4, FIRST_SEED + s, "train").problem.skills for s in range(40)), (skill, family)


def planted(problem: Problem) -> Problem:
    """The problem with the next letter as its gold."""
    wrong = LETTERS[(LETTERS.index(problem.answer) + 1) % len(problem.choices or ())]
    return replace(problem, answer=wrong)


def test_the_verifier_passes_good_items_and_finds_planted_answers() -> None:
    check = GeoWorldGenerator().check
    good = list(GeoWorldGenerator().generate(Target(), 30, seed=11))
    assert {check(p).state for p in good} == {"right"}
    assert {check(planted(p)).state for p in good} == {"wrong"}


@pytest.mark.slow
def test_catch_rate_of_the_verifier_on_a_thousand_items() -> None:
    check = GeoWorldGenerator().check
    items = list(GeoWorldGenerator().generate(Target(), 1000, seed=5))
    bad = set(range(0, 1000, 10))
    states = [check(planted(p) if i in bad else p).state for i, p in enumerate(items)]
    caught = sum(states[i] == "wrong" for i in bad)
    lost = sum(states[i] != "right" for i in range(1000) if i not in bad)
    assert (caught, lost) == (100, 0)
    assert wilson(caught, len(bad))[0] > 0.95


def test_the_verifier_says_unknown_for_what_it_did_not_make() -> None:
    check = GeoWorldGenerator().check
    problem = next(GeoWorldGenerator().generate(Target("theorem:midline", 2), 1))
    assert check(replace(problem, question="Find the area.")).state == "unknown"
    assert check(Problem("x", "q", "4", "number")).state == "unknown"
    assert check(replace(problem, kind="number", choices=None, answer="twelve")).state == "wrong"
    with pytest.raises(TypeError, match="three states"):
        bool(Checked("right"))


def test_measures_by_hand() -> None:
    points = {"A": (0.0, 0.0), "B": (3.0, 0.0), "C": (0.0, 4.0)}
    assert measure(("angle", "B", "A", "C"), points) == pytest.approx(90)
    assert measure(("length", "B", "C"), points) == pytest.approx(5)
    assert measure(("area", "A", "B", "C"), points) == pytest.approx(6)
    assert measure(("perimeter", "A", "B", "C"), points) == pytest.approx(12)
    assert measure(("disc", "A", "B"), points) == pytest.approx(28.2743338823)
    assert measure(("sector", "B", "A", "C"), points) == pytest.approx(7.0685834706)
    with pytest.raises(ValueError, match="volume"):
        measure(("volume", "A"), points)


def test_provenance_goes_into_meta_and_back() -> None:
    problem = Problem("x", "q", "4", "number", meta={"level": 2})
    with pytest.raises(DataError, match="no provenance"):
        provenance_of(problem)
    made = with_provenance(
        problem, Provenance("g", {"skill": "s", "level": 2}, 7, "kept", edits=({"op": "crop", "box": (1, 2)},))
    )
    made = add_check(made, {"by": "verifier", "state": "right"})
    found = provenance_of(made)
    assert found.edits == ({"op": "crop", "box": [1, 2]},)
    assert found.checks == ({"by": "verifier", "state": "right"},)
    assert made.meta["level"] == 2
