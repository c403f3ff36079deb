"""Reading a notebook: refs, commits, and the notes at any of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.errors import RunError, near
from r3v.notebook.store.attachments import Attachments
from r3v.notebook.store.database import WAIT
from r3v.notebook.store.note import Note, canonical

HEAD = "head"
COLUMNS = "hash, parent, message, author, time, receipt"
_CHAIN = """WITH RECURSIVE chain (hash, depth) AS (
  SELECT ?, 0 UNION ALL SELECT c.parent, depth + 1 FROM chain JOIN commits c USING (hash) WHERE c.parent IS NOT NULL
)"""
_CACHED = 4  # snapshots kept in memory


@dataclass(frozen=True, slots=True)
class Commit:
    """`receipt` is the verdict that let the change in, where a gate gave one."""

    hash: str
    parent: str | None
    message: str
    author: str
    time: str
    receipt: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a ref; `before` is None for a new ref, `after` for a dropped one."""

    ref: str
    before: str | None
    after: str | None
    time: str
    author: str
    reason: str


def commit_hash(
    parent: str | None, change: Mapping[str, str | None], message: str, author: str, time: str, receipt: Any
) -> str:
    """sha256 over the canonical JSON of all that a commit says; `change` maps note id to revision, None = removed."""
    content = {
        "schema": 1,
        "parent": parent,
        "change": dict(change),
        "message": message,
        "author": author,
        "time": time,
        "receipt": receipt,
    }
    return hashlib.sha256(canonical(content)).hexdigest()


def _commit(row: Sequence[Any]) -> Commit:
    name, parent, message, author, time, receipt = row
    return Commit(name, parent, message, author, time, None if receipt is None else json.loads(receipt))


