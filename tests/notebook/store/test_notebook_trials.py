"""A lesson that is proposed again has less error rate left, whoever proposes it and however often it was killed."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from notebook_world import RULES, parts, problems

from r3v.errors import ConfigError
from r3v.notebook.evolve.evolve import evolve
from r3v.notebook.evolve.history import History
from r3v.notebook.evolve.supervisors import lesson_hash
from r3v.notebook.gate.gate import GateConfig, decide
from r3v.notebook.gate.receipt import Receipt
from r3v.records import Outcome, Problem, Verdict


def test_the_levels_of_all_trials_sum_to_alpha() -> None:
    gate = GateConfig(alpha=0.05)
    assert gate.level(1) == pytest.approx(0.05 * 6 / 9.8696044)
    assert gate.level(2) == pytest.approx(gate.level(1) / 4)
    assert 0.04999 < sum(gate.level(k) for k in range(1, 10_000)) < 0.05
    with pytest.raises(ConfigError, match="found trial 0"):
        gate.level(0)


def test_the_same_outcomes_pass_a_first_trial_and_not_a_third() -> None:
    """Eight items won and none lost, one look without repeats: 2 ** -8 = 0.0039 is below 0.0304 and above 0.0034."""
    pool = [Problem(f"p{i}", "?", "0", "number") for i in range(8)]
    gate = GateConfig(looks=1, repeats=0)

    def solve(asked: object, arm: str, repeat: int) -> list[Verdict]:
        return [Verdict(Outcome.CORRECT if arm == "with" else Outcome.WRONG)] * 8

    first, third = (decide(gate, solve, [], pool=pool, trial=trial) for trial in (1, 3))
    assert (first.accepted, third.accepted) == (True, False)
    assert (first.trial, third.trial) == (1, 3)
    assert third.alpha == pytest.approx(0.05 * 6 / math.pi**2 / 9)
    assert "trial 1, error rate at most 0.03" in first.reason
    assert not third.judged, "too few items that lean the right way"
    assert decide(replace(gate, kind="m2note-paper"), solve, pool).alpha is None


def test_receipts_of_older_notebooks_are_read() -> None:
    row = Receipt("paired", False, "old").to_dict()
    older = {name: value for name, value in row.items() if name not in ("trial", "alpha")}
    assert Receipt.from_dict(json.loads(json.dumps(older))) == Receipt("paired", False, "old")


def test_refusals_for_want_of_items_count_over_steps_and_runs_until_the_lesson_is_accepted(tmp_path: Path) -> None:
    lessons = {lesson_hash(subject, rule) for subject, rule in RULES.items()}
    with ExitStack() as stack:
        few = parts(tmp_path, stack, pool=problems(300, 6))
        found = evolve(few)
        assert found["accepted"] == 0
        refused = [e.data for e in few.notebook.events("refused")]
        assert {name for data in refused for name in data["lessons"]} == lessons
        for lesson in lessons:
            own = [data for data in refused if lesson in data["lessons"]]
            assert [(d["trial"], d["receipt"]["alpha"]) for d in own] == [
                (k, pytest.approx(GateConfig().level(k))) for k in (1, 2, 3)
            ]
            assert all(d["pairs"] and d["receipt"]["trial"] == d["trial"] for d in own)
    with ExitStack() as stack:  # another process, and another run: it has another pool
        many = parts(tmp_path, stack, evolve={"steps": 1, "seed": 1}, pool=problems(300, 60))
        assert many.run != few.run
        assert dict(History.read(many.notebook, many.run).trials) == dict.fromkeys(lessons, 3)
        assert evolve(many)["accepted"] == 3
        receipts = [Receipt.from_dict(c.receipt) for c in many.notebook.log() if c.receipt]
        assert [receipt.trial for receipt in receipts] == [4, 4, 4]
        assert set(History.read(many.notebook, many.run).trials.values()) == {0}


def test_a_refusal_without_a_single_solve_spends_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = parts(tmp_path, stack, evolve={"steps": 1}, pool=[], gate=GateConfig(reserve=0))
        evolve(made)
        assert [e.data["pairs"] for e in made.notebook.events("refused")] == [0, 0, 0]
        assert set(History.read(made.notebook, made.run).trials.values()) == {0}
