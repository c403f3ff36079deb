"""A policy that shows the earlier messages of a conversation before whatever it is asked about its last one.

Selectors know a problem, not a conversation. Wrapped so, every prompt about the problem (solving, selecting, refining)
comes after the system message and the turns that the client sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from r3v.policies.base import Choice, Chooser, Given, Policy, SamplingParams, Score
from r3v.records import Candidate, Message, Prompt

Before = Mapping[str, tuple[Message, ...]]
"""Problem id -> the messages that come first."""


def in_context(policy: Policy, before: Before) -> Policy:
    """`policy`, with the messages of `before` in front of the prompts of those problems."""
    if not any(before.values()):
        return policy
    return _ChoosingContext(policy, before) if isinstance(policy, Chooser) else _Context(policy, before)


def shown(prompt: Prompt, before: Before) -> Prompt:
    """The prompt as the model sees it."""
    return replace(prompt, messages=(*before.get(prompt.problem_id, ()), *prompt.messages))


class _Context:
    def __init__(self, policy: Policy, before: Before) -> None:
        self._policy, self._before = policy, before

    @property
    def name(self) -> str:
        return self._policy.name

    def _shown(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        return [shown(prompt, self._before) for prompt in prompts]

    def generate(
        self, prompts: Sequence[Prompt], n: int, params: SamplingParams, *, seed: int = 0, round: int = 0,
        first_index: int = 0,
    ) -> list[list[Candidate]]:  # fmt: skip
        return self._policy.generate(
            self._shown(prompts), n, params, seed=seed, round=round, first_index=first_index
        )  # fmt: skip

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        return self._policy.score(self._shown(prompts), continuations)


class _ChoosingContext(_Context):
    def choose_index(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, seed: int = 0, solutions: bool = False
    ) -> list[Choice]:
        assert isinstance(self._policy, Chooser)
        return self._policy.choose_index(self._shown(prompts), options, seed=seed, solutions=solutions)
