"""Rows of large files without holding them: byte offsets in memory, one row parsed when it is asked for.

JSON Lines, one JSON array of objects, and one JSON object of objects are all the same `JsonFile`
afterwards. An index entry costs 4 bytes (8 in files of 4 GiB and more), whatever the rows hold.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.errors import DataError

_BLOCK = 1 << 20
_KEYED = re.compile(rb'\s*\{\s*"[^"\\]*(?:\\.[^"\\]*)*"\s*:\s*\{')
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
_PAIR = re.compile(rb'"\s*:')
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """One raw record and where it stands. `key` is its name in a JSON object of objects, `split` that of
    its file."""

    file: str
    label: str
    value: dict[str, Any]
    key: str | None = None
    split: str | None = None

    def error(self, what: str, field: str | None = None, fix: str | None = None) -> DataError:
        return DataError(what, file=self.file, row=self.label, field=field, fix=fix)


class JsonFile(Sequence[Row]):
    """Rows of one file, read with `pread`: forks and threads may share it. Pickles without its handle."""

    def __init__(self, path: str | Path, split: str | None = None, inside: str | None = None) -> None:
        """`inside` names the list of a JSON object that holds the rows, as in {"info": ..., "questions": [...]}."""
        self.path, self.split = str(path), split
        self.keyed = False
        self._bounds = array("I")  # row i lies between bounds i and i + 1, blanks and commas before it
        self._handle: int | None = None
        self._told = False
        try:
            with open(self.path, "rb") as file:
                if os.fstat(file.fileno()).st_size >= 1 << 32:
                    self._bounds = array("Q")
                layout = _layout(file, self.path) if inside is None else "list"
                self.keyed = layout == "object"
                if layout == "lines":
                    _index_lines(file, self._bounds)
                else:
                    _index_json(file, self._bounds, self.path, inside)
        except OSError as error:
            raise DataError(
                f"cannot read the data file: {error.strerror or error}", file=self.path, fix="Check the path"
            ) from error
        if len(self._bounds) < 2:
            raise DataError("found no rows, expected at least one", file=self.path)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: Any) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, stop = self._bounds[index], self._bounds[index + 1]
        label = f"{index + 1}"
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDONLY)
        text = os.pread(self._handle, stop - start, start).lstrip(b" \t\r\n,")
        text = b"{" + text + b"}" if self.keyed else text
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"not valid JSON: {error}", file=self.path, row=label, fix="Write one object per row"
            ) from error
        if isinstance(value, dict) and len(_PAIR.findall(text)) > len(value):
            self._check_keys(text, label)
        key = None
        if self.keyed:
            (key, value) = next(iter(value.items())) if len(value) == 1 else (None, list(value.values()))
            label = f"{label} ({key})"
        if not isinstance(value, dict):
            raise DataError(f"found {type(value).__name__}, expected a JSON object", file=self.path, row=label)
        return Row(self.path, label, value, key, self.split)

    def _check_keys(self, text: bytes, label: str) -> None:
        """Raise DataError where a key has two values in one object; warn once where it merely stands twice."""

        def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
            value = dict(found)
            for key, item in found if len(value) < len(found) else ():
                if item != value[key]:
                    raise DataError(
                        f"the key {key!r:.60} stands twice in one object, with different values",
                        file=self.path,
                        row=label,
                        field=key[:60],
                        fix="Keep one of them",
                    )
            if len(value) < len(found) and not self._told:
                self._told = True
                warnings.warn(
                    f"{self.path}, row {label}: a key stands twice in one object, with one value (told once)",
                    stacklevel=4,
                )
            return value

        json.loads(text, object_pairs_hook=pairs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            os.close(self._handle)  # type: ignore[arg-type]


class Joined(Sequence[Row]):
    """Several row sources one after the other."""

    def __init__(self, parts: Sequence[Sequence[Row]]) -> None:
        self.parts = parts
        self._ends: list[int] = []
        for part in parts:
            self._ends.append((self._ends[-1] if self._ends else 0) + len(part))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self._ends, index)
        return self.parts[part][index - (self._ends[part - 1] if part else 0)]


def _layout(file: Any, path: str) -> str:
    """ "lines", "array" or "object" (of objects), from the name and the first 64 KB."""
    head = file.read(1 << 16).removeprefix(_BOM)
    file.seek(0)
    if Path(path).suffix.lower() in (".jsonl", ".ndjson"):
        return "lines"
    if head.lstrip()[:1] == b"[":
        return "array"
    if not _KEYED.match(head):
        return "lines"
    line, newline, rest = head.partition(b"\n")
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return "object"
    return "lines" if newline and rest.strip() else "object"


def _index_lines(file: Any, bounds: array) -> None:
    offset = 0
    for number, line in enumerate(file):
        if number == 0:
            bounds.append(len(_BOM) if line.startswith(_BOM) else 0)
            line_text = line.removeprefix(_BOM)
        else:
            line_text = line
        offset += len(line)
        if line_text.strip():
            bounds.append(offset)


def _more(file: Any, start: int, stop: int) -> bool:
    """Whether anything but blanks stands between the last element and the closing bracket."""
    return bool(os.pread(file.fileno(), min(stop - start, 1 << 16), start).strip())


def _index_json(file: Any, bounds: array, path: str, inside: str | None = None) -> None:
    """Bounds of the elements of the top-level array, of the pairs of the top-level object, or of the elements of its
    list `inside`.

    An element begins where the one before it ended: anything odd between two is seen when the row is parsed.
    """
    level, key = (1, b"") if inside is None else (2, json.dumps(inside).encode())
    depth, buffer, base, named, within = 0, b"", 0, inside is None, False
    while block := file.read(_BLOCK):
        buffer += block
        position = 0
        for match in _TOKEN.finditer(buffer):
            token = match.group()
            if token == b'"':  # a string that goes on in the next block
                break
            position = match.end()
            if depth == 0 and bounds:
                where = f"byte {base + match.start()}"
                raise DataError("found text after the end of the JSON value", file=path, row=where)
            if token in (b"{", b"["):
                depth += 1
                if depth == level and named and not bounds:
                    within = True
                    bounds.append(base + match.end())
            elif token in (b"}", b"]"):
                depth -= 1
                if depth == level and within:
                    bounds.append(base + match.end())
                elif depth == level - 1 and within:
                    within = False
                    if _more(file, bounds[-1], base + match.start()):
                        bounds.append(base + match.start())
            elif depth == 1 and inside is not None:
                named = token == key
        else:
            position = len(buffer)
        base += position
        buffer = buffer[position:]
    if depth or not base:
        raise DataError(
            "the JSON ends in the middle of a value",
            file=path,
            row=f"byte {base}",
            fix="The file may be cut off; copy it again",
        )
    if not bounds:
        raise DataError(f"found no list {inside!r} in it" if inside else "found no JSON array or object", file=path)
