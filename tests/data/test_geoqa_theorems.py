"""`skills=theorems`: GeoQA's training problems name their theorems, and the solutions of test problems stay unread."""

from __future__ import annotations

from pathlib import Path

import pytest
from theorem_data import ANGLE_SUM, VERTICAL, theorem_folder

from r3v.data import load
from r3v.data.sets.theorems import theorems_of
from r3v.errors import ConfigError, DataError


def test_skills_are_the_theorems_in_order_each_once(tmp_path: Path) -> None:
    base = theorem_folder(tmp_path)
    named, without = (
        {p.id: p.skills for part in ("train", "gate", "dev") for p in load(f"geoqa:{base}?split={part}{more}")}
        for more in ("&skills=theorems", "")
    )
    assert len(named) == len(without) == 200
    assert named["geoqa-train-0"] == (ANGLE_SUM,)
    assert named["geoqa-train-1"] == (VERTICAL, ANGLE_SUM), "vertical first, the two angle sums once"
    assert named["geoqa-train-5"] == ("unheard_of", ANGLE_SUM)
    assert set(without.values()) == {()}


def test_the_solutions_of_test_problems_are_never_read(tmp_path: Path) -> None:
    """The last line of the raw file is the test problem's and no JSON: parsing it would raise."""
    base = theorem_folder(tmp_path, 6)
    assert set(theorems_of(base)) == set(range(1000, 1006))
    for spec in (f"geoqa:{base}?split=test&skills=theorems", f"geoqa:{base}?skills=theorems"):
        with pytest.raises(ConfigError, match="the solutions of test problems are not read"):
            load(spec)


def test_what_cannot_name_theorems_says_so(tmp_path: Path) -> None:
    base = theorem_folder(tmp_path / "one", 3)
    with pytest.raises(ConfigError, match="expected one of theorems"):
        load(f"geoqa:{base}?split=train&skills=rules")
    with pytest.raises(ConfigError, match="unknown option 'skills'"):
        load(f"geometry3k:{base}?skills=theorems")
    (base / "formalgeo_raw_text.jsonl").write_text('{"problem_id": 1001, "theorem_seqs": null}\n')
    with pytest.raises(DataError, match="row 1, field theorem_seqs: found NoneType, expected a list"):
        theorems_of(base)
    (base / "formalgeo_raw_text.jsonl").unlink()
    with pytest.raises(DataError, match="no such file"):
        load(f"geoqa:{base}?split=train&skills=theorems")
