"""The guard of skills, beside the fair gate, and the end-of-run comparison: both pair the same problems before and
after."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from r3v.curriculum.spiral.config import GuardGroup
from r3v.run.evaluation import accuracy_by_problem, cell
from r3v.run.gate import METRIC, Decision
from r3v.stats import mcnemar_exact, paired_bootstrap

Row = dict[str, Any]


@dataclass(frozen=True)
class Lost:
    """A skill the model had and lost: accuracy before and after on its `n` gate problems."""

    skill: str
    n: int
    before: float
    after: float
    p: float


@dataclass(frozen=True)
class Judged:
    """The gate's decision, and the skills that were lost although the model had them."""

    accepted: bool
    reason: str
    decision: Decision
    lost: tuple[Lost, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        own = {"accepted": self.accepted, "reason": self.reason, "lost": [asdict(skill) for skill in self.lost]}
        return {**self.decision.to_dict(), **own}


def guard(decision: Decision, before: Sequence[Row], after: Sequence[Row], config: GuardGroup) -> Judged:
    """The fair gate's decision on the whole, and a veto for a skill: it falls where the best accepted turn had it, and
    the exact McNemar test has p < `skill_alpha` over the number of skills tested. Rows: those of the gate problems of
    the best accepted turn, and of the new one."""
    old, new = accuracy_by_problem(before, METRIC), accuracy_by_problem(after, METRIC)
    lost = _lost(old, new, _skills(before), config)
    if not decision.accepted or not lost:
        return Judged(decision.accepted, decision.reason, decision, lost)
    named = ", ".join(f"{s.skill} {100 * s.before:.0f} -> {100 * s.after:.0f} % (p {s.p:.2g})" for s in lost)
    return Judged(False, f"it lost {named}; as a whole it is {decision.reason}", decision, lost)


def _skills(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Skill -> ids of its problems."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["metric"] == METRIC:
            for skill in row["skills"]:
                found.setdefault(skill, []).append(row["problem_id"])
    return found


def _lost(
    old: Mapping[str, bool], new: Mapping[str, bool], skills: Mapping[str, Sequence[str]], config: GuardGroup
) -> tuple[Lost, ...]:
    tested = []
    for skill, members in sorted(skills.items()):
        ids = [i for i in members if i in old and i in new]
        b, a = [float(old[i]) for i in ids], [float(new[i]) for i in ids]
        if len(ids) >= max(1, config.min_problems) and sum(b) / len(ids) >= config.had:
            tested.append(Lost(skill, len(ids), sum(b) / len(ids), sum(a) / len(ids), mcnemar_exact(a, b)))
    return tuple(s for s in tested if s.after < s.before and s.p < config.skill_alpha / len(tested))


# ---- end of the run ------------------------------------------------------------------------------


def weakest_quarter(ranking: Sequence[str]) -> list[str]:
    """The first quarter of a ranking from the weakest skill on, rounded up."""
    return list(ranking[: math.ceil(len(ranking) / 4)])


def final_report(rows: Mapping[int, Sequence[Row]], accepted: int, weakest: Sequence[str], seed: int) -> dict[str, Any]:
    """What the run is judged by, from the evaluation rows of each closed iteration (0 is the start): accuracy of start
    and end with the paired difference, every skill of both, and the problems that need a skill of `weakest` (the
    weakest quarter as of the first diagnosis), each problem counted once, with the mean of the accuracies of these
    skills beside it; `steps` pairs each iteration with the one before."""
    start, end = rows[0], rows[accepted]
    on = [skill for skill in weakest if skill in _skills(start)]
    chosen = {i for skill in on for i in _skills(start)[skill]}
    numbers = sorted(rows)
    return {
        "accepted": accepted,
        **_change(start, end, seed),
        "skills": {
            skill: _sides(_of(start, set(members)), _of(end, set(members)))
            for skill, members in sorted(_skills(start).items())
        },
        "weakest_quarter": {
            "skills": list(weakest),
            **_change(_of(start, chosen), _of(end, chosen), seed),
            "mean_of_skills": {"start": _mean(start, on), "end": _mean(end, on)},
        },
        "steps": [{"from": a, "to": b, **_difference(rows[a], rows[b], seed)} for a, b in itertools.pairwise(numbers)],
    }


def _mean(rows: Sequence[Row], skills: Sequence[str]) -> float | None:
    """Mean of the accuracies of some skills, so that a skill on many problems weighs no more; None for none."""
    members = _skills(rows)
    found = [cell([r["outcome"] for r in _of(rows, set(members[s])) if r["metric"] == METRIC]) for s in skills]
    return sum(c["accuracy"] for c in found) / len(found) if found else None


def _of(rows: Sequence[Row], ids: set[str]) -> list[Row]:
    return [row for row in rows if row["problem_id"] in ids]


def _sides(start: Sequence[Row], end: Sequence[Row]) -> dict[str, Any]:
    return {
        "start": cell([row["outcome"] for row in start if row["metric"] == METRIC]),
        "end": cell([row["outcome"] for row in end if row["metric"] == METRIC]),
    }


def _change(start: Sequence[Row], end: Sequence[Row], seed: int) -> dict[str, Any]:
    return {**_sides(start, end), **_difference(start, end, seed)}


def _difference(start: Sequence[Row], end: Sequence[Row], seed: int) -> dict[str, Any]:
    """Paired difference in accuracy with its 95 % bootstrap interval and McNemar's p; None without common problems."""
    old, new = accuracy_by_problem(start, METRIC), accuracy_by_problem(end, METRIC)
    both = [i for i in old if i in new]
    if not both:
        return {"difference": None, "ci95": None, "p": None}
    a, b = [float(new[i]) for i in both], [float(old[i]) for i in both]
    difference, low, high = paired_bootstrap(a, b, seed=seed)
    return {"difference": difference, "ci95": [low, high], "p": mcnemar_exact(a, b)}
