"""Bootstrapping: grading, resuming, engine failures, kill -9, and rescue of never-solved problems."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from places import python_path
from reflection_fakes import FakePolicy, choice, graded, number

from r3v import prompts as words
from r3v.errors import ConfigError, RunError
from r3v.grading import grader_name
from r3v.records import Outcome, Verdict
from r3v.reflection.stages import real_stages
from r3v.rollout.rollout import bootstrap, first_part, never_solved, rescue
from r3v.rollout.shards import (
    OLD_GRADER,
    read_shard,
    read_shards,
    shard_grader,
    shard_paths,
    shard_settings,
    write_shard,
)
from r3v.run.progress import Line, shown_on
from r3v.settings.config import BuildConfig, Config, ModelConfig, SampleConfig

FULL = words.style("full")
SAMPLE = SampleConfig(k=2, shard_size=2)
PROBLEMS = [number(f"p{i}") for i in range(5)]


def answer(prompt, index: int) -> str:
    """Index 0 is right, odd ones are wrong, 2 names nothing."""
    return ["180 - 120 = 60\nAnswer: 60", "Answer: 50", "no idea"][index % 3]


def run(policy: FakePolicy, out: Path, problems=PROBLEMS, sample=SAMPLE, **more):
    settings = {"style": FULL, "seed": 0, "progress": False, "pause": 0.0, **more}
    return bootstrap(policy, problems, out, sample=sample, **settings)


def test_candidates_are_graded_and_counted(tmp_path: Path) -> None:
    """5 problems x 3 samples: one right, one wrong, one unparsed each; 3 tokens a candidate."""
    stats = run(FakePolicy(answer), tmp_path, sample=replace(SAMPLE, k=3))
    assert (stats.problems, stats.candidates, stats.correct, stats.wrong, stats.unparsed) == (5, 15, 5, 5, 5)
    assert (stats.solved, stats.tokens, stats.unavailable, stats.resumed_shards) == (5, 45, 0, 0)
    assert stats.accuracy == pytest.approx(1 / 3)
    assert [item.candidate.id for item in read_shards(tmp_path)] == [f"p{i}/0/{k}" for i in range(5) for k in range(3)]
    assert sorted(p.name for p in tmp_path.glob("*.parquet")) == [f"shard-0000{i}.parquet" for i in range(3)]


def test_the_second_run_samples_only_what_is_missing(tmp_path: Path) -> None:
    run(FakePolicy(answer), tmp_path)
    before = list(read_shards(tmp_path))
    (tmp_path / "shard-00001.parquet").unlink()
    policy = FakePolicy(answer)
    stats = run(policy, tmp_path, sample=replace(SAMPLE, slots=7))
    assert policy.calls == [2]
    assert stats.resumed_shards == 2
    assert list(read_shards(tmp_path)) == before
    assert run(FakePolicy(fail=lambda prompts: True), tmp_path).resumed_shards == 3


def of_another_grader(folder: Path) -> None:
    """Every shard as an older grader would have left it: it took all answers of 50 for right."""
    for path in shard_paths(folder):
        items = [
            replace(item, verdict=Verdict(Outcome.CORRECT, "60")) if item.candidate.text == "Answer: 50" else item
            for item in read_shard(path)
        ]
        write_shard(path, items, shard_settings(path), OLD_GRADER)


def test_a_resumed_run_is_judged_anew_where_another_grader_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """5 problems with a right and a wrong sample each; an older grader took the 5 wrong ones for right."""
    run(FakePolicy(answer), tmp_path)
    before = list(read_shards(tmp_path))
    assert [shard_grader(path) for path in shard_paths(tmp_path)] == [grader_name()] * 3
    of_another_grader(tmp_path)
    stats = run(FakePolicy(fail=lambda prompts: True), tmp_path)
    assert (stats.correct, stats.wrong, stats.resumed_shards) == (5, 5, 3)
    assert list(read_shards(tmp_path)) == before
    assert [shard_grader(path) for path in shard_paths(tmp_path)] == [grader_name()] * 3
    told = f"judged by r3v 1, now {grader_name()}: 10 verdicts made anew from the texts, 5 of them changed"
    assert told in capsys.readouterr().err


def test_a_pool_is_judged_anew_before_examples_are_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What stood as right is a wrong solution to refine, in all rounds that the pool holds."""
    folders = [tmp_path / "0", tmp_path / "1"]
    for number_, folder in enumerate(folders):
        run(FakePolicy(answer), folder, round=number_)
    of_another_grader(folders[0])
    config = Config(build=BuildConfig(positives=4, keep=0, select=0), model=ModelConfig(prompt_style="full"))
    value = real_stages().build(PROBLEMS, folders, tmp_path / "examples.parquet", config, 1, FakePolicy)
    assert (value["outcomes"], value["kinds"]) == ({"correct": 10, "wrong": 10}, {"answer": 5, "refine": 5})
    assert "10 verdicts made anew from the texts, 5 of them changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sample": replace(SAMPLE, temperature=0.5)}, "sample found"),
        ({"seed": 1}, "seed found 0, now 1"),
        ({"problems": PROBLEMS[:4]}, "problems found 5, now 4"),
        ({"problems": PROBLEMS[::-1]}, "problems_sha256"),
        ({"style": words.style("short")}, "style found 'full', now 'short'"),
        ({"policy": FakePolicy(answer, name="other")}, "policy found 'fake', now 'other'"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, change, named: str) -> None:
    run(FakePolicy(answer), tmp_path)
    with pytest.raises(RunError, match=named):
        run(**{"policy": FakePolicy(answer), "out": tmp_path, **change})


