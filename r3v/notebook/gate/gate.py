"""The gate: an edit of the notebook is kept only if solving with it is measurably better than solving without.

`decide` knows no model: it asks a function for verdicts of problems in two arms, `with` the edit and `without` it,
under shared seeds. Two rules:

m2note-paper  As the published method: the batch that produced the notes is solved again, and more items must be
              won than lost. With 20 % of items flipping by chance it accepts 39 % of the edits that do nothing.
paired        The default. Items: those of the batch reserved before anyone looked at their outcome, then a gate
              pool in seeded order, without any problem the edit quotes. Items on which both arms show the same prompt
              are ties by construction and cost nothing, so that all solves go to items the edit touches. The test is
              the exact group-sequential sign-flip test of `r3v.notebook.gate.sequential`, with at most `max_pairs`
              paired solves and repeats for flipped items only. Then a margin on the measured effect, and a veto for a
              subject that regresses.

Model: in each arm an item is right with a probability of its own; seeds are shared, so that only changed prompts
make outcomes differ. "Item noise" d is the share of items whose outcome differs between two runs, and an effect e is
the difference of the two arms' accuracies: wins (d + e) / 2, losses (d - e) / 2 of all touched items. An effect
measured over all problems is larger on the touched ones, so that e on every item is the hardest case;
`r3v.notebook.gate.power` simulates it. Successes of the batch outside the reserved items are not used: the failures
beside them were taken by the supervisor, and what is left would flip downwards by chance alone.

A lesson refused only for want of items may be proposed again, and every trial is another chance to pass by luck. So
alpha is spent over the row: trial k of a lesson is tested at alpha * 6 / (pi^2 k^2) (`level`), which sums to alpha
over any number of trials; by the union bound that holds although the trials share items of the pool. Acceptance ends
a row; what is added to an accepted note begins another. The same advice in other words counts as another lesson.

A pool may serve many decisions, and answers to prompts seen before are not asked again. Every lesson keeps its own
error rate; what an accepted edit achieved becomes the next baseline, luck included, which makes later edits harder to
accept and never easier.

UNAVAILABLE outcomes are never counted as mistakes; where too few pairs have both outcomes the gate refuses.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from r3v.errors import ConfigError, DataError
from r3v.notebook.gate import sequential
from r3v.notebook.gate.receipt import Pair, Receipt, measured_effect, regressed
from r3v.records import Problem, Verdict

GATES = ("paired", "m2note-paper")
Arm = Literal["with", "without"]
Solve = Callable[[Sequence[Problem], Arm, int], Sequence[Verdict]]
"""(problems, arm, repeat) -> one verdict each. Both arms of a repeat share their seeds."""


@dataclass(frozen=True)
class GateConfig:
    """What an edit must show before it is kept."""

    kind: Literal["paired", "m2note-paper"] = "paired"
    """The paired test, or the rule of the published method."""
    unit: Literal["note", "batch"] = "note"
    """One decision for each edited note, or one for all edits of a step together (as the published method)."""
    alpha: float = 0.05
    """Largest chance that a lesson that does nothing is kept, over all its trials together."""
    max_pairs: int = 128
    """Most paired solves of one decision."""
    looks: int = 4
    """How often the outcome is looked at on the way; early looks save solves."""
    repeats: int = 1
    """Fresh solves of each item that flips."""
    margin: float = 0.02
    """Least measured difference of accuracy on the touched items, as a share."""
    veto: float = 0.05
    """An edit is refused if a subject's losses exceed its wins at this one-sided level; 0 switches it off."""
    coverage: float = 0.8
    """Least share of paired solves with an outcome in both arms."""
    reserve: int = 4
    """Problems of each batch that the supervisor never sees."""

    def check(self) -> None:
        """Raise ConfigError for values no gate can work with."""
        if self.kind not in GATES:
            raise ConfigError(f"gate.kind: found {self.kind!r}, expected one of {', '.join(GATES)}")
        for name, low, high in (("alpha", 0.0, 0.5), ("coverage", 0.0, 1.0), ("veto", 0.0, 1.0)):
            if not low <= getattr(self, name) <= high or (name == "alpha" and not self.alpha):
                raise ConfigError(f"gate.{name}: found {getattr(self, name)}, expected a share up to {high}")
        if self.looks < 1 or self.max_pairs < self.looks or self.repeats < 0 or self.reserve < 0:
            raise ConfigError(
                f"gate: found max_pairs {self.max_pairs}, looks {self.looks}, repeats {self.repeats}, reserve "
                f"{self.reserve}; expected at least one pair for each look, and no negative number"
            )

    def level(self, trial: int) -> float:
        """The share of `alpha` that a lesson's trial (1, 2, ...) may spend. Raises ConfigError for a trial below 1."""
        if trial < 1:
            raise ConfigError(f"found trial {trial}, expected 1 or more")
        return self.alpha * 6 / (math.pi * trial) ** 2

    def plan(self, trial: int = 1) -> sequential.Plan:
        return sequential.Plan(self.level(trial), self.max_pairs, self.looks, self.repeats)


