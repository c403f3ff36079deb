"""Which path a fit goes on with: the planned one where its self-test agrees, else the next slower one, on all devices
alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from r3v.policies.model.room import tried
from r3v.training.forward import Path
from r3v.training.layout.trie import Trie
from r3v.training.selftest.parity import Collate, Parity, ParityWarning, check_parity
from r3v.training.strategies import everywhere, in_parts

SLOWER: dict[Path, Path] = {"fused": "rows", "rows": "plain"}


def sound_path(
    model: Any,
    planned: Path,
    tries: Sequence[Trie],
    collate: Collate,
    *,
    half: bool,
    cap: int,
    trainer: Any,
    catch_up: Callable[[int], None],
) -> Path:
    """The first of `planned` and the slower ones that computes what the model's own forward does. Warns of each that
    does not (ParityWarning).

    Arguments as in `check_parity`. catch_up: where weights are spread over devices, does idle forward passes until this
    device has done as many as the busiest, told how many were its own.
    """
    path = planned
    while path in SLOWER:
        found = _compared(model, tries, collate, path, half=half, cap=cap, gradients=not in_parts(trainer.strategy))
        if in_parts(trainer.strategy):
            catch_up(0 if found is None else found.passes)
        # One device that disagrees slows them all, so that all run the same graph.
        if everywhere(trainer, float(found is None or found.ok), "min"):
            return path
        if found is not None:  # else another device tells why
            warnings.warn(
                f"parity self-test: path {path!r} disagrees with the model's own forward "
                f"({found.describe()}); "
                f"{'fusing is off and ' if path == 'fused' else ''}training goes on with path {SLOWER[path]!r}, which "
                "is slower and has the same loss",
                ParityWarning,
                stacklevel=2,
            )
        path = SLOWER[path]
    return path


def _compared(
    model: Any, tries: Sequence[Trie], collate: Collate, path: Path, *, half: bool, cap: int, gradients: bool
) -> Parity | None:
    """None where memory ran out: the path is kept as it is, untested, and that is said."""
    fine, found = tried(lambda: check_parity(model, tries, collate, path, half=half, gradients=gradients, cap=cap))
    if fine:
        return found
    warnings.warn(
        f"parity self-test: memory ran out, so path {path!r} is kept untested; to test it lower "
        "train.problems_per_batch, or set train.gradient_checkpointing",
        ParityWarning,
        stacklevel=3,
    )
    return None
