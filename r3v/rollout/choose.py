"""Which candidates of a problem to use: duplicates removed, unlike ones first. Lists are best (newest)
first.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from r3v.policies.base import Given
from r3v.prompts import Style, shown
from r3v.records import LETTERS, Candidate, Graded, Problem

SAME = 0.95
"""Two texts whose token sets overlap at least so far (intersection over union) say the same."""
_WORD = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?|[-+*/=√×÷]")


def normalised(text: str) -> str:
    """Lower case, one space between words and signs, punctuation left out."""
    return " ".join(_WORD.findall(text.lower()))


def similarity(a: str, b: str) -> float:
    """Intersection over union of the token sets of two texts; 1 for two empty ones."""
    first, second = set(_WORD.findall(a.lower())), set(_WORD.findall(b.lower()))
    return len(first & second) / len(first | second) if first | second else 1.0


def distinct(items: Sequence[Graded]) -> list[Graded]:
    """Without those whose normalised text has occurred before."""
    return list({normalised(item.candidate.text): item for item in reversed(items)}.values())[::-1]


def diverse(items: Sequence[Graded], most: int) -> list[Graded]:
    """At most `most` items: the first, then again and again the one least like those taken (ties: the
    earlier one).

    Stops when all that is left is as good as the same (`SAME`).
    """
    taken: list[Graded] = []
    left = list(items)
    while left and len(taken) < most:
        likeness = [max((similarity(i.candidate.text, t.candidate.text) for t in taken), default=0.0) for i in left]
        best = min(range(len(left)), key=likeness.__getitem__)
        if likeness[best] >= SAME:
            break
        taken.append(left.pop(best))
    return taken


def by_answer(problem: Problem, answers: Sequence[str | None]) -> dict[str, list[int]]:
    """Indices of each distinct answer, in order of first appearance; those that name none (None) are left out.

    Where the problem has choices, values that are none of them are left out too, unless nobody names a choice.
    """
    members: dict[str, list[int]] = {}
    for i, answer in enumerate(answers):
        if answer is not None:
            members.setdefault(answer, []).append(i)
    offered = LETTERS[: len(problem.choices or ())]
    return {key: m for key, m in members.items() if key in offered} or members


def likeliest(candidates: Sequence[Candidate], members: Sequence[int]) -> int:
    """The index among `members` of the highest mean log-probability; of equals, the first."""
    return max(members, key=lambda i: (candidates[i].mean_logprob, -i))


def told_again(style: Style, candidate: Candidate) -> Given:
    """The reply that repeats a candidate word for word as select prompts show it: the candidate itself, token for
    token, where all of it is shown; what is shown of it where its thought is not."""
    text = shown(style, candidate.text)
    return candidate if text == candidate.text.strip() else text


def joined(problem: Problem, items: Sequence[Graded]) -> list[Graded]:
    """One item for each distinct answer: the likeliest that gives it (see `by_answer`)."""
    groups = by_answer(problem, [item.verdict.extracted for item in items])
    candidates = [item.candidate for item in items]
    return [items[likeliest(candidates, m)] for m in groups.values()]


def spread(items: Sequence[Graded], rng: random.Random) -> list[Graded]:
    """The items in an order that goes round the different answers: one of each, then a second of each, ...

    Which answer comes first, and which item of an answer, is random.
    """
    groups: dict[str | None, list[Graded]] = {}
    for item in items:
        groups.setdefault(item.verdict.extracted, []).append(item)
    lists = list(groups.values())
    rng.shuffle(lists)
    for group in lists:
        rng.shuffle(group)
    longest = max((len(group) for group in lists), default=0)
    return [group[i] for i in range(longest) for group in lists if i < len(group)]


def problem_rng(seed: int, problem_id: str, purpose: str) -> random.Random:
    """A random stream of its own for each (seed, problem, purpose)."""
    digest = hashlib.sha256(f"{seed}\n{problem_id}\n{purpose}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))
