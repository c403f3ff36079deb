"""Which problems make up which optimiser step: a pure function of (sizes, seed, epoch), whatever the devices.

Problems of similar length share a step, so that padding is small, but steps come in random order and so do
the neighbours of equal length. Devices and accumulation only divide a step, they never change it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

BUCKET_STEPS = 8
"""Lengths are sorted within this many steps' worth of problems at a time: enough to pad little, random
enough."""


def plan_epoch(sizes: Sequence[int], per_step: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Problem indices of every optimiser step of one epoch; each index exactly once, the last step may be
    short.

    `sizes` are relative lengths. Within a step the indices are in order of size.
    """
    rng = random.Random(f"{seed}/{epoch}")
    indices = list(range(len(sizes)))
    rng.shuffle(indices)
    steps: list[list[int]] = []
    width = per_step * BUCKET_STEPS
    for start in range(0, len(indices), width):
        bucket = sorted(indices[start : start + width], key=lambda i: sizes[i])
        steps += [bucket[i : i + per_step] for i in range(0, len(bucket), per_step)]
    rng.shuffle(steps)
    return steps


def divide(step: Sequence[int], parts: int) -> list[list[int]]:
    """A step in `parts` runs of neighbours whose lengths differ by at most one; some are empty if there are
    too few."""
    whole, extra = divmod(len(step), parts)
    out, start = [], 0
    for part in range(parts):
        end = start + whole + (part < extra)
        out.append(list(step[start:end]))
        start = end
    return out
