"""What a note must be before a notebook keeps it."""

from __future__ import annotations

from dataclasses import fields
from typing import Protocol

from r3v.errors import DataError
from r3v.notebook.store.note import Note

MAX_ID = 200
LISTS = ("sources", "source_hashes", "images", "parents")


class Blobs(Protocol):
    def has_blob(self, sha: str) -> bool: ...


def check_note(note: Note, blobs: Blobs | None = None) -> None:
    """Raises DataError for a field of the wrong type, an unusable id, text without a UTF-8 form, or, with `blobs`,
    an image that was not put there first.
    """
    for field in fields(Note):
        value = getattr(note, field.name)
        if field.name in LISTS:
            if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
                raise DataError(f"found {value!r}, expected a list of strings", row=note.id, field=field.name)
        elif not isinstance(value, str):
            raise DataError(f"found {value!r}, expected a string", row=note.id, field=field.name)
        for text in value if isinstance(value, tuple) else (value,):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise DataError(f"text that is not valid Unicode: {error}", field=field.name) from error
    if len(note.id) > MAX_ID or note.id != note.id.strip() or not note.id.isprintable():
        raise DataError(
            f"found {note.id!r}, expected at most {MAX_ID} printable characters, no space at the ends", field="id"
        )
    for sha in note.images:
        if blobs is not None and not blobs.has_blob(sha):
            raise DataError(f"no blob {sha}", row=note.id, field="images", fix="Call put_blob with the image first")
