"""The line of progress, on a clock that the test moves."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from r3v.run import progress
from r3v.run.core import stage
from r3v.run.progress import EVERY, Line, duration, of_rounds, shown_on, task


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A log, which is no terminal; the process holds 3 GiB."""
    monkeypatch.setattr(progress, "peak_memory", lambda: 3 * 2**30)
    out = io.StringIO()
    with shown_on(Line(out, terminal=False, clock=clock)):
        yield out


def test_a_log_gets_one_line_a_minute(log: io.StringIO, clock: Clock) -> None:
    """One of 600 steps a second, 50 tokens each: after 60 the rest, 540, takes 540 seconds."""
    with task("fit", 600, "step") as told:
        for _ in range(125):
            clock.now += 1
            told.advance(tokens=50, loss=0.25)
    assert log.getvalue().splitlines() == [
        "fit 60 of 600 steps, loss 0.25, 50 tokens/s, 3.0 GiB, 9 min left",
        "fit 120 of 600 steps, loss 0.25, 50 tokens/s, 3.0 GiB, 8 min left",
    ]


def test_work_that_was_there_says_nothing_about_speed(log: io.StringIO, clock: Clock) -> None:
    """80 of 100 were there; 10 more take a minute, so the last 10 take another."""
    with task("sample", 100, "answer") as told:
        told.skip(80)
        clock.now += EVERY
        told.advance(10, right=0.5)
    assert log.getvalue() == "sample 90 of 100 answers, right 50.0 %, 3.0 GiB, 60 s left\n"


def test_answers_of_an_engine_move_whatever_waits_for_them(log: io.StringIO, clock: Clock) -> None:
    """They are units where answers are counted, and what is known in the end corrects them; a figure elsewhere."""
    with task("sample", 4, "answer") as told:
        progress.answered(3, 30)
        assert (told.done, told.tokens) == (3, 30)
        told.reach(2, 20)
        assert (told.done, told.tokens) == (2, 20)
        told.advance(5)
        assert told.done == 4, "never beyond the total"
    with task("evaluate", 10, "problem") as told:
        progress.answered(1, 5)
        clock.now += EVERY
        progress.answered(2, 7)
        assert told.done == 0
    assert log.getvalue() == "evaluate 0 of 10 problems, answers 3, 0 tokens/s, 3.0 GiB\n"
    progress.answered(1, 1)  # nobody waits


def test_the_innermost_task_hears_and_nothing_hidden_is_shown(log: io.StringIO, clock: Clock) -> None:
    with task("outer", 5, "answer") as outer, task("inner", 5, "answer", shown=False) as inner:
        clock.now += EVERY
        progress.answered(1, 1)
        assert (outer.done, inner.done) == (0, 1)
    assert log.getvalue() == ""


def test_the_stage_and_the_rest_of_the_run_are_told(log: io.StringIO, clock: Clock, tmp_path: Path) -> None:
    """Round 1 took 100 s to sample and 20 s to fit. Half of round 2's sampling takes 60 s; then 60 s more of it, 20 s
    of its fit, and a third round of 120 s: 200 s."""
    first = {"sample": {"seconds": 100.0}, "fit": {"seconds": 20.0}}
    (tmp_path / "round_01").mkdir()
    (tmp_path / "round_01" / "stages.json").write_text(json.dumps(first))

    def work() -> dict[str, int]:
        with task("draw", 2, "answer") as told:
            clock.now += 60
            told.advance()
        return {}

    with of_rounds(3):
        stage(tmp_path / "round_02", "sample", work)
    assert log.getvalue() == "round 02 sample: draw 1 of 2 answers, 3.0 GiB, 60 s left, run 3 min left\n"
    stage(tmp_path / "round_03", "sample", work)
    assert "run" not in log.getvalue().splitlines()[-1], "nobody says how many rounds there are"


def test_a_terminal_gets_a_bar(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "peak_memory", lambda: 2**30)
    out = io.StringIO()
    with shown_on(Line(out, terminal=True, clock=clock)), task("fit", 4, "step") as told:
        clock.now += 2
        told.advance(3, tokens=10, loss=1.5)
        progress.say("a word")
    assert "fit:" in out.getvalue()
    assert "3/4" in out.getvalue() or "loss 1.5, 5 tokens/s, 1.0 GiB" in out.getvalue()
    assert "a word\n" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_memory_is_counted() -> None:
    assert progress.peak_memory() > 10 * 2**20
