"""What a person does to the notes: add, edit, retire, restore. Each is a commit with an `edited` event."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from r3v.errors import DataError, RunError, near
from r3v.notebook.store.note import Note, State
from r3v.notebook.store.reading import HEAD
from r3v.notebook.store.store import Notebook


def whoami() -> str:
    """The author of a person's commits: R3V_AUTHOR, else the name of the account."""
    name = os.environ.get("R3V_AUTHOR", "").strip()
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone"


def find(notebook: Notebook, note: str, ref: str = HEAD) -> Note:
    """Raises RunError for an id that is not there."""
    revision = notebook.snapshot(ref).get(note)
    if revision is None:
        raise RunError(f"{notebook.path}: no note {note!r} in {ref}{near(note, notebook.snapshot(ref))}")
    return notebook.revision(revision)


def add(notebook: Notebook, note: Note, *, author: str, message: str | None = None, ref: str = HEAD) -> str:
    """Commit a new note; returns the commit. Raises DataError when the id is taken."""
    with notebook.transaction():
        if note.id in notebook.snapshot(ref):
            raise DataError(
                "there is a note with this id already", row=note.id, field="id", fix="Edit it, or choose another id"
            )
        new = replace(note, author=note.author or author)
        return _commit(notebook, [new], message or f"add {note.id}", author, ref)


def edit(
    notebook: Notebook, before: Note, after: Note, *, author: str, message: str | None = None, ref: str = HEAD
) -> str:
    """Commit new words for a note; returns the commit.

    The new revision names the old one as its parent and the person as its author. Raises RunError when the note was
    changed by somebody else since `before` was read, DataError when the id differs or nothing changed.
    """
    if after.id != before.id:
        raise DataError(
            f"found id {after.id!r}, expected {before.id!r}", field="id", fix="Add a new note, then retire the old one"
        )
    if replace(after, parents=before.parents, author=before.author, prompt_hash=before.prompt_hash) == before:
        raise DataError("nothing to commit: the note is as it was", row=before.id)
    with notebook.transaction():
        if notebook.snapshot(ref).get(before.id) != before.revision:
            raise RunError(f"{notebook.path}: note {before.id!r} was changed meanwhile; look at it and edit it again")
        new = replace(after, parents=(before.revision,), author=author, prompt_hash="")
        return _commit(notebook, [new], message or f"edit {before.id}", author, ref)


def set_state(
    notebook: Notebook, notes: Sequence[str], state: State, *, author: str, message: str | None = None, ref: str = HEAD
) -> str:
    """Retire or restore notes in one commit; returns it. Raises RunError for an unknown id, DataError if all are so."""
    with notebook.transaction():
        found = [find(notebook, name, ref) for name in notes]
        new = [replace(note, state=state, parents=(note.revision,)) for note in found if note.state != state]
        if not new:
            raise DataError(f"nothing to commit: {', '.join(notes)} already {state}")
        verb: Literal["retire", "restore"] = "retire" if state == "retired" else "restore"
        return _commit(notebook, new, message or f"{verb} {', '.join(n.id for n in new)}", author, ref)


def _commit(notebook: Notebook, notes: Sequence[Note], message: str, author: str, ref: str) -> str:
    events: list[tuple[str, dict[str, Any]]] = [("edited", {"note": note.id, "author": author}) for note in notes]
    return notebook.commit(notes, message=message, author=author, ref=ref, events=events)
