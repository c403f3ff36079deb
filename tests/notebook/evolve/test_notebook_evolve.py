"""`evolve` end to end on a real notebook with the lexical embedder; the solver is right iff it is told the rule."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from notebook_world import RULES, World, parts, problems, state

from r3v.errors import EngineError, RunError
from r3v.notebook.evolve.evolve import alone, evolve
from r3v.notebook.evolve.meter import Ledger
from r3v.notebook.evolve.solving import Asker
from r3v.notebook.evolve.supervisors import lesson_hash
from r3v.notebook.evolve.value import values
from r3v.notebook.gate.gate import GateConfig
from r3v.notebook.gate.receipt import Receipt
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.policies.base import SamplingParams
from r3v.policies.scripted import ScriptedPolicy
from r3v.prompts import STYLES
from r3v.prompts import solve as ask
from r3v.records import Prompt
from r3v.settings.config import ModelConfig


def test_rules_are_learnt_once_and_help_from_then_on(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = parts(tmp_path, stack)
        found = evolve(made)
        notes = made.notebook.notes()
        assert {note.subject: note.guidance for note in notes.values()} == RULES
        assert [step["right"] for step in found["steps"]] == [0, 16, 16]
        assert (found["accepted"], found["refused"]) == (3, 0)
        commits = [commit for commit in made.notebook.log() if commit.receipt]
        assert len(commits) == 3
        for commit in commits:
            receipt = Receipt.from_dict(commit.receipt or {})
            assert receipt.accepted
            assert receipt.versions["solver"] == "world"
            assert receipt.versions["base"] == commit.parent
            assert not set(receipt.items) & set(receipt.quoted)
            assert {pair.subject for pair in receipt.pairs} == {commit.message.split(": ")[1]}
        assert made.notebook.head() == found["head"]


def test_costs_are_counted_once_per_prompt_and_repeat(tmp_path: Path) -> None:
    world = World()
    with ExitStack() as stack:
        found = evolve(parts(tmp_path, stack, world.policy))
    assert found["costs"]["calls"] == len(world.calls) == len(set(world.calls))
    assert found["costs"]["calls"] == sum(step["costs"]["calls"] for step in found["steps"])
    assert found["per_accepted_note"]["calls"] == round(len(world.seen) / 3, 6)
    assert found["costs"]["tokens_out"] > 0


def test_reserved_problems_are_never_shown_to_the_supervisor(tmp_path: Path) -> None:
    world = World()
    with ExitStack() as stack:
        made = parts(tmp_path, stack, world.policy, evolve={"steps": 1})
        evolve(made)
        quoted = {name for note in made.notebook.notes().values() for name in note.sources}
        judged = {name for c in made.notebook.log() if c.receipt for name in c.receipt["items"]}
    assert sum("Write a note" in text for text in world.seen) == len(quoted) <= 12
    assert not quoted & judged
    assert len(judged - {p.id for p in problems(300, 30)}) == 4


def test_a_finished_run_asks_nothing_again_and_more_steps_go_on(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = parts(tmp_path, stack, evolve={"steps": 1})
        found = evolve(first)
        before = state(first)
        world = World()
        again = evolve(parts(tmp_path, stack, world.policy, evolve={"steps": 1}))
        assert world.seen == []
        assert again == found
        longer = evolve(parts(tmp_path, stack, world.policy, evolve={"steps": 2}))
        assert longer["steps"][0] == found["steps"][0]
        assert longer["steps"][1]["right"] == 16
        assert longer["run"] == found["run"]
        assert state(first)["notes"] == before["notes"]


class Fuse:
    """Kills this process at the n-th moment, for real."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self()
            found = inner(*args, **kwargs)
            self()
            return found

        setattr(owner, name, wrapped)


def in_child(folder: Path, at: int) -> tuple[bool, int]:
    """Run in a forked process that dies at moment `at`; whether it was killed, and the moments it had left."""
    child = os.fork()
    if child == 0:
        with ExitStack() as stack:
            made, fuse = parts(folder, stack, sabotage=0.5, evolve={"steps": 2}), Fuse(at)
            for owner, name in (
                (made.solver.policy, "generate"), (made.solver.ledger, "put"), (made.notebook, "commit"),
                (made.notebook, "record_many"), (made.notebook, "refuse"), (made.notebook, "move"),
                (made.notebook, "put_vectors"), (made.notebook, "branch"),
            ):  # fmt: skip
                fuse.around(owner, name)
            evolve(made)
            (folder / "left").write_text(str(fuse.left))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0
    return killed, 0 if killed else int((folder / "left").read_text())


