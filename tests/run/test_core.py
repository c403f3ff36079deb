"""The run folder: stages, rounds, damaged files, the reference of the gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loop_fakes import answers, config

from r3v.errors import RunError
from r3v.reflection.settings import FIXED
from r3v.run.core import Run, answered, close_round, closed_rounds, locked, open_run, stage


def test_a_stage_is_done_once_and_keeps_what_it_said(tmp_path: Path) -> None:
    calls = []

    def work() -> dict[str, int]:
        calls.append(1)
        return {"n": 3}

    first = stage(tmp_path / "round_00", "sample", work)
    assert stage(tmp_path / "round_00", "sample", work) == first
    assert (first["n"], len(calls)) == (3, 1)
    assert json.loads((tmp_path / "round_00" / "stages.json").read_text()) == {"sample": first}


def test_a_stage_that_fails_has_no_line(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        stage(tmp_path, "fit", lambda: {"n": 1 // 0})
    assert not (tmp_path / "stages.json").exists()


def closed(folder: Path, gates: list[tuple[float, bool]]) -> Run:
    run = Run(folder, config(folder), "", lambda line: None)
    for number, (accuracy, accepted) in enumerate(gates):
        path = run.round_folder(number)
        gate = answers(accuracy, ("greedy",), path / "gate.parquet")["eval"]
        run.reports.append(close_round(path, {"round": number, "accepted": accepted, "gate": gate}))
    return run


def test_closed_rounds_are_read_without_a_gap(tmp_path: Path) -> None:
    run = closed(tmp_path, [(0.5, True), (0.6, True), (0.4, False)])
    assert closed_rounds(tmp_path) == run.reports
    (tmp_path / "round_01" / "DONE").unlink()
    assert len(closed_rounds(tmp_path)) == 1


def test_the_newest_accepted_counts_and_the_best_accepted_is_the_reference(tmp_path: Path) -> None:
    """Gate 0.5, 0.9, 0.8 accepted, 0.95 refused for whatever reason: 2 is in use, 1 the reference. A new round with 0.3
    loses 12 of the 18 that round 1 has right: p 2^-12, at 0.05 / 3."""
    run = closed(tmp_path, [(0.5, True), (0.9, True), (0.8, True), (0.95, False)])
    assert (run.accepted, run.best) == (2, 1)
    answers(0.3, ("greedy",), run.round_folder(4) / "gate.parquet")
    found = run.judge(4)
    assert not found.accepted
    assert (found.against, found.losses, found.p, found.level) == ("round 1", 12, 2**-12, 0.05 / 3)


def test_the_newest_of_equals_is_the_reference(tmp_path: Path) -> None:
    assert closed(tmp_path, [(0.5, True), (0.7, True), (0.7, True)]).best == 2


def test_a_gate_without_an_answer_is_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "gate.parquet"
    path.write_text("")
    with pytest.raises(RunError, match="the engine failed on all 7 gate problems"):
        answered(path, {"eval": {"greedy": {"n": 0}}}, 7)
    assert not path.exists(), "so that it is asked again"


def test_a_lock_and_what_it_says(tmp_path: Path) -> None:
    name = "other.lock"
    with locked(tmp_path, name), pytest.raises(RunError, match="somebody"), locked(tmp_path, name, "somebody"):
        pass
    with locked(tmp_path, name), locked(tmp_path):
        pass


def test_more_rounds_than_asked_for_and_a_resumed_run(tmp_path: Path) -> None:
    settings = config(tmp_path, rounds=1)
    closed(tmp_path, [(0.5, True), (0.6, True)])
    said: list[str] = []
    with pytest.raises(RunError, match=r"found rounds but no config\.yaml"), open_run(settings, FIXED, rounds=1):
        pass
    Run(tmp_path, settings, "", said.append).begin()
    told = r"1 finished rounds, more than run\.rounds 0; set --run\.rounds 1"
    with pytest.raises(RunError, match=told), open_run(settings, FIXED, rounds=0):
        pass
    with open_run(settings, FIXED, rounds=3, say=said.append) as run:
        assert len(run.reports) == 2
    assert said == [f"resuming {tmp_path} after round 1"]
