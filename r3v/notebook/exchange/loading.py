"""Notes from files: an exported folder, JSONL (ours or MNL's), a Markdown page."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from r3v.errors import DataError
from r3v.notebook.exchange.editing import from_markdown, image_reader
from r3v.notebook.store.check import check_note
from r3v.notebook.store.note import Note, canonical


def load(path: str | Path, put_blob: Callable[[bytes], str]) -> tuple[list[Note], list[dict[str, Any]]]:
    """Notes and refusals of an exported folder, a .jsonl file of notes, or a .md page; blobs go to `put_blob`.

    Raises DataError with file and line for what does not fit.
    """
    source = Path(path)
    if source.is_dir():
        if not (source / "notebook.json").is_file():
            raise DataError("no notebook.json in the folder", file=source, fix="Name a folder that `export` wrote")
        _put_blobs(source, put_blob)
        notes = [note for page in sorted((source / "notes").glob("*.md")) for note in load(page, put_blob)[0]]
        if (source / "notes.jsonl").is_file():
            notes.extend(_jsonl(source / "notes.jsonl"))
        return notes, rows(source / "refused.jsonl") if (source / "refused.jsonl").is_file() else []
    if not source.is_file():
        raise DataError("no such file or folder", file=source)
    if source.suffix == ".md":
        return [from_markdown(_text(source), image=_stored(source, put_blob), file=source)], []
    if source.suffix == ".jsonl":
        _put_blobs(source.parent, put_blob)
        return _jsonl(source), []
    raise DataError(f"found ending {source.suffix!r}, expected a folder, .jsonl or .md", file=source)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8: {error}", file=path) from error


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"not JSON: {error}", file=path, row=f"line {number}") from error
        if not isinstance(row, dict):
            raise DataError(f"found {type(row).__name__}, expected an object", file=path, row=f"line {number}")
        found.append(row)
    return found


def _jsonl(path: Path) -> list[Note]:
    notes: list[Note] = []
    for number, row in enumerate(rows(path), 1):
        try:
            note = Note.from_dict(row) if "id" in row else from_mnl(row)
            check_note(note)
        except DataError as error:
            where = f"{number}, note {row.get('id')!r}" if "id" in row else number
            raise DataError(error.what, file=path, row=where, field=error.field, fix=error.fix) from error
        notes.append(note)
    return notes


def from_mnl(row: dict[str, Any]) -> Note:
    """A row of MNL's knowledge file (subject, guidance, embedding) as a note.

    The embedding is left out, since the row does not say which model made it. The id is made from the subject, so
    that importing the file again changes the same notes. Raises DataError for another shape.
    """
    unknown = row.keys() - {"subject", "guidance", "embedding"}
    if unknown or not {"subject", "guidance"} <= row.keys():
        raise DataError(f"found fields {', '.join(sorted(row))}, expected a note with an id, or subject and guidance")
    subject, guidance = row["subject"], row["guidance"]
    if not isinstance(subject, str) or not isinstance(guidance, str):
        raise DataError("found subject or guidance that is no text", field="guidance")
    slug = re.sub(r"[^a-z0-9]+", "-", subject.lower())[:40].strip("-")
    digest = hashlib.sha256(canonical(["mnl", subject])).hexdigest()[:8]
    return Note(
        id=f"mnl-{slug}-{digest}" if slug else f"mnl-{digest}", subject=subject, guidance=guidance, author="MNL"
    )


def _put_blobs(folder: Path, put_blob: Callable[[bytes], str]) -> None:
    for path in sorted([*folder.glob("images/*"), *folder.glob("sources/*")]):
        if re.fullmatch(r"[0-9a-f]{64}", path.stem):
            _put(path, put_blob)


def _put(path: Path, put_blob: Callable[[bytes], str]) -> str:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != path.stem:
        raise DataError("the bytes do not match the hash in the name", file=path, fix="Restore it, or export again")
    return put_blob(data)


def _stored(page: Path, put_blob: Callable[[bytes], str]) -> Callable[[str], str]:
    """Images of an exported page are named by their hash; any other file is checked and taken in."""
    fresh = image_reader(put_blob, page.parent)

    def read(link: str) -> str:
        path = page.parent / link
        if re.fullmatch(r"[0-9a-f]{64}", path.stem) and path.is_file():
            return _put(path, put_blob)
        return fresh(link)

    return read
