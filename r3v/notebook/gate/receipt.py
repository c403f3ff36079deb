"""What a decision of the gate rests on, and the plain figures read from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from r3v.errors import DataError
from r3v.notebook.gate import sequential
from r3v.records import Outcome

SCHEMA = 1
_LATER = ("trial", "alpha")
"""Fields that receipts of older notebooks lack."""
_CORRECT, _UNAVAILABLE = Outcome.CORRECT.value, Outcome.UNAVAILABLE.value


@dataclass(frozen=True, slots=True)
class Pair:
    """One paired solve: outcomes (values of `Outcome`) without and with the edit."""

    problem: str
    origin: Literal["batch", "reserved", "pool"]
    subject: str
    repeat: int
    without: str
    edited: str

    @property
    def difference(self) -> int | None:
        """1, 0 or -1; None where an arm is unavailable. UNPARSED counts as not correct."""
        if self.without == _UNAVAILABLE or self.edited == _UNAVAILABLE:
            return None
        return (self.edited == _CORRECT) - (self.without == _CORRECT)


@dataclass(frozen=True)
class Receipt:
    """A decision with everything it rests on; `to_dict` is JSON, `from_dict` its inverse.

    `effect`: mean difference of the first solves, with a 95 % interval that ignores early stopping. `wins`,
    `losses`: items by the sign of their score. `untouched`: items whose prompts the edit does not change. `judged` is
    False where the edit was refused for want of items or outcomes, so that it may be proposed again. `trial`: 1 and
    how often the lesson was tried before without success; `alpha`: the error rate of this trial, None for a rule that
    states none.
    """

    gate: str
    accepted: bool
    reason: str
    pairs: tuple[Pair, ...] = ()
    effect: float = 0.0
    ci95: tuple[float, float] = (-1.0, 1.0)
    wins: int = 0
    losses: int = 0
    untouched: int = 0
    judged: bool = True
    looks: tuple[sequential.Look, ...] = ()
    quoted: tuple[str, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    trial: int = 1
    alpha: float | None = None

    @property
    def items(self) -> tuple[str, ...]:
        """Ids of the problems solved, each once, in order."""
        return tuple(dict.fromkeys(pair.problem for pair in self.pairs))

    def to_dict(self) -> dict[str, Any]:
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        row |= {"pairs": [asdict(pair) for pair in self.pairs], "looks": [asdict(look) for look in self.looks]}
        row |= {"ci95": list(self.ci95), "quoted": list(self.quoted), "items": list(self.items)}
        return {"schema": SCHEMA, **row, "versions": dict(self.versions), "costs": dict(self.costs)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Receipt:
        """Raises DataError for another schema or missing fields."""
        if row.get("schema") != SCHEMA:
            raise DataError(f"found receipt schema {row.get('schema')!r}, expected {SCHEMA}")
        try:
            values = {f.name: row[f.name] for f in fields(cls) if f.name not in _LATER or f.name in row}
            values["pairs"] = tuple(Pair(**pair) for pair in row["pairs"])
            values["looks"] = tuple(sequential.Look(**look) for look in row["looks"])
        except (KeyError, TypeError) as error:
            raise DataError(f"not a receipt of the gate: {error}") from error
        values["ci95"], values["quoted"] = tuple(row["ci95"]), tuple(row["quoted"])
        return cls(**values)


def measured_effect(pairs: Sequence[Pair]) -> tuple[float, tuple[float, float]]:
    """Mean difference of the first solves and its 95 % normal interval; repeats are left out, because who is
    repeated was chosen by outcome."""
    known = [pair.difference for pair in pairs if pair.repeat == 0 and pair.difference is not None]
    n = len(known)
    if not n:
        return 0.0, (-1.0, 1.0)
    mean = sum(known) / n
    # One win and one loss are added, so that a run without flips has no interval of zero width.
    variance = (sum(d * d for d in known) + 2) / (n + 2) - mean * mean
    half = 1.96 * math.sqrt(max(variance, 0.0) / n)
    return mean, (max(-1.0, mean - half), min(1.0, mean + half))


def regressed(pairs: Sequence[Pair], level: float) -> list[str]:
    """Subjects whose losing items exceed the winning ones at a one-sided exact level; one entry per item."""
    scores: dict[tuple[str, str], int] = {}
    for pair in pairs:
        if pair.difference is not None:
            key = (pair.subject, pair.problem)
            scores[key] = scores.get(key, 0) + pair.difference
    worse = []
    for name in sorted({subject for subject, _ in scores}):
        own = [score for (subject, _), score in scores.items() if subject == name]
        lost, n = sum(score < 0 for score in own), sum(score != 0 for score in own)
        tail = sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n
        if lost and tail <= level:
            worse.append(f"{name} ({n - lost} won, {lost} lost)")
    return worse
