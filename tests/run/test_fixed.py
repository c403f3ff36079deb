"""Which settings may still change, for every learner: by the stages that have begun."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from r3v.curriculum.reinforce import config as reinforce_config
from r3v.curriculum.spiral import config as spiral_config
from r3v.errors import ConfigError, RunError
from r3v.reflection.settings import FIXED
from r3v.run import fixed
from r3v.run.core import open_run
from r3v.run.fixed import ALWAYS, Table
from r3v.settings.config import Config
from r3v.settings.tree import field_types, read_tree, set_field, to_yaml

LEARNERS = {
    "train": (Config, FIXED),
    "reinforce": (reinforce_config.ReinforceConfig, reinforce_config.FIXED),
    "practise": (reinforce_config.ReinforceConfig, reinforce_config.PRACTISED),
    "evolve": (spiral_config.SpiralConfig, spiral_config.FIXED),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_every_field_has_a_stage_and_every_stage_a_mark(name: str) -> None:
    cls, table = LEARNERS[name]
    readers = {table.reader(field) for field in field_types(cls)}
    assert readers - {ALWAYS} <= table.begun.keys()
    for prefix in table.first:
        assert any(f == prefix or f.startswith(f"{prefix}.") for f in field_types(cls)), f"{prefix} names no field"


def test_the_longest_name_counts() -> None:
    table = Table({"a": "x", "a.b": "y", "a.b.c": ALWAYS}, {})
    assert [table.reader(n) for n in ("a.z", "a.b", "a.b.d", "a.b.c")] == ["x", "y", "y", ALWAYS]
    with pytest.raises(KeyError):
        table.reader("b.a")


def opened(folder: Path, config: Config, begin: bool = True) -> list[str]:
    said: list[str] = []
    with open_run(config, FIXED, say=said.append) as run:
        if begin:
            run.begin()
    return said


def begun(folder: Path, *files: str) -> Config:
    """A run folder with its settings and these files."""
    config = set_field(Config(), "run.dir", str(folder))
    opened(folder, config)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return config


BASE_DONE = "round_00/stages.json"
CASES = [
    ("select.n", 5, (BASE_DONE,), "evaluate"),
    ("sample.k", 9, (BASE_DONE, "round_01/candidates/shard-00000.parquet"), "sample"),
    ("build.refine", 0, (BASE_DONE, "round_01/examples.parquet"), "build"),
    ("train.lr", 1e-5, (BASE_DONE, "round_01/.fit/last.ckpt"), "fit"),
    ("train.lr", 1e-5, (BASE_DONE, "round_01/adapter/adapter_config.json"), "fit"),
    ("model.lora_r", 4, (BASE_DONE, "round_01/adapter/adapter_config.json"), "fit"),
]


@pytest.mark.parametrize(("name", "value", "files", "stage"), CASES)
def test_a_field_is_fixed_once_its_stage_has_begun_and_not_before(
    tmp_path: Path, name: str, value: Any, files: tuple[str, ...], stage: str
) -> None:
    config = begun(tmp_path, *files)
    with pytest.raises(RunError, match=rf"{name}: .* \(read by {stage}\)"):
        opened(tmp_path, set_field(config, name, value))
    kept = (tmp_path / "config.yaml").read_text()
    assert kept == to_yaml(config), "a refused change leaves the settings as they were"
    if stage != "evaluate":
        (tmp_path / files[-1]).unlink()
        said = opened(tmp_path, set_field(config, name, value))
        assert any(f"{name} is now {value!r}, was " in line for line in said)
        assert (tmp_path / "config.yaml").read_text() == to_yaml(set_field(config, name, value))


def test_the_gate_may_be_corrected_until_the_first_round_is_judged(tmp_path: Path) -> None:
    config = begun(tmp_path, BASE_DONE, "round_01/stages.json")
    opened(tmp_path, config := set_field(config, "run.gate_alpha", 0.1))
    (tmp_path / "round_01" / "DONE").write_text("")
    with pytest.raises(RunError, match=r"run\.gate_alpha: 0\.1 -> 0\.05 \(read by accept\)"):
        opened(tmp_path, set_field(config, "run.gate_alpha", 0.05))


def test_what_has_no_part_in_the_result_may_always_change(tmp_path: Path) -> None:
    config = begun(tmp_path, BASE_DONE, "round_01/adapter/x", "round_01/DONE", "round_01/candidates/s.parquet")
    for name, value in (("run.rounds", 9), ("train.devices", 2), ("train.problems_per_batch", 2), ("sample.slots", 1)):
        opened(tmp_path, config := set_field(config, name, value))


def test_a_run_without_a_finished_stage_begins_anew(tmp_path: Path) -> None:
    """Half an evaluation under other settings is in the way of the new one, so it goes; with a finished stage nothing
    is ever removed. The same settings go on with the half that is there."""
    half = "round_00/.gate.parts/part-00000.parquet"
    config = begun(tmp_path, half)
    opened(tmp_path, config)
    assert (tmp_path / half).exists()
    said = opened(tmp_path, set_field(config, "model.path", "elsewhere"))
    assert said == [f"{tmp_path}: no stage had finished, so the run begins anew with the settings of now"]
    assert not (tmp_path / "round_00").exists()


def test_a_start_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    """Before `begin`, neither settings nor, where the folder is new, the folder itself."""
    config = set_field(Config(), "run.dir", str(tmp_path / "run"))
    with pytest.raises(ZeroDivisionError), open_run(config, FIXED):
        _ = 1 / 0
    assert not (tmp_path / "run").exists()
    opened(tmp_path / "run", config)
    other = set_field(config, "model.path", "elsewhere")
    with pytest.raises(ZeroDivisionError), open_run(other, FIXED, say=lambda _: None):
        _ = 1 / 0
    assert (tmp_path / "run" / "config.yaml").read_text() == to_yaml(config)


def test_settings_of_an_older_version(tmp_path: Path) -> None:
    """A field it did not have has its default; a renamed one its new name and value; an unknown one is an error that
    says what to do; and a file that is no YAML too."""
    config = replace(spiral_config.SpiralConfig(), run=spiral_config.SpiralRun(dir=str(tmp_path)))
    path = tmp_path / "config.yaml"
    old = to_yaml(config).replace("  gate_alpha: 0.05\n", "").replace("guard:\n", "guard:\n  alpha: 0.1\n")
    assert "gate_alpha" not in old
    path.write_text(old)
    assert fixed.changed(path, config, spiral_config.FIXED) == {}
    assert fixed.changed(path, set_field(config, "run.gate_alpha", 0.01), spiral_config.FIXED) == {
        "run.gate_alpha": (0.05, 0.01)
    }
    path.write_text(old.replace("guard:\n", "guard:\n  beta: 1\n"))
    with pytest.raises(RunError, match=r"found guard\.beta, which this version of r3v does not know; go on"):
        fixed.changed(path, config, spiral_config.FIXED)
    for text in ("a: [", "- 1"):
        path.write_text(text)
        with pytest.raises(RunError, match=r"config\.yaml: .*put the file back"):
            fixed.changed(path, config, spiral_config.FIXED)


def test_a_recipe_of_an_older_version_says_where_its_field_is() -> None:
    with pytest.raises(ConfigError, match=r"found guard\.alpha, which is now run\.gate_alpha"):
        read_tree(spiral_config.SpiralConfig, None, ["--guard.alpha=0.1"], "evolve")


def test_lists_and_tables_compare_by_their_values(tmp_path: Path) -> None:
    config = set_field(Config(), "train.kind_weights", {"answer": 2.0})
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert fixed.changed(path, config, FIXED) == {}
    assert fixed.changed(path, set_field(config, "train.kind_weights", {}), FIXED) == {
        "train.kind_weights": ({"answer": 2.0}, {})
    }
