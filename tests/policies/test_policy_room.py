"""Out of memory: an allocator that refuses above a limit; what was made is let go, batches are halved, results stay."""

from __future__ import annotations

import logging
import weakref
from typing import Any

import pytest
import torch
from allocator import allocator
from some_prompts import some_prompts
from tiny_models import tiny

from r3v.errors import EngineError
from r3v.policies.base import SamplingParams
from r3v.policies.model.encode import Encoded
from r3v.policies.model.room import no_room, tried
from r3v.policies.sampling.decode import Job
from r3v.policies.sampling.hf import HFPolicy, _left
from r3v.rollout import parts
from r3v.run.evaluation import _Ask

PARAMS = SamplingParams(temperature=0.8, max_new_tokens=12)
TEXTS = [["Answer: 5", "Answer: 1", "None of them"]] * 3


def fresh(slots: int = 16) -> HFPolicy:
    policy = HFPolicy(tiny("idefics3"), slots=slots)
    policy._can_share()
    return policy


def test_sampling_goes_on_with_fewer_slots_and_draws_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """Half of the memory that 16 slots take: all samples come, they are the same, and it is said with what."""
    expected = fresh(2).generate(some_prompts(), 6, PARAMS, seed=3)
    with allocator() as free:
        fresh().generate(some_prompts(), 6, PARAMS, seed=3)
    policy = fresh()
    with caplog.at_level(logging.WARNING, logger="r3v.policies.sampling.hf"), allocator(free.most // 2) as tight:
        found = policy.generate(some_prompts(), 6, PARAMS, seed=3)
    assert tight.refused >= 1
    assert policy.slots < 16
    assert f"going on with {policy.slots} slots" in caplog.records[-1].getMessage()
    for left, right in zip((c for r in found for c in r), (c for r in expected for c in r), strict=True):
        assert left.token_ids == right.token_ids
        assert left.logprobs == pytest.approx(right.logprobs, abs=1e-4)


def test_scoring_goes_on_in_smaller_batches_with_the_same_scores() -> None:
    expected = fresh().score(some_prompts(3), TEXTS)
    with allocator() as free:
        fresh().score(some_prompts(3), TEXTS)
    policy = fresh()
    with allocator(int(free.most * 0.7)) as tight:
        found = policy.score(some_prompts(3), TEXTS)
    assert tight.refused >= 1
    for left, right in zip((s for r in found for s in r), (s for r in expected for s in r), strict=True):
        assert left.token_ids == right.token_ids
        assert left.logprobs == pytest.approx(right.logprobs, abs=1e-4)


@pytest.mark.parametrize("what", ["generate", "score"])
def test_no_memory_at_all_is_an_error_that_names_the_settings(what: str) -> None:
    policy = fresh(4)
    with allocator(20_000), pytest.raises(EngineError, match=r"lower sample\.slots.*model\.max_pixels") as error:
        policy.generate(some_prompts(1), 2, PARAMS) if what == "generate" else policy.score(some_prompts(1), TEXTS[:1])
    assert error.value.__cause__ is None
    assert error.value.__context__ is None


class Big:
    """Stands for keys and values on the device."""


def test_a_failed_attempt_holds_nothing_when_the_next_begins() -> None:
    made: list[weakref.ref[Big]] = []

    def work() -> int:
        memory = Big()
        made.append(weakref.ref(memory))
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert tried(work) == (False, None)
    assert made[0]() is None
    assert tried(lambda: 3) == (True, 3)


class Failing:
    """A policy that runs out of memory, and notes what is left of earlier attempts at each call."""

    name = "failing"

    def __init__(self) -> None:
        self.made: list[weakref.ref[Big]] = []
        self.alive: list[tuple[int, int]] = []

    def generate(self, prompts: Any, n: int, params: Any, **_: Any) -> Any:
        self.alive.append((len(prompts), sum(r() is not None for r in self.made)))
        memory = Big()
        self.made.append(weakref.ref(memory))
        raise no_room("while sampling", "sample.slots")


def test_candidates_asked_again_find_the_memory_free() -> None:
    """Three prompts, two attempts each: the whole twice, then each alone twice; nothing of before is alive."""
    policy: Any = Failing()
    prompts = some_prompts(3)
    job = parts.Job(PARAMS, k=2, seed=0, round=0, first_index=0, attempts=2, pause=0.0)
    graded = job.graded(policy, [None] * 3, prompts)  # type: ignore[list-item]
    assert policy.alive == [(3, 0)] * 2 + [(1, 0)] * 6
    assert {g.verdict.outcome.value for g in graded} == {"unavailable"}
    assert all("lower sample.slots" in g.verdict.reason for g in graded)


def test_an_evaluation_asked_again_finds_the_memory_free(monkeypatch: pytest.MonkeyPatch) -> None:
    from some_prompts import problem

    policy = Failing()

    class Ask(_Ask):
        n = 1  # type: ignore[assignment]

        def _ask(self, problems: Any) -> Any:
            return policy.generate(problems, 1, PARAMS)

    rows = Ask(None, ("greedy",), 0).rows([problem(0), problem(1)])  # type: ignore[arg-type]
    assert policy.alive == [(2, 0), (1, 0), (1, 0)]
    assert [row["outcome"] for row in rows] == ["unavailable"] * 2


def test_what_is_left_of_jobs() -> None:
    """Of two jobs with three samples, the second of the first and two of the second are missing."""
    jobs = [Job(Encoded((1,)), (10, 11, 12), (0.1, 0.2, 0.3)), Job(Encoded((2,)), (20, 21, 22))]
    left, came_from = _left(jobs, {(0, 1), (1, 0), (1, 2)})
    assert [(j.keys, j.codes) for j in left] == [((11,), (0.2,)), ((20, 22), ())]
    assert came_from == [(0, [1]), (1, [0, 2])]
