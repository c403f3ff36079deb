"""One notebook file: opening it, short write transactions, and SQLite's errors told in the library's words."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import r3v.notebook.store.schema as schema
from r3v.errors import RunError

WAIT = 10.0  # seconds a writer waits for another one


def now() -> str:
    """The time of a row: UTC, ISO 8601, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Database:
    """A SQLite connection that several threads of one process may share.

    The journal is SQLite's rollback journal, not WAL: the notebook stays one file that can be copied, and SQLite before
    3.51.3 can damage a WAL file when two connections checkpoint at once. Not for network file systems,
    whose locks do not hold.
    """

    def __init__(self, path: str | Path, *, create: bool = False, wait: float = WAIT, read_only: bool = False) -> None:
        self.path = Path(path)
        self._wait = wait
        self._lock = threading.RLock()
        self._depth = 0
        self._pid = os.getpid()
        if not create and not self.path.is_file():
            raise RunError(f"{self.path}: no such notebook; `r3v notebook add {self.path}` makes one")
        if create:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            place = f"{self.path.absolute().as_uri()}?mode=ro" if read_only else self.path
            self._db = sqlite3.connect(
                place, timeout=wait, isolation_level=None, check_same_thread=False, uri=read_only
            )
        except sqlite3.Error as error:
            raise RunError(f"{self.path}: cannot be opened: {error}") from error
        try:
            self._check(create)
        except BaseException:
            self._db.close()
            raise

    def _check(self, create: bool) -> None:
        for pragma in ("journal_mode = DELETE", "synchronous = FULL", "foreign_keys = ON", "mmap_size = 0"):
            self._rows(f"PRAGMA {pragma}")
        if create and not self._rows("SELECT 1 FROM sqlite_master LIMIT 1"):
            with self.transaction():
                if not self._rows("SELECT 1 FROM sqlite_master LIMIT 1"):  # another process may have been first
                    self._create()
        marker = self._rows("PRAGMA application_id")[0][0]
        if marker != schema.APPLICATION_ID:
            raise RunError(f"{self.path}: a SQLite file, but not a notebook; name another file")
        version = self._rows("PRAGMA user_version")[0][0]
        if version != schema.VERSION:
            raise RunError(
                f"{self.path}: found notebook format {version}, expected {schema.VERSION}; open it with the release "
                "of r3v that wrote it, export it there and import it here"
            )

    def _create(self) -> None:
        for statement in schema.statements():
            self._rows(statement)
        self._rows(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        self._rows(f"PRAGMA user_version = {schema.VERSION}")
        self._rows("INSERT INTO meta VALUES ('created', ?)", (now(),))

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows at once: an open cursor would hold a read lock and stop writers."""
        if self._pid != os.getpid():
            raise RunError(f"{self.path}: opened in another process; call Notebook.open after the fork")
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._told(error) from error

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a SELECT (or of a PRAGMA that reads), for inspection. RunError for another statement."""
        if sql.split(None, 1)[0].upper() not in ("SELECT", "WITH", "PRAGMA"):
            raise RunError(f"{self.path}: query only reads; found {sql.split(None, 1)[0]!r}")
        return self._rows(sql, values)

    def _many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._lock:
            try:
                self._db.executemany(sql, rows)
            except sqlite3.Error as error:
                raise self._told(error) from error

    def _told(self, error: sqlite3.Error) -> RunError:
        text = str(error)
        if "locked" in text or "busy" in text:
            return RunError(
                f"{self.path}: another process has been writing for over {self._wait:g} s; nothing was written here. "
                "Try again when it is done"
            )
        if "not a database" in text or "malformed" in text:
            return RunError(f"{self.path}: not a notebook, or damaged ({text}); restore it from a copy or an export")
        return RunError(f"{self.path}: SQLite says: {text}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is kept together or not at all; a block inside another can fail on its own.

        It locks out other writers, so never ask a model inside one. Raises RunError when another process keeps the
        file locked.
        """
        with self._lock:
            nested = f"level{self._depth}" if self._depth else ""
            self._rows(f"SAVEPOINT {nested}" if nested else "BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                self._rows(f"RELEASE {nested}" if nested else "COMMIT")
            except BaseException:
                self._forget()
                if self._db.in_transaction:
                    self._db.execute(f"ROLLBACK TO {nested}" if nested else "ROLLBACK")
                    if nested:
                        self._db.execute(f"RELEASE {nested}")
                raise
            finally:
                self._depth -= 1

    def _forget(self) -> None:
        """Drop what is remembered of rows that are being rolled back."""

    def close(self) -> None:
        self._db.close()
