"""A pool of unlabelled pictures: a folder, WebDataset tar shards, or a `datasets` data set, streamed one at a time.

    open_pool("folder:pictures")                 every picture below the folder; NAME.txt beside it is its caption
    open_pool("wds:shards/*.tar")                pictures in tar files, with KEY.txt or KEY.json as captions
    open_pool("hub:org/name?image=img&caption=text&split=train")

A `PoolItem` names its picture; the bytes are read when asked for. The order is the same on every pass, so an index that
was interrupted goes on where it stopped.
"""

from __future__ import annotations

import glob
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from r3v.errors import ConfigError, DataError, ImageError
from r3v.records import FileImage, ImageSource
from r3v.spec import Spec, parse_spec

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
MAX_BYTES = 64_000_000
"""Larger files are no pool pictures."""
_MAX_CAPTION = 4_000


@dataclass(frozen=True, slots=True)
class PoolItem:
    """One unlabelled picture. `key` is unique in its pool; `caption` may be empty."""

    key: str
    image: ImageSource = field(repr=False)
    caption: str = ""


@dataclass(frozen=True, slots=True)
class TarImage:
    """A picture inside an uncompressed tar file, read from its place."""

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror or error}", file=self.path, fix="Restore it") from error
        if len(data) != self.size:
            raise ImageError(f"ends before byte {self.offset + self.size}", file=self.path, fix="Download it again")
        return data

    def describe(self) -> str:
        return f"{self.path}@{self.offset}"


class Pool(Protocol):
    """Pictures in a fixed order. `locate` finds one again from what `address` said, without a pass over the pool."""

    def __iter__(self) -> Iterator[PoolItem]: ...

    def address(self, item: PoolItem) -> str: ...

    def locate(self, address: str) -> ImageSource: ...


class FolderPool:
    """Every picture below a folder, in the order of their paths. Symbolic links are not followed."""

    def __init__(self, path: str | Path) -> None:
        self.root = Path(path)
        if not self.root.is_dir():
            raise DataError("no such folder", file=path, fix="Check the path of the pool")

    def __iter__(self) -> Iterator[PoolItem]:
        for path in self._walk(str(self.root)):
            name = os.path.relpath(path, self.root)
            yield PoolItem(name, FileImage(path), _caption_file(os.path.splitext(path)[0] + ".txt"))

    def _walk(self, folder: str) -> Iterator[str]:
        with os.scandir(folder) as entries:
            found = sorted((e.name, e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False)) for e in entries)
        for name, is_dir, is_file in found:
            path = os.path.join(folder, name)
            if is_dir:
                yield from self._walk(path)
            elif is_file and name.lower().endswith(SUFFIXES):
                yield path

    def address(self, item: PoolItem) -> str:
        return item.key

    def locate(self, address: str) -> ImageSource:
        from r3v.data.images import locate

        return locate(address, self.root, file=str(self.root), row=address, field="picture")


def _caption_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_CAPTION).strip()
    except OSError:
        return ""


