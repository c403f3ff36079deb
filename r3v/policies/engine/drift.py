"""How far the engine that samples is from the model that is trained: the same answers, scored by both.

They differ in precision and kernels, and would in weights where something was loaded wrongly. What is taught are
samples of the one under the gradients of the other, so the difference is measured before the first fit and told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from r3v.policies.base import Policy
from r3v.records import Candidate, Prompt

ANSWERS = 100
"""Answers that are scored again."""
LARGE = 0.1
"""Mean difference in nats a token from which something is more than rounding."""


@dataclass(frozen=True)
class Drift:
    """`mean` and `high` (99th percentile): absolute difference of a token's log-probability, in nats; `kl`: mean
    log-probability under the engine less that under the model, an estimate of KL(engine || model) a token."""

    answers: int
    tokens: int
    mean: float
    high: float
    kl: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        line = (
            f"engine against the model that is trained, {self.answers} answers, {self.tokens:,} tokens: "
            f"log-probabilities differ by {self.mean:.4f} nats a token, by {self.high:.3f} or more for one in a "
            f"hundred; KL {self.kl:.5f}"
        )
        return line if self.mean < LARGE else line + ". That is more than rounding: do both have the same weights?"


def drift(policy: Policy, prompts: Sequence[Prompt], candidates: Sequence[Candidate]) -> Drift | None:
    """Score `candidates`, one a prompt, with `policy` and compare with what their engine had said of the same tokens.

    None where no candidate carries ids and log-probabilities that can be compared.
    """
    scores = policy.score(prompts, [[candidate] for candidate in candidates])
    found: list[np.ndarray] = []
    for candidate, (score,) in zip(candidates, scores, strict=True):
        if len(candidate.logprobs) and tuple(score.token_ids) == tuple(candidate.token_ids):
            found.append(np.asarray(candidate.logprobs) - np.asarray(score.logprobs))
    if not found:
        return None
    all_ = np.concatenate(found)
    size = np.abs(all_)
    return Drift(len(found), len(all_), float(size.mean()), float(np.quantile(size, 0.99)), float(all_.mean()))
