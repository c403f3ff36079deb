"""The loop on fake stages: order of the work, resuming after a kill anywhere, the gate, and the run folder."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from loop_fakes import Killed, World, config, contents, problems

from r3v.errors import ConfigError, DataError, RunError
from r3v.reflection.loop import Splits, train
from r3v.settings.config import TrainConfig

STAGES = ("gate", "evaluate", "sample", "build", "fit")
POINTS = [(s, n, after) for n in range(3) for s in STAGES for after in (False, True) if n or s in ("gate", "evaluate")]


def run(world: World, folder: Path, **kwargs) -> dict:
    return train(config(folder, **kwargs), world.stages(), recipe="r.yaml", say=lambda line: None)


def test_the_work_is_done_in_order_and_once(tmp_path: Path) -> None:
    """Round 0 measures; then each round samples, builds, fits and measures on gate and evaluation problems."""
    world = World()
    run(world, tmp_path, rounds=2)
    a_round = ["sample {0}", "build {0}", "fit {0}", "gate {0}", "evaluate {0}"]
    assert world.calls == ["gate 0", "evaluate 0", *(s.format(n) for n in (1, 2) for s in a_round)]


def test_select_is_asked_as_it_is_taught(tmp_path: Path) -> None:
    """Refused before anything is made; without select examples the side that teaches does not matter."""
    settings = config(tmp_path / "run")
    other = replace(settings, build=replace(settings.build, select=2, select_target="solution"))
    world = World()
    with pytest.raises(ConfigError, match=r"select_target solution and select\.target index_answer"):
        train(other, world.stages(), say=lambda _: None)
    assert not (tmp_path / "run").exists()
    train(replace(other, build=replace(other.build, select=0)), world.stages(), say=lambda _: None)


def test_run_json_has_exactly_the_published_form(tmp_path: Path) -> None:
    value = run(World(), tmp_path, rounds=1)
    assert value == json.loads((tmp_path / "run.json").read_text())
    assert list(value) == ["schema", "recipe", "accepted_round", "revision", "rounds"]
    assert (value["schema"], value["recipe"], value["accepted_round"]) == (1, "r.yaml", 1)
    for number, entry in enumerate(value["rounds"]):
        assert list(entry) == ["round", "eval", "pool", "examples", "seconds"]
        assert entry["round"] == number
        assert list(entry["eval"]) == ["greedy", "majority@3", "self_select@3", "fused@3", "oracle@3"]
        for cell in entry["eval"].values():
            assert list(cell) == ["accuracy", "n", "ci95", "unparsed"]
        assert list(entry["seconds"]) == ["sample", "build", "fit", "evaluate"]
    assert value["rounds"][1]["pool"] == {"candidates": 4}
    assert value["rounds"][1]["examples"] == {"kinds": {"answer": 1}}


def test_a_run_folder_holds_what_the_design_says(tmp_path: Path) -> None:
    run(World(), tmp_path, rounds=1)
    for name in ("config.yaml", "run.json", "round_00/eval.parquet", "round_00/report.json", "round_00/DONE"):
        assert (tmp_path / name).is_file(), name
    for name in ("candidates", "adapter"):
        assert (tmp_path / "round_01" / name).is_dir(), name
    for name in ("examples.parquet", "eval.parquet", "report.json", "DONE"):
        assert (tmp_path / "round_01" / name).is_file(), name


@pytest.mark.parametrize(("stage", "number", "after"), POINTS)
def test_a_killed_run_resumes_at_the_stage_and_ends_the_same(
    tmp_path: Path, stage: str, number: int, after: bool
) -> None:
    """The killed stage is done twice (its artefact had no line in stages.json yet); no other stage is, except that
    the gate set is asked again when the evaluation beside it, the same stage, was killed."""
    undisturbed = World()
    run(undisturbed, tmp_path / "a", rounds=2)
    world = World(kill_at=(stage, number), kill_after=after)
    with pytest.raises(Killed):
        run(world, tmp_path / "b", rounds=2)
    assert not (tmp_path / "b" / f"round_{number:02d}" / "DONE").exists()
    run(world, tmp_path / "b", rounds=2)
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    again = [f"gate {number}", f"evaluate {number}"] if stage == "evaluate" else [f"{stage} {number}"]
    assert sorted(world.calls) == sorted(undisturbed.calls + again)


def test_a_finished_run_says_so_and_does_nothing(tmp_path: Path) -> None:
    run(World(), tmp_path, rounds=1)
    world, lines = World(), []
    train(config(tmp_path, rounds=1), world.stages(), say=lines.append)
    assert world.calls == []
    assert "is finished: round 1 of 1 is accepted" in lines[-1]


def test_more_rounds_prolong_a_run_and_fewer_are_an_error(tmp_path: Path) -> None:
    run(World(), tmp_path, rounds=1)
    world = World()
    run(world, tmp_path, rounds=2)
    assert world.calls[0] == "sample 2"
    with pytest.raises(RunError, match=r"found 2 finished rounds, more than run\.rounds 1"):
        run(World(), tmp_path, rounds=1)


def test_a_round_that_lowers_the_gate_is_not_accepted(tmp_path: Path) -> None:
    """Of 20 gate problems 10, 14, 7 and 12 are right. Round 2 loses seven of round 1's and wins none: p 1 / 128, below
    0.05 / 2. Round 3 samples with round 1 and loses two of its: p 1 / 4, so it is taken."""
    world, lines = World(gates=(0.5, 0.7, 0.35, 0.6)), []
    value = train(config(tmp_path), world.stages(), say=lines.append)
    assert value["accepted_round"] == 3
    reports = [json.loads((tmp_path / f"round_{n:02d}/report.json").read_text()) for n in range(4)]
    assert [r["accepted"] for r in reports] == [True, True, False, True]
    assert (tmp_path / "round_03/candidates/content").read_text() == "sampled by round_01"
    told = "not accepted: worse than round 1 on the gate: 70.0 -> 35.0 %, 0 won and 7 lost of 20 problems, sign test p "
    assert any(told in line for line in lines)
    assert reports[0]["decision"] is None
    assert [(r["decision"]["against"], r["decision"]["losses"], r["decision"]["level"]) for r in reports[1:]] == [
        ("the base model", 0, 0.05), ("round 1", 7, 0.025), ("round 1", 2, 0.025)
    ]  # fmt: skip


def test_every_round_refused_keeps_the_base(tmp_path: Path) -> None:
    value = run(World(gates=(0.5, 0.2, 0.1)), tmp_path, rounds=2)
    assert value["accepted_round"] == 0
    assert (tmp_path / "round_02/candidates/content").read_text() == "sampled by base"


def test_restart_from_base_or_continue(tmp_path: Path) -> None:
    run(World(), tmp_path / "base", rounds=2)
    assert (tmp_path / "base/round_02/adapter/content").read_text().startswith("from base on")
    run(World(), tmp_path / "on", rounds=2, restart="continue")
    assert (tmp_path / "on/round_02/adapter/content").read_text().startswith("from round_01 on")


def test_other_settings_in_an_existing_folder_name_the_fields(tmp_path: Path) -> None:
    run(World(), tmp_path, rounds=1)
    other = replace(config(tmp_path, rounds=1, seed=3), train=TrainConfig(lr=0.5))
    told = r"run\.seed: 0 -> 3 \(read by evaluate\); train\.lr: 0\.001 -> 0\.5 \(read by fit\)"
    with pytest.raises(RunError, match=told):
        train(other, World().stages(), say=lambda line: None)


def test_rounds_without_their_config_are_an_error(tmp_path: Path) -> None:
    run(World(), tmp_path, rounds=1)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(RunError, match=r"found rounds but no config\.yaml"):
        run(World(), tmp_path, rounds=1)


def test_a_damaged_report_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    run(World(), tmp_path, rounds=1)
    (tmp_path / "round_01/report.json").write_text("{")
    with pytest.raises(RunError, match="delete DONE beside it"):
        run(World(), tmp_path, rounds=1)


def test_two_processes_cannot_share_a_run(tmp_path: Path) -> None:
    """A second process holds the lock; it is told to let go by closing its input."""
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(RunError, match="another process works on this run"):
            run(World(), tmp_path, rounds=1)
        holder.communicate()
    run(World(), tmp_path, rounds=1)


@pytest.mark.parametrize("split", ["gate", "eval"])
def test_overlapping_and_empty_sets_are_errors(tmp_path: Path, split: str) -> None:
    world = World()
    sets = {"train": problems("t", 3), "gate": problems("g", 2), "eval": problems("e", 2)}
    for bad, message in (
        (sets["train"][1:2], "this problem is in train and in"),
        ([], f"data.{split} holds no problem"),
    ):
        stages = replace(world.stages(), load=lambda data, bad=bad: Splits(**{**sets, split: bad}))
        with pytest.raises(DataError, match=message):
            train(config(tmp_path), stages, say=lambda line: None)
