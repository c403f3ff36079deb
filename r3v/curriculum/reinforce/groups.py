"""Groups: several samples of one problem, graded and rewarded, of which only those with something to teach are kept.

A group whose rewards are all equal has no advantage anywhere. Such groups are counted and replaced by other problems'
(DAPO's dynamic sampling, arXiv 2503.14476, section 3.2), up to a bound; an iteration that meets the bound goes on with
what it has. Every problem asked is counted, so accuracy and reward are means over all of them, not over the kept ones.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from r3v.curriculum.reinforce.config import GroupConfig, RewardConfig
from r3v.curriculum.reinforce.rewards import Reward, reward, well_formed
from r3v.errors import EngineError
from r3v.policies.base import Policy, SamplingParams
from r3v.prompts import Style
from r3v.records import Candidate, Example, Graded, Outcome, Problem, Prompt, Verdict

Judge = Callable[[Problem, str], Verdict]
MakePrompt = Callable[[Problem, Style], Prompt]
SAME = 1e-8
"""Rewards closer than this are equal."""


@dataclass(frozen=True, slots=True)
class Group:
    """The samples of one problem and what each earned."""

    problem: Problem
    prompt: Prompt
    graded: tuple[Graded, ...]
    rewards: tuple[Reward, ...]

    @property
    def scored(self) -> list[float]:
        """Rewards of the samples that have one."""
        return [r.total for r in self.rewards if r.total is not None]

    @property
    def flat(self) -> bool:
        """Nothing to compare: fewer than two scored samples, or all rewards equal."""
        scored = self.scored
        return len(scored) < 2 or max(scored) - min(scored) < SAME


@dataclass
class Tally:
    """Counts over every group asked in an iteration, kept or not."""

    asked: int = 0
    kept: int = 0
    flat: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    truncated: int = 0
    well_formed: int = 0
    tokens: int = 0
    reward: float = 0.0
    rewarded: int = 0

    def add(self, group: Group, style: Style) -> None:
        self.asked += 1
        if group.flat:
            self.flat[why_flat(group)] += 1
        for item in group.graded:
            self.outcomes[item.verdict.outcome.value] += 1
            self.truncated += item.candidate.stop == "length"
            self.well_formed += well_formed(item.candidate, style)
            self.tokens += len(item.candidate.token_ids)
        self.reward += sum(group.scored)
        self.rewarded += len(group.scored)

    def to_dict(self) -> dict[str, Any]:
        """JSON values. `accuracy`, `reward` and `format` are means over the samples that could be judged."""
        outcomes = {outcome.value: self.outcomes[outcome.value] for outcome in Outcome}
        judged = sum(outcomes.values()) - outcomes[Outcome.UNAVAILABLE.value]
        return {
            "asked": self.asked,
            "kept": self.kept,
            "flat": dict(sorted(self.flat.items())),
            "outcomes": outcomes,
            "accuracy": outcomes[Outcome.CORRECT.value] / judged if judged else 0.0,
            "reward": self.reward / self.rewarded if self.rewarded else 0.0,
            "format": self.well_formed / judged if judged else 0.0,
            "truncated": self.truncated,
            "sampled_tokens": self.tokens,
        }


def why_flat(group: Group) -> Literal["unscored", "all_right", "none_right", "equal"]:
    """Why a flat group teaches nothing. `equal`: right and wrong samples that earned the same."""
    if len(group.scored) < 2:
        return "unscored"
    right = [g.verdict.correct for g, r in zip(group.graded, group.rewards, strict=True) if r.total is not None]
    return "all_right" if all(right) else "equal" if any(right) else "none_right"


@dataclass
class Stream:
    """Problem indices without end: each pass over `size` problems is a shuffle of its own, given by (seed, pass).

    `at` is how many have been taken; it is all a resumed run needs.
    """

    size: int
    seed: int
    at: int = 0
    _pass: tuple[int, tuple[int, ...]] = (-1, ())

    def take(self, n: int, without: set[int]) -> list[int]:
        """The next `n` indices that are not in `without`, which gets them. Needs n + len(without) <= size."""
        taken: list[int] = []
        while len(taken) < n:
            number, offset = divmod(self.at, self.size)
            if self._pass[0] != number:
                order = list(range(self.size))
                random.Random(f"{self.seed}/{number}").shuffle(order)
                self._pass = (number, tuple(order))
            index = self._pass[1][offset]
            self.at += 1
            if index not in without:
                without.add(index)
                taken.append(index)
        return taken


@dataclass(frozen=True)
class Asker:
    """Problems in, rewarded groups out. `seed` must differ between iterations, or a problem gets the same samples."""

    policy: Policy
    style: Style
    group: GroupConfig
    rewards: RewardConfig
    judge: Judge
    prompt: MakePrompt
    seed: int
    iteration: int

    def __call__(self, problems: Sequence[Problem]) -> list[Group]:
        """One group per problem, in order. An engine that fails on the whole is asked problem by problem; what it
        cannot give is UNAVAILABLE."""
        prompts = [self.prompt(problem, self.style) for problem in problems]
        sampled, why = None, ""
        try:
            sampled = self._sample(prompts)
        except EngineError as error:
            why = str(error)  # its words alone: its frames hold what the failed attempt had made
        if sampled is None and len(problems) > 1:
            return [group for problem in problems for group in self([problem])]
        if sampled is None:
            return [self._lost(problems[0], prompts[0], why)]
        return [self._group(p, q, c) for p, q, c in zip(problems, prompts, sampled, strict=True)]

    def _sample(self, prompts: Sequence[Prompt]) -> list[list[Candidate]]:
        params = SamplingParams(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=self.group.max_new_tokens)
        return self.policy.generate(prompts, self.group.n, params, seed=self.seed, round=self.iteration)

    def _group(self, problem: Problem, prompt: Prompt, candidates: Sequence[Candidate]) -> Group:
        graded = tuple(Graded(c, self.judge(problem, c.text)) for c in candidates)
        return Group(problem, prompt, graded, tuple(reward(g, self.rewards, self.group, self.style) for g in graded))

    def _lost(self, problem: Problem, prompt: Prompt, error: str) -> Group:
        verdict = Verdict(Outcome.UNAVAILABLE, None, f"engine failed: {error}")
        blank = [Candidate(problem.id, self.iteration, i, self.seed, "") for i in range(self.group.n)]
        return Group(problem, prompt, tuple(Graded(c, verdict) for c in blank), (Reward(None),) * self.group.n)


def gather(
    problems: Sequence[Problem], stream: Stream, ask: Callable[[Sequence[Problem]], list[Group]], group: GroupConfig,
    style: Style,
) -> tuple[list[Group], Tally]:  # fmt: skip
    """The groups of one iteration: `group.problems` of them where the bound `group.max_draws` allows, and the counts.

    Without dynamic sampling just as many are asked and all stay. No problem is asked twice in one call.
    """
    wanted = min(group.problems, len(problems))
    bound = min(int(group.max_draws * group.problems), len(problems)) if group.dynamic else wanted
    kept: list[Group] = []
    tally, seen = Tally(), set[int]()
    while len(kept) < wanted and tally.asked < bound:
        indices = stream.take(min(wanted - len(kept), bound - tally.asked), seen)
        for found in ask([problems[i] for i in indices]):
            tally.add(found, style)
            if not (group.dynamic and found.flat):
                kept.append(found)
    tally.kept = len(kept)
    return kept, tally


def examples_of(
    groups: Sequence[Group], scale: Literal["group", "batch", "none"], *, mask_truncated: bool
) -> list[Example]:
    """One `reinforce` branch per sample: its exact token ids, their log-probabilities under the sampler, its advantage.

    Samples without a reward are left out of the statistics and of the branches. `mask_truncated`: answers that were cut
    off give no branch, but their rewards stay in the mean of their group.
    """
    import torch

    from r3v.losses import group_advantages

    flat = [(n, g, r.total) for n, group in enumerate(groups) for g, r in zip(group.graded, group.rewards, strict=True)]
    rewards_B = torch.tensor([float("nan") if total is None else total for _, _, total in flat], dtype=torch.float64)
    group_B = torch.tensor([n for n, _, _ in flat], dtype=torch.long)
    advantages = group_advantages(rewards_B, group_B, scale).advantage_B.tolist() if flat else []
    examples = []
    for (n, item, total), advantage in zip(flat, advantages, strict=True):
        c = item.candidate
        if total is None or (mask_truncated and c.stop == "length"):
            continue
        known = len(c.logprobs) == len(c.token_ids)
        examples.append(
            Example(
                kind="reinforce",
                problem_id=c.problem_id,
                prompt=groups[n].prompt,
                target=c.text,
                sources=(c.id,),
                advantage=advantage,
                token_ids=c.token_ids,
                tokenizer=c.tokenizer,
                logprobs=c.logprobs if known else (),
                ended=c.stop != "length",
            )
        )
    return examples
