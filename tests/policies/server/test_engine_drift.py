"""What an engine said of its samples against what the model that is trained says of the same tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from r3v.policies.base import Score
from r3v.policies.engine.drift import Drift, drift
from r3v.records import Candidate, Message, Prompt

PROMPTS = [Prompt(name, (Message("user", name),)) for name in "abc"]


@dataclass(frozen=True)
class Says:
    """Says these log-probabilities of the tokens 1, 2, 3 ... whatever is asked."""

    logprobs: Sequence[float]
    name: str = "says"

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Candidate]]) -> list[list[Score]]:
        ids = tuple(range(1, len(self.logprobs) + 1))
        return [[Score(ids, tuple(self.logprobs)) for _ in row] for row in continuations]


def sampled(ids: Sequence[int], logprobs: Sequence[float]) -> Candidate:
    return Candidate("a", 1, 0, 0, "x", token_ids=ids, logprobs=tuple(logprobs))


def test_differences_are_taken_token_by_token() -> None:
    """|-1+1.1|, |-2+2|, |-0.5+0.3|: mean 0.1; signed +0.1, 0, -0.2: mean -1/30."""
    found = drift(Says([-1.1, -2.0, -0.3]), PROMPTS[:1], [sampled((1, 2, 3), (-1.0, -2.0, -0.5))])  # pyright: ignore[reportArgumentType]
    assert found is not None
    assert (found.answers, found.tokens) == (1, 3)
    assert found.mean == pytest.approx(0.1)
    assert found.kl == pytest.approx(-1 / 30)
    assert found.high == pytest.approx(0.198)  # linear between 0.1 at 50 % and 0.2 at 100 %
    assert "More than rounding" not in str(found)


def test_answers_of_other_tokens_and_without_log_probabilities_are_left_out() -> None:
    others = [sampled((1, 9), (-1.0, -1.0)), sampled((1, 2), ()), sampled((1, 2), (-1.0, -1.0))]
    found = drift(Says([-1.0, -1.0]), PROMPTS, others)  # pyright: ignore[reportArgumentType]
    assert found == Drift(1, 2, 0.0, 0.0, 0.0)
    assert drift(Says([-1.0]), PROMPTS[:1], [sampled((7,), (-1.0,))]) is None  # pyright: ignore[reportArgumentType]


def test_a_large_difference_is_named() -> None:
    assert str(Drift(100, 5000, 0.4, 2.0, 0.3)).endswith("That is more than rounding: do both have the same weights?")
    assert "more than rounding" not in str(Drift(100, 5000, 0.01, 0.1, math.nan))
