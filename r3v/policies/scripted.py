"""A policy that says what it is told: deterministic answers and scores for tests and dry plans, no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r3v.policies.base import Given, SamplingParams, Score, text_of
from r3v.records import Candidate, Prompt


class ScriptedPolicy:
    """Answers by `answer(prompt, index)` and scores by `score(prompt, continuation)`.

    `answer`: the text of the candidate with this sample index. `score`: total log-probability of a
    continuation; by default minus its number of characters. Token ids are the text's Unicode code points and
    the end-of-turn token 0, each token's log-probability is `logprob`; a text longer than `max_new_tokens` is
    cut and stops with `length`. `calls` lists ("generate" or "score", number of prompts).
    """

    def __init__(
        self,
        answer: Callable[[Prompt, int], str],
        score: Callable[[Prompt, str], float] | None = None,
        *,
        name: str = "scripted",
        logprob: float = -1.0,
    ) -> None:
        self._answer, self._score = answer, score
        self._name, self._logprob = name, logprob
        self.calls: list[tuple[str, int]] = []

    @property
    def name(self) -> str:
        return self._name

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
        """The scripted candidates, in order."""
        self.calls.append(("generate", len(prompts)))
        indices = range(first_index, first_index + n)
        return [[self._candidate(p, i, params, seed, round) for i in indices] for p in prompts]

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        """The scripted score of each continuation, all of it on the end-of-turn token."""
        if len(prompts) != len(continuations):
            raise ValueError(f"found {len(prompts)} prompts and {len(continuations)} lists of continuations")
        self.calls.append(("score", len(prompts)))
        return [[self._scored(p, text_of(t)) for t in texts] for p, texts in zip(prompts, continuations, strict=True)]

    def _candidate(self, prompt: Prompt, index: int, params: SamplingParams, seed: int, round: int) -> Candidate:
        text = self._answer(prompt, index)
        ids = (*(ord(c) for c in text), 0)[: params.max_new_tokens]
        whole = len(ids) == len(text) + 1
        return Candidate(
            problem_id=prompt.problem_id,
            round=round,
            index=index,
            seed=seed,
            text=text if whole else text[: len(ids)],
            token_ids=ids,
            logprobs=(self._logprob,) * len(ids),
            stop="eos" if whole else "length",
            model=self.name,
            prompt_hash=prompt.hash,
        )

    def _scored(self, prompt: Prompt, text: str) -> Score:
        total = float(-len(text)) if self._score is None else float(self._score(prompt, text))
        return Score((*(ord(c) for c in text), 0), (*(0.0 for _ in text), total))