def test_killed_anywhere_the_run_ends_the_same(tmp_path: Path) -> None:
    """SIGKILL at every 9th moment of an undisturbed run, each followed by a second kill, then a whole run."""
    calm = tmp_path / "calm"
    calm.mkdir()
    _, left = in_child(calm, 10**6)
    moments = 10**6 - left
    assert moments > 40
    with ExitStack() as stack:
        expected = state(parts(calm, stack, sabotage=0.5))
    assert {True, False} == set(expected["decided"].values())
    for at in range(2, moments, 9):
        folder = tmp_path / f"killed-{at}"
        folder.mkdir()
        killed, _ = in_child(folder, at)
        assert killed
        in_child(folder, 5)
        assert in_child(folder, 10**6)[0] is False
        with ExitStack() as stack:
            assert state(parts(folder, stack, sabotage=0.5)) == expected, at


def test_wrong_notes_are_refused_with_a_tombstone_and_not_proposed_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = parts(tmp_path, stack, sabotage=1.0)
        found = evolve(made)
        assert (found["accepted"], found["notes"]) == (0, 0)
        assert found["refused"] == 3
        assert [step["refused"] for step in found["steps"]] == [3, 0, 0]
        assert len(made.notebook.refusals()) == 3
        left_out = [e.data["left_out"] for e in made.notebook.events("proposed") if e.data.get("stage") == "edits"]
        assert left_out[1]["refused before"] > 0


def test_an_outage_stops_the_run_and_costs_nothing(tmp_path: Path) -> None:
    class Down(ScriptedPolicy):
        broken = True

        def generate(self, prompts: Sequence[Prompt], n: int, params: SamplingParams, **more: Any) -> Any:
            if self.broken and len(self.calls) >= 2:
                raise EngineError("connection refused")
            return super().generate(prompts, n, params, **more)

    policy = Down(World().answer, name="world")
    with ExitStack() as stack:
        made = parts(tmp_path, stack, policy)
        with pytest.raises(EngineError, match="the engine of the solver is taken to be down"):
            evolve(made)
        assert not any(made.notebook.events("refused"))
        policy.broken = False
        evolve(made)
        calm = parts(tmp_path, stack, name="calm.db")
        evolve(calm)
        ours, theirs = state(made), state(calm)
        assert ours == theirs


def test_a_supervisor_that_is_down_stops_the_run_before_the_step_is_spent(tmp_path: Path) -> None:
    world = World()

    class Mute(ScriptedPolicy):
        def generate(self, prompts: Sequence[Prompt], n: int, params: SamplingParams, **more: Any) -> Any:
            raise EngineError("quota")

    with ExitStack() as stack:
        made = parts(tmp_path, stack, world.policy, evolve={"steps": 1})
        assert made.writer is not None
        made.writer.policy = Mute(world.answer, name="world")
        with pytest.raises(EngineError, match="the engine of the supervisor is taken to be down"):
            evolve(made)
        made.writer.policy = world.policy
        assert evolve(made)["accepted"] == 3


def test_a_few_lost_answers_are_not_mistakes(tmp_path: Path) -> None:
    class Flaky(ScriptedPolicy):
        def generate(self, prompts: Sequence[Prompt], n: int, params: SamplingParams, **more: Any) -> Any:
            if any(prompt.problem_id in lost for prompt in prompts):
                raise EngineError("too long")
            return super().generate(prompts, n, params, **more)

    train = problems(0, 16)
    lost = {"p3", "p7"}
    with ExitStack() as stack:
        made = parts(tmp_path, stack, Flaky(World().answer, name="world"), train=train, evolve={"steps": 1})
        found = evolve(made)
        assert (found["steps"][0]["n"], found["steps"][0]["unavailable"]) == (14, 2)
        assert not lost & {name for note in made.notebook.notes().values() for name in note.sources}


def test_a_person_may_commit_while_the_run_goes_on(tmp_path: Path) -> None:
    world = World()
    with ExitStack() as stack:
        made = parts(tmp_path, stack, evolve={"steps": 1})
        other = stack.enter_context(Notebook.open(tmp_path / "n.db"))

        def answer(prompt: Prompt, index: int) -> str:
            if RULES["circle"] in prompt.messages[-1].text and "mine" not in other.notes():
                mine = Note("mine", "cones", "Mind the slant height of every cone.", author="Ann")
                other.commit([mine], message="by hand", author="Ann")
            return world.answer(prompt, index)

        made.solver.policy = ScriptedPolicy(answer, name="world")
        evolve(made)
        subjects = {note.subject for note in made.notebook.notes().values()}
        assert subjects == {*RULES, "cones"}


