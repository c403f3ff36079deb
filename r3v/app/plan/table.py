"""A plan in words and columns, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r3v.plan.cards import Count, Rates, minutes
from r3v.plan.judge import Plan
from r3v.plan.shape import Shape
from r3v.plan.stages import GIB, Precision, weight_bytes
from r3v.plan.work import ANSWERED, UNKNOWN, Work


def heading(name: str, shape: Shape, p: Precision, work: Work) -> list[str]:
    held = "" if p.quantization == "none" else f", {p.quantization} for the language model's linear layers"
    return [
        f"{name}: {sum(shape.weights.values()) / 1e9:.2f} billion weights in {p.dtype}{held}; adapter of rank {p.r}, "
        f"{shape.adapter(p.r) / 1e6:.0f} million",
        f"a prompt is {work.prompt} tokens, {work.picture.tokens} of them its picture; answers of "
        f"{work.sample.new_tokens} tokens at most",
    ]


def weight_table(shape: Shape, p: Precision) -> list[str]:
    rows = [f"{'weights':<34} {'million':>9} {'GiB':>8}"]
    for name, size in weight_bytes(shape, p).items():
        if shape.weights[name]:
            rows.append(f"  {name:<32} {shape.weights[name] / 1e6:>9.1f} {size / GIB:>8.2f}")
    return rows


def memory_table(found: Plan, free: float, gib: float) -> list[str]:
    """GiB of every part of every stage."""
    names: dict[str, None] = {}
    for stage in found.stages:
        names |= dict.fromkeys(n for n, v in stage.parts.items() if v)
    rows = [f"{'GiB at the peak':<34} " + " ".join(f"{s.name:>9}" for s in found.stages)]
    for name in names:
        cells = [s.parts.get(name, 0.0) / GIB for s in found.stages]
        rows.append(f"  {name:<32} " + " ".join(f"{v:>9.2f}" if v else f"{'':>9}" for v in cells))
    rows.append(f"  {'in all':<32} " + " ".join(f"{s.total / GIB:>9.2f}" for s in found.stages))
    told = ["fits" if s.total <= free else "TOO MUCH" for s in found.stages]
    rows.append(f"  {f'of {free / GIB:.1f} on a card of {gib:g}':<32} " + " ".join(f"{t:>9}" for t in told))
    if found.batch_tokens is not None:
        rows.append(
            f"a pass of the fit may have {found.batch_tokens:,} padded tokens; a problem whose answers are all as long "
            f"as they may be has {found.longest:,}"
        )
    return rows


def work_table(counts: Sequence[Count], work: Work, rates: Rates | None) -> list[str]:
    time = "" if rates is None else f" {'minutes':>9}"
    rows = [f"{'a round':<14} {'read':>12} {'drawn':>12} {'steps':>9} {'trained':>12} {'PFLOP':>9}{time}"]
    total = 0.0
    for c in counts:
        took = minutes(c, rates, work.sample.slots) if rates else 0.0
        total += took
        last = f" {took:>9.1f}" if rates else ""
        rows.append(
            f"  {c.name:<12} {c.read:>12,} {c.drawn:>12,} {c.steps:>9,} {c.trained:>12,} {c.flops / 1e15:>9.1f}{last}"
        )
    if rates is not None:
        rows.append(
            f"  {'in all':<12} {total:.0f} minutes a round, {rates.source}: {rates.read:,.0f} tokens read, "
            f"{rates.drawn:,.0f} drawn, {rates.trained:,.0f} trained a second"
        )
    rows.append(f"answers are taken to be {ANSWERED:g} of their longest on average")
    if not work.known:
        rows.append(f"where the recipe names no number of problems (data.n_...), {UNKNOWN:,} are counted")
    return rows


def disk_table(disk: Mapping[str, float]) -> list[str]:
    rows = [f"  {name:<32} {size / GIB:>9.2f}" for name, size in disk.items() if size]
    return [f"{'GiB on the disk':<34}", *rows]


def advice(ways: Sequence[Mapping[str, Any]], gib: float) -> list[str]:
    """The nearest settings that fit, as flags."""
    if not ways:
        return [f"no setting of this recipe makes it fit on {gib:g} GiB: take a smaller model or a larger card"]
    rows = [f"fits on {gib:g} GiB with any one of these lines"]
    return rows + ["  " + " ".join(f"--{n} {_written(v)}" for n, v in way.items()) for way in ways]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(name: str, shape: Shape, p: Precision, found: Plan, free: float, counts: Sequence[Count], rest: Any) -> Any:
    return {
        "schema": 1,
        "model": name,
        "weights": shape.weights,
        "weight_bytes": weight_bytes(shape, p),
        "adapter": shape.adapter(p.r),
        "usable_bytes": free,
        "stages": [
            {"name": s.name, "parts": dict(s.parts), "total": s.total, "moment": s.moment} for s in found.stages
        ],
        "batch_tokens": found.batch_tokens,
        "fits": found.fits(free),
        "work": [vars(c) for c in counts],
        **rest,
    }
