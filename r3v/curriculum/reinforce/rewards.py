"""From a graded sample to a number: the verdict, a format term, a penalty for length. Pure Python.

A sample the grader or the engine could not judge (UNAVAILABLE) has no reward, None: it leaves the statistics of its
group and is not trained on. Nothing that failed on our side ever looks like a mistake of the model.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from r3v.curriculum.reinforce.config import GroupConfig, RewardConfig
from r3v.prompts import Style
from r3v.records import Candidate, Graded, Outcome


@dataclass(frozen=True, slots=True)
class Reward:
    """What a sample earned. `total` is the sum of `verdict`, `format` and (negative) `length`; None: it has none."""

    total: float | None
    verdict: float = 0.0
    format: float = 0.0
    length: float = 0.0


@functools.cache
def answer_pattern(template: str) -> re.Pattern[str]:
    """The line that `Style.answer` makes, with any answer in it: `Answer: {answer}` matches "Answer: 12 cm"."""
    before, _, after = template.partition("{answer}")
    return re.compile(rf"[ \t]*{re.escape(before.strip())}[ \t]*\S.*{re.escape(after.strip())}[ \t]*")


def well_formed(candidate: Candidate, style: Style) -> bool:
    """Whether a reply keeps to what the prompts of this style ask: it ends by itself, its last line is the answer line,
    and there is no other. The pattern is made from `style.answer`, so prompt and reward cannot disagree."""
    if candidate.stop != "eos":
        return False
    lines = [line for line in candidate.text.splitlines() if line.strip()]
    pattern = answer_pattern(style.answer)
    found = [i for i, line in enumerate(lines) if pattern.fullmatch(line)]
    return bool(lines) and found == [len(lines) - 1]


def overlong_share(candidate: Candidate, limit: int, buffer: int) -> float:
    """How far a sample reaches into the last `buffer` tokens before `limit`: 0 before them, 1 at the limit or cut off.

    DAPO's soft overlong punishment (arXiv 2503.14476, equation 13), with the sampler's limit as the maximum.
    """
    if candidate.stop == "length":
        return 1.0
    return min(1.0, max(0.0, (len(candidate.token_ids) - (limit - buffer)) / buffer))


def reward(graded: Graded, rewards: RewardConfig, group: GroupConfig, style: Style) -> Reward:
    """The reward of one sample; see the module docstring."""
    worth = {
        Outcome.CORRECT: rewards.correct,
        Outcome.WRONG: rewards.wrong,
        Outcome.UNPARSED: rewards.unparsed,
        Outcome.UNAVAILABLE: None,
    }[graded.verdict.outcome]
    if worth is None:
        return Reward(None)
    form = rewards.format if rewards.format and well_formed(graded.candidate, style) else 0.0
    length = 0.0
    if "soft" in group.overlong:
        share = overlong_share(graded.candidate, group.max_new_tokens, group.overlong_buffer)
        length = -group.overlong_penalty * share
    return Reward(worth + form + length, worth, form, length)