def subject_of(problem: Problem) -> str:
    """What problems are grouped by for the veto: the family, else the first skill, else the source."""
    return str(problem.meta.get("family") or next(iter(problem.skills), "") or problem.source or "all")


def decide(
    config: GateConfig,
    solve: Solve,
    batch: Sequence[Problem],
    *,
    reserved: Sequence[Problem] = (),
    pool: Sequence[Problem] = (),
    quoted: Collection[str] = (),
    touched: Callable[[Sequence[Problem]], Sequence[bool]] | None = None,
    subject: Callable[[Problem], str] = subject_of,
    versions: Mapping[str, Any] | None = None,
    meter: Callable[[], Mapping[str, float]] | None = None,
    seed: int = 0,
    trial: int = 1,
) -> Receipt:
    """Decide about one edit.

    `batch`: the problems of the step; `reserved`: those of them whose outcome nobody used; `pool`: problems kept
    for the gate; `quoted`: ids the edit was written from; `touched(problems)`: which prompts the edit changes (None:
    all); `meter()`: running totals of what solving costs; `trial`: 1 and how often the lesson was tried since it was
    last accepted. The order of the pool depends on `seed` alone.

    Raises ConfigError for impossible settings, DataError for a problem that is in the batch and in the pool.
    """
    config.check()
    both = {problem.id for problem in batch} & {problem.id for problem in pool}
    if both:
        raise DataError(
            "this problem is in the batch and in the gate pool", row=sorted(both)[0], fix="Keep the two sets apart"
        )
    before = dict(meter()) if meter else {}
    work = _Work(config, solve, subject, trial)
    receipt = (
        _paper(work, batch) if config.kind == "m2note-paper" else _paired(work, reserved, pool, quoted, touched, seed)
    )
    costs: dict[str, float] = {"pairs": len(work.pairs)}
    if meter:
        costs |= {name: value - before.get(name, 0) for name, value in meter().items()}
    effect, ci95 = measured_effect(work.pairs)
    final = {**_plain(receipt), "pairs": tuple(work.pairs), "effect": effect, "ci95": ci95, "costs": costs}
    final |= {"quoted": tuple(sorted(quoted)), "versions": dict(versions or {}), "config": asdict(config)}
    final |= {"trial": trial, "alpha": config.level(trial) if config.kind == "paired" else None}
    return Receipt(**final)


def _plain(receipt: Receipt) -> dict[str, Any]:
    return {f.name: getattr(receipt, f.name) for f in fields(receipt)}


@dataclass
class _Work:
    """Asks for pairs and keeps them."""

    config: GateConfig
    solve: Solve
    subject: Callable[[Problem], str]
    trial: int
    pairs: list[Pair] = field(default_factory=list)

    def ask(self, problems: Sequence[Problem], origins: Sequence[str], repeat: int) -> list[int | None]:
        without, edited = (self.solve(problems, arm, repeat) for arm in ("without", "with"))
        new = [
            Pair(p.id, origin, self.subject(p), repeat, a.outcome._value_, b.outcome._value_)  # type: ignore[arg-type]
            for p, origin, a, b in zip(problems, origins, without, edited, strict=True)
        ]
        self.pairs += new
        return [pair.difference for pair in new]

    @property
    def lacking(self) -> str | None:
        """Why the pairs are too few to decide, if they are."""
        known = sum(pair.difference is not None for pair in self.pairs)
        if self.pairs and known < self.config.coverage * len(self.pairs):
            return (
                f"too little coverage: {known} of {len(self.pairs)} paired solves have an outcome in both arms, "
                f"gate.coverage asks for {self.config.coverage:.0%}"
            )
        return None


