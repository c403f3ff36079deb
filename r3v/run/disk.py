"""Room on the disk: a round that would not fit is refused before it starts; old rounds give up what nobody needs."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from r3v.errors import RunError

TOKEN_BYTES = 12
"""Of a sampled token in a shard: its id, its log-probability and about four characters, before compression."""
COPIES = 4
"""How often an adapter's weights stand on the disk during a fit: in the checkpoint, with their two moments, and once in
the adapter."""


def size_of(*paths: Path) -> int:
    """Bytes of the files at and below `paths`."""
    files = [f for path in paths for f in (path.rglob("*") if path.is_dir() else [path])]
    return sum(f.stat().st_size for f in files if f.is_file())


def samples(problems: int, k: int, max_new_tokens: int) -> int:
    """Bytes that so many answers take at most."""
    return problems * k * max_new_tokens * TOKEN_BYTES


def of_a_round(before: Sequence[Path], first: Mapping[str, int]) -> dict[str, int]:
    """What a round takes, by kind: as much as the largest of the rounds `before`, with its adapter as often as a fit
    keeps it; for the first one, what `first` says."""
    if not before:
        return dict(first)
    largest = max(before, key=size_of)
    adapter = size_of(*largest.rglob("adapter"))
    return {"files as in the rounds before": size_of(largest), "checkpoints of the fit": (COPIES - 1) * adapter}


def afford(folder: Path, what: str, need: Mapping[str, int]) -> None:
    """Raise RunError where the disk of `folder` has less room than `what` needs in all, naming the numbers."""
    free, total = shutil.disk_usage(folder).free, sum(need.values())
    if total <= free:
        return
    listed = ", ".join(f"{name} {bytes_(size)}" for name, size in need.items() if size)
    raise RunError(
        f"{folder}: {what} needs about {bytes_(total)} ({listed}), found {bytes_(free)} free. Make room, keep fewer "
        "rounds (run.keep_rounds), or move the folder and name its new place in run.dir"
    )


def prune(rounds: Mapping[int, Path], keep: int | None, needed: Collection[int], names: Sequence[str]) -> int:
    """Remove the files and folders `names` from all rounds but the newest `keep` and those `needed`; None keeps all.
    Returns the bytes that were freed."""
    freed = 0
    if keep is None:
        return freed
    for number in sorted(rounds)[:-keep]:
        if number in needed:
            continue
        for path in (rounds[number] / name for name in names):
            freed += size_of(path) if path.exists() else 0
            shutil.rmtree(path, ignore_errors=True)
    return freed


def bytes_(count: float) -> str:
    """Three digits of a number of bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
