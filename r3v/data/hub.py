"""Any data set of the `datasets` library, from the hub or from local Parquet, JSON, Arrow or image folders.

Rows stay in Arrow files on disk. Images are left encoded until they are asked for: a row without its
pictures is cheap, and a Problem holds a reference to the row, not the bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from r3v.data.images import locate
from r3v.data.mapping import FieldMap, build
from r3v.data.rows import Joined, Row
from r3v.data.source import Source
from r3v.data.spec import Spec
from r3v.errors import DataError, ImageError

_SUFFIXES = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".arrow": "arrow"}


@dataclass(frozen=True, slots=True)
class TableImage:
    """An image inside a `datasets` table, fetched when read."""

    table: Any = field(repr=False, compare=False)
    row: int
    column: str
    position: int | None
    roots: tuple[str, ...]
    origin: tuple[str, str, str]
    key: str = ""

    def describe(self) -> str:
        return f"{self.column} of row {self.origin[1]}"

    def read(self) -> bytes:
        file, row, name = self.origin
        value = self.table[self.row][self.column]
        cell = value if self.position is None else value[self.position]
        if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
            return cell["bytes"]
        path = cell.get("path") if isinstance(cell, Mapping) else None
        error: ImageError | None = None
        for root in self.roots:
            try:
                return locate(path, root, file=file, row=row, field=name).read()
            except ImageError as caught:
                error = caught
        raise error or ImageError("holds neither bytes nor a path", file=file, row=row, field=name)


class TableRows(Sequence[Row]):
    """Rows of one split of a data set; image columns become `TableImage`s."""

    def __init__(self, table: Any, name: str, split: str, roots: tuple[str, ...]) -> None:
        from datasets import Image

        self.name, self.split, self.roots = name, split, roots
        self.images = [column for column, feature in table.features.items() if _is_image(feature)]
        for column in self.images:
            plain = Image(decode=False)
            table = table.cast_column(column, plain if isinstance(table.features[column], Image) else [plain])
        self.pictures = table.select_columns(self.images) if self.images else None
        others = [column for column in table.column_names if column not in self.images]
        self.table = table.select_columns(others)

    def __len__(self) -> int:
        return len(self.pictures) if self.pictures is not None else len(self.table)

    def __getitem__(self, index: Any) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        label = f"{self.split} {index + 1}"
        value = dict(self.table[index]) if self.table.column_names else {}
        if self.pictures is not None:
            cells = self.pictures[index]
            for column in self.images:
                value[column] = self._images(cells[column], index, column, label)
        return Row(self.name, label, value, split=self.split)

    def _images(self, cell: Any, index: int, column: str, label: str) -> Any:
        def one(content: Any, position: int | None) -> TableImage:
            key = _content_key(content)
            return TableImage(self.pictures, index, column, position, self.roots, (self.name, label, column), key)

        if cell is None:
            return None
        if isinstance(cell, list):
            return [one(content, position) for position, content in enumerate(cell)]
        return one(cell, None)


def _content_key(cell: Any) -> str:
    """What an id made of content uses for a picture: its bytes if they are in the table, else its file
    name."""
    from hashlib import sha256

    if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
        return sha256(cell["bytes"]).hexdigest()
    return os.path.basename(str(cell.get("path"))) if isinstance(cell, Mapping) else ""


def _is_image(feature: Any) -> bool:
    from datasets import Image

    inner = getattr(feature, "feature", None) or (feature[0] if isinstance(feature, list) and feature else None)
    return isinstance(feature, Image) or isinstance(inner, Image)


def open_table(spec: Spec) -> Any:
    """A DatasetDict or Dataset. Raises DataError saying what could not be opened."""
    import datasets
    from datasets.exceptions import DatasetsError

    path = Path(spec.path)
    datasets.disable_progress_bars()
    try:
        if path.is_dir() and ((path / "dataset_dict.json").is_file() or (path / "state.json").is_file()):
            return datasets.load_from_disk(str(path))
        if path.is_file() and path.suffix in _SUFFIXES:
            return datasets.load_dataset(_SUFFIXES[path.suffix], data_files=str(path))
        config, revision = spec.options.get("config"), spec.options.get("revision")
        return datasets.load_dataset(str(path) if path.exists() else spec.path, config, revision=revision)
    except (OSError, ValueError, RuntimeError, LookupError, DatasetsError) as error:
        raise DataError(
            f"`datasets` cannot open it: {error}",
            file=spec.path,
            fix="Check the name, the network, and the options config and revision",
        ) from error


def hub(spec: Spec, split: str | None, presets: Mapping[str, str] | None = None) -> Source:
    """`hub:NAME`, NAME on the hub, a local folder, or a Parquet, JSON, CSV or Arrow file."""
    from datasets.config import HF_CACHE_HOME

    fieldmap = FieldMap(spec, presets or {}, ("config", "revision"))
    opened = open_table(spec)
    tables = dict(opened) if isinstance(opened, Mapping) else {str(opened.split or "train"): opened}
    if split is not None and split not in tables:
        raise DataError(f"no split {split!r}, found {', '.join(tables)}", file=spec.path, fix="Use one of these")
    path = Path(spec.path)
    folder = path if path.is_dir() else path.parent
    allowed = [
        spec.options.get("root"),
        str(folder) if path.exists() else None,
        str(HF_CACHE_HOME),
    ]
    roots = tuple(root for root in allowed if root)
    chosen = {name: table for name, table in tables.items() if split in (None, name)}
    rows = Joined([TableRows(table, spec.path, name, roots) for name, table in chosen.items()])
    root = Path(spec.options.get("root", folder))
    return Source(rows, partial(build, fieldmap=fieldmap, root=root, split=split or "train"))
