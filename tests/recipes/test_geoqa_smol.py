"""What stands around `recipes/geoqa_smol.yaml`: the parts it trains and measures on, and `make geoqa`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

from r3v.reflection.settings import read
from r3v.settings.tree import recipe_folder
from r3v.spec import parse_spec


def test_the_recipe_never_asks_the_test_split() -> None:
    data = read(recipe_folder() / "geoqa_smol.yaml").config.data
    splits = [parse_spec(spec).options["split"] for spec in (data.train, data.gate, data.eval)]
    assert splits == ["train", "gate", "dev"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_geoqa_takes_a_copy_at_hand_or_fetches_one(tmp_path: Path) -> None:
    """What make would run, without running it."""

    def would_run(folder: Path) -> str:
        told = subprocess.run(
            ["make", "-n", "geoqa"], cwd=ROOT, env={**os.environ, "GEOQA": str(folder)}, capture_output=True, text=True
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    missing, held = tmp_path / "missing", tmp_path / "held"
    held.mkdir()
    (held / "join_multiple_choice.jsonl").write_text("")
    assert f"r3v fetch geoqa --out {missing}" in would_run(missing)
    said = would_run(held)
    assert "fetch geoqa" not in said
    assert f'--data.train "geoqa:{held}?split=train"' in said
    assert f'--data.eval "geoqa:{held}?split=dev"' in said
    assert "split=test" not in said
