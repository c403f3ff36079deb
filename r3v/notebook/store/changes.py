"""What happened to the notes: log, differences, who wrote which line, taking a change back."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from r3v.errors import RunError, near
from r3v.notebook.store.note import Note
from r3v.notebook.store.reading import HEAD, Commit
from r3v.notebook.store.store import Notebook

SHOWN = tuple(f.name for f in fields(Note) if f.name not in ("id", "parents"))


@dataclass(frozen=True, slots=True)
class Change:
    """One note before and after; None where it is not there."""

    id: str
    before: Note | None
    after: Note | None

    @property
    def verb(self) -> str:
        if self.before is None or self.after is None:
            return "added" if self.before is None else "removed"
        if self.before.state != self.after.state:
            return "retired" if self.after.state == "retired" else "restored"
        return "edited"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a note's field and the commit that brought it in."""

    field: str
    text: str
    commit: Commit


def diff(notebook: Notebook, before: str, after: str) -> list[Change]:
    """The notes that differ between two refs or commits, by id. Raises RunError for an unknown name."""
    old, new = notebook.snapshot(before), notebook.snapshot(after)

    def note(revision: str | None) -> Note | None:
        return None if revision is None else notebook.revision(revision)

    ids = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [Change(name, note(old.get(name)), note(new.get(name))) for name in ids]


def lines_of(note: Note | None) -> list[tuple[str, str]]:
    """(field, line) for everything a note says, in the order of its fields; lists have one line per item."""
    found: list[tuple[str, str]] = []
    for name in SHOWN if note is not None else ():
        value = getattr(note, name)
        parts = list(value) if isinstance(value, tuple) else value.split("\n") if value else []
        found.extend((name, part) for part in parts)
    return found


def diff_text(changes: Sequence[Change]) -> str:
    """Unified differences, one block per note, each line with its field in front."""
    blocks: list[str] = []
    for change in changes:
        old, new = ([f"{name}: {line}" for name, line in lines_of(n)] for n in (change.before, change.after))
        body = list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]
        blocks.append("\n".join([f"{change.verb} {change.id}", *body]))
    return "\n\n".join(blocks)


def log(notebook: Notebook, ref: str = HEAD, note: str | None = None) -> Iterator[tuple[Commit, dict[str, str | None]]]:
    """The commits of a ref, newest first, each with what it changed; with `note` only those that changed that note.

    Raises RunError for an unknown ref, and for a note that no commit of the ref has changed.
    """
    commits = notebook.log(ref)
    if note is not None:
        touching = notebook.commits_of(note)
        commits = [commit for commit in commits if commit.hash in touching]
        if not commits:
            raise RunError(f"{notebook.path}: no note {note!r} in {ref}{near(note, notebook.snapshot(ref))}")
    for commit in commits:
        yield commit, notebook.changes(commit.hash)


def note_log(notebook: Notebook, note: str, ref: str = HEAD) -> list[tuple[Commit, Change]]:
    """What every commit of a ref did to one note, newest first. Raises RunError when none touched it."""
    rows = [(commit, change[note]) for commit, change in log(notebook, ref, note)]
    found: list[tuple[Commit, Change]] = []
    before: Note | None = None
    for commit, revision in reversed(rows):
        after = None if revision is None else notebook.revision(revision)
        found.append((commit, Change(note, before, after)))
        before = after
    return found[::-1]


def blame(notebook: Notebook, note: str, ref: str = HEAD) -> list[Line]:
    """Every line of a note as it stands, with the commit that wrote it.

    A line keeps its commit as long as it survives edits; a note that was removed and came back starts anew.
    Raises RunError when the note is not there.
    """
    if note not in notebook.snapshot(ref):
        raise RunError(f"{notebook.path}: no note {note!r} in {ref}{near(note, notebook.snapshot(ref))}")
    lines: list[tuple[str, str]] = []
    owners: list[Commit] = []
    for commit, change in reversed(note_log(notebook, note, ref)):
        new = lines_of(change.after)
        found = [commit] * len(new)
        matcher = difflib.SequenceMatcher(None, lines, new, autojunk=False)
        for block in matcher.get_matching_blocks():
            found[block.b : block.b + block.size] = owners[block.a : block.a + block.size]
        lines, owners = new, found
    return [Line(name, text, owner) for (name, text), owner in zip(lines, owners, strict=True)]


def revert(notebook: Notebook, commit: str, *, author: str, ref: str = HEAD, message: str | None = None) -> str:
    """A new commit that takes back what `commit` changed; returns its hash.

    Notes changed again since then are a conflict: RunError names them and nothing is written.
    """
    target = notebook.get_commit(notebook.resolve(commit))
    if target.parent is None:
        raise RunError(f"{notebook.path}: {target.hash[:12]} is the first commit and changed nothing")
    expected = notebook.head(ref)
    now, before = notebook.snapshot(expected), notebook.snapshot(target.parent)
    change = notebook.changes(target.hash)
    later = [name for name, revision in change.items() if now.get(name) != revision]
    if later:
        raise RunError(
            f"{notebook.path}: {', '.join(later)} changed again since {target.hash[:12]}; revert the later commits "
            "first, or edit the notes"
        )
    return notebook.commit(
        [notebook.revision(before[name]) for name in change if name in before],
        [name for name in change if name not in before],
        message=message or f"revert {target.hash[:12]}: {target.message}",
        author=author,
        ref=ref,
        expected=expected,
        events=[("edited", {"note": name, "author": author, "revert": target.hash}) for name in change],
    )
