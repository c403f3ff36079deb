"""One shard of candidates: sampled, graded and written, in this process or where a policy has its workers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.data.source import Problems
from r3v.errors import ConfigError, EngineError, PromptError, RunError
from r3v.grading import grade, grader_name
from r3v.policies.base import Policy, SamplingParams, Spread
from r3v.prompts import Style
from r3v.records import Candidate, Graded, Outcome, Problem, Prompt, Verdict
from r3v.rollout.shards import SHARD, read_shard, write_shard
from r3v.rollout.tally import Tally

MakePrompt = Callable[[Problem, Style], Prompt]
SETTINGS = ".settings.json"


@dataclass(frozen=True)
class Job:
    """How to ask a policy for the candidates of some problems."""

    params: SamplingParams
    k: int
    seed: int
    round: int
    first_index: int
    attempts: int
    pause: float

    def ask(self, policy: Policy, prompts: Sequence[Prompt]) -> list[list[Candidate]]:
        """Candidates of each prompt; the engine is asked again after a failure. Raises EngineError at
        last.
        """
        for attempt in range(self.attempts):
            if attempt:
                # Not in the handler below: the error holds what the failed attempt had made.
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                return policy.generate(
                    prompts,
                    self.k,
                    self.params,
                    seed=self.seed,
                    round=self.round,
                    first_index=self.first_index,
                )
            except PromptError:
                raise
            except EngineError:
                if attempt + 1 == self.attempts:
                    raise
        raise ConfigError(f"found attempts {self.attempts}, expected at least 1")

    def lost(self, policy: Policy, prompt: Prompt, error: str) -> list[Graded]:
        """What stands for candidates that the engine failed to give: UNAVAILABLE, never wrong."""
        verdict = Verdict(Outcome.UNAVAILABLE, None, f"engine failed: {error}")
        return [
            Graded(
                Candidate(
                    problem_id=prompt.problem_id,
                    round=self.round,
                    index=self.first_index + i,
                    seed=self.seed,
                    text="",
                    model=policy.name,
                ),
                verdict,
            )
            for i in range(self.k)
        ]

    def graded(self, policy: Policy, problems: Sequence[Problem], prompts: Sequence[Prompt]) -> list[Graded]:
        """Sample and grade a shard; if the engine fails on the whole, each problem is asked alone."""
        sampled, why = None, ""
        try:
            sampled = self.ask(policy, prompts)
        except EngineError as whole:
            why = str(whole)  # its words alone: its frames hold what the failed attempt had made
        if sampled is None:
            if len(prompts) == 1:
                return self.lost(policy, prompts[0], why)
            return [
                item
                for problem, prompt in zip(problems, prompts, strict=True)
                for item in self.graded(policy, [problem], [prompt])
            ]
        return [
            Graded(candidate, grade(problem, candidate.text))
            for problem, candidates in zip(problems, sampled, strict=True)
            for candidate in candidates
        ]


@dataclass(frozen=True)
class Part:
    """The problems of one shard: by their numbers in problems that are read lazily, otherwise themselves. Prompts that
    need the notes are made where the notes are."""

    number: int
    rows: range
    problems: Sequence[Problem] | None
    asked: Sequence[Prompt] | None


@dataclass(frozen=True)
class Shards:
    """Samples, grades and writes one shard, in this process or on a worker: the counts of what was written."""

    job: Job
    out: Path
    settings: Mapping[str, Any]
    problems: Problems | None
    prompts: MakePrompt
    style: Style

    def __call__(self, policy: Policy, part: Part) -> tuple[int, Tally]:
        lazy = self.problems if self.problems is not None else ()
        chunk = part.problems if part.problems is not None else [lazy[i] for i in part.rows]
        asked = part.asked if part.asked is not None else [self.prompts(problem, self.style) for problem in chunk]
        shard, tally = self.job.graded(policy, chunk, asked), Tally()
        judge = grader_name(chunk[0] if chunk else None)
        write_shard(self.out / SHARD.format(index=part.number), shard, self.settings, judge)
        tally.add(shard, new=True)
        return len(chunk), tally


@dataclass(frozen=True)
class _Elsewhere:
    """The same on a worker, which must see the folder that the command was started with."""

    shards: Shards

    def __call__(self, policy: Policy, part: Part) -> tuple[int, Tally]:
        path = self.shards.out / SETTINGS
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            found = None
        if found != json.loads(json.dumps(self.shards.settings)):
            raise RunError(
                f"{path}: not found on {socket.gethostname()} as it was written; put the folder of a run on a cluster "
                "where every node sees it under the same path"
            )
        return self.shards(policy, part)


def made(policy: Policy, shards: Shards, parts: Iterable[Part]) -> Iterator[tuple[int, Tally]]:
    """Make the shards here, or where the policy has its workers."""
    if isinstance(policy, Spread):
        return policy.spread(_Elsewhere(shards), parts)
    return (shards(policy, part) for part in parts)


def done(path: Path) -> Tally | None:
    """The counts of a finished shard, None where it is missing or an engine left gaps in it."""
    shard = read_shard(path) if path.exists() else None
    if shard is None or any(item.verdict.outcome is Outcome.UNAVAILABLE for item in shard):
        return None
    tally = Tally()
    tally.add(shard, new=False)
    return tally