class ShardPool:
    """Pictures in tar files (WebDataset): members that share a key belong together.

    Headers are streamed, one sample is in memory. Shards must not be compressed, so that pictures can be read again
    from their place. Raises DataError for a damaged or compressed shard when it is reached.
    """

    def __init__(self, pattern: str) -> None:
        self.paths = sorted(glob.glob(pattern, recursive=True))
        if not self.paths:
            raise DataError("no such file", file=pattern, fix="Check the pattern of the shards")
        self._known = set(self.paths)

    def __iter__(self) -> Iterator[PoolItem]:
        for path in self.paths:
            yield from self._shard(path)

    def _shard(self, path: str) -> Iterator[PoolItem]:
        key, image, caption = None, None, ""
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # tarfile would keep every header
                    if not member.isfile():
                        continue
                    folder, _, name = member.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    if (folder, stem) != key:
                        if image is not None:
                            yield PoolItem(f"{os.path.basename(path)}/{_join(key)}", image, caption)
                        key, image, caption = (folder, stem), None, ""
                    kind = "." + suffix.lower().rpartition(".")[2]
                    if kind in SUFFIXES and image is None and 0 < member.size <= MAX_BYTES:
                        image = TarImage(path, member.offset_data, member.size)
                    elif kind in (".txt", ".json") and member.size <= 1_000_000:
                        caption = _caption(tar, member, kind) or caption
                if image is not None:
                    yield PoolItem(f"{os.path.basename(path)}/{_join(key)}", image, caption)
        except tarfile.TarError as error:
            fix = "Download it again, or decompress it (tar files must not be gzipped)"
            raise DataError(f"not an uncompressed, whole tar file: {error}", file=path, fix=fix) from error

    def address(self, item: PoolItem) -> str:
        image = item.image
        assert isinstance(image, TarImage)
        return json.dumps([image.path, image.offset, image.size])

    def locate(self, address: str) -> ImageSource:
        path, offset, size = json.loads(address)
        if path not in self._known:
            raise DataError(f"{path} is no shard of this pool", file=path, fix="Open the pool the index was made from")
        return TarImage(path, int(offset), int(size))


def _join(key: tuple[str, str] | None) -> str:
    folder, stem = key or ("", "")
    return f"{folder}/{stem}" if folder else stem


def _caption(tar: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> str:
    file = tar.extractfile(member)
    text = file.read().decode("utf-8", errors="replace") if file else ""
    if kind == ".txt":
        return text.strip()[:_MAX_CAPTION]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    found = next((value[k] for k in ("caption", "text", "title") if isinstance(value, dict) and value.get(k)), "")
    return str(found).strip()[:_MAX_CAPTION]


class TablePool:
    """The pictures of a `datasets` data set, one row at a time.

    Options: image and caption (columns), split, config, revision, root.
    """

    def __init__(self, spec: Spec) -> None:
        from r3v.data.hub import TableRows, open_table

        spec.only(("image", "caption", "config", "revision", "root"))
        self._spec = spec
        self.column = spec.options.get("image", "image")
        self.caption = spec.options.get("caption")
        opened = open_table(spec)
        tables = dict(opened) if isinstance(opened, Mapping) else {str(opened.split or "train"): opened}
        split = spec.options.get("split", next(iter(tables)))
        if split not in tables:
            raise DataError(f"no split {split!r}, found {', '.join(tables)}", file=spec.text, fix="Use one of these")
        folder = spec.options.get("root") or (spec.path if os.path.isdir(spec.path) else os.path.dirname(spec.path))
        self.rows = TableRows(tables[split], spec.path, split, (folder,) if folder else ())

    def __iter__(self) -> Iterator[PoolItem]:
        for number in range(len(self.rows)):
            row = self.rows[number]
            caption = row.value.get(self.caption) if self.caption else ""
            yield PoolItem(str(number), self._picture(row.value, number), str(caption or "")[:_MAX_CAPTION])

    def _picture(self, value: Any, number: int) -> ImageSource:
        image = value.get(self.column)
        image = image[0] if isinstance(image, list) and image else image
        if not isinstance(image, ImageSource):
            raise ImageError(
                f"found {type(image).__name__}, expected a picture",
                file=self._spec.text,
                row=number,
                field=self.column,
                fix="Name the column with image=COLUMN",
            )
        return image

    def address(self, item: PoolItem) -> str:
        return item.key

    def locate(self, address: str) -> ImageSource:
        return self._picture(self.rows[int(address)].value, int(address))


def open_pool(text: str) -> Pool:
    """The pool that a spec names: folder:PATH, wds:PATTERN or hub:NAME. Raises ConfigError for any other."""
    spec = parse_spec(text)
    if spec.reader == "folder":
        spec.only(())
        return FolderPool(spec.path)
    if spec.reader == "wds":
        spec.only(())
        return ShardPool(spec.path)
    if spec.reader == "hub":
        return TablePool(spec)
    raise ConfigError(f"{text}: found pool {spec.reader!r}, expected folder, wds or hub")
