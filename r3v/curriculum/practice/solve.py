"""Independent answers to generated questions: agreement with the stated gold, and the pass rate of a model.

The gold plays no part in asking: a problem is put like any other, and the grader compares afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from r3v.grading import extract, grade
from r3v.policies.base import Policy, SamplingParams
from r3v.prompts import STYLES, Style, solve
from r3v.records import Candidate, Outcome, Problem, Verdict


@dataclass(frozen=True, slots=True)
class Solved:
    """The verdicts on k independent answers to one problem, and their texts."""

    verdicts: tuple[Verdict, ...]
    texts: tuple[str, ...]
    majority: str | None
    """The answer named most often (None where none is named); of equals the first."""

    @property
    def counted(self) -> int:
        """Answers that could be judged at all."""
        return sum(v.outcome is not Outcome.UNAVAILABLE for v in self.verdicts)

    @property
    def correct(self) -> int:
        return sum(v.correct for v in self.verdicts)

    @property
    def rate(self) -> float | None:
        """Share of judged answers that agree with the gold; an answer that names nothing counts against it."""
        return self.correct / self.counted if self.counted else None

    def agrees(self, share: float) -> bool:
        """Whether at least `share` of the answers agree with the gold and no other answer is named as often."""
        rate = self.rate
        if rate is None or rate < share:
            return False
        others = Counter(v.extracted for v in self.verdicts if v.wrong and v.extracted is not None)
        return self.correct > max(others.values(), default=0)


def solve_problems(
    policy: Policy,
    problems: Sequence[Problem],
    k: int,
    params: SamplingParams,
    *,
    style: Style | None = None,
    seed: int = 0,
    batch: int = 32,
) -> list[Solved]:
    """k answers to each problem, in order. Raises EngineError when the policy fails for good."""
    words = style or STYLES["full"]
    solved: list[Solved] = []
    for start in range(0, len(problems), batch):
        part = problems[start : start + batch]
        answers = policy.generate([solve(p, words) for p in part], k, params, seed=seed)
        solved += [judged(p, found) for p, found in zip(part, answers, strict=True)]
    return solved


def judged(problem: Problem, answers: Sequence[Candidate]) -> Solved:
    """The verdicts on answers that are already there. A text cut off by the length limit is judged as it stands."""
    verdicts = tuple(grade(problem, a.text) for a in answers)
    named = Counter(e for a in answers if (e := extract(problem, a.text)) is not None)
    majority = named.most_common(1)[0][0] if named else None
    return Solved(verdicts, tuple(a.text for a in answers), majority)
