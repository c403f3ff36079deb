"""Is a notebook what its hashes say? Everything is derived again from the rows; nothing is repaired."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import r3v.notebook.store.schema as schema
from r3v.errors import R3VError
from r3v.notebook.store.attachments import KINDS
from r3v.notebook.store.check import check_note
from r3v.notebook.store.note import Note, canonical
from r3v.notebook.store.reading import HEAD, commit_hash
from r3v.notebook.store.store import Notebook


def verify(notebook: Notebook) -> list[str]:
    """What is wrong, one line each; empty for a sound notebook.

    Checked: the file (SQLite's own integrity and foreign keys), its tables and triggers, the hash of every revision,
    commit and blob, the chain of parents, that every revision belongs to a commit, every ref, the images of every
    note, and that events, refusals and vectors can be read. Raises RunError only when the file cannot be read at all.
    """
    found: list[str] = []
    with notebook.transaction():  # one state of the file throughout
        for part in (_file, _revisions, _commits, _refs, _blobs, _events, _vectors):
            found.extend(part(notebook))
    return found


def _file(nb: Notebook) -> Iterator[str]:
    for (line,) in nb.query("PRAGMA integrity_check"):
        if line != "ok":
            yield f"file: {line}"
    for table, *_ in nb.query("PRAGMA foreign_key_check"):
        yield f"table {table}: a row points at something that is not there"
    there = {sql for (sql,) in nb.query("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    for statement in schema.statements():
        if statement not in there:
            yield f"file: missing or changed: {' '.join(statement.split()[:3])}"


def _revisions(nb: Notebook) -> Iterator[str]:
    committed = {row[0] for row in nb.query("SELECT DISTINCT revision FROM changes")}
    for name, note_id, body in nb.query("SELECT hash, note, body FROM revisions"):
        where = f"revision {name[:12]} of note {note_id!r}"
        try:
            note = Note.from_dict(json.loads(body))
            check_note(note, nb)
        except (R3VError, ValueError, TypeError) as error:
            yield f"{where}: {error}"
            continue
        if note.revision != name or hashlib.sha256(body.encode()).hexdigest() != name:
            yield f"{where}: its words do not match its hash"
        if note.id != note_id:
            yield f"{where}: its words say note {note.id!r}"
        if name not in committed:
            yield f"{where}: belongs to no commit"


def _commits(nb: Notebook) -> Iterator[str]:
    changes: dict[str, dict[str, str | None]] = {}
    for commit, note, revision in nb.query('SELECT "commit", note, revision FROM changes ORDER BY "commit", note'):
        changes.setdefault(commit, {})[note] = revision
    owners = dict(nb.query("SELECT hash, note FROM revisions"))
    seen: set[str] = set()
    roots = 0
    for name, parent, message, author, time, text in nb.query(
        "SELECT hash, parent, message, author, time, receipt FROM commits ORDER BY seq"
    ):
        where = f"commit {name[:12]}"
        change = changes.pop(name, {})
        try:
            receipt = None if text is None else json.loads(text)
        except ValueError as error:
            yield f"{where}: its receipt is not JSON ({error})"
            continue
        if commit_hash(parent, change, message, author, time, receipt) != name:
            yield f"{where}: what it says does not match its hash"
        if parent is None:
            roots += 1
        elif parent not in seen:
            yield f"{where}: its parent {parent[:12]} is not there before it"
        if parent is not None and not change:
            yield f"{where}: changes nothing"
        for note, revision in change.items():
            if revision is not None and owners.get(revision) != note:
                yield f"{where}: note {note!r} points at a revision that is not its own"
        seen.add(name)
    if roots != 1:
        yield f"file: found {roots} first commits, expected 1"
    for name in changes:
        yield f"commit {name[:12]}: has changes, but is not there"


def _refs(nb: Notebook) -> Iterator[str]:
    refs = nb.refs()
    if HEAD not in refs:
        yield "refs: head is missing"
    last = {move.ref: move.after for move in nb.moves()}
    for name in sorted(refs.keys() | {ref for ref, after in last.items() if after is not None}):
        if last.get(name) != refs.get(name):
            yield f"ref {name}: is not where its last logged move left it"


def _blobs(nb: Notebook) -> Iterator[str]:
    for (name,) in nb.query("SELECT hash FROM blobs"):
        try:
            nb.blob(name)
        except R3VError as error:
            yield f"blob {name[:12]}: {error}"


def _events(nb: Notebook) -> Iterator[str]:
    for table, columns in (("events", "id, data, kind, note"), ("refusals", "id, receipt, NULL, NULL")):
        for row, text, kind, note in nb.query(f"SELECT {columns} FROM {table}"):
            if text is None:
                continue
            try:
                value = json.loads(text)
            except ValueError as error:
                yield f"{table} {row}: not JSON ({error})"
                continue
            if canonical(value).decode() != text:
                yield f"{table} {row}: was rewritten"
            if table == "events" and (kind not in KINDS or value.get("note") != note):
                yield f"{table} {row}: kind {kind!r}, note {note!r} do not fit its data"


def _vectors(nb: Notebook) -> Iterator[str]:
    sql = "SELECT embedder, role, count(DISTINCT dim), sum(length(data) != 4 * dim) FROM vectors GROUP BY 1, 2"
    for embedder, role, dims, wrong in nb.query(sql):
        if dims > 1 or wrong:
            yield f"vectors of {embedder!r}, role {role}: found {dims} lengths and {wrong} damaged rows; embed again"
