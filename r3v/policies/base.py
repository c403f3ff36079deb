"""The one seam: whoever samples or scores talks to a `Policy`, never to a concrete model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

from r3v.records import Candidate, Prompt
from r3v.settings.config import Noise

T = TypeVar("T")
R = TypeVar("R")
Given = str | Candidate
"""A reply to be scored: a text, or a candidate, which is scored as the token ids that were sampled wherever the policy
knows them for its own (see `Candidate.tokenizer`)."""


def text_of(reply: Given) -> str:
    """The words of a reply."""
    return reply if isinstance(reply, str) else reply.text


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample. `temperature` 0 is greedy. `top_k` 0 and `top_p` 1 switch the filters off."""

    temperature: float = 0.9
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 384
    noise: Noise = "independent"


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probabilities of one given continuation, token by token (end-of-turn token included where it has one)."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.logprobs)


class Policy(Protocol):
    """Anything that can answer prompts with images.

    `name` identifies weights and adapter (a hash or a fresh name for each), because caches key on it.
    """

    @property
    def name(self) -> str: ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        n: int,
        params: SamplingParams,
        *,
        seed: int = 0,
        round: int = 0,
        first_index: int = 0,
    ) -> list[list[Candidate]]:
        """`n` candidates for each prompt, in order, with indices `first_index` .. `first_index + n - 1`.

        The noise of a candidate depends on (seed, problem id, index, position) alone, so the same candidate comes
        out whatever else is in the batch. Raises EngineError when the engine fails for good.
        """
        ...

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        """For each prompt, the log-probabilities of each of its continuations (prefix computed once)."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """How likely each of several given replies is: `shares` sum to 1; `how` they were found, and the `tokens` read."""

    shares: tuple[float, ...]
    how: Literal["logprobs", "votes", "scores"]
    tokens: int


def chosen_by_scores(scores: Sequence[Score], *, solutions: bool = False) -> Choice:
    """Shares by the probabilities of the options.

    With `solutions`, all options but the last, which says that none of them is right, are whole solutions. A long one
    is less likely than a short one by its length alone, so each counts as if it were as long as they are on average.
    """
    totals = [s.total for s in scores]
    if solutions:
        told = scores[:-1]
        length = sum(len(s.logprobs) for s in told) / len(told)
        totals = [*(s.total / len(s.logprobs) * length for s in told), totals[-1]]
    top = max(totals)
    powers = [math.exp(total - top) for total in totals]
    return Choice(tuple(p / sum(powers) for p in powers), "scores", sum(len(s.token_ids) for s in scores))


@runtime_checkable
class Chooser(Protocol):
    """A Policy with a way of its own to weigh given replies, because it cannot score them or not cheaply."""

    def choose_index(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, seed: int = 0, solutions: bool = False
    ) -> list[Choice]:
        """One Choice over its `options` for each prompt; `solutions` as in `chosen_by_scores`.

        Raises EngineError when the engine fails for good.
        """
        ...


@runtime_checkable
class Spread(Protocol):
    """A Policy on many machines, which can be handed work to do beside its models."""

    def spread(self, work: Callable[[Policy, T], R], items: Iterable[T]) -> Iterator[R]:
        """`work(policy, item)` of every item as it is done, in no order; `items` is read as workers become free.

        `work` is sent once to each worker, an item only to the one that takes it. An item whose worker dies is done
        again, so doing it twice must be the same as doing it once. Raises EngineError where that does not help either.
        """
        ...