def test_the_papers_gate_judges_the_batch_itself(tmp_path: Path) -> None:
    with ExitStack() as stack:
        gate = GateConfig(kind="m2note-paper", unit="batch")
        made = parts(tmp_path, stack, gate=gate, evolve={"steps": 2})
        found = evolve(made)
        assert [step["accepted"] for step in found["steps"]] == [1, 0]
        receipt = next(c.receipt for c in made.notebook.log() if c.receipt) or {}
        assert receipt["gate"] == "m2note-paper"
        assert len(receipt["items"]) == 16
        assert set(receipt["quoted"]) <= set(receipt["items"])
        assert len(made.notebook.notes()) == 3


def test_withheld_notes_are_measured_and_harmful_ones_retired(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = parts(tmp_path, stack, evolve={"withhold": 0.4})
        evolve(made)
        notes = made.notebook.notes()
        found = values(notes, (event.data for event in made.notebook.events("retrieved")))
        measured = [v for v in found.values() if v.benefit is not None]
        assert measured
        assert all(v.benefit == 1.0 for v in measured)
        assert sum(v.shown + v.withheld for v in found.values()) == 32
        bad = notes[sorted(notes)[0]]
        row = {"note": bad.id, "revision": bad.revision, "solver": "world"}
        rows = [{**row, "withheld": kept, "outcome": "correct" if kept else "wrong"} for kept in [True, False] * 60]
        made.notebook.record_many([("retrieved", data) for data in rows])
        more = parts(tmp_path, stack, evolve={"withhold": 0.4, "steps": 4}, train=problems(0, 64))
        more.say = (said := []).append
        evolve(more)
        assert bad.id not in made.notebook.notes()
        assert made.notebook.refused(lesson_hash(bad.subject, bad.guidance))
        assert any(line.startswith(f"retired {bad.id}: right in") for line in said)
        receipt = next(c.receipt for c in made.notebook.log() if c.message.startswith(f"retire {bad.id}")) or {}
        assert (receipt["gate"], receipt["value"]["note"]) == ("value", bad.id)


def test_two_processes_never_evolve_one_notebook(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = parts(tmp_path, stack)
        with alone(Path(made.notebook.path)), pytest.raises(RunError, match="another process evolves"):
            evolve(made)


def test_settings_that_change_no_result_do_not_start_a_new_run(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = parts(tmp_path, stack)
        config = made.config
        dear = replace(config, server=replace(config.server, prices={"input": 1.0}), model=ModelConfig(device="cpu"))
        assert replace(made, config=dear).run == made.run
        assert replace(made, config=dear).prices["supervisor"].tokens_in == 1.0
        strict = replace(config, gate=GateConfig(alpha=0.01))
        assert replace(made, config=strict).run != made.run


def test_an_asker_never_keeps_a_failure() -> None:
    class Once(ScriptedPolicy):
        tries = 0

        def generate(self, prompts: Sequence[Prompt], n: int, params: SamplingParams, **more: Any) -> Any:
            self.tries += 1
            if self.tries <= 3:
                raise EngineError("no")
            return super().generate(prompts, n, params, **more)

    policy = Once(lambda p, i: f"{p.problem_id} {i}", name="once")
    asker = Asker(policy, SamplingParams(), Ledger(), "solver", attempts=2, pause=0.0)
    prompt = ask(problems(1, 1)[0], STYLES["short"])
    assert asker.ask([prompt], 0) == [None]
    assert asker.ask([prompt], 0) == ["p1 0"]
    assert asker.ask([prompt], 0) == ["p1 0"]
    assert asker.ask([prompt], 0, repeat=1) == ["p1 1"]
    assert policy.tries == 5
    assert asker.asked == 2


def test_long_waits_show_a_bar_in_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    prompts, said = [ask(p, STYLES["short"]) for p in problems(0, 5)], []
    asker = Asker(ScriptedPolicy(lambda *_: "x", name="x"), SamplingParams(), Ledger(), "solver", slots=2)
    asker.say = said.append
    assert asker.ask(prompts, 0) == ["x"] * 5
    assert said == [f"  solver: {done} of 5 prompts answered" for done in (2, 4, 5)]
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    assert asker.ask(prompts, 1) == ["x"] * 5
    assert len(said) == 3
    assert "solver: " in shown.getvalue()
    assert "0/5" in shown.getvalue()
