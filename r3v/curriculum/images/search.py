"""Image search over a pool: an index on disk, built in a stream, searched in blocks.

An index is a folder: `items.sqlite` (key, caption, address of each picture), `vectors.f16` (rows of half precision in
the same order) and `index.json` (pool, embedder). Building holds one batch, searching one block; a build that was
killed goes on where it stopped, because vectors beyond the last committed row are cut off first.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from r3v.curriculum.images.pool import Pool, PoolItem
from r3v.embedding.protocol import Embedder, Part, Vectors, identity
from r3v.errors import ImageError, RunError
from r3v.io import write_json
from r3v.records import ImageSource

_BATCH = 256
_BLOCK = 4_096


@dataclass(frozen=True, slots=True)
class Hit:
    """A picture that was found; `score` is the cosine similarity."""

    key: str
    caption: str
    image: ImageSource
    score: float


@dataclass(frozen=True, slots=True)
class _Shown:
    """A picture with its words, or a query, as embedders take them."""

    id: str
    question: str
    images: tuple[ImageSource, ...]


class PoolIndex:
    """The embedding index of one pool with one embedder. Use as a context manager; any thread may search.

    Raises RunError where the folder holds the index of another pool or embedder.
    """

    def __init__(self, folder: str | Path, pool: Pool, embedder: Embedder, name: str) -> None:
        self.folder, self.pool, self.embedder = Path(folder), pool, embedder
        self.part: Part = "mixed" if "mixed" in embedder.modalities else "text"
        self.folder.mkdir(parents=True, exist_ok=True)
        same = {"schema": 1, "pool": name, "embedder": identity(embedder, self.part), "size": embedder.dim}
        self._same_as_before(same)
        self._vectors = self.folder / "vectors.f16"
        # SQLite serialises what several threads ask of one connection; building is left to one thread.
        self._db = sqlite3.connect(self.folder / "items.sqlite", check_same_thread=False)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS items (place INTEGER PRIMARY KEY, number INTEGER, key TEXT, caption TEXT, "
            "address TEXT)"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS bad (number INTEGER PRIMARY KEY, key TEXT, reason TEXT)")
        self._db.execute("CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY CHECK (id = 0), read INTEGER)")
        self._db.commit()

    def __enter__(self) -> PoolIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM items").fetchone()[0])

    @property
    def bad(self) -> list[tuple[str, str]]:
        """(key, reason) of pictures that could not be read."""
        return list(self._db.execute("SELECT key, reason FROM bad ORDER BY number"))

    def _same_as_before(self, wanted: dict) -> None:
        path = self.folder / "index.json"
        if not path.exists():
            write_json(path, wanted)
            return
        found = json.loads(path.read_text())
        if found != wanted:
            raise RunError(f"{path}: found the index {found}, expected {wanted}. Choose another folder or delete it")

    def build(self, limit: int | None = None) -> int:
        """Index what is not indexed yet (at most the first `limit` pictures of the pool); returns how many are in it.

        Pictures that cannot be decoded are noted in `bad` and left out.
        """
        row = self._db.execute("SELECT read FROM progress").fetchone()
        read = int(row[0]) if row else 0
        width = self.embedder.dim * 2
        with open(self._vectors, "ab") as file:
            file.truncate(len(self) * width)
        items = islice(enumerate(self.pool), read, limit)
        while batch := list(islice(items, _BATCH)):
            self._add(batch)
        return len(self)

    def _add(self, batch: list[tuple[int, PoolItem]]) -> None:
        """One batch: vectors first and flushed, then the rows that make them count."""
        good, vectors, bad = [], [], []
        for number, item in batch:
            try:
                words = f"{os.path.splitext(item.key)[0]} {item.caption}"
                vectors.append(self._vector(_Shown(item.key, words, (item.image,))))
                good.append((number, item))
            except ImageError as error:
                bad.append((number, item.key, error.what))
        first = len(self)
        if vectors:
            with open(self._vectors, "ab") as file:
                file.write(np.stack(vectors).astype(np.float16).tobytes())
                file.flush()
                os.fsync(file.fileno())
        rows = [(first + i, n, it.key, it.caption, self.pool.address(it)) for i, (n, it) in enumerate(good)]
        with self._db:
            self._db.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
            self._db.executemany("INSERT OR REPLACE INTO bad VALUES (?, ?, ?)", bad)
            self._db.execute("INSERT OR REPLACE INTO progress VALUES (0, ?)", (batch[-1][0] + 1,))

    def search(self, text: str = "", image: ImageSource | None = None, k: int = 5) -> list[Hit]:
        """The `k` nearest pictures to words, a picture, or both; nearest first, equal ones in pool order."""
        query = self._vector(_Shown("query", text, () if image is None else (image,)))
        found: list[tuple[float, int]] = []
        for start, block_ND in self._blocks():
            scores_N = block_ND.astype(np.float32) @ query
            best = np.argsort(-scores_N, kind="stable")[:k]
            found += [(float(scores_N[i]), start + int(i)) for i in best]
            found = sorted(found, key=lambda pair: (-pair[0], pair[1]))[:k]
        return [self._hit(place, score) for score, place in found]

    def _vector(self, item: _Shown) -> Vectors:
        return self.embedder.embed_problems([item], self.part)[0]

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        n, d = len(self), self.embedder.dim
        with open(self._vectors, "rb") if n else open(os.devnull, "rb") as file:
            for start in range(0, n, _BLOCK):
                rows = min(_BLOCK, n - start)
                yield start, np.frombuffer(file.read(rows * d * 2), np.float16).reshape(rows, d)

    def _hit(self, place: int, score: float) -> Hit:
        key, caption, address = self._db.execute(
            "SELECT key, caption, address FROM items WHERE place = ?", (place,)
        ).fetchone()
        return Hit(key, caption, self.pool.locate(address), score)
