"""Notebooks as folders: Markdown or JSONL in a stable order, with images beside, made for reading a git diff.

    FOLDER/notebook.json     format and the commit it shows
    FOLDER/notes/*.md        one page a note (Markdown), or
    FOLDER/notes.jsonl       one note a line, by id (JSONL)
    FOLDER/refused.jsonl     lessons that were refused, if any
    FOLDER/images/, sources/ blobs that the notes name, under their hash

Notes, retired ones included, come back with the same revisions. History, events and vectors stay in the notebook file:
copy that to keep everything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from r3v.errors import DataError
from r3v.io import atomic_write
from r3v.notebook.exchange.editing import from_markdown, to_markdown
from r3v.notebook.exchange.loading import load, rows
from r3v.notebook.store.note import Note, canonical
from r3v.notebook.store.reading import HEAD
from r3v.notebook.store.store import Notebook

Format = Literal["markdown", "jsonl"]
FORMATS: tuple[Format, ...] = ("markdown", "jsonl")
_MAGIC = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"BM", "bmp"))
_SAFE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")
_NAMED = re.compile(r"(?:image|source):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Imported:
    """`commit` is None when everything was there already."""

    commit: str | None
    added: int
    changed: int
    removed: int
    refusals: int


def export(
    notebook: Notebook, folder: str | Path, *, format: Format = "markdown", ref: str = HEAD, force: bool = False
) -> str:
    """Write a snapshot into a folder and return its commit.

    Files of an earlier export are brought up to date, other files are left alone. Raises DataError, before anything is
    written, when the folder holds something else, or an exported file was edited since: import it first, or `force`.
    """
    target = Path(folder)
    commit = notebook.resolve(ref)
    if format not in FORMATS:
        raise DataError(f"found format {format!r}, expected one of {', '.join(FORMATS)}", field="format")
    files = _render(notebook, commit, format)
    if target.is_dir() and any(target.iterdir()) and not (target / "notebook.json").is_file():
        raise DataError("the folder is not empty and no export", file=target, fix="Name another folder")
    edited = [name for name, old in _present(target) if old != files.get(name) and not _known(notebook, target / name)]
    if edited and not force:
        raise DataError(
            f"edited since the export: {', '.join(edited[:5])}{' ...' if len(edited) > 5 else ''}",
            file=target,
            fix="Run `r3v notebook import` first, or export with --force to write over it",
        )
    for name, text in sorted(files.items()):
        if not (target / name).is_file() or (target / name).read_bytes() != text:
            atomic_write(target / name, text)
    for name, sha in sorted(_blob_files(notebook, commit).items()):
        if not (target / name).is_file():
            atomic_write(target / name, notebook.blob(sha))
    for name, _ in _present(target):
        if name not in files:
            (target / name).unlink()
    return commit


def _render(notebook: Notebook, commit: str, format: Format) -> dict[str, bytes]:
    """Relative path -> bytes of every file but the blobs."""
    notes = notebook.notes(commit, retired=True)
    about = {"schema": 1, "format": format, "commit": commit}
    files = {"notebook.json": _pretty(about)}
    where = {sha: name for name, sha in _blob_files(notebook, commit).items()}
    if format == "jsonl":
        files["notes.jsonl"] = "".join(f"{_line(note.to_dict())}\n" for note in notes.values()).encode()
    else:
        for note in notes.values():
            files[f"notes/{file_name(note.id)}"] = to_markdown(note, lambda sha: f"../{where[sha]}").encode()
    refused = notebook.refusals()
    if refused:
        lines = [_line({"lesson": lesson, "receipt": receipt}) for lesson, receipt in sorted(refused.items())]
        files["refused.jsonl"] = "".join(f"{line}\n" for line in lines).encode()
    return files


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def file_name(note: str) -> str:
    """A file name of lower-case letters, digits and hyphens; any other id gets a piece of its hash as well."""
    if _SAFE.fullmatch(note):
        return f"{note}.md"
    slug = re.sub(r"[^a-z0-9]+", "-", note.lower())[:40].strip("-") or "note"
    return f"{slug}_{hashlib.sha256(note.encode()).hexdigest()[:16]}.md"


def _blob_files(notebook: Notebook, commit: str) -> dict[str, str]:
    """Relative path -> hash of the blobs that notes name: their images, and what is kept of their sources."""
    found: dict[str, str] = {}
    for note in notebook.notes(commit, retired=True).values():
        named = [match[1] for match in map(_NAMED.fullmatch, note.source_hashes) if match]
        for sha in (*note.images, *named):
            if sha in found.values() or not notebook.has_blob(sha):
                continue
            data = notebook.blob(sha)
            ending = next((end for magic, end in _MAGIC if data.startswith(magic)), None)
            if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
                ending = "webp"
            if ending is None and sha not in note.images:
                found[f"sources/{sha}.json"] = sha
            else:
                found[f"images/{sha}.{ending or 'bin'}"] = sha
    return found


def _present(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files of an export that are in the folder, blobs left out."""
    for pattern in ("notebook.json", "notes.jsonl", "refused.jsonl", "notes/*.md"):
        for path in sorted(folder.glob(pattern)):
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _known(notebook: Notebook, path: Path) -> bool:
    """Whether the notebook holds, at some commit, all that a file of an export says: then nothing is lost with it."""
    if path.name == "notebook.json":
        return True
    try:
        if path.name == "refused.jsonl":
            held = set(notebook.query("SELECT lesson, receipt FROM refusals"))
            return {(row["lesson"], canonical(row["receipt"]).decode()) for row in rows(path)} <= held
        if path.name == "notes.jsonl":
            found = [Note.from_dict(row).revision for row in rows(path)]
        else:
            found = [from_markdown(path.read_bytes().decode(), image=lambda link: Path(link).stem).revision]
        return all(notebook.query("SELECT 1 FROM revisions WHERE hash = ?", (revision,)) for revision in found)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def import_(
    notebook: Notebook,
    path: str | Path,
    *,
    author: str,
    message: str | None = None,
    ref: str = HEAD,
    replace: bool = False,
) -> Imported:
    """Commit what a folder or file holds; with `replace` the notes that are not in it are removed.

    Raises DataError, and keeps nothing, when one of its notes does not fit.
    """
    with notebook.transaction():
        before = notebook.snapshot(notebook.head(ref))
        notes, refusals = load(path, notebook.put_blob)
        put = {note.id: note for note in notes}
        if len(put) < len(notes):
            twice = sorted(name for name, times in Counter(note.id for note in notes).items() if times > 1)
            raise DataError(f"notes that are there twice: {', '.join(twice)}", file=path)
        new = [note for note in notes if before.get(note.id) != note.revision]
        remove = sorted(before.keys() - put.keys()) if replace else []
        standing = notebook.refusals()
        fresh = [row for row in refusals if standing.get(_lesson(row, path)) != row["receipt"]]
        for row in fresh:
            notebook.refuse(row["lesson"], row["receipt"])
        commit = None
        if new or remove:
            words = message or f"import {Path(path).name}"
            edits = _edits(new, remove, author)
            commit = notebook.commit(new, remove, message=words, author=author, ref=ref, events=edits)
    added = sum(note.id not in before for note in new)
    return Imported(commit, added, len(new) - added, len(remove), len(fresh))


def _edits(put: Sequence[Note], remove: Sequence[str], author: str) -> list[tuple[str, dict[str, Any]]]:
    return [("edited", {"note": name, "author": author}) for name in (*(note.id for note in put), *remove)]


def _lesson(row: dict[str, Any], path: str | Path) -> str:
    if not isinstance(row.get("lesson"), str) or not isinstance(row.get("receipt"), dict):
        raise DataError("found a row without lesson and receipt", file=Path(path) / "refused.jsonl")
    return row["lesson"]
