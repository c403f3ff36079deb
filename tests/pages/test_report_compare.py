"""Presets at equal budget on scripted stages: the budget, the paired differences, the table and the plot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scripted_run
from loop_fakes import problems

from r3v.errors import ConfigError
from r3v.reflection.compare import compare, preset_config, run_folder, with_token_budget
from r3v.reflection.loop import Stages
from r3v.run.evaluation import cell, write_rows
from r3v.settings.config import Config

RIGHT = {"r3v": (1, 1, 1, 0), "star": (1, 0, 0, 0)}


def fakes(seen: list[tuple[str, float]]) -> Stages:
    """Every preset answers four problems as RIGHT says; a fit uses 100 tokens per epoch."""
    real = scripted_run.stages()

    def evaluate(policy: Any, asked: Any, selectors: Any, out: Path, config: Config) -> dict[str, Any]:
        outcomes = ["correct" if right else "wrong" for right in RIGHT[config.build.preset]]
        rows = [
            {"problem_id": f"p{i}", "selector": "greedy", "metric": "greedy", "outcome": o}
            for i, o in enumerate(outcomes)
        ]
        write_rows(out, rows)
        return {"eval": {"greedy": cell(outcomes)}}

    def fit(asked: Any, examples: Any, start: Any, out: Path, config: Config, number: int) -> dict[str, Any]:
        seen.append((config.build.preset, config.train.epochs))
        return {"tokens": round(100 * config.train.epochs), "losses": [1.0]}

    def load(data: Any) -> Any:
        return scripted_run.Splits(problems("t", 2), problems("g", 2), problems("e", 4))

    return replace(
        real, load=load, evaluate=evaluate, fit=fit, policy=lambda config, adapter: None,
        sample=lambda *a: {"candidates": 8}, build=lambda *a: {"total": 4, "rescue_samples": 3},
    )  # fmt: skip


def test_two_presets_give_one_table_and_one_plot(tmp_path: Path) -> None:
    """r3v 3 of 4, star 1 of 4; star minus r3v is -50 points. One epoch of star is 40 tokens by the counter, r3v's fit
    used 100, so star trains 2.5 epochs."""
    seen: list[tuple[str, float]] = []
    recipe = tmp_path / "r.yaml"
    recipe.write_text("run:\n  rounds: 1\n")
    text = compare(
        ["r3v", "star"], recipe, [], tmp_path / "out",
        stages=fakes(seen), count=lambda problems, examples, config: 40, say=lambda line: None,
    )  # fmt: skip
    assert seen == [("r3v", 1.0), ("star", 2.5)]
    assert text == (tmp_path / "out" / "compare.md").read_text()
    assert "| r3v | 11 | 100 | 75.0" in text
    assert "| star | 11 | 250 | 25.0" in text
    assert "<br>-50.0 (" in text
    value = json.loads((tmp_path / "out" / "compare.json").read_text())
    difference, low, high = value["presets"][1]["difference"]["greedy"]
    assert difference == -0.5
    assert low == -1.0
    assert high == 0.0
    drawing = (tmp_path / "out" / "compare.svg").read_text()
    assert drawing.startswith("<svg ")
    assert "star, greedy: -50.0" in drawing


def test_several_seeds_have_their_own_runs_and_a_t_interval(tmp_path: Path) -> None:
    """Two seeds with the same accuracy: the interval over seeds has no width."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("run:\n  rounds: 1\n  seed: 5\n")
    compare(
        ["r3v", "star"], recipe, [], tmp_path / "out",
        seeds=2, stages=fakes([]), count=lambda *a: 100, say=lambda line: None,
    )  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir()) == [
        "r3v-seed0", "r3v-seed1", "star-seed0", "star-seed1",
    ]  # fmt: skip
    value = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert value["presets"][0]["ci95"]["greedy"] == [0.75, 0.75]
    assert value["presets"][0]["samples"] == 22


def test_what_makes_budgets_equal_comes_from_the_recipe(tmp_path: Path) -> None:
    """r3v-paper wants k 3 and rft one round; a comparison gives every preset the recipe's k and rounds."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("run:\n  rounds: 2\n  seed: 5\nsample:\n  k: 7\n")
    paper = preset_config("r3v-paper", recipe, [], tmp_path, 1, False)
    assert (paper.sample.k, paper.run.rounds, paper.run.seed) == (7, 2, 6)
    assert (paper.build.keep, paper.build.select_target) == (0, "answer")
    assert paper.run.dir == str(run_folder(tmp_path, "r3v-paper", 1))
    assert preset_config("rft", recipe, [], tmp_path, 0, False).run.rounds == 2


def test_the_budget_scales_the_epochs(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    limited = with_token_budget(fakes(seen), [300, 50], lambda problems, examples, config: 200)
    for number in (1, 2):
        report = limited.fit([], tmp_path, None, tmp_path, Config(), number)
        assert report["epochs"] == {1: 1.5, 2: 0.25}[number]
    assert [epochs for _, epochs in seen] == [1.5, 0.25]


@pytest.mark.parametrize("presets", [["r3v"], ["r3v", "r3v"]])
def test_one_preset_is_no_comparison(presets: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two or more different presets"):
        compare(presets, "geoworld_tiny", [], tmp_path, stages=fakes([]), count=lambda *a: 1)


def test_a_comparison_teaches_no_chooser(tmp_path: Path) -> None:
    flags = ["--chooser.n=4"]
    with pytest.raises(ConfigError, match=r"found chooser\.n in a comparison"):
        compare(["r3v", "star"], "geoworld_tiny", flags, tmp_path, stages=fakes([]), count=lambda *a: 1)


def test_a_wrong_preset_is_told_before_the_first_one_runs(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    with pytest.raises(ConfigError, match="Did you mean 'star'"):
        compare(["r3v", "stat"], "geoworld_tiny", [], tmp_path, stages=fakes(seen), count=lambda *a: 1)
    assert seen == []
    assert list(tmp_path.iterdir()) == []
