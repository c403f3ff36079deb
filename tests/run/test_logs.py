"""Logs as the tools read them: real CSV files, real TensorBoard events, W&B's offline directory."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from loop_fakes import World, config

from r3v.errors import ConfigError
from r3v.reflection.loop import train
from r3v.run import logs
from r3v.settings.tree import set_field

REPORT = {
    "round": 2, "accepted": False, "gate": {"greedy": {"accuracy": 0.5, "unparsed": 0.1}},
    "eval": {"majority@3": {"accuracy": 0.25, "unparsed": 0.0}},
    "pool": {"correct": 1, "wrong": 2, "unparsed": 1, "unavailable": 5, "truncated": 1},
    "examples": {"total": 7}, "seconds": {"fit": 3.5},
}  # fmt: skip


def test_the_numbers_of_a_round() -> None:
    """Shares are of the four answers that came."""
    assert logs.of_round(REPORT) == {
        "round": 2, "accepted": 0.0, "gate/greedy": 0.5, "gate/greedy_unparsed": 0.1, "eval/majority_at_3": 0.25,
        "eval/majority_at_3_unparsed": 0.0, "sample/right": 0.25, "sample/unparsed": 0.25,
        "sample/ended_by_length": 0.25, "examples": 7, "seconds/fit": 3.5,
    }  # fmt: skip


def test_what_is_no_log_or_not_installed_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, told in (
        ("csw", "found run.log 'csw', expected some of csv, tensorboard"),
        ("mlflow", "needs the package"),
    ):
        monkeypatch.setattr(logs, "find_spec", lambda package: None)
        wanted = set_field(config(tmp_path / "run"), "run.log", (name,))
        with pytest.raises(ConfigError, match=told):
            train(wanted, World().stages(), say=lambda _: None)
    assert not (tmp_path / "run").exists()


def test_nothing_is_logged_where_no_log_is_open() -> None:
    assert not logs.on()
    logs.log({"loss": 1.0}, 3)
    logs.close_round(REPORT, 4)


def written(folder: Path, *names: str) -> None:
    """Two steps of a fit, then the round, three steps after those of earlier rounds."""
    with logs.opened(names, folder, "title", {"train.lr": 0.1}, base=3):
        assert logs.on()
        logs.log({"train/loss": 0.5, "train/lr": 1e-3}, 1)
        logs.log({"train/loss": 0.25, "train/lr": 1e-4}, 2)
        logs.close_round(REPORT, 2)


def test_csv(tmp_path: Path) -> None:
    written(tmp_path, "csv")
    rows = list(csv.DictReader((tmp_path / "logs/csv/version_0/metrics.csv").read_text().splitlines()))
    assert [(row["step"], row["train/loss"], row["gate/greedy"]) for row in rows] == [
        ("4", "0.5", ""), ("5", "0.25", ""), ("5", "", "0.5")
    ]  # fmt: skip
    written(tmp_path, "csv")
    assert (tmp_path / "logs/csv/version_1/metrics.csv").exists(), "a resumed run keeps what was written before"


def test_a_run_is_logged_round_by_round(tmp_path: Path) -> None:
    """The scripted fit makes one step a round: rounds 0, 1 and 2 are at steps 0, 1 and 2."""
    settings = set_field(config(tmp_path, rounds=2), "run.log", ("csv",))
    train(settings, World().stages(), say=lambda _: None)
    rows = list(csv.DictReader((tmp_path / "logs/csv/version_0/metrics.csv").read_text().splitlines()))
    assert [(row["step"], row["round"], row["gate/greedy"]) for row in rows] == [
        ("0", "0", "0.5"), ("1", "1", "0.6"), ("2", "2", "0.7")
    ]  # fmt: skip


def test_tensorboard_reads_its_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    written(tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / "logs/tensorboard/version_0"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(4, 0.5), (5, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("gate/greedy")] == [(5, 0.5)]


@pytest.mark.filterwarnings("ignore")  # W&B's own imports
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    written(tmp_path, "wandb")
    (run,) = (tmp_path / "logs/wandb").glob("offline-run-*")
    (record,) = run.glob("*.wandb")
    data = record.read_bytes()
    assert b"train/loss" in data
    assert b"gate/greedy" in data
