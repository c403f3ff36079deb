"""`r3v evolve` on random tiny models: every learner in the middle, the recipes, and kill -9."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from theorem_data import ANGLE_SUM, VERTICAL, theorem_folder
from tiny_models import torchvision_missing

from r3v.app.commands import evolve as spiral_commands
from r3v.curriculum.spiral.config import check
from r3v.curriculum.spiral.practice import read_problems
from r3v.notebook.store.store import Notebook
from r3v.policies.model.loading import family
from r3v.settings.tree import recipe_folder

RECIPES = (
    "geoworld_tiny_evolve.yaml",
    "evolve_qwen25vl_7b.yaml",
    "evolve_qwen3vl_8b.yaml",
    "geoqa_smol_evolve.yaml",
)


def run(recipe: str, folder: Path, *flags: str) -> dict[str, Any]:
    """A run on random tiny weights through the command."""
    parser = argparse.ArgumentParser()
    spiral_commands.register(parser.add_subparsers())
    args = parser.parse_args(["evolve", recipe, "--random-weights"])
    assert args.handler(args, [f"--run.dir={folder}", *flags]) == 0
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize("name", RECIPES)
def test_headers_and_settings(name: str) -> None:
    text = (recipe_folder() / name).read_text()
    header = text[: text.index("\nrun:")]
    for part in ("# command:", "# compare:", "# hardware:", "# time:", "# expect:"):
        assert part in header
    assert f"r3v evolve recipes/{name}" in header
    config = spiral_commands.effective(name, [])
    check(config)
    assert config.run.dir == f"checkpoints/runs/{name.removesuffix('.yaml')}"
    for kind in ("uniform", "dpe-paper", "learnability"):
        check(spiral_commands.effective(name, [f"--mixture.kind={kind}"]))
    check(spiral_commands.effective(name, ["--run.preset=dpe-paper"]))


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # bitsandbytes, on import
@pytest.mark.parametrize(("name", "wanted"), [(RECIPES[1], "qwen2_5_vl"), (RECIPES[2], "qwen3_vl")])
def test_recipes_of_large_models_on_random_weights(name: str, wanted: str, tmp_path: Path) -> None:
    if reason := torchvision_missing():
        pytest.skip(reason)
    assert family(spiral_commands.effective(name, []).model) == wanted
    value = run(name, tmp_path / "run", "--probe.n=4", "--probe.variants=named")
    assert [turn["round"] for turn in value["rounds"]] == [0, 1]
    assert (tmp_path / "run" / "round_01" / "reinforce" / "round_00" / "adapter").is_dir()
    assert (tmp_path / "run" / "report.html").stat().st_size > 5_000


def test_reinforce_goes_on_from_the_accepted_adapter(tmp_path: Path) -> None:
    """Two iterations: the second begins with the adapter of the first, and what is spent is what the folders hold."""
    value = run(RECIPES[0], tmp_path / "run", "--run.iterations=2")
    assert [turn["accepted"] for turn in value["rounds"]] == [True] * 3, "random weights have nothing to lose"
    start = yaml.safe_load((tmp_path / "run" / "round_02" / "reinforce" / "config.yaml").read_text())
    assert start["model"]["adapter"] == str(tmp_path / "run" / value["rounds"][1]["standing"]["adapter"])
    learn = value["rounds"][1]["learn"]
    assert learn["samples"] == 6, "one step of 2 groups of 3"
    assert learn["learners"]["reinforce"]["fit"]["steps"] >= 1
    assert value["rounds"][1]["spent"]["samples"] == 24 + 2 * value["rounds"][1]["generate"]["kept"] + 6


def test_steps_end_at_the_bound_of_samples(tmp_path: Path) -> None:
    """4 steps of 6 answers, of which two are begun before 7 answers are drawn."""
    value = run(RECIPES[0], tmp_path / "run", "--learn.steps=4", "--learn.samples=7")
    assert value["rounds"][1]["learn"]["samples"] == 12
    assert value["rounds"][1]["learn"]["learners"]["reinforce"]["sample"]["iterations"] == 2


def test_reflect(tmp_path: Path) -> None:
    """Two rounds on the practice, 2 answers to each of 6 items in each; the adapter is that of the second."""
    value = run(RECIPES[0], tmp_path / "run", "--learn.kind=reflect", "--learn.rounds=2")
    learn = value["rounds"][1]["learn"]
    items = len(read_problems(tmp_path / "run" / "round_01" / "practice.parquet"))
    assert learn["samples"] == 2 * 2 * items
    assert [r["fit"]["steps"] for r in learn["learners"]["reflect"]["rounds"]] == [1, 1], "6 items, 8 a step"
    assert learn["standing"]["adapter"] == "round_01/reflect/round_02/adapter"
    assert (tmp_path / "run" / "round_01" / "reflect" / "round_02" / "adapter" / "adapter_model.safetensors").is_file()


def test_note_after_reinforce(tmp_path: Path) -> None:
    """Two learners one after the other: an adapter and a notebook, each in its folder, and both are measured."""
    flags = ("--learn.kind=reinforce,note", "--practice.items=12", "--run.iterations=2")
    value = run(RECIPES[0], tmp_path / "run", *flags)
    for turn in value["rounds"][1:]:
        folder = f"round_{turn['round']:02d}"
        assert turn["learn"]["standing"]["notebook"] == f"{folder}/note/notebook.db"
        assert turn["learn"]["standing"]["adapter"].startswith(f"{folder}/reinforce")
        told = turn["learn"]["learners"]["note"]
        assert told["train"] + told["pool"] == turn["practice"]["items"]
        with Notebook.open(tmp_path / "run" / folder / "note" / "notebook.db") as notebook:
            assert len(notebook.notes()) == told["notes"]


# ---- kill -9 -------------------------------------------------------------------------------------


def outcome(folder: Path) -> dict[str, Any]:
    """Everything a run ends with except times, and the folder's own name."""
    value = json.loads((folder / "run.json").read_text())
    value["spent"].pop("seconds")
    for turn in value["rounds"]:
        turn.pop("seconds")
        for told in turn["learn"].get("learners", {}).values():
            told.get("sample", {}).pop("seconds", None)
            told.get("fit", {}).pop("seconds", None)
    adapters = sorted(folder.rglob("adapter_model.safetensors"))
    practice = sorted(folder.rglob("practice.parquet"))
    return {
        "run": value,
        "adapters": {str(path.relative_to(folder)): path.read_bytes() for path in adapters},
        "practice": [[p.id for p in read_problems(path)] for path in practice],
    }


