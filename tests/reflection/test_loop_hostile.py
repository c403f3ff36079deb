"""Runs in which everything goes wrong that may: nothing solved, nothing parsed, one problem, one sample, no engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted_run import answerer, config, stages

from r3v.errors import EngineError, RunError
from r3v.pages.report import write_report
from r3v.policies.scripted import ScriptedPolicy
from r3v.reflection.loop import Stages, train
from r3v.settings.tree import set_field


def speaking(text: str) -> Stages:
    """The scripted stages with a model that always says the same."""
    return replace(stages(), policy=lambda config, adapter: ScriptedPolicy(lambda prompt, index: text))


def quiet(line: str) -> None:
    """Says nothing."""


@pytest.mark.parametrize("text", ["I cannot read the figure.", "", "Answer: -1", "Answer:"])
def test_a_model_that_solves_nothing(tmp_path: Path, text: str) -> None:
    """No positive, and with the first two not even an answer: numbers, run.json and the page are all there."""
    value = train(config(tmp_path / "run", rounds=1, n=4), speaking(text), say=quiet)
    greedy = value["rounds"][1]["eval"]["greedy"]
    assert (greedy["accuracy"], greedy["n"]) == (0.0, 4)
    assert greedy["unparsed"] == (0.0 if "-1" in text else 1.0)
    assert value["rounds"][1]["pool"]["correct"] == 0
    assert value["rounds"][1]["examples"]["total"] == 0
    assert "Accuracy by round and selector" in write_report(tmp_path / "run").read_text()


def test_one_problem_one_sample(tmp_path: Path) -> None:
    small = config(tmp_path / "run", rounds=1, n=1)
    small = replace(small, data=replace(small.data, n_gate=1), select=replace(small.select, n=1))
    value = train(set_field(small, "sample.k", 1), stages(), say=quiet)
    assert value["rounds"][1]["pool"]["candidates"] == 1
    assert set(value["rounds"][1]["eval"]) >= {"greedy", "majority@1", "self_select@1", "oracle@1"}
    assert write_report(tmp_path / "run").stat().st_size > 10_000


class Away(ScriptedPolicy):
    """An engine that fails on every call while `down`."""

    down = True

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        if self.down:
            raise EngineError("connection refused")
        return super().generate(*args, **kwargs)


def test_an_engine_that_is_away_is_no_verdict_on_the_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate of no measured problem neither accepts nor refuses; once the engine is back the same call goes on."""
    made = stages()
    by_id: dict[str, Any] = {}

    def load(data: Any) -> Any:
        splits = made.load(data)
        by_id.update({p.id: p for part in (splits.train, splits.gate, splits.eval) for p in part})
        return splits

    engine = replace(made, load=load, policy=lambda config, adapter: Away(answerer(by_id, 0.5)))
    settings = config(tmp_path / "run", rounds=0, n=4)
    with pytest.raises(RunError, match="the engine failed on all 2 gate problems"):
        train(settings, engine, say=quiet)
    monkeypatch.setattr(Away, "down", False)
    assert train(settings, engine, say=quiet)["rounds"][0]["eval"]["greedy"]["n"] == 4


def test_damaged_files_of_a_run_are_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config(run, rounds=0, n=2), stages(), say=quiet)
    (run / "round_01").mkdir()
    (run / "round_01" / "stages.json").write_text('{"sample": ')
    with pytest.raises(RunError, match=r"round_01/stages\.json: damaged"):
        train(config(run, rounds=1, n=2), stages(), say=quiet)
    (run / "round_00" / "report.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match="delete DONE beside it"):
        train(config(run, rounds=1, n=2), stages(), say=quiet)
    (run / "run.json").write_text(json.dumps({"rounds": []})[:-3])
    with pytest.raises(RunError, match=r"run\.json: damaged"):
        write_report(run)
