"""The recipe that withholds skills: nothing withheld is taught, and a whole seed runs on random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r3v.data.geoworld import source
from r3v.errors import DataError
from r3v.recipes.research import blind_spots


@pytest.mark.parametrize("seed", [0, 1])
def test_no_problem_that_is_taught_needs_a_withheld_skill(seed: int) -> None:
    spots, taught = blind_spots.plant(seed, 300)
    hidden = {skill for group in spots for skill in group}
    assert len(spots) == 3
    assert len(taught) == 300
    assert not any(hidden & set(p.skills) for p in taught)
    assert {p.split for p in taught} == {"train"}
    assert len({s for p in taught for s in p.skills}) >= 20
    assert blind_spots.plant(seed, 300) == (spots, taught)
    assert blind_spots.plant(seed + 2, 300)[0] != spots


def test_spots_are_drawn_among_what_the_base_does_not_know() -> None:
    """Four theorems are right in at most 35 % of the answers; the three spots are among them. With two there are not
    enough."""
    rare = ("theorem:angle_bisector", "theorem:midline", "theorem:triangle_sum", "theorem:right_triangle")
    known = {s: 0.36 for p in blind_spots.plant(0, 300)[1] for s in p.skills} | dict.fromkeys(rare, 0.35)
    for seed in range(5):
        spots, _ = blind_spots.plant(seed, 300, known)
        assert {group[0] for group in spots} < set(rare)
    with pytest.raises(
        DataError, match="found 2 skills apart from each other that the base and a model taught the rest get right"
    ):
        blind_spots.plant(0, 300, dict.fromkeys(rare[:2], 0.1))


def test_spots_are_drawn_among_what_stays_unknown_when_it_is_withheld() -> None:
    """Of four theorems the base knows none; one is right in 36 % of the answers of a model that was not taught it, and
    of one it was not measured: two are left, which is not enough, and three with the others at 35 %."""
    four = ("theorem:angle_bisector", "theorem:midline", "theorem:triangle_sum", "theorem:right_triangle")
    known: dict[str, float] = dict.fromkeys(four, 0.1)
    with pytest.raises(DataError, match=r"found 2 skills.* in at most 35 %"):
        blind_spots.plant(0, 300, known, None, {four[0]: 0.36, four[1]: 0.35, four[2]: 0.2})
    spots, _ = blind_spots.plant(0, 300, known, None, {four[0]: 0.36, **dict.fromkeys(four[1:], 0.35)})
    assert {group[0] for group in spots} == set(four[1:])


def test_pilots_withhold_every_candidate_once() -> None:
    """At most three at a time, never two that meet in a problem, and nothing else goes with them."""
    drawn = blind_spots.training(0, 600)
    groups = blind_spots.spots_of(drawn)
    sets = blind_spots.pilots_of(groups, drawn)
    assert sorted(group for some in sets for group in some) == sorted(groups)
    assert all(1 <= len(some) <= 3 for some in sets)
    assert len(sets) < len(groups)
    for some in sets:
        names = [group[0] for group in some]
        assert all(sum(name in p.skills for name in names) <= 1 for p in drawn)
        kept = {s for p in blind_spots.without(some, drawn, len(drawn)) for s in p.skills}
        assert kept == {s for p in drawn for s in p.skills} - {skill for group in some for skill in group}


def test_no_other_skill_goes_with_a_spot() -> None:
    """Straight lines take linear pairs and vertical angles with them, circles three theorems; neither is ever drawn,
    every spot is a theorem, and every skill but the three spots is taught."""
    every = {s for p in source("train", 400) for s in p.skills}
    for seed in range(3):
        spots, taught = blind_spots.plant(seed, 400)
        hidden = {skill for group in spots for skill in group}
        assert not hidden & {"perception:line", "perception:circle"}
        assert all(any(skill.startswith("theorem:") for skill in group) for group in spots)
        assert {s for p in taught for s in p.skills} == every - hidden


def test_what_is_taught_is_of_the_world() -> None:
    """A world of one-rule problems and one kind that needs two: training problems are of these alone, in the order of
    the full sequence, and the spots are drawn among their skills."""
    families = {p.meta["family"] for p in source("train", 24)}
    world = frozenset({*((name, "one rule") for name in families), ("midline", "two rules")})
    drawn = blind_spots.training(0, 240, world)
    assert {blind_spots.kind_of(p) for p in drawn} == world
    assert all(
        ("composition:two_rules" in p.skills) == (blind_spots.kind_of(p) == ("midline", "two rules")) for p in drawn
    )
    every = [p.id for p in source("train", 1200)]
    assert [p.id for p in drawn] == [i for i in every if i in {p.id for p in drawn}]
    spots, taught = blind_spots.plant(1, 150, None, world)
    assert {name for group in spots for name in group} < {s for p in drawn for s in p.skills}
    assert {blind_spots.kind_of(p) for p in taught} < world


def test_what_is_still_wrong_is_taught_most() -> None:
    """Three families at 50, 75 and 100 % right: 8 and 4 of 12 problems, none of the last."""
    _, every = blind_spots.plant(0, 600)
    a, b, c = sorted({p.meta["family"] for p in every})[:3]
    found = blind_spots.again(every, {a: 0.5, b: 0.75, c: 1.0}, 12)
    assert [p.meta["family"] for p in found].count(a) == 8
    assert [p.meta["family"] for p in found].count(b) == 4
    assert len(found) == 12 == len({p.id for p in found})


def test_lessons_are_right_and_ask_without_choices() -> None:
    _, taught = blind_spots.plant(0, 20)
    for problem, lesson in zip(taught, blind_spots.lessons(taught), strict=True):
        assert lesson.target.endswith(f"Answer: {problem.gold_text}")
        assert "A)" not in lesson.prompt.messages[-1].text


def test_what_is_told() -> None:
    row = {"seed": 3, "spots": ["a", "b", "c = d"], "ranks": [1, 3, 2], "top": True, "weak": False}
    row |= {"weak_besides": ["e"], "ranked": 30, "taught": 9, "accuracy": 0.5, "accuracy_spots": [0.1, 0.2, None]}
    lines = blind_spots.told([row, {**row, "seed": 4, "top": False}]).splitlines()
    assert "seed 3: 50.0 % right; a rank 1 (10 % right), b rank 3" in lines[0]
    assert lines[-1] == "all 3 at the top of at least 30 ranked skills: 1 of 2 seeds; called weak: 0"


@pytest.mark.slow
def test_a_seed_on_random_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--out",
        str(tmp_path),
        "--seeds",
        "1",
        "--taught",
        "16",
        "--again",
        "8",
        "--probes",
        "120",
        "--k",
        "1",
        "--dry-run",
    ]
    blind_spots.main(words)
    first = capsys.readouterr().out
    row = json.loads((tmp_path / "seed_1/result.json").read_text())
    assert row["ranked"] >= 20
    assert row["accuracy"] <= 0.2, "random weights solve next to nothing"
    assert not row["weak"]
    blind_spots.main(words)
    assert capsys.readouterr().out == first
