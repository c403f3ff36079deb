"""One policy answers, another one weighs the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from r3v.policies.base import Policy, SamplingParams, Score
from r3v.records import Candidate, Prompt


@dataclass(frozen=True)
class WithChooser:
    """Samples from `answering`, scores with `choosing`: the same model with another adapter. Both hold weights of
    their own."""

    answering: Policy
    choosing: Policy

    @property
    def name(self) -> str:
        return f"{self.answering.name}, chosen by {self.choosing.name}"

    @property
    def model(self) -> Any:
        """The model that answers."""
        return getattr(self.answering, "model", None)

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
        """See `Policy.generate`."""
        return self.answering.generate(prompts, n, params, seed=seed, round=round, first_index=first_index)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[Score]]:
        """See `Policy.score`."""
        return self.choosing.score(prompts, continuations)
