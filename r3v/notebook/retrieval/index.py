"""How key vectors are searched: exactly with NumPy, or, for notebooks of 100,000 notes and more, through FAISS.

An index is made from the vectors alone and can be thrown away at any time: it stands in a folder beside the notebook,
named by the hash of its vectors, and is built anew where it is missing, damaged or of other vectors. It proposes the
`NEAR` nearest keys; those are then scored exactly, so that thresholds mean the same with it.

Suffixes: P problems, R rows of the key matrix, D width.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from r3v.embedding.protocol import Vectors
from r3v.errors import ConfigError, ModelError
from r3v.io import atomic_path

Kind = Literal["exact", "faiss"]
KINDS: tuple[Kind, ...] = ("exact", "faiss")
NEAR = 256
"""Keys that FAISS proposes for a problem; more than notes are ever shown, because some belong to one note or are
hidden from the problem."""
LINKS, BUILD, SEARCH = 16, 80, 256
"""Neighbours in the graph, and how widely it is searched while it is built and asked (HNSW; Malkov and Yashunin
2018)."""


class Index(Protocol):
    """Search over one key matrix."""

    def cosines(self, query_PD: Vectors) -> Vectors:
        """P R: cosines of problems and keys, minus infinity where a key is not among the nearest."""
        ...


class Exact:
    """Every key against every problem."""

    def __init__(self, rows_RD: Vectors) -> None:
        self.rows = rows_RD

    def cosines(self, query_PD: Vectors) -> Vectors:
        # One problem is a matrix-vector product, which is faster than a matrix of one row.
        return (self.rows @ query_PD[0])[None, :] if len(query_PD) == 1 else query_PD @ self.rows.T


class Faiss:
    """A graph of neighbours (IndexHNSWFlat, inner product), built in seconds to minutes and kept in `folder`.

    Raises ModelError without the package faiss.
    """

    def __init__(self, rows_RD: Vectors, folder: Path | None, say: Callable[[str], None]) -> None:
        self.rows = np.ascontiguousarray(rows_RD)
        self._faiss = _package()
        digest = hashlib.sha256(f"{self.rows.shape} {LINKS} {BUILD}".encode())
        digest.update(self.rows.tobytes())
        path = folder / f"{digest.hexdigest()[:32]}.faiss" if folder else None
        self._graph = (self._read(path) if path else None) or self._build(path, say)
        self._graph.hnsw.efSearch = max(SEARCH, NEAR)

    def _read(self, path: Path) -> Any:
        """The kept graph; None where there is none or it is no index of these vectors."""
        if not path.exists():
            return None
        try:
            graph = self._faiss.read_index(str(path))
        except RuntimeError:
            return None
        return graph if (graph.ntotal, graph.d) == self.rows.shape else None

    def _build(self, path: Path | None, say: Callable[[str], None]) -> Any:
        start, (count, width) = time.perf_counter(), self.rows.shape
        graph = self._faiss.IndexHNSWFlat(width, LINKS, self._faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = BUILD
        graph.add(self.rows)
        say(f"indexed {count} keys in {time.perf_counter() - start:.0f} s")
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                self._faiss.write_index(graph, str(temporary))
            for old in path.parent.glob("*.faiss"):
                if old != path:
                    old.unlink(missing_ok=True)
        return graph

    def cosines(self, query_PD: Vectors) -> Vectors:
        found_PR = np.full((len(query_PD), len(self.rows)), -np.inf, np.float32)
        _, near_PN = self._graph.search(np.ascontiguousarray(query_PD), min(NEAR, len(self.rows)))
        for row_R, query_D, near_N in zip(found_PR, query_PD, near_PN, strict=True):
            near = near_N[near_N >= 0]
            row_R[near] = self.rows[near] @ query_D
        return found_PR


def _package() -> Any:
    try:
        import faiss  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ModelError(
            "index faiss needs the package faiss-cpu: pip install faiss-cpu, or take index exact, which needs none"
        ) from error
    return faiss


def make_index(kind: Kind, rows_RD: Vectors, folder: Path | None = None, say: Callable[[str], None] = print) -> Index:
    """The index of a kind over these keys. Raises ConfigError for an unknown kind, ModelError without its package."""
    if kind not in KINDS:
        raise ConfigError(f"found index {kind!r}, expected one of {', '.join(KINDS)}")
    return Exact(rows_RD) if kind == "exact" or not len(rows_RD) else Faiss(rows_RD, folder, say)


def folder_of(notebook: str | Path) -> Path:
    """Where the index of a notebook file stands; it may be deleted."""
    return Path(f"{notebook}.index")