class Reader(Attachments):
    """The half of a notebook that writes nothing."""

    def __init__(self, path: str | Path, *, create: bool = False, wait: float = WAIT, read_only: bool = False) -> None:
        self._snapshots: dict[str, dict[str, str]] = {}
        self._notes: dict[str, Note] = {}
        super().__init__(path, create=create, wait=wait, read_only=read_only)

    def _forget(self) -> None:
        self._snapshots.clear()

    def head(self, ref: str = HEAD) -> str:
        """The commit a ref points at. Raises RunError for an unknown ref."""
        rows = self._rows('SELECT "commit" FROM refs WHERE name = ?', (ref,))
        if not rows:
            raise RunError(f"{self.path}: no ref {ref!r}{near(ref, self.refs())}; `r3v notebook log` lists them")
        return rows[0][0]

    def refs(self) -> dict[str, str]:
        """Branches and tags -> commit hash, by name."""
        return dict(self._rows('SELECT name, "commit" FROM refs ORDER BY name'))

    def tags(self) -> set[str]:
        return {row[0] for row in self._rows("SELECT name FROM refs WHERE kind = 'tag'")}

    def resolve(self, name: str) -> str:
        """The commit named by a ref, a hash, the start of one (at least 4 characters), or `NAME~N`, N commits before.

        Raises RunError when there is none, or several.
        """
        base, tilde, steps = name.partition("~")
        if tilde and not (steps.isascii() and steps.isdigit()):
            raise RunError(f"{self.path}: found {name!r}, expected a name and a number such as head~1")
        rows = self._rows('SELECT "commit" FROM refs WHERE name = ?', (base,))
        if not rows and re.fullmatch(r"[0-9a-f]{4,64}", base):
            rows = self._rows("SELECT hash FROM commits WHERE hash >= ? AND hash <= ?", (base, base + "g"))
        if len(rows) > 1:
            raise RunError(f"{self.path}: {base!r} starts {len(rows)} commits; write more of the hash")
        if not rows:
            raise RunError(f"{self.path}: no ref or commit {base!r}{near(base, self.refs())}")
        found: str = rows[0][0]
        for _ in range(int(steps or 0)):
            parent = self.get_commit(found).parent
            if parent is None:
                raise RunError(f"{self.path}: {name!r} lies before the first commit")
            found = parent
        return found

    def get_commit(self, commit: str) -> Commit:
        """Raises RunError for an unknown hash."""
        rows = self._rows("SELECT hash, parent, message, author, time, receipt FROM commits WHERE hash = ?", (commit,))
        if not rows:
            raise RunError(f"{self.path}: no commit {commit!r}")
        return _commit(rows[0])

    def log(self, ref: str = HEAD) -> list[Commit]:
        """The commits of a ref, newest first, down to the first."""
        sql = f"{_CHAIN} SELECT c.hash, c.parent, message, author, time, receipt FROM chain JOIN commits c USING (hash)"
        return [_commit(row) for row in self._rows(f"{sql} ORDER BY depth", (self.resolve(ref),))]

    def all_commits(self) -> list[Commit]:
        """Every commit in the order written, also those that no ref reaches any more."""
        return [_commit(r) for r in self._rows(f"SELECT {COLUMNS} FROM commits ORDER BY seq")]

    def changes(self, commit: str) -> dict[str, str | None]:
        """What one commit changed: note id -> revision, None where it removed the note."""
        sql = 'SELECT note, revision FROM changes WHERE "commit" = ? ORDER BY note'
        return dict(self._rows(sql, (self.resolve(commit),)))

    def commits_of(self, note: str) -> set[str]:
        """Hashes of all commits, on any branch, that changed a note."""
        return {row[0] for row in self._rows('SELECT "commit" FROM changes WHERE note = ?', (note,))}

    def snapshot(self, ref: str = HEAD) -> dict[str, str]:
        """Note id -> revision hash at a ref or commit, by id; retired notes included."""
        return dict(self._snapshot(self.resolve(ref)))

    def _snapshot(self, commit: str) -> dict[str, str]:
        with self._lock:
            if commit not in self._snapshots:
                sql = f'{_CHAIN} SELECT note, revision FROM chain JOIN changes ON "commit" = hash ORDER BY depth DESC'
                found: dict[str, str | None] = dict(self._rows(sql, (commit,)))
                self._remember(commit, {note: found[note] for note in sorted(found) if found[note]})
            return self._snapshots[commit]

    def _remember(self, commit: str, snapshot: dict[str, Any]) -> None:
        self._snapshots[commit] = snapshot
        while len(self._snapshots) > _CACHED:
            del self._snapshots[next(iter(self._snapshots))]

    def revision(self, revision: str) -> Note:
        """The note with these words. Raises RunError for an unknown hash."""
        return self._load([revision])[0]

    def _load(self, revisions: Sequence[str]) -> list[Note]:
        missing = [r for r in revisions if r not in self._notes]
        for start in range(0, len(missing), 500):
            part = missing[start : start + 500]
            marks = ",".join("?" * len(part))
            for name, body in self._rows(f"SELECT hash, body FROM revisions WHERE hash IN ({marks})", part):
                self._notes[name] = Note.from_dict(json.loads(body))
        for name in missing:
            if name not in self._notes:
                raise RunError(f"{self.path}: no revision {name!r}")
        return [self._notes[r] for r in revisions]

    def notes(self, ref: str = HEAD, retired: bool = False) -> dict[str, Note]:
        """Note id -> note at a ref or commit, by id; `retired` adds the retired ones."""
        snapshot = self._snapshot(self.resolve(ref))
        pairs = zip(snapshot, self._load(list(snapshot.values())), strict=True)
        return {name: note for name, note in pairs if retired or note.state == "active"}

    def moves(self, ref: str | None = None) -> list[Move]:
        """Every move of a ref (of all refs without one), oldest first: how to find what a rollback left behind."""
        sql = "SELECT ref, before, after, time, author, reason FROM moves WHERE ?1 IS NULL OR ref = ?1 ORDER BY id"
        return [Move(*row) for row in self._rows(sql, (ref,))]