def test_a_damaged_shard_is_an_error_not_a_sample(tmp_path: Path) -> None:
    run(FakePolicy(answer), tmp_path)
    path = tmp_path / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match="Delete this file"):
        run(FakePolicy(answer), tmp_path)
    path.unlink()
    assert run(FakePolicy(answer), tmp_path).candidates == 10


def test_bad_sizes_and_repeated_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sample.k 0"):
        run(FakePolicy(answer), tmp_path, sample=replace(SAMPLE, k=0))
    with pytest.raises(RunError, match="'p1' occurs twice"):
        run(FakePolicy(answer), tmp_path, problems=[*PROBLEMS, number("p1")])


def test_a_failing_engine_gives_unavailable_and_the_next_run_fills_it(tmp_path: Path) -> None:
    """The engine cannot answer p2: its shard is asked twice, then each problem alone (p3 succeeds, p2 is
    lost).
    """
    policy = FakePolicy(answer, fail=lambda prompts: any(p.problem_id == "p2" for p in prompts))
    stats = run(policy, tmp_path)
    assert policy.calls == [2, 2, 2, 1, 1, 1, 1]
    assert (stats.unavailable, stats.wrong, stats.correct) == (2, 4, 4)
    assert stats.accuracy == 0.5
    lost = [i for i in read_shards(tmp_path) if i.verdict.outcome is Outcome.UNAVAILABLE]
    assert [i.candidate.id for i in lost] == ["p2/0/0", "p2/0/1"]
    assert "out of paper" in lost[0].verdict.reason
    healed = run(FakePolicy(answer), tmp_path)
    run(FakePolicy(answer), tmp_path / "undisturbed")
    assert healed.unavailable == 0
    assert list(read_shards(tmp_path)) == list(read_shards(tmp_path / "undisturbed"))


def test_progress_shows_rates_without_counting_what_was_there(tmp_path: Path) -> None:
    """Five problems with two answers each, half of them right, in shards of two problems; a clock that moves on by one
    minute whenever it is looked at, so that every shard is told. What a second call finds says nothing about speed."""
    out = io.StringIO()
    with shown_on(Line(out, terminal=False, clock=itertools.count(0, 60).__next__)):
        run(FakePolicy(answer), tmp_path, progress=True)
        last = out.getvalue().splitlines()[-1]
        assert "sample round 0 10 of 10 answers, " in last
        assert "tokens/s, right 50.0 %, " in last
        out.truncate(0)
        run(FakePolicy(answer), tmp_path, progress=True)
    assert "10 of 10 answers" in out.getvalue()
    assert "tokens/s" not in out.getvalue()
    assert " left" not in out.getvalue()


