"""A notebook: notes under version control in one SQLite file.

A commit holds what changed against its parent; its hash covers parent, change, message, author, time and receipt, so
the chain of commits fixes every snapshot. A note's words, its commit and the ref that points at it are written in one
transaction. Rolling back moves a ref; nothing is deleted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from r3v.errors import DataError, RunError, near
from r3v.notebook.store.attachments import Event, to_json
from r3v.notebook.store.check import check_note
from r3v.notebook.store.database import WAIT, now
from r3v.notebook.store.note import Note
from r3v.notebook.store.reading import COLUMNS, HEAD, Commit, Move, Reader, commit_hash

__all__ = ["HEAD", "Commit", "Event", "Move", "Notebook", "commit_hash"]

_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_HASH = re.compile(r"[0-9a-f]{4,64}")


class Notebook(Reader):
    """Open with `Notebook.open(path)`; usable as a context manager and from several threads."""

    @classmethod
    def open(cls, path: str | Path, create: bool = False, *, wait: float = WAIT, read_only: bool = False) -> Notebook:
        """Open a notebook, or make an empty one when `create` and there is none.

        Raises RunError when the file is missing, is no notebook, or has another format. `wait` is how many seconds a
        write waits for another process. `read_only`: SQLite itself refuses to change the file.
        """
        return cls(path, create=create, wait=wait, read_only=read_only)

    def _create(self) -> None:
        super()._create()
        root = self._insert(None, {}, "new notebook", "r3v", None)
        self._add_ref(HEAD, "branch", root, "r3v", "new notebook")

    def __enter__(self) -> Notebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def commit(
        self,
        put: Sequence[Note] = (),
        remove: Sequence[str] = (),
        *,
        message: str,
        author: str,
        ref: str = HEAD,
        receipt: Mapping[str, Any] | None = None,
        expected: str | None = None,
        events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> str:
        """Add or replace notes and remove others on a branch; returns the hash of the new commit.

        `expected` is the commit the change was made against: when the branch has moved meanwhile, RunError, and
        nothing is written. `events` are recorded in the same transaction, each with the commit's hash in its data.
        Raises DataError for a note that cannot be kept, for an id to remove that is not there, and when nothing would
        change.
        """
        change = self._change(put, remove)
        text = None if receipt is None else to_json(dict(receipt), "receipt")
        for name, value in (("message", message), ("author", author)):
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"found {value!r}, expected a non-empty string", field=name)
            to_json(value, name)
        with self.transaction():
            parent = self._branch(ref, expected)
            snapshot = self._snapshot(parent)
            absent = [note for note, revision in change.items() if revision is None and note not in snapshot]
            if absent:
                raise DataError(f"no note {absent[0]!r} to remove{near(absent[0], snapshot)}", file=self.path)
            real = {note: revision for note, revision in change.items() if snapshot.get(note) != revision}
            if not real:
                raise DataError("nothing to commit: every note is already as given", file=self.path)
            rows = [(real[n.id], n.id, to_json(n.to_dict(), n.id)) for n in put if n.id in real]
            self._many("INSERT INTO revisions VALUES (?, ?, ?)", rows)
            new = self._insert(parent, real, message, author, text)
            self._set(ref, parent, new, author, message)
            if events:
                self.record_many([(kind, {**data, "commit": new}) for kind, data in events])
            after = {**snapshot, **real}
        kept = {note: revision for note, revision in after.items() if revision is not None}
        with self._lock:
            self._remember(new, kept if kept.keys() == snapshot.keys() else {n: kept[n] for n in sorted(kept)})
        return new

    def _change(self, put: Sequence[Note], remove: Iterable[str]) -> dict[str, str | None]:
        change: dict[str, str | None] = {}
        for note in put:
            check_note(note, self)
            if note.id in change:
                raise DataError("the note is there twice in one commit", row=note.id)
            change[note.id] = note.revision
        for name in remove:
            if name in change:
                raise DataError("the note is there twice in one commit", row=name)
            change[name] = None
        return dict(sorted(change.items()))

    def _insert(
        self, parent: str | None, change: Mapping[str, str | None], message: str, author: str, receipt: str | None
    ) -> str:
        time = now()
        verdict = None if receipt is None else json.loads(receipt)
        new = commit_hash(parent, change, message, author, time, verdict)
        row = (new, parent, message, author, time, receipt)
        self._rows(f"INSERT INTO commits ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)
        self._many("INSERT INTO changes VALUES (?, ?, ?)", [(new, note, rev) for note, rev in change.items()])
        return new

    def _kind(self, ref: str) -> str:
        rows = self._rows("SELECT kind FROM refs WHERE name = ?", (ref,))
        if not rows:
            raise RunError(f"{self.path}: no ref {ref!r}{near(ref, self.refs())}")
        return rows[0][0]

    def _branch(self, ref: str, expected: str | None) -> str:
        """The tip of a branch that is about to move; called inside the transaction that moves it."""
        if self._kind(ref) != "branch":
            raise RunError(f"{self.path}: {ref!r} is a tag and stays where it is; name a branch")
        tip = self.head(ref)
        if expected is not None and tip != expected:
            raise RunError(
                f"{self.path}: {ref} is at {tip[:12]}, expected {expected[:12]}: somebody committed meanwhile. Nothing "
                "was written; look at the new state and make the change again"
            )
        return tip

    def _set(self, ref: str, before: str, after: str, author: str, reason: str) -> None:
        self._rows('UPDATE refs SET "commit" = ? WHERE name = ?', (after, ref))
        self._log_move(ref, before, after, author, reason)

    def _add_ref(self, name: str, kind: str, commit: str, author: str, reason: str) -> None:
        self._rows("INSERT INTO refs VALUES (?, ?, ?)", (name, kind, commit))
        self._log_move(name, None, commit, author, reason)

    def _log_move(self, ref: str, before: str | None, after: str | None, author: str, reason: str) -> None:
        sql = "INSERT INTO moves (ref, before, after, time, author, reason) VALUES (?, ?, ?, ?, ?, ?)"
        self._rows(sql, (ref, before, after, now(), author, reason))

    def branch(self, name: str, at: str = HEAD, *, author: str = "r3v") -> str:
        """A new branch at a commit or ref; returns the commit. Raises RunError when the name is taken or unusable."""
        return self._new_ref(name, "branch", at, author)

    def tag(self, name: str, at: str = HEAD, *, author: str = "r3v") -> str:
        """A new tag: a name that never moves."""
        return self._new_ref(name, "tag", at, author)

    def _new_ref(self, name: str, kind: str, at: str, author: str) -> str:
        if not _REF.fullmatch(name) or _HASH.fullmatch(name):
            raise RunError(
                f"{self.path}: found {name!r}, expected a name of letters, digits and . _ / - that is not like a hash"
            )
        with self.transaction():
            if name in self.refs():
                raise RunError(f"{self.path}: there is a {self._kind(name)} {name!r} already")
            commit = self.resolve(at)
            self._add_ref(name, kind, commit, author, f"new {kind}")
        return commit

    def move(
        self, ref: str, commit: str, *, author: str = "r3v", reason: str = "move", expected: str | None = None
    ) -> str:
        """Point a branch at another commit; returns it. RunError for a tag, or when `expected` is not its tip."""
        with self.transaction():
            before = self._branch(ref, expected)
            after = self.resolve(commit)
            if after != before:
                self._set(ref, before, after, author, reason)
        return after

    def rollback(self, to: str, *, ref: str = HEAD, author: str = "r3v", expected: str | None = None) -> str:
        """Point a branch back at `to` (a tag, a commit, or the likes of head~1).

        The commits it leaves stay in the file: `moves` names them, and rolling back to one of them undoes this.
        """
        return self.move(ref, to, author=author, reason=f"rollback to {to}", expected=expected)

    def drop(self, name: str, *, author: str = "r3v") -> str:
        """Forget a branch or tag (never head); returns the commit it named, which stays in the file."""
        with self.transaction():
            if name == HEAD:
                raise RunError(f"{self.path}: head is never dropped")
            before = self._rows('SELECT "commit" FROM refs WHERE name = ?', (name,))
            self._kind(name)
            self._rows("DELETE FROM refs WHERE name = ?", (name,))
            self._log_move(name, before[0][0], None, author, "dropped")
        return before[0][0]
