"""Small fakes for the reflection and selector tests: problems, graded candidates, and a policy made of
functions.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from PIL import Image

from r3v.errors import EngineError
from r3v.grading import grade
from r3v.policies.base import Given, SamplingParams, Score, text_of
from r3v.records import BytesImage, Candidate, Graded, Problem, Prompt


def picture(shade: int = 200) -> BytesImage:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(buffer, format="PNG")
    return BytesImage(buffer.getvalue(), f"picture {shade}")


def choice(name: str = "p0", answer: str = "B", images: bool = False) -> Problem:
    return Problem(
        id=name,
        question=f"Find angle C of {name}.",
        answer=answer,
        kind="choice",
        choices=("50", "60", "70", "80"),
        images=(picture(),) if images else (),
    )


def number(name: str = "p0", answer: str = "60") -> Problem:
    return Problem(id=name, question=f"Find angle C of {name}.", answer=answer, kind="number")


def candidate(
    problem: Problem, text: str, index: int = 0, round: int = 0, logprob: float = -0.5, tokens: int = 4
) -> Candidate:
    return Candidate(
        problem_id=problem.id,
        round=round,
        index=index,
        seed=0,
        text=text,
        token_ids=tuple(range(tokens)),
        logprobs=(logprob,) * tokens,
        model="fake",
    )


def graded(problem: Problem, *texts: str, round: int = 0) -> list[Graded]:
    """One graded candidate for each text, indices from 0."""
    items = [candidate(problem, text, i, round) for i, text in enumerate(texts)]
    return [Graded(item, grade(problem, item.text)) for item in items]


class FakePolicy:
    """`answer(prompt, index)` writes candidates; `weigh(prompt, continuation)` is a total log-probability.

    `fail(prompts)`: raise EngineError for this call of generate.
    """

    def __init__(
        self,
        answer: Callable[[Prompt, int], str] = lambda prompt, index: "",
        weigh: Callable[[Prompt, str], float] = lambda prompt, continuation: 0.0,
        fail: Callable[[Sequence[Prompt]], bool] = lambda prompts: False,
        name: str = "fake",
    ) -> None:
        self.answer, self.weigh, self.fail, self.name = answer, weigh, fail, name
        self.calls: list[int] = []
        self.scored: list[tuple[Prompt, tuple[str, ...]]] = []

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
        self.calls.append(len(prompts))
        if self.fail(prompts):
            raise EngineError("out of paper")
        return [
            [
                Candidate(
                    problem_id=prompt.problem_id,
                    round=round,
                    index=i,
                    seed=seed,
                    text=self.answer(prompt, i),
                    token_ids=(1, 2, 3),
                    logprobs=(-0.1, -0.2, -0.1 * (i + 1)),
                    model=self.name,
                    prompt_hash=prompt.hash,
                )
                for i in range(first_index, first_index + n)
            ]
            for prompt in prompts
        ]

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        self.scored += [(p, tuple(text_of(reply) for reply in c)) for p, c in zip(prompts, continuations, strict=True)]
        return [
            [Score((1, 2), (self.weigh(prompt, text_of(text)), 0.0)) for text in texts]
            for prompt, texts in zip(prompts, continuations, strict=True)
        ]
