"""From probe records to counts: how each problem went in each variant, and what goes wrong in how many ways.

A failure mode is measured, never guessed: either it is visible in the answer (no answer named, cut off), or the same
problem is asked again with one aid and the share of right answers rises (a paired difference over problems).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from r3v.errors import DataError
from r3v.records import Outcome

BASE = "base"


@dataclass(frozen=True, slots=True)
class Aid:
    """A way to ask again: what it adds to the variant `against`, and the mode it speaks for where it helps."""

    mode: str
    against: tuple[str, ...]
    adds: str


AIDS: dict[str, Aid] = {
    "numbers": Aid("reading", (BASE,), "the numbers of the figure stand in the text"),
    "described": Aid("perception", (BASE,), "the figure is described in the text, its numbers included"),
    "named": Aid("knowledge", (BASE,), "a note names the theorem"),
    "round_numbers": Aid(
        "arithmetic", ("numbers", BASE), "round numbers and plain letters (level 1), all numbers in the text"
    ),
    "one_rule": Aid("composition", (BASE,), "the same kind of problem with one rule (level 3)"),
}
"""Variant -> aid. `against`: the variants it is compared with, the first one that was asked counts."""

VARIANTS = (BASE, *AIDS)
GAINS = tuple(aid.mode for aid in AIDS.values())
SEEN_MODES = ("unparsed", "truncated")
MODES = (*GAINS, *SEEN_MODES, "unexplained")
MEANING = {aid.mode: f"points regained when {aid.adds}" for aid in AIDS.values()} | {
    "unparsed": "share of answers that name no answer",
    "truncated": "share of answers cut off at the token limit before a right answer",
    "unexplained": "share of wrong answers that no single aid removes",
}


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """One graded answer to one variant of a probe problem.

    `problem_id` is the id of the problem behind the variant; `categories` are its skills, or whatever it is counted
    under. `outcome` and `stop` come from the Verdict and the Candidate.
    """

    problem_id: str
    variant: str
    categories: tuple[str, ...]
    outcome: Outcome
    stop: str = "eos"
    index: int = 0
    level: float | None = None
    question: str = ""
    gold: str = ""
    text: str = ""


@dataclass(frozen=True)
class Tally:
    """Counts of all records. Suffixes: P problems, S categories, V variants, R records.

    `n_VP` counts available answers; `right_VP`, `unparsed_VP`, `truncated_VP` the answers that are right, name no
    answer, or were cut off without being right (which comes before unparsed). `lost`: UNAVAILABLE answers.
    """

    problems: tuple[str, ...]
    categories: tuple[str, ...]
    tags_PS: np.ndarray
    level_P: np.ndarray | None
    n_VP: np.ndarray
    right_VP: np.ndarray
    unparsed_VP: np.ndarray
    truncated_VP: np.ndarray
    wrong_VP: np.ndarray
    lost: int
    problem_R: np.ndarray
    variant_R: np.ndarray
    state_R: np.ndarray

    def rate(self, variant: str) -> np.ndarray:
        """Share of right answers per problem [P], nan where the variant has no available answer."""
        v = VARIANTS.index(variant)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.right_VP[v] / self.n_VP[v]


RIGHT, WRONG, UNPARSED, TRUNCATED, LOST = range(5)
"""States of a record in `Tally.state_R`."""


def state_of(outcome: Outcome, stop: str) -> int:
    """UNAVAILABLE and right answers are what they are; of the rest, a cut-off answer counts as truncated."""
    if outcome is Outcome.UNAVAILABLE:
        return LOST
    if outcome is Outcome.CORRECT:
        return RIGHT
    if stop == "length":
        return TRUNCATED
    return UNPARSED if outcome is Outcome.UNPARSED else WRONG


def tally(records: Sequence[ProbeRecord]) -> Tally:
    """Count the records. Raises DataError for an unknown variant, and where two records of a problem name different
    categories."""
    problems: dict[str, int] = {}
    categories_of: list[tuple[str, ...]] = []
    levels: list[float | None] = []
    variants = {name: v for v, name in enumerate(VARIANTS)}
    problem_R, variant_R = np.empty(len(records), np.int64), np.empty(len(records), np.int64)
    state_R = np.empty(len(records), np.int8)
    for r, record in enumerate(records):
        p = problems.get(record.problem_id)
        if p is None:
            p = problems[record.problem_id] = len(categories_of)
            categories_of.append(record.categories)
            levels.append(record.level)
        elif categories_of[p] != record.categories:
            raise DataError(
                f"found categories {record.categories} and {categories_of[p]} for one problem",
                row=record.problem_id,
                field="categories",
                fix="Give every variant of a problem the categories of the problem itself",
            )
        if record.variant not in variants:
            raise DataError(
                f"found {record.variant!r}, expected one of {', '.join(VARIANTS)}",
                row=record.problem_id,
                field="variant",
            )
        problem_R[r], variant_R[r] = p, variants[record.variant]
        state_R[r] = state_of(record.outcome, record.stop)
    names = sorted({name for found in categories_of for name in found})
    number = {name: s for s, name in enumerate(names)}
    tags_PS = np.zeros((len(problems), len(names)), bool)
    for p, found in enumerate(categories_of):
        for name in found:
            tags_PS[p, number[name]] = True
    shape = (len(VARIANTS), len(problems))

    def count(state: int | None) -> np.ndarray:
        keep = state_R != LOST if state is None else state_R == state
        flat = np.bincount(variant_R[keep] * shape[1] + problem_R[keep], minlength=shape[0] * shape[1])
        return flat.reshape(shape)

    level_P = None if any(level is None for level in levels) or not levels else np.array(levels, float)
    return Tally(
        tuple(problems), tuple(names), tags_PS, level_P, count(None), count(RIGHT), count(UNPARSED), count(TRUNCATED),
        count(WRONG), int((state_R == LOST).sum()), problem_R, variant_R, state_R,
    )  # fmt: skip


def gain(found: Tally, variant: str) -> np.ndarray:
    """By how much the aid raises the share of right answers of each problem [P]; nan where it was not asked, or
    what it is compared with has no available answer."""
    base_P = np.full(len(found.problems), np.nan)
    for name in reversed(AIDS[variant].against):
        rate_P = found.rate(name)
        base_P = np.where(np.isnan(rate_P), base_P, rate_P)
    return found.rate(variant) - base_P
