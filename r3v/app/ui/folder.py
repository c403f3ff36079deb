"""The folder that is shown, and nothing beside it: names out of addresses become paths here, and only here."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from r3v.errors import RunError
from r3v.notebook.store.schema import APPLICATION_ID

DEPTH = 4
"""Folders within folders that are looked through for runs."""
MOST_ENTRIES = 50_000
"""Files and folders that are looked at for one page."""
MOST_BYTES = 64_000_000
"""Size of the largest text file that is read."""
TEXTS = (".json", ".jsonl", ".yaml", ".csv", ".html", ".txt")


class Missing(Exception):
    """There is nothing of this name in the folder."""


@dataclass(frozen=True)
class Look:
    """What a walk through a run or file saw. `changed`: seconds since 1970; `wrong`: why it must not be read."""

    changed: float
    wrong: str = ""


@dataclass(frozen=True)
class Root:
    """The folder, its path resolved."""

    path: Path

    @classmethod
    def of(cls, path: str | Path) -> Root:
        """Raises RunError where there is no such folder."""
        try:
            found = Path(path).resolve(strict=True)
        except OSError as error:
            raise RunError(f"{path}: no such folder; name the folder of your runs") from error
        if not found.is_dir():
            raise RunError(f"{path}: found a file, expected the folder of your runs")
        if (found / "round_00").exists():
            raise RunError(f"{path}: found a run, expected the folder it lies in: r3v ui {found.parent}")
        return cls(found)

    def inside(self, name: str) -> Path:
        """What has this name relative to the folder, links followed. Raises Missing for anything that is not there or
        not below the folder, and for hidden names."""
        parts = PurePosixPath(name).parts
        if not parts or "\0" in name or name.startswith("/") or any(part.startswith(".") for part in parts):
            raise Missing(name)
        try:
            found = self.path.joinpath(*parts).resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:  # none, a circle of links, too long
            raise Missing(name) from error
        if found == self.path or not found.is_relative_to(self.path):
            raise Missing(name)
        return found

    def name_of(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def runs(self) -> Iterator[Path]:
        """Every run, diagnosis and notebook below the folder, by name, among its first `MOST_ENTRIES` files and
        folders. Links are not followed."""
        yield from _found(self.path, DEPTH, iter(range(MOST_ENTRIES)))

    def look(self, path: Path) -> Look:
        """When anything in a run changed last, and whether something in it leads out of the folder, is no file, or is
        too large to be read."""
        changed, seen, waiting = 0.0, 0, [path]
        while waiting:
            place = waiting.pop()
            try:
                info = place.stat()
            except OSError as error:
                return Look(changed, f"{self.name_of(place)}: cannot be read ({error.strerror or error})")
            changed = max(changed, info.st_mtime)
            if place.is_symlink() and not place.resolve().is_relative_to(self.path):
                return Look(changed, f"{self.name_of(place)}: a link to outside the folder, which is not followed")
            if stat.S_ISDIR(info.st_mode):
                if place.is_symlink():
                    return Look(changed, f"{self.name_of(place)}: a link to a folder, which is not followed")
                waiting.extend(_entries(place))
            elif not stat.S_ISREG(info.st_mode):
                return Look(changed, f"{self.name_of(place)}: neither a file nor a folder")
            elif info.st_size > MOST_BYTES and place.suffix in TEXTS:
                return Look(changed, f"{self.name_of(place)}: {info.st_size:,} bytes are more than is read")
            if (seen := seen + 1) > MOST_ENTRIES:
                return Look(changed, f"more than {MOST_ENTRIES:,} files")
        return Look(changed)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _found(folder: Path, depth: int, budget: Iterator[int]) -> Iterator[Path]:
    for place, _ in zip(_entries(folder), budget, strict=False):
        if place.name.startswith(".") or place.is_symlink():
            continue
        if place.is_dir():
            if is_run(place) or (place / "diagnosis.json").is_file():
                yield place
            elif depth > 1:
                yield from _found(place, depth - 1, budget)
        elif is_notebook(place):
            yield place


def is_run(folder: Path) -> bool:
    """Whether a run has at least begun here: first it leaves its lock, then rounds, then `run.json`."""
    marks = (".lock", "run.json", "round_00")
    return folder.is_dir() and any((folder / mark).exists() for mark in marks)


def is_notebook(path: Path) -> bool:
    """Whether a file is one of SQLite with a notebook's mark in its head."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with path.open("rb") as file:
            head = file.read(72)
    except OSError:
        return False
    return head.startswith(b"SQLite format 3\0") and head[68:72] == APPLICATION_ID.to_bytes(4, "big")
