"""A note: one piece of subject guidance that a solver may be shown. Immutable; an edit is a new revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from r3v.errors import DataError

SCHEMA = 1
State = Literal["active", "retired"]


@dataclass(frozen=True, slots=True)
class Note:
    """One revision of one note.

    `id` names the note over all its revisions; `revision` names these words. `sources` are ids of the problems it
    was learnt from, `source_hashes` their text and image hashes, so that it is never retrieved for them during
    evaluation. `images` are blob hashes in the store. `parents` are the revisions it comes from: none for a new note,
    one for an edit or a split, several for a merge.
    """

    id: str
    subject: str
    guidance: str
    example: str = ""
    anti_pattern: str = ""
    applicability: str = ""
    sources: tuple[str, ...] = ()
    source_hashes: tuple[str, ...] = ()
    author: str = ""
    prompt_hash: str = ""
    images: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    state: State = "active"

    def __post_init__(self) -> None:
        for name in ("id", "subject", "guidance"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"found {value!r}, expected a non-empty string", row=self.id or None, field=name)
        if self.state not in ("active", "retired"):
            raise DataError(f"found {self.state!r}, expected active or retired", row=self.id, field="state")

    @property
    def revision(self) -> str:
        """sha256 over the canonical JSON of every field, hexadecimal."""
        return hashlib.sha256(canonical(self.to_dict())).hexdigest()

    @property
    def words(self) -> str:
        """What of a note is compared with a question: subject, when it applies, guidance. The corrected example and the
        anti-pattern are left out: they name the numbers of one problem."""
        return "\n".join(part for part in (self.subject, self.applicability, self.guidance) if part.strip())

    def to_dict(self) -> dict[str, Any]:
        row = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return {"schema": SCHEMA, **row}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Note:
        """Raises DataError for an unknown schema, a missing field or a wrong type."""
        if row.get("schema", SCHEMA) != SCHEMA:
            raise DataError(f"found note schema {row['schema']!r}, expected {SCHEMA}", row=row.get("id"))
        known = {f.name: f for f in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in row.items():
            if name == "schema":
                continue
            if name not in known:
                raise DataError(f"found unknown field {name!r}", row=row.get("id"), field=name)
            values[name] = tuple(value) if isinstance(value, list) else value
        missing = {"id", "subject", "guidance"} - values.keys()
        if missing:
            raise DataError(f"missing {', '.join(sorted(missing))}", row=row.get("id"))
        return cls(**values)


def canonical(value: Any) -> bytes:
    """One byte string per JSON value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
