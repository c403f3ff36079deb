"""The recipe that withholds skills: nothing withheld is taught, and a whole seed runs on random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from r3v.recipes import blind_spots


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
    words = ["--out", str(tmp_path), "--seeds", "1", "--taught", "16", "--probes", "60", "--k", "1", "--dry-run"]
    blind_spots.main(words)
    first = capsys.readouterr().out
    row = json.loads((tmp_path / "seed_1/result.json").read_text())
    assert row["ranked"] >= 20
    assert row["accuracy"] <= 0.2, "random weights solve next to nothing"
    assert not row["weak"]
    blind_spots.main(words)
    assert capsys.readouterr().out == first
