"""A list of the times a test set was asked: one JSON line for each, appended before the first question.

A test set that is asked again and again is no test set any more, so the list is kept beside the results and shown with
them. Lines are never changed or taken away. Folders of this machine are left out of the command.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from r3v.errors import RunError
from r3v.io import make_folder

SCHEMA = 1
_FOLDERS = re.compile(r"(?<![\w.~-])(?:~|\.{1,2})?/(?:[^/\s?'\"=,]+/)+")


def append(path: str | Path, **entry: Any) -> dict[str, Any]:
    """Append one asking, with the time, and return it. Raises RunError where it cannot be written."""
    line = {"schema": SCHEMA, "date": datetime.now(UTC).isoformat(timespec="seconds"), **entry}
    make_folder(Path(path).parent)
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RunError(f"{path}: cannot note that the test set is asked ({error.strerror or error})") from error
    return line


def entries(path: str | Path) -> list[dict[str, Any]]:
    """Every asking, oldest first. Raises RunError for a missing file or a line that is not one."""
    found: list[dict[str, Any]] = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RunError(f"{path}: cannot read the ledger ({error.strerror or error})") from error
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise RunError(f"{path}: line {number} is no JSON ({error}); restore the file") from error
        if not isinstance(value, dict) or "date" not in value:
            raise RunError(f"{path}: line {number} is no asking, expected an object with a date; restore the file")
        found.append(value)
    return found


def portable(arguments: Sequence[str]) -> str:
    """A command without the folders of the machine it ran on: what was asked, not where it lay."""
    return " ".join(_FOLDERS.sub("", argument) for argument in arguments)
