"""Every call to a model or a search engine, written down once under a hash of all that determines it.

An append-only JSON Lines file, one line for each answer, fsynced. A run that was killed reads it and asks only what is
missing. A line torn by a kill is cut off; a damaged line inside is an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r3v.errors import RunError
from r3v.io import claim


@dataclass
class Meter:
    """What one role has cost so far. `cached` answers came from the journal and cost nothing now."""

    calls: int = 0
    cached: int = 0
    repairs: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def key_of(*parts: Any) -> str:
    """sha256 of the parts as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Journal:
    """Answers by key, for any thread of one process (RunError for a second one). Use as a context manager."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = open(self.path, "a+b")  # noqa: SIM115 - closed by close()
        try:
            claim(self._file, f"{path}: another process is writing it; wait for it or choose another folder")
            self._rows = self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        self._file.close()

    def _read(self) -> dict[str, Mapping[str, Any]]:
        self._file.seek(0)
        rows: dict[str, Mapping[str, Any]] = {}
        whole = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                self._file.truncate(whole)
                break
            try:
                row = json.loads(line)
                rows[row["key"]] = row["value"]
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"{self.path}: line {number} is damaged ({error}); delete the line or the file"
                ) from error
            whole += len(line)
        return rows

    def get(self, key: str) -> Mapping[str, Any] | None:
        """What was answered before, or None."""
        return self._rows.get(key)

    def rows(self) -> list[Mapping[str, Any]]:
        """Everything that was answered, in order."""
        with self._lock:
            return list(self._rows.values())

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Write an answer down; on disk when this returns."""
        line = json.dumps({"key": key, "value": value}, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._rows[key] = value
