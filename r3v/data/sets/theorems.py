"""The theorems of GeoQA's training problems, as FormalGeo annotates them: names of skills, never part of a target.

FormalGeo's records stand beside the join file. Rows of the test split are not parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r3v.errors import DataError

JOIN, RAW = "join_multiple_choice.jsonl", "formalgeo_raw_text.jsonl"
PARTS = ("train", "gate", "dev")
"""What GeoQA's training split is divided into."""
_NAME, _HEAD = re.compile(r"\w+"), re.compile(r'\{"problem_id": (\d+)')


def theorems_of(folder: Path) -> dict[int, tuple[str, ...]]:
    """FormalGeo's number of a training problem -> the theorems of its solution in their order, each once.

    Raises DataError for a folder without the two files, or a record that holds no list of theorems.
    """
    joined, raw = folder / JOIN, folder / RAW
    for path in (joined, raw):
        if not path.is_file():
            raise DataError("no such file", file=path, fix="Name the folder that `r3v fetch geoqa` made")
    wanted = {row["problem_id"] for row in _rows(joined, '"split": "train"')}
    found = {}
    with raw.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            head = _HEAD.match(line)
            if head and int(head[1]) in wanted:
                found[int(head[1])] = _names(json.loads(line), raw, number)
    return found


def _names(record: dict[str, Any], path: Path, line: int) -> tuple[str, ...]:
    steps = record.get("theorem_seqs")
    if not isinstance(steps, list):
        raise DataError(
            f"found {type(steps).__name__}, expected a list of theorems", file=path, row=str(line),
            field="theorem_seqs", fix="Fetch the data again (r3v fetch geoqa)",
        )  # fmt: skip
    names = (_NAME.match(str(step)) for step in steps)
    return tuple(dict.fromkeys(name[0] for name in names if name))


def _rows(path: Path, mark: str) -> Iterator[dict[str, Any]]:
    """The rows whose line holds `mark`; the others are not parsed."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if mark in line:
                yield json.loads(line)
