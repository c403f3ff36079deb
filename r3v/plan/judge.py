"""A whole plan: every stage against a card, and the nearest settings with which all of them fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from r3v.plan.serving import KEPT_SHARE
from r3v.plan.shape import Shape
from r3v.plan.stages import (
    Precision,
    Stage,
    export_stage,
    fit_stage,
    most_batch_tokens,
    sampling_stage,
    scoring_stage,
    weight_bytes,
)
from r3v.plan.work import Fit, Work

C = TypeVar("C")


@dataclass(frozen=True)
class Plan:
    """The stages of a round, and the most padded tokens that a pass of the fit may have on the card."""

    stages: tuple[Stage, ...]
    batch_tokens: int | None
    longest: int | None
    """Tokens of a trie whose answers are all as long as they may be."""

    def fits(self, free: float) -> bool:
        return all(stage.total <= free for stage in self.stages)


def plan(shape: Shape, p: Precision, work: Work, free: float) -> Plan:
    """The stages of a round on a card that has `free` bytes for tensors. `work` counts answers at their longest."""
    kept = max(0.0, KEPT_SHARE * (free - sum(weight_bytes(shape, p).values())))
    stages = [sampling_stage("sample", shape, p, work, work.sample, kept)]
    tokens = longest = None
    if work.fit is not None:
        tokens = most_batch_tokens(shape, p, work, work.fit, free)
        longest = work.fit.trie_tokens(work.prompt)
        stages.append(fit_stage(shape, p, work, _cut(work.fit, tokens)))
    stages.append(sampling_stage("evaluate", shape, p, work, work.evaluate, kept))
    if work.evaluate.scored:
        stages.append(scoring_stage("select", shape, p, work, work.evaluate, kept))
    if work.fit is not None:
        stages.append(export_stage(shape, p))
    return Plan(tuple(stages), tokens, longest)


def _cut(fit: Fit, tokens: int) -> Fit:
    """Where the recipe names no budget, passes are cut to what is free."""
    return fit if fit.max_batch_tokens is not None else replace(fit, max_batch_tokens=max(1, tokens))


def nearest(
    config: C,
    fits: Callable[[C], bool],
    moves: Sequence[tuple[str, Sequence[Any]]],
    put: Callable[[C, str, Any], C],
) -> list[Mapping[str, Any]]:
    """The smallest changes with which `config` fits: each field alone as far as it helps, or where none does alone,
    sets of several. moves: field, and its values from the nearest on. put: (config, field, value) -> config."""
    alone = []
    for name, values in moves:
        value = next((v for v in values if fits(put(config, name, v))), None)
        if value is not None:
            alone.append({name: value})
    if alone:
        return alone
    # Those named first are given up first, and the other way round.
    found: list[Mapping[str, Any]] = []
    for order in (moves, moves[::-1]):
        together: dict[str, Any] = {}
        changed = config
        for name, values in order:
            if values:
                changed, together[name] = put(changed, name, values[-1]), values[-1]
                if fits(changed):
                    way = _relaxed(config, fits, dict(moves), together, put)
                    found += [] if way in found else [way]
                    break
    return found


def _relaxed(
    config: C, fits: Callable[[C], bool], moves: Mapping[str, Sequence[Any]], chosen: dict[str, Any], put: Any
) -> Mapping[str, Any]:
    """The same set with every value as near to the recipe's as the others allow, and without those not needed."""

    def made(values: Mapping[str, Any]) -> C:
        out = config
        for name, value in values.items():
            out = put(out, name, value)
        return out

    for name in list(chosen):
        without = {k: v for k, v in chosen.items() if k != name}
        if fits(made(without)):
            chosen = without
            continue
        for value in moves[name]:
            if fits(made({**chosen, name: value})):
                chosen = {**chosen, name: value}
                break
    return chosen


def halvings(value: int, least: int) -> list[int]:
    """A number halved again and again, down to `least`."""
    found = []
    while value > least:
        value = max(least, value // 2)
        found.append(value)
    return found
