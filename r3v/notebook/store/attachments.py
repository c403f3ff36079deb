"""What a notebook keeps beside its notes: events, refused lessons, blobs, vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from r3v.errors import DataError
from r3v.notebook.store.database import Database, now
from r3v.notebook.store.note import canonical

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["proposed", "accepted", "refused", "retrieved", "injected", "helped", "hurt", "edited", "qualified"]
KINDS: tuple[str, ...] = get_args(Kind)
ROLES = ("note", "query")
MAX_BLOB = 64 << 20
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `data["note"]` is the id of the note it happened to, where there is one."""

    id: int
    time: str
    kind: str
    data: dict[str, Any]


def to_json(value: Any, what: str) -> str:
    """Canonical JSON text. Raises DataError where the value has none (NaN, an object, a lone surrogate)."""
    try:
        json.dumps(value, allow_nan=False)
        return canonical(value).decode()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{what} cannot be written as JSON: {error}", fix="Use text, numbers, lists and dicts"
        ) from error


class Attachments(Database):
    """Events, refusals, blobs and vectors of one file."""

    def record(self, kind: str, **data: Any) -> int:
        """Append one event and return its id. Raises DataError for an unknown kind."""
        return self.record_many([(kind, data)])[0]

    def record_many(self, events: Sequence[tuple[str, Mapping[str, Any]]]) -> list[int]:
        """Append (kind, data) pairs in one transaction: one disk sync for a whole batch."""
        rows: list[tuple[str, Any, str]] = []
        for kind, data in events:
            if kind not in KINDS:
                raise DataError(f"found event kind {kind!r}, expected one of {', '.join(KINDS)}", field="kind")
            note = data.get("note")
            if note is not None and not isinstance(note, str):
                raise DataError(f"found {note!r}, expected the id of a note", row=kind, field="note")
            rows.append((kind, note, to_json(dict(data), f"event {kind}")))
        ids: list[int] = []
        with self.transaction():
            for row in rows:
                self._rows("INSERT INTO events (time, kind, note, data) VALUES (?, ?, ?, ?)", (now(), *row))
                ids.append(self._rows("SELECT last_insert_rowid()")[0][0])
        return ids

    def events(self, kind: str | None = None, note: str | None = None) -> Iterator[Event]:
        """Events in the order they were written, filtered by kind and note id. Reads page by page, without a lock."""
        where, values = "id > ?", [0]
        filters: list[Any] = []
        for column, value in (("kind", kind), ("note", note)):
            if value is not None:
                where += f" AND {column} = ?"
                filters.append(value)
        while True:
            sql = f"SELECT id, time, kind, data FROM events WHERE {where} ORDER BY id LIMIT {_PAGE}"
            page = self._rows(sql, (*values, *filters))
            for row in page:
                yield Event(row[0], row[1], row[2], json.loads(row[3]))
            if len(page) < _PAGE:
                return
            values = [page[-1][0]]

    def event_counts(self) -> dict[str, dict[str, int]]:
        """Note id -> kind -> number of events; events without a note are under the empty id."""
        found: dict[str, dict[str, int]] = {}
        for note, kind, count in self._rows(
            "SELECT coalesce(note, ''), kind, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2"
        ):
            found.setdefault(note, {})[kind] = count
        return found

    def refuse(self, lesson_hash: str, receipt: Mapping[str, Any]) -> None:
        """Remember that this lesson was refused, so that it is not learnt again. The last word counts."""
        self._refusal(lesson_hash, to_json(dict(receipt), "receipt"))

    def allow(self, lesson_hash: str) -> None:
        """Lift a refusal; the refused receipt stays on record."""
        self._refusal(lesson_hash, None)

    def _refusal(self, lesson_hash: str, receipt: str | None) -> None:
        if not isinstance(lesson_hash, str) or not lesson_hash:
            raise DataError(f"found {lesson_hash!r}, expected the hash of a lesson", field="lesson_hash")
        with self.transaction():
            self._rows("INSERT INTO refusals (lesson, time, receipt) VALUES (?, ?, ?)", (lesson_hash, now(), receipt))

    def refused(self, lesson_hash: str) -> dict[str, Any] | None:
        """The receipt of the refusal that stands, or None."""
        sql = "SELECT receipt FROM refusals WHERE lesson = ? ORDER BY id DESC LIMIT 1"
        rows = self._rows(sql, (lesson_hash,))
        return json.loads(rows[0][0]) if rows and rows[0][0] is not None else None

    def refusals(self) -> dict[str, dict[str, Any]]:
        """Lesson hash -> receipt of every refusal that stands."""
        found: dict[str, dict[str, Any]] = {}
        for lesson, receipt in self._rows("SELECT lesson, receipt FROM refusals ORDER BY id"):
            found.pop(lesson, None)
            if receipt is not None:
                found[lesson] = json.loads(receipt)
        return found

    def put_blob(self, data: bytes) -> str:
        """Keep bytes under their sha256, once. Raises DataError above 64 MiB."""
        if len(data) > MAX_BLOB:
            raise DataError(f"found {len(data):,} bytes, expected at most {MAX_BLOB:,}", fix="Shrink the image")
        name = hashlib.sha256(data).hexdigest()
        if not self.has_blob(name):
            with self.transaction():
                self._rows("INSERT INTO blobs VALUES (?, ?)", (name, bytes(data)))
        return name

    def has_blob(self, sha: str) -> bool:
        return bool(self._rows("SELECT 1 FROM blobs WHERE hash = ?", (sha,)))

    def blob(self, sha: str) -> bytes:
        """Raises DataError when the notebook has no such blob, or its bytes no longer match."""
        rows = self._rows("SELECT data FROM blobs WHERE hash = ?", (sha,))
        if not rows:
            raise DataError("no such blob in the notebook", file=self.path, row=sha)
        if hashlib.sha256(rows[0][0]).hexdigest() != sha:
            raise DataError("the bytes do not match their hash", file=self.path, row=sha, fix="Restore from a copy")
        return rows[0][0]

    def put_vectors(
        self,
        embedder_id: str,
        role: Literal["note", "query"],
        vectors: Mapping[str, np.ndarray | Sequence[float]],
    ) -> None:
        """Cache float32 vectors by content hash; an older vector of the same content is replaced.

        Raises DataError for a vector that is not one-dimensional and finite, or of another length than those this
        embedder has for this role.
        """
        import numpy as np

        self._embedder(embedder_id, role)
        rows = []
        for content, vector in vectors.items():
            array = np.asarray(vector, dtype="<f4")
            if array.ndim != 1 or not array.size or not np.isfinite(array).all():
                raise DataError(f"found shape {array.shape}, expected one finite vector", row=content, field="vector")
            rows.append((embedder_id, role, content, array.size, array.tobytes()))
        with self.transaction():
            sql = "SELECT DISTINCT dim FROM vectors WHERE embedder = ? AND role = ?"
            dims = {row[3] for row in rows} | {row[0] for row in self._rows(sql, (embedder_id, role))}
            if len(dims) > 1:
                raise DataError(
                    f"found lengths {sorted(dims)}, expected one for embedder {embedder_id!r}, role {role}",
                    file=self.path,
                    fix="Give a changed embedder another id",
                )
            self._many("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)", rows)

    def vectors(self, embedder_id: str, role: Literal["note", "query"]) -> dict[str, np.ndarray]:
        """Content hash -> float32 vector (read-only), all of one length; empty when this embedder has none."""
        import numpy as np

        self._embedder(embedder_id, role)
        sql = "SELECT content, data FROM vectors WHERE embedder = ? AND role = ?"
        return {content: np.frombuffer(data, "<f4") for content, data in self._rows(sql, (embedder_id, role))}

    def drop_vectors(self, embedder_id: str) -> int:
        """Forget the cached vectors of one embedder; returns how many there were."""
        with self.transaction():
            count = self._rows("SELECT count(*) FROM vectors WHERE embedder = ?", (embedder_id,))[0][0]
            self._rows("DELETE FROM vectors WHERE embedder = ?", (embedder_id,))
        return count

    def embedders(self) -> set[str]:
        return {row[0] for row in self._rows("SELECT DISTINCT embedder FROM vectors")}

    @staticmethod
    def _embedder(embedder_id: str, role: str) -> None:
        if role not in ROLES:
            raise DataError(f"found role {role!r}, expected note or query", field="role")
        if not embedder_id:
            raise DataError("found an empty embedder id", field="embedder_id")