def _paper(work: _Work, batch: Sequence[Problem]) -> Receipt:
    """More wins than losses on the batch itself."""
    known = [d for d in work.ask(list(batch), ["batch"] * len(batch), 0) if d is not None] if batch else []
    wins, losses = known.count(1), known.count(-1)
    accepted = wins > losses and work.lacking is None
    counted = f"{wins} won and {losses} lost of {len(known)} problems of the same batch"
    reason = work.lacking or f"{counted}; the rule asks for more wins"
    return Receipt("m2note-paper", accepted, reason, wins=wins, losses=losses, judged=work.lacking is None)


def _paired(
    work: _Work,
    reserved: Sequence[Problem],
    pool: Sequence[Problem],
    quoted: Collection[str],
    touched: Callable[[Sequence[Problem]], Sequence[bool]] | None,
    seed: int,
) -> Receipt:
    ordered = sorted(pool, key=lambda p: hashlib.sha256(f"{seed}|{p.id}".encode()).digest())
    listed = [(p, "reserved") for p in reserved] + [(p, "pool") for p in ordered]
    listed = [(p, origin) for p, origin in listed if p.id not in quoted]
    marks = touched([p for p, _ in listed]) if touched else [True] * len(listed)
    items = [entry for entry, mark in zip(listed, marks, strict=True) if mark]
    untouched = len(listed) - len(items)

    def differences(numbers: Sequence[int], repeat: int) -> list[int | None]:
        chosen = [items[number] for number in numbers]
        return work.ask([p for p, _ in chosen], [origin for _, origin in chosen], repeat)

    if not items:
        reason = f"the edit changes the prompt of none of {untouched} items"
        return Receipt("paired", False, reason, untouched=untouched, judged=False)
    plan = work.config.plan(work.trial)
    trial = sequential.run(plan, len(items), differences)
    wins, losses = (sum(sign * score > 0 for score in trial.scores.values()) for sign in (1, -1))
    accepted, reason = _verdict(work, trial, wins, losses, len(items))
    # Too few items that lean the right way say nothing against a lesson: it may come back with more sources.
    open_end = trial.end == "items used up" and trial.looks[-1].total > 0
    judged = work.lacking is None and len(trial.scores) >= plan.least and not open_end
    return Receipt(
        "paired", accepted, reason, wins=wins, losses=losses, untouched=untouched, judged=judged, looks=trial.looks
    )


def _verdict(work: _Work, trial: sequential.Trial, wins: int, losses: int, items: int) -> tuple[bool, str]:
    """The test first, then what may still forbid the edit."""
    config = work.config
    if work.lacking:
        return False, work.lacking
    last = trial.looks[-1]
    bound = "none could accept" if last.boundary is None else f"{last.boundary} accepts"
    counted = (
        f"{wins} won and {losses} lost of {len(trial.scores)} problems, score {last.total:+d} ({bound}) after "
        f"{trial.pairs} paired solves"
    )
    if not trial.crossed:
        few = f"; the edit touches {items} items" if trial.end == "items used up" else ""
        return False, f"not shown to help: {counted}; {trial.end}{few}"
    effect, _ = measured_effect(work.pairs)
    if effect < config.margin:
        return False, f"{counted}; the effect {100 * effect:+.1f} points is below gate.margin {100 * config.margin:.1f}"
    worse = regressed(work.pairs, config.veto)
    if worse:
        return False, f"{counted}; but these subjects regress: {', '.join(worse)}"
    return True, f"{counted}; trial {work.trial}, error rate at most {config.level(work.trial):.2g}"
