"""Counts of a rollout: for the progress bar while it runs, and as `RolloutStats` in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from r3v.records import Graded, Outcome


@dataclass(frozen=True, slots=True)
class RolloutStats:
    """What a rollout holds in the end; seconds and resumed_shards tell of this call only."""

    problems: int
    candidates: int
    correct: int
    wrong: int
    unparsed: int
    unavailable: int
    solved: int
    truncated: int
    tokens: int
    seconds: float
    resumed_shards: int

    @property
    def accuracy(self) -> float:
        """Share of the available candidates that are correct; 0 if there are none."""
        return self.correct / max(1, self.candidates - self.unavailable)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "accuracy": self.accuracy}


class Tally:
    """Running counts for the progress bar and the final statistics."""

    def __init__(self) -> None:
        self.count = dict.fromkeys(Outcome, 0)
        self.solved = self.truncated = self.tokens = self.new_tokens = 0

    def add(self, shard: Sequence[Graded], new: bool) -> None:
        for item in shard:
            self.count[item.verdict.outcome] += 1
            self.truncated += item.candidate.stop == "length"
            self.tokens += len(item.candidate.token_ids)
            self.new_tokens += len(item.candidate.token_ids) if new else 0
        self.solved += len({item.candidate.problem_id for item in shard if item.verdict.correct})

    def merge(self, other: Tally) -> None:
        """Add the counts of other shards."""
        for outcome, count in other.count.items():
            self.count[outcome] += count
        self.solved += other.solved
        self.truncated += other.truncated
        self.tokens += other.tokens
        self.new_tokens += other.new_tokens

    def share(self, outcome: Outcome) -> float:
        """Of the answers whose verdict is available."""
        return self.count[outcome] / max(1, sum(self.count.values()) - self.count[Outcome.UNAVAILABLE])

    def stats(self, problems: int, seconds: float, resumed: int) -> RolloutStats:
        return RolloutStats(
            problems=problems,
            candidates=sum(self.count.values()),
            correct=self.count[Outcome.CORRECT],
            wrong=self.count[Outcome.WRONG],
            unparsed=self.count[Outcome.UNPARSED],
            unavailable=self.count[Outcome.UNAVAILABLE],
            solved=self.solved,
            truncated=self.truncated,
            tokens=self.tokens,
            seconds=seconds,
            resumed_shards=resumed,
        )
