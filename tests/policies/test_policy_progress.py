"""Progress hears of each answer when it has ended, not when all have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from r3v.policies.base import SamplingParams
from r3v.policies.sampling import hf
from r3v.policies.sampling.decode import Sampled
from r3v.records import Message, Prompt
from r3v.settings.config import ModelConfig


def test_an_answer_is_told_before_the_next_one_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, told, seen = hf.HFPolicy.from_config(ModelConfig()), [], []

    class Slow:
        def __init__(self, *args: Any, **options: Any) -> None:
            pass

        def run(self, jobs: Sequence[Any]) -> Iterator[Sampled]:
            for job in range(len(jobs)):
                seen.append(len(told))
                yield Sampled(job, 0, (5, 6), (-1.0, -1.0))

    monkeypatch.setattr(hf, "Sampler", Slow)
    monkeypatch.setattr(hf, "answered", lambda count, tokens: told.append((count, tokens)))
    prompts = [Prompt(name, (Message("user", name),)) for name in "abc"]
    rows = policy.generate(prompts, 1, SamplingParams(max_new_tokens=4))
    assert seen == [0, 1, 2]
    assert told == [(1, 2)] * 3
    assert [len(row) for row in rows] == [1, 1, 1]
