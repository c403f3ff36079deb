"""A run that version 0.1 made: it opens, goes on, is reported, and keeps its settings.

`run_0_1` is the folder that `r3v train geoworld_tiny --dry-run --run.name old --model.lora_r 1` of 0.1 left: random
tiny weights, a base measurement and one round. `run.dir` in its config.yaml is another name."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from loop_fakes import World

from r3v.app.commands.common import model_config
from r3v.errors import RunError
from r3v.pages.report import write_report
from r3v.reflection.loop import train
from r3v.reflection.settings import read
from r3v.rollout.shards import read_shards
from r3v.settings.config import Config
from r3v.settings.tree import set_field

HERE = Path(__file__).parent / "run_0_1"


@pytest.fixture
def old(tmp_path: Path) -> Config:
    """The settings of a copy of the run."""
    shutil.copytree(HERE, tmp_path / "run")
    config = read(tmp_path / "run" / "config.yaml").config
    return set_field(config, "run.dir", str(tmp_path / "run"))


class Next(World):
    """Measures every further round as the old round 1 was measured."""

    def build(self, train: Any, folders: Any, out: Path, config: Config, number: int, policy: Any) -> dict[str, Any]:
        samples = sum(len(list(read_shards(folder))) for folder in folders[:-1])
        self._do("build", number, out, f"{samples} old samples")
        return {"kinds": {"answer": 1}}

    def evaluate(self, policy: Any, asked: Any, selectors: Sequence[str], out: Path, config: Config) -> dict[str, Any]:
        before = out.parent.parent / "round_01"
        shutil.copyfile(before / out.name, out)
        self.calls.append(f"{out.stem} {out.parent.name}")
        report = json.loads((before / "report.json").read_text())
        return {"eval": report["gate" if out.stem == "gate" else "eval"], "breakdown": {}}


def test_the_finished_run_is_known_for_finished(old: Config) -> None:
    before = json.loads((Path(old.run.dir) / "run.json").read_text())
    world, lines = World(), []
    assert train(old, world.stages(), recipe=before["recipe"], say=lines.append) == before
    assert world.calls == []
    assert "is finished: round 1 of 1 is accepted" in lines[-1]


def test_it_goes_on_by_the_rules_of_now(old: Config) -> None:
    """Two gate problems, both wrong before and after: no pair differs, so the new round is accepted, and the report
    says that two problems could not have noticed anything."""
    world = Next()
    value = train(set_field(old, "run.rounds", 2), world.stages(), say=lambda _: None)
    assert world.calls == ["sample 2", "build 2", "fit 2", "gate round_02", "eval round_02"]
    assert value["accepted_round"] == 2
    assert (Path(old.run.dir) / "round_02" / "examples.parquet").read_text() == "12 old samples"
    report = json.loads((Path(old.run.dir) / "round_02" / "report.json").read_text())
    assert (report["decision"]["n"], report["decision"]["p"], report["decision"]["noticed"]) == (2, 1.0, None)
    assert "too few problems to notice any loss" in report["reason"]


def test_what_its_stages_have_read_is_fixed(old: Config) -> None:
    for name, value, stage in (("sample.k", 7, "sample"), ("train.lr", 0.5, "fit"), ("select.n", 9, "evaluate")):
        changed = set_field(set_field(old, "run.rounds", 2), name, value)
        with pytest.raises(RunError, match=rf"{name}: .* \(read by {stage}\)"):
            train(changed, World().stages(), say=lambda _: None)


def test_its_report_its_samples_and_its_adapter_are_read(old: Config) -> None:
    run = Path(old.run.dir)
    page = write_report(run).read_text()
    assert "gate accuracy 0.0000 is not below 0.0000 of round 0" in page, "the words of its own time"
    assert len(list(read_shards(run / "round_01" / "candidates"))) == 4 * 3
    args = argparse.Namespace(model=None, adapter=None, run=str(run), recipe=None)
    assert model_config(args, []).model.adapter == str(run / "round_01" / "adapter")
