"""The comparison of mixtures on a model with blind spots: what is withheld, what is compared, and a run on random
weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r3v.recipes.research import spiral_blind_spots as recipe


@pytest.mark.parametrize("seed", [0, 1])
def test_a_quarter_of_the_skills_is_withheld(seed: int) -> None:
    """GeoWorld has 41 skills, so at least 11 are withheld, and no more than the last group adds."""
    spots, taught = recipe.plant(seed, 200)
    hidden = {skill for group in spots for skill in group}
    assert 11 <= len(hidden) <= 12
    assert len(taught) == 200
    assert not any(hidden & set(p.skills) for p in taught)
    assert recipe.plant(seed, 200) == (spots, taught)
    assert recipe.plant(seed + 2, 200)[0] != spots


def test_difference_joins_the_seeds() -> None:
    """Seed one: 2 of 3 -> 3 of 3, +1/3. Seed two: 1 of 1 -> 0 of 1, and a problem that only one side has is left out.
    Together 3 of 4 before and after."""
    one = ({"a": True, "b": True, "c": True}, {"a": True, "b": True, "c": False})
    two = ({"d": False, "e": True}, {"d": True})
    found = recipe.difference([one, two])
    assert (found["before"], found["after"], found["n"]) == (0.75, 0.75, 4)
    assert found["difference"] == 0.0
    assert found["seeds"] == pytest.approx([1 / 3, -1.0])
    assert found["p"] == 1.0, "one problem won, one lost"


@pytest.mark.slow
def test_two_mixtures_on_random_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both runs share the turn before any practice, and the same command again changes nothing."""
    words = ["--out", str(tmp_path), "--seeds", "1", "--mixtures", "learnability,uniform", "--taught", "16"]
    words += ["--test", "24", "--dry-run"]
    recipe.main(words)
    first = capsys.readouterr().out
    folders = [tmp_path / "seed_1" / name / "round_00" for name in ("learnability", "uniform")]
    diagnoses = [(folder / "diagnosis" / "diagnosis.json").read_text() for folder in folders]
    assert diagnoses[0] == diagnoses[1]
    value = json.loads((tmp_path / "result.json").read_text())
    assert value["learnability minus uniform"]["all skills"]["n"] == 24
    step = value["iteration 1 minus 0, gate, all mixtures"]["all skills"]
    assert step["n"] == 8, "4 gate problems of each run"
    assert "learnability minus uniform, weakest quarter" in first
    recipe.main(words)
    assert capsys.readouterr().out.splitlines()[-1] == first.splitlines()[-1]