def test_one_failure_is_asked_again(tmp_path: Path) -> None:
    failures = iter([True])
    policy = FakePolicy(answer, fail=lambda prompts: next(failures, False))
    assert run(policy, tmp_path).unavailable == 0


SCRIPT = """
import sys, time
from pathlib import Path
from reflection_fakes import FakePolicy, number
from r3v import prompts as words
from r3v.settings.config import SampleConfig
from r3v.rollout.rollout import bootstrap

def answer(prompt, index):
    time.sleep(float(sys.argv[2]))
    return f"Answer: {60 - (int(prompt.problem_id[1:]) + index) % 3}"

bootstrap(FakePolicy(answer), [number(f"p{i}") for i in range(12)], Path(sys.argv[1]),
          sample=SampleConfig(k=2, shard_size=1), style=words.style("full"), seed=0, progress=False)
"""


def test_kill_nine_loses_no_finished_shard(tmp_path: Path) -> None:
    """Killed three times, each time after one more shard appeared; the end equals an undisturbed run, byte
    by byte of content, and the shards that were there keep their time stamps.
    """
    env = {**os.environ, "PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"}

    def start(out: Path, nap: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(out), str(nap)], env=env)

    out, kept = tmp_path / "killed", {}
    for _ in range(3):
        process = start(out, 0.02)
        deadline = time.monotonic() + 60
        while len(list(out.glob("shard-*.parquet"))) <= len(kept) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        now = {p.name: p.stat().st_mtime_ns for p in out.glob("shard-*.parquet")}
        assert len(now) > len(kept)
        assert {name: now[name] for name in kept} == kept
        kept = now
    assert len(kept) < 12
    assert start(out, 0.0).wait() == 0
    assert start(tmp_path / "calm", 0.0).wait() == 0
    assert list(read_shards(out)) == list(read_shards(tmp_path / "calm"))
    assert len(list(out.glob("*.parquet"))) == 12
    assert list(out.glob("*.tmp")) + list(out.glob(".*.tmp")) == []


def test_first_part_is_the_first_sentences_and_never_the_answer() -> None:
    assert first_part("A is 50. B is 70. C is 60. D is 5. Answer: 60") == "A is 50.\nB is 70."
    assert first_part("Only one sentence of six words\nAnswer: 60") == "Only one sentence"
    assert first_part("A.\nB.\nC.") == "A."


def test_rescue_asks_never_solved_problems_with_hint_and_prefix(tmp_path: Path) -> None:
    """p0 is solved, p1 has only wrong ones, p2 names nothing (no prefix to begin from), p3 was never
    sampled.
    """
    problems = [choice(f"p{i}") for i in range(4)]
    pool = {
        "p0": graded(problems[0], "Answer: B"),
        "p1": graded(problems[1], "It is big. Answer: A", "First. Second. Third. Fourth. Answer: C"),
        "p2": graded(problems[2], "no idea"),
    }
    assert [p.id for p in never_solved(problems, pool)] == ["p1", "p2"]
    seen = []

    def reply(prompt, index: int) -> str:
        seen.append((prompt.problem_id, index, prompt.messages[0].text))
        return "Answer: B"

    build = BuildConfig(hint=True, prefix=True)
    found = rescue(
        FakePolicy(reply),
        problems,
        pool,
        tmp_path,
        build=build,
        sample=SAMPLE,
        style=FULL,
        seed=0,
        progress=False,
    )
    assert found is not None
    assert [g.candidate.index for g in found["p1"]] == [10_000, 10_001, 20_000, 20_001]
    assert [g.candidate.index for g in found["p2"]] == [10_000, 10_001]
    hinted = [text for name, i, text in seen if i < 20_000]
    begun = [text for name, i, text in seen if i >= 20_000]
    assert all("Hint: the final answer is 60." in text for text in hinted)
    assert all("First.\nSecond." in text and "Third" not in text for text in begun)
    none = rescue(FakePolicy(), problems, pool, tmp_path / "x", build=BuildConfig(), sample=SAMPLE, style=FULL, seed=0)
    assert none is None
