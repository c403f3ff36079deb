"""Answers already paid for: one SQLite file, shared by threads and processes, addressed by what was asked.

SQLite rather than a file per answer: a run of a million problems with sixteen samples each would leave sixteen
million files. Every answer is a transaction of its own, so a killed process loses only what was not yet answered.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r3v.errors import RunError

FORMAT = 1
"""Part of every key, raised when the stored form changes, so that older answers are asked for again."""

WAL_SAFE = (3, 51, 3)
"""SQLite before this can damage a write-ahead log that several connections write to; a new file then gets none."""


def cache_key(kind: str, parts: Mapping[str, Any]) -> str:
    """sha256 of `parts` as JSON with sorted names. Images are to be named by their hash in it, not by their bytes."""
    text = json.dumps([FORMAT, kind, dict(parts)], sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class ResponseCache:
    """Key -> JSON value. A damaged value counts as absent and is written again.

    Raises RunError where the file cannot be opened or is not such a cache.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=60.0, isolation_level=None, check_same_thread=False)
            try:
                if sqlite3.sqlite_version_info >= WAL_SAFE:
                    connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
                )
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise self._broken(error) from error
        return connection

    def _broken(self, error: Exception) -> RunError:
        return RunError(
            f"{self.path}: cannot be used as a cache of answers ({error}); name another file in server.cache, "
            "or move this one away"
        )

    def get(self, key: str) -> Any | None:
        """The value, or None. Raises RunError where the file is damaged."""
        try:
            with self._lock:
                row = self._mine().execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._broken(error) from error
        if row is None:
            return None
        try:
            return json.loads(zlib.decompress(row[0]))
        except (zlib.error, ValueError, TypeError):
            return None  # the checksum in zlib's format does not hold; asking again repairs it

    def put(self, key: str, value: Any) -> None:
        """Store a JSON value; it is on disk when this returns. Raises RunError."""
        data = zlib.compress(json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), 6)
        try:
            with self._lock:
                self._mine().execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, data))
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def __len__(self) -> int:
        with self._lock:
            return self._mine().execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> ResponseCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _mine(self) -> sqlite3.Connection:
        """The connection; a forked process opens its own, because SQLite's must not cross a fork."""
        if self._owner != os.getpid():
            self._owner, self._connection = os.getpid(), self._open()
        return self._connection
