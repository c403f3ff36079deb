"""Any data set of the `datasets` library, from the hub or from local Parquet, JSON, Arrow or image folders.

Rows stay in Arrow files on disk. Images are left encoded until they are asked for: a row without its
pictures is cheap, and a Problem holds a reference to the row, not the bytes. A picture is a cell of the type Image, and
just as well bytes or {bytes, path} as pandas and pyarrow write them, alone or in a list.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from r3v.data.fieldmap import FieldMap, build
from r3v.data.images import locate
from r3v.data.rows import Joined, Row
from r3v.data.source import Source
from r3v.errors import ConfigError, DataError, ImageError
from r3v.records import Problem
from r3v.spec import Spec

_SUFFIXES = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".arrow": "arrow"}
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"/\d+\.\d+\.\d+/([0-9a-f]{40})/")
VALIDATION = ("validation", "val", "valid", "dev")
"""Names of one and the same split: data sets differ in which they use."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a data set is laid out in a table: the columns it is known by, the options of the mapping that read it, and a
    function that makes its rows readable by them."""

    columns: frozenset[str]
    presets: Mapping[str, str]
    tidy: Callable[[Row], Row] | None = None


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
        content = _bytes(cell)
        if content is not None:
            return content
        path = cell.get("path") if isinstance(cell, Mapping) else None
        error: ImageError | None = None
        for root in self.roots:
            try:
                return locate(path, root, file=file, row=row, field=name).read()
            except ImageError as caught:
                error = caught
        raise error or ImageError("holds neither bytes nor a path", file=file, row=row, field=name)


class TableRows(Sequence[Row]):
    """Rows of one split of a data set; image columns become `TableImage`s. `numbers` are those of the rows in the whole
    table, where these are a part of it."""

    def __init__(
        self, table: Any, name: str, split: str, roots: tuple[str, ...], numbers: Sequence[int] | None = None
    ) -> None:
        from datasets import Image

        self.name, self.split, self.roots, self.numbers = name, split, roots, numbers
        self.images = [column for column, feature in table.features.items() if _is_image(feature)]
        for column in self.images:
            feature, plain = table.features[column], Image(decode=False)
            if isinstance(feature, Image):
                table = table.cast_column(column, plain)
            elif isinstance(_inner(feature), Image):
                table = table.cast_column(column, [plain])
        self.pictures = table.select_columns(self.images) if self.images else None
        others = [column for column in table.column_names if column not in self.images]
        self.table = table.select_columns(others)

    def __len__(self) -> int:
        return len(self.pictures) if self.pictures is not None else len(self.table)

    def __getitem__(self, index: Any) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        label = f"{self.split} {(self.numbers[index] if self.numbers is not None else index) + 1}"
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

        if _is_empty(cell):
            return None
        if isinstance(cell, list):
            return [one(content, position) for position, content in enumerate(cell) if not _is_empty(content)]
        return one(cell, None)


def _bytes(cell: Any) -> bytes | None:
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    return content if isinstance(content, bytes) else None


def _is_empty(cell: Any) -> bool:
    """No picture: null, or the struct of nulls that pandas makes of it."""
    return cell is None or (isinstance(cell, Mapping) and cell.get("bytes") is None and not cell.get("path"))


def _content_key(cell: Any) -> str:
    """What an id made of content uses for a picture: its bytes if they are in the table, else its file
    name."""
    from hashlib import sha256

    content = _bytes(cell)
    if content is not None:
        return sha256(content).hexdigest()
    return os.path.basename(str(cell.get("path"))) if isinstance(cell, Mapping) else ""


def _inner(feature: Any) -> Any:
    """The type of the items of a list, else the type itself."""
    inner = getattr(feature, "feature", None) or (feature[0] if isinstance(feature, list) and feature else None)
    return feature if inner is None else inner


def _is_image(feature: Any) -> bool:
    from datasets import Image

    feature = _inner(feature)
    if isinstance(feature, Image) or "binary" in str(getattr(feature, "dtype", "")):
        return True
    return isinstance(feature, Mapping) and set(feature) == {"bytes", "path"}


def is_table(path: str) -> bool:
    """Whether `hub` is what reads it: a name on the hub, a Parquet or Arrow file, or a folder with such files."""
    place = Path(path)
    if place.is_dir():
        saved = any((place / name).is_file() for name in ("dataset_dict.json", "state.json"))
        return saved or any(next(place.glob(pattern), None) for pattern in ("*.parquet", "*/*.parquet"))
    return place.suffix in (".parquet", ".arrow") or (not place.exists() and bool(_NAME.fullmatch(path)))


def open_table(spec: Spec) -> Any:
    """A DatasetDict or Dataset. Raises DataError saying what could not be opened."""
    import datasets
    from datasets.config import HF_HUB_OFFLINE
    from datasets.exceptions import DatasetsError

    path = Path(spec.path)
    config, revision = spec.options.get("config"), spec.options.get("revision")
    if path.exists() and revision:
        raise ConfigError(f"{spec.text}: revision={revision} is one of the hub, and {path} is here; leave it out")
    if not path.exists() and (path.suffix in _SUFFIXES or not _NAME.fullmatch(spec.path)):
        raise DataError(
            "no such file or folder, and names on the hub are OWNER/NAME", file=spec.path, fix="Check the path"
        )
    datasets.disable_progress_bars()
    try:
        if path.is_dir() and ((path / "dataset_dict.json").is_file() or (path / "state.json").is_file()):
            return datasets.load_from_disk(str(path))
        if path.is_file() and path.suffix in _SUFFIXES:
            return datasets.load_dataset(_SUFFIXES[path.suffix], data_files=str(path))
        return datasets.load_dataset(str(path) if path.exists() else spec.path, config, revision=revision)
    except (OSError, ValueError, RuntimeError, LookupError, DatasetsError) as error:
        here = "" if path.exists() else "no such file or folder here, and as a name on the hub "
        off = HF_HUB_OFFLINE and not path.exists()
        raise DataError(
            f"{here}`datasets` cannot open it: {error}",
            file=spec.path,
            fix="The hub is switched off: set HF_HUB_OFFLINE=0, or name a local copy"
            if off
            else "Check the name, the network, and the options config and revision",
        ) from error


def commit_of(table: Any) -> str | None:
    """The commit of the hub that a table was fetched at, as the cache of `datasets` names it; None for local files."""
    found = (_COMMIT.search(str(file.get("filename"))) for file in getattr(table, "cache_files", None) or ())
    return next((match.group(1) for match in found if match), None)


def hub(spec: Spec, split: str | None, presets: Mapping[str, str] | None = None, forms: Sequence[Form] = ()) -> Source:
    """`hub:NAME`, NAME on the hub, a local folder, or a Parquet, JSON, CSV or Arrow file.

    `split` may be a value of the column that the option split_field names, and any of `VALIDATION` stands for the one
    of them that is there. where=COLUMN:VALUE keeps the rows with that value. With `forms` the columns say which of them
    the table has.
    """
    from datasets.config import HF_CACHE_HOME

    opened = open_table(spec)
    tables = dict(opened) if isinstance(opened, Mapping) else {str(opened.split or "train"): opened}
    form = _form(spec, next(iter(tables.values())), forms) if forms else Form(frozenset(), presets or {})
    fieldmap = FieldMap(spec, form.presets, ("config", "revision", "where"))
    path = Path(spec.path)
    folder = path if path.is_dir() else path.parent
    allowed = [
        spec.options.get("root"),
        str(folder) if path.exists() else None,
        str(HF_CACHE_HOME),
    ]
    roots = tuple(root for root in allowed if root)
    parts = _parts(spec, tables, fieldmap.given.get("split_field"), split)
    rows = Joined([TableRows(table, spec.path, name, roots, numbers) for name, table, numbers in parts])
    root = Path(spec.options.get("root", folder))
    make = partial(_build, fieldmap=fieldmap, root=root, tidy=form.tidy)
    return Source(rows, make, commit=commit_of(next(iter(tables.values()))), golds=fieldmap.golds)


def _build(row: Row, *, fieldmap: FieldMap, root: Path, tidy: Callable[[Row], Row] | None) -> Problem:
    return build(tidy(row) if tidy else row, fieldmap=fieldmap, root=root, split=row.split or "train")


def _form(spec: Spec, table: Any, forms: Sequence[Form]) -> Form:
    for form in forms:
        if form.columns <= set(table.column_names):
            return form
    wanted = " or ".join(", ".join(sorted(form.columns)) for form in forms)
    raise DataError(
        f"found the columns {', '.join(table.column_names)}, expected {wanted}",
        file=spec.path,
        fix="Read it with hub: and name the fields",
    )


def _parts(
    spec: Spec, tables: Mapping[str, Any], column: str | None, split: str | None
) -> list[tuple[str, Any, Sequence[int] | None]]:
    """(name of the split in the file, its rows, their numbers) of the rows that are asked for. Raises DataError."""
    where = spec.options.get("where")
    values = {name: list(table[column]) for name, table in tables.items()} if column else {}
    if column is None:
        chosen = _named(split, list(tables), spec)
        names = [chosen] if chosen else list(tables)
    else:
        chosen = _named(split, list(dict.fromkeys(str(v) for found in values.values() for v in found)), spec)
        names = list(tables)
    parts: list[tuple[str, Any, Sequence[int] | None]] = []
    for name in names:
        table = tables[name]
        numbers = range(len(table))
        if column is not None and chosen is not None:
            numbers = [i for i in numbers if str(values[name][i]) == chosen]
        if where is not None:
            numbers = _where(spec, table, where, numbers)
        parts.append((name, table, None) if len(numbers) == len(table) else (name, table.select(numbers), numbers))
    if where is not None and not any(len(table) for _, table, _ in parts):
        raise DataError(f"no row where {where}", file=spec.path, fix="Check the option where")
    return parts


def _named(split: str | None, names: Sequence[str], spec: Spec) -> str | None:
    """The split asked for, by the name it has here. Raises DataError naming those there are."""
    if split is None or split in names:
        return split
    same = [name for name in names if name in VALIDATION] if split in VALIDATION else []
    if not same:
        raise DataError(f"no split {split!r}, found {', '.join(names)}", file=spec.path, fix="Use one of these")
    return same[0]


def _where(spec: Spec, table: Any, where: str, numbers: Sequence[int]) -> Sequence[int]:
    """Those rows whose column has the value; classes go by their number or name. Raises ConfigError."""
    column, colon, wanted = where.partition(":")
    if not colon or column not in table.column_names:
        raise ConfigError(
            f"{spec.text}: found where={where}, expected COLUMN:VALUE with one of {', '.join(table.column_names)}"
        )
    classes = getattr(table.features[column], "names", None)
    value = str(classes.index(wanted)) if classes and wanted in classes else wanted
    found = list(table[column])
    return [i for i in numbers if str(found[i]) == value]
