"""Asking a Policy through the ledger, and grading what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from tqdm import tqdm

from r3v import prompts as words
from r3v.errors import EngineError
from r3v.grading import grade
from r3v.notebook.evolve.meter import Call, Ledger, call_key, prompt_tokens
from r3v.policies.base import Policy, SamplingParams
from r3v.prompts import Style
from r3v.records import Candidate, Outcome, Problem, Prompt, Verdict

Say = Callable[[str], None]


@dataclass
class Asker:
    """One policy behind the ledger. `stage` says which step pays; change it as the run goes on.

    An answer depends on policy, prompt, sampling, seed and repeat alone, so what was answered once is never asked
    again. Engine failures are tried `attempts` times, each prompt alone, and are not kept. With `say`, more than
    `slots` prompts show a progress bar in a terminal, and a line after each `slots` of them elsewhere.
    """

    policy: Policy
    params: SamplingParams
    ledger: Ledger
    role: str
    slots: int = 32
    attempts: int = 3
    pause: float = 1.0
    stage: str = ""
    say: Say | None = None
    asked: int = 0

    def ask(self, prompts: Sequence[Prompt], seed: int, repeat: int = 0) -> list[str | None]:
        """The text for each prompt, None where the engine failed for good. `repeat` is the sample index, so equal
        repeats of two prompts of one problem share their noise."""
        keys = [self._key(prompt, seed, repeat) for prompt in prompts]
        known = self.ledger.get(keys)
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        told = self.say if len(new) > self.slots else None
        with tqdm(
            total=len(new),
            desc=self.role,
            unit="prompt",
            leave=False,
            dynamic_ncols=True,
            disable=None if told else True,
        ) as bar:
            for start in range(0, len(new), self.slots):
                some = list(new.items())[start : start + self.slots]
                known |= self._answered(some, seed, repeat)
                bar.update(len(some))
                if told and bar.disable:  # not a terminal
                    told(f"  {self.role}: {min(start + self.slots, len(new))} of {len(new)} prompts answered")
        return [known[key].text if key in known else None for key in keys]

    def _answered(self, some: Sequence[tuple[str, Prompt]], seed: int, repeat: int) -> dict[str, Call]:
        """The calls that were answered, kept in the ledger."""
        answers = self._generate([prompt for _, prompt in some], seed, repeat)
        calls = {
            key: Call(
                answer.text, prompt_tokens([m.text for m in prompt.messages]), len(answer.token_ids),
                len(prompt.images),
            )
            for (key, prompt), answer in zip(some, answers, strict=True)
            if answer is not None
        }  # fmt: skip
        self.ledger.put(self.stage, self.role, calls)
        self.asked += len(calls)
        return calls

    def _key(self, prompt: Prompt, seed: int, repeat: int) -> str:
        return call_key(
            policy=self.policy.name,
            problem=prompt.problem_id,
            prompt=prompt.hash,
            params=asdict(self.params),
            seed=seed,
            repeat=repeat,
        )

    def _generate(self, prompts: Sequence[Prompt], seed: int, repeat: int) -> list[Candidate | None]:
        """All together; after a failure each alone."""
        try:
            answers = self.policy.generate(prompts, 1, self.params, seed=seed, first_index=repeat)
            return [row[0] for row in answers]
        except EngineError:
            pass  # asked again outside, because the error holds what the failed attempt had made
        return [self._patiently(prompt, seed, repeat) for prompt in prompts]

    def _patiently(self, prompt: Prompt, seed: int, repeat: int) -> Candidate | None:
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                return self.policy.generate([prompt], 1, self.params, seed=seed, first_index=repeat)[0][0]
            except EngineError:
                continue
        return None


@dataclass(frozen=True, slots=True)
class Solved:
    """What a problem was answered, and the verdict; UNAVAILABLE with an empty text where the engine failed."""

    problem: Problem
    text: str
    verdict: Verdict


def solve(
    asker: Asker,
    style: Style,
    problems: Sequence[Problem],
    notes: Sequence[Sequence[str]],
    *,
    seed: int,
    repeat: int = 0,
) -> list[Solved]:
    """Solve problems with the note texts each is given, and grade."""
    prompts = [words.solve(p, style, texts) for p, texts in zip(problems, notes, strict=True)]
    answers = asker.ask(prompts, seed, repeat)
    lost = Verdict(Outcome.UNAVAILABLE, None, "the engine failed")
    return [
        Solved(p, "", lost) if text is None else Solved(p, text, grade(p, text))
        for p, text in zip(problems, answers, strict=True)
    ]