def command(folder: Path, *more: str) -> list[str]:
    code = (
        "import argparse, sys\n"
        "from r3v.app.commands.evolve import register\n"
        "p = argparse.ArgumentParser()\n"
        "register(p.add_subparsers())\n"
        "args, rest = p.parse_known_args(sys.argv[1:])\n"
        "sys.exit(args.handler(args, rest))\n"
    )
    small = ["--run.iterations=2", "--data.n_gate=8", "--data.n_eval=8", "--probe.n=24", "--probe.k=2"]
    small += ["--practice.items=10", "--practice.score_k=2", "--learn.steps=2", "--group.problems=3", "--group.n=4"]
    small += ["--ask.shard_size=8", "--run.gate_alpha=0", "--guard.skill_alpha=0"]
    return [sys.executable, "-c", code, "evolve", "geoworld_tiny_evolve", f"--run.dir={folder}", *small, *more]


@pytest.mark.slow
def test_kill_nine_at_random_moments(tmp_path: Path) -> None:
    """The built-in model, R3V_KILLS (default 4) kills: weights, practice and numbers equal an undisturbed run's."""
    start = time.monotonic()
    subprocess.run(command(tmp_path / "a"), check=True, capture_output=True)
    whole, rng = time.monotonic() - start, random.Random(0)
    for _ in range(int(os.environ.get("R3V_KILLS", "4"))):
        with subprocess.Popen(command(tmp_path / "b"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(rng.uniform(0.3, 0.9) * whole)
            except subprocess.TimeoutExpired:
                process.kill()
    subprocess.run(command(tmp_path / "b"), check=True, capture_output=True)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
    first, second = (load_file(path) for path in sorted((tmp_path / "a").rglob("adapter_model.safetensors")))
    assert any((first[name] != second[name]).any() for name in first), "the second iteration has learned too"


@pytest.mark.slow
def test_theorems_are_practised_by_the_built_in_model_and_kill_nine_changes_nothing(tmp_path: Path) -> None:
    """Skills of a small GeoQA, practice of Euclid, real weights: killed once on the way, the run ends the same."""
    data = theorem_folder(tmp_path / "data", 250)
    parts = {"probe.data": "train", "data.gate": "gate", "data.eval": "dev"}
    more = [f"--{name}=geoqa:{data}?split={part}&skills=theorems" for name, part in parts.items()]
    more += ["--practice.generator=euclid", "--practice.low=0", "--practice.high=1"]
    start = time.monotonic()
    subprocess.run(command(tmp_path / "a", *more), check=True, capture_output=True)
    whole = time.monotonic() - start
    with subprocess.Popen(
        command(tmp_path / "b", *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            process.wait(0.6 * whole)
        except subprocess.TimeoutExpired:
            process.kill()
    subprocess.run(command(tmp_path / "b", *more), check=True, capture_output=True)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
    for path in sorted((tmp_path / "a").glob("round_*/practice.parquet")):
        practice = read_problems(path)
        assert {p.source for p in practice} == {"euclid"}
        assert all({ANGLE_SUM, VERTICAL} & set(p.skills) for p in practice)
