"""`r3v evolve` on problems whose skills are theorems, practised in the world of theorems: runs, kills, mixtures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from theorem_data import ANGLE_SUM, VERTICAL, theorem_folder

from r3v.app.commands import evolve as commands
from r3v.curriculum.diagnosis.probes import leaks
from r3v.curriculum.practice import theorems
from r3v.curriculum.spiral import spiral
from r3v.curriculum.spiral.config import SpiralConfig, check
from r3v.curriculum.spiral.dry import scripted_parts
from r3v.curriculum.spiral.parts import held, probes
from r3v.curriculum.spiral.practice import read_problems
from r3v.curriculum.spiral.spiral import evolve
from r3v.errors import ConfigError
from r3v.settings.tree import recipe_folder, set_field
from r3v.spec import parse_spec

HOMES = {ANGLE_SUM: ("right_triangle_sides", "isosceles_cut"), VERTICAL: ("crossing_lines",)}
SMALL = {
    "run.iterations": 2,
    "model.prompt_style": "short",
    "probe.n": 16,
    "probe.k": 2,
    "probe.min_problems": 3,
    "practice.generator": "euclid",
    "practice.items": 10,
    "practice.overdraw": 1.2,
    "practice.score_k": 2,
    "practice.low": 0.0,
    "practice.high": 1.0,
    "learn.steps": 1,
    "learn.samples": 50,
}


class Killed(BaseException):
    """Stands for kill -9: nothing of the library catches it."""


@pytest.fixture(scope="module", autouse=True)
def homes() -> Iterator[None]:
    """Finding the constructions of every theorem takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theorems, "theorem_homes", lambda: HOMES)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return theorem_folder(tmp_path_factory.mktemp("geoqa"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    run(made(folder, data))
    return folder


def made(folder: Path, data: Path, **fields: Any) -> SpiralConfig:
    config = SpiralConfig()
    parts = {"probe.data": "train", "data.gate": "gate", "data.eval": "dev"}
    named = {name: f"geoqa:{data}?split={part}&skills=theorems" for name, part in parts.items()}
    given = {k.replace("__", "."): v for k, v in fields.items()}
    for name, value in {**SMALL, **named, "run.dir": str(folder), **given}.items():
        config = set_field(config, name, value)
    return config


def run(config: SpiralConfig) -> dict[str, Any]:
    return evolve(config, scripted_parts(0.2), recipe="tiny.yaml", say=lambda _: None)


def outcome(folder: Path) -> dict[str, Any]:
    """Everything a run ends with except times."""
    value = json.loads((folder / "run.json").read_text())
    value["spent"].pop("seconds")
    for turn in value["rounds"]:
        turn.pop("seconds")
    practice = {p.parent.name: [x.id for x in read_problems(p)] for p in folder.glob("round_*/practice.parquet")}
    return {"run": value, "practice": practice}


def test_a_run_practises_the_theorems_it_found(whole: Path) -> None:
    """`unheard_of`, which no rule stands for, is diagnosed, gets no practice, and its share goes to the others."""
    value = json.loads((whole / "run.json").read_text())
    assert value["rounds"][0]["diagnosis"]["skills"].keys() == {ANGLE_SUM, VERTICAL, "unheard_of"}
    for turn in value["rounds"][1:]:
        weights = turn["mixture"]["weights"]
        assert weights["unheard_of"] == 0
        assert sum(weights.values()) == pytest.approx(1)
        assert turn["practice"]["items"] == 10
        assert "impossible" not in turn["generate"]["dropped"]
        assert set(turn["practice"]["cells"]) == {ANGLE_SUM, VERTICAL}
    page = (whole / "round_02" / "diagnosis" / "diagnosis.html").read_text()
    assert all(name in page for name in (ANGLE_SUM, VERTICAL, "unheard_of"))


def test_a_run_ends_the_same_when_it_is_killed(
    whole: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed three times after the work of a stage, before it is noted."""
    real, left = spiral.stage, [("round_01", "generate"), ("round_01", "learn"), ("round_02", "score")]

    def interrupted(folder: Path, name: str, work: Any) -> Any:
        def dies() -> Any:
            found = work()
            if left[:1] == [(folder.name, name)]:
                left.pop(0)
                raise Killed
            return found

        return real(folder, name, dies)

    monkeypatch.setattr(spiral, "stage", interrupted)
    for _ in range(3):
        with pytest.raises(Killed):
            run(made(tmp_path, data))
    run(made(tmp_path, data))
    assert outcome(tmp_path) == outcome(whole)


def test_nothing_that_is_measured_on_is_practised(whole: Path, data: Path) -> None:
    config = made(whole, data)
    practice = [p for n in (1, 2) for p in read_problems(whole / f"round_{n:02d}" / "practice.parquet")]
    away = held(config)
    asked = [p for turn in range(3) for p in probes(config, turn)]
    assert {p.source for p in practice} == {"euclid"}
    assert not leaks([*asked, *away.gate, *away.eval], practice)
    assert {p.id for p in away.gate}.isdisjoint(p.id for p in (*away.eval, *asked))


def test_seeds_are_for_generators_that_start_from_problems(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"found data\.seeds"):
        check(made(tmp_path, data, data__seeds="geoworld:train"))


@pytest.mark.parametrize("mixture", ["learnability", "uniform", "dpe-paper"])
def test_the_recipe_for_smolgeo(mixture: str) -> None:
    """Three parts of GeoQA's training split, none of them twice and none of test; a budget no mixture changes."""
    config = commands.effective(str(recipe_folder() / "geoqa_smol_evolve.yaml"), [f"--mixture.kind={mixture}"])
    check(config)
    specs = [parse_spec(spec) for spec in (config.probe.data, config.data.gate, config.data.eval)]
    assert [spec.options for spec in specs] == [
        {"split": split, "skills": "theorems"} for split in ("train", "gate", "dev")
    ]
    assert {spec.path for spec in specs} == {"data/geoqa"}
    assert (config.practice.generator, config.learn.kind, config.run.iterations) == ("euclid", ("reinforce",), 2)
    assert config.learn.samples == 2048
    assert (config.mixture.kind, config.model.path, config.model.dtype) == (mixture, "smolgeo", "auto")
