"""The fair gate: whether a new model takes the place of the accepted one.

One rule for every learner. The new model and the best one accepted so far answer the same gate problems. The new one is
refused only where it is worse by the exact sign test on the problems that one of them alone gets right; otherwise it is
accepted, and the newest accepted model counts.

The error rate: a model that is no worse than any accepted one is refused with a chance of at most `alpha`. The best of
several accepted models owes a part of its lead to luck, so the test against the best of k is made at alpha / k (by the
union bound that holds whichever of them turns out best). Because the reference is the best and not the last, many small
losses cannot add up beyond what one comparison lets pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from r3v.errors import RunError
from r3v.run.evaluation import accuracy_by_problem
from r3v.run.sign_test import POWER, loss_noticed, worse

METRIC = "greedy"
"""What models are compared by, unless a learner names another selector."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    """Whether the new model is accepted, and what that rests on. `before` and `after`: accuracies on the n problems
    that both answered; `left_out`: problems that one of them has no answer to. `level`: what p is compared with.
    `noticed`: the smallest loss of accuracy that n would have shown in `POWER` of cases; None: none would."""

    accepted: bool
    reason: str
    against: str
    n: int
    left_out: int
    before: float
    after: float
    wins: int
    losses: int
    p: float
    alpha: float
    level: float
    noticed: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    before: Iterable[Row],
    after: Iterable[Row],
    *,
    alpha: float,
    against: str,
    compared: int = 1,
    metric: str = METRIC,
    turn: str = "round",
) -> Decision:
    """Compare the rows (see `r3v.run.evaluation`) of the new model with those of `against`, the best of `compared`
    accepted ones, on the same problems. `turn`: what one of them is called.

    Raises RunError where no problem has an answer of both: UNAVAILABLE rows are no verdict.
    """
    old, new = accuracy_by_problem(before, metric), accuracy_by_problem(after, metric)
    both = [name for name in old if name in new]
    if not both:
        raise RunError(
            f"no gate problem has an answer of the new model and of {against} ({metric}), so the new model can be "
            "neither accepted nor refused; see that the engine answers, and measure again"
        )
    n, level = len(both), alpha / compared
    wins, losses = (sum(new[name] == won and old[name] != won for name in both) for won in (True, False))
    p = worse(wins, losses)
    refused = p <= level and losses > wins
    found = Decision(
        accepted=not refused,
        reason="",
        against=against,
        n=n,
        left_out=len(old.keys() | new.keys()) - n,
        before=sum(old[name] for name in both) / n,
        after=sum(new[name] for name in both) / n,
        wins=wins,
        losses=losses,
        p=p,
        alpha=alpha,
        level=level,
        noticed=loss_noticed(n, (wins + losses) / n, level),
    )
    return replace(found, reason=_reason(found, compared, turn))


def _reason(d: Decision, compared: int, turn: str) -> str:
    """The decision in one line: counts, test, and what it could have noticed."""
    verdict = "worse" if not d.accepted else "not shown to be worse" if d.losses > d.wins else "no worse"
    share = f", {d.alpha:g} over {compared} accepted {turn}s" if compared > 1 else ""
    told = (
        f"{verdict} than {d.against} on the gate: {100 * d.before:.1f} -> {100 * d.after:.1f} %, {d.wins} won and "
        f"{d.losses} lost of {d.n} problems, sign test p {d.p:.2g} (refused at {d.level:.2g} or less{share})"
    )
    if d.left_out:
        told += f"; {d.left_out} left out for want of an answer"
    if not d.level:
        return f"{told}; at level 0 nothing is refused"
    if d.noticed is None:
        return f"{told}; too few problems to notice any loss, which takes {least_problems(d.level)}"
    return f"{told}; a loss of {100 * d.noticed:.1f} points would be noticed in {100 * POWER:.0f} % of cases"


def least_problems(level: float) -> int:
    """The fewest problems of which a loss of all is refused."""
    return math.ceil(-math.log2(level))


def rule(alpha: float) -> str:
    """The rule in words, for pages."""
    return (
        "A round is refused only where the exact sign test on the gate problems, paired with the best accepted round, "
        f"shows it to be worse (error rate at most {100 * alpha:g} %); the newest accepted round counts."
    )
