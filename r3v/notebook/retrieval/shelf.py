"""From a snapshot of notes to what a prompt shows: the retriever of a notebook, with query vectors kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from r3v.embedding.protocol import Asked, Embedder, Part, Vectors, Worded
from r3v.errors import ConfigError
from r3v.notebook.retrieval.inject import Recall
from r3v.notebook.retrieval.keys import stored_vectors
from r3v.notebook.retrieval.pictures import Pictures
from r3v.notebook.retrieval.retrieve import Retriever, index_of
from r3v.notebook.retrieval.scoring import (
    Calibration,
    Fusion,
    RetrievalConfig,
    calibration_file,
    choose_fusion,
    find_calibration,
    identities,
)
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.prompts import Style
from r3v.records import BytesImage, Problem

_KEPT = 4
"""Snapshots whose retrieval is kept: the gate asks for the same base again and again."""


class Remembering:
    """An embedder that embeds each problem once; the gate asks for the same pool again and again."""

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner
        self._rows: dict[tuple[str, str], Any] = {}

    @property
    def id(self) -> str:
        return self.inner.id

    @property
    def revision(self) -> str:
        return self.inner.revision

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def modalities(self) -> tuple[Part, ...]:
        return self.inner.modalities

    def embed_problems(self, problems: Sequence[Asked], part: Part = "text") -> Vectors:
        import numpy as np

        new = list({p.id: p for p in problems if (part, p.id) not in self._rows}.values())
        if new:
            rows = self.inner.embed_problems(new, part)
            self._rows |= {(part, p.id): row for p, row in zip(new, rows, strict=True)}
        return np.stack([self._rows[part, p.id] for p in problems]) if problems else np.zeros((0, self.dim), np.float32)

    def embed_notes(self, notes: Sequence[Worded], part: Part = "text") -> Vectors:
        return self.inner.embed_notes(notes, part)


@dataclass
class Shelf:
    """How notes of one notebook are found and shown."""

    notebook: Notebook
    embedder: Embedder
    config: RetrievalConfig
    style: Style
    pictures: Pictures | None = None
    """Shows notes with their pictures; None with words only."""
    fusion: Fusion = field(init=False)
    threshold: float | Calibration = field(init=False)
    _made: dict[Any, Recall] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.embedder = Remembering(self.embedder)
        self.fusion = choose_fusion(self.embedder, self.config.fusion)
        self.threshold = _threshold(self.notebook, self.embedder, self.config, self.fusion)

    @property
    def settings(self) -> dict[str, Any]:
        """What retrieval depends on beside the notes, as JSON values."""
        fixed = self.threshold
        value = fixed.to_dict() if isinstance(fixed, Calibration) else fixed
        names = list(identities(self.embedder, self.fusion))
        own = {name: getattr(self.config, name) for name in ("keys", "image_weight", "top_k", "limit")}
        if self.pictures is not None:
            own["pictures"] = True
        return {"identities": names, "fusion": self.fusion, "threshold": value, **own}

    def recall(
        self, notes: Mapping[str, Note], *, withhold: float = 0.0, seed: int = 0, exclude_sources: bool = True
    ) -> Recall:
        """What the notes of a snapshot give for problems; the same snapshot is not prepared twice.

        Raises RunError where vectors of their sources lack.
        """
        key = (frozenset(note.revision for note in notes.values()), withhold, seed, exclude_sources)
        if key not in self._made:
            if len(self._made) >= _KEPT:
                self._made.pop(next(iter(self._made)))
            self._made[key] = self._recall(notes, withhold, seed, exclude_sources)
        return self._made[key]

    def _recall(self, notes: Mapping[str, Note], withhold: float, seed: int, exclude_sources: bool) -> Recall:
        own = self.config
        stored = stored_vectors(
            self.notebook, notes, self.embedder, self.fusion, path=self.notebook.path, spec=own.embedder
        )
        retriever = Retriever(
            notes, self.embedder, self.threshold, own.top_k, self.fusion, keys=own.keys,
            image_weight=own.image_weight, stored=stored, index=index_of(own, self.notebook.path),
        )  # fmt: skip
        return Recall(
            retriever, self.style, own.limit, withhold=withhold, seed=seed, exclude_sources=exclude_sources,
            pictures=self.pictures,
        )  # fmt: skip


def _threshold(notebook: Notebook, embedder: Embedder, config: RetrievalConfig, fusion: Fusion) -> float | Calibration:
    if config.threshold is not None:
        return config.threshold
    found = find_calibration(calibration_file(notebook.path), embedder, fusion, config.image_weight)
    if found is None:
        raise ConfigError(
            f"{notebook.path}: no threshold for {', '.join(identities(embedder, fusion))}. Run r3v notebook calibrate "
            f"{notebook.path} --embedder {config.embedder} --fusion {fusion} --data SPEC, or set retrieval.threshold "
            "(the paper uses 0.4)"
        )
    return found


def pinned(problems: Sequence[Problem]) -> list[Problem]:
    """The problems with their pictures in memory: they are hashed and shown many times, and may be drawn or read."""
    return [
        replace(p, images=tuple(BytesImage(image.read(), image.describe()) for image in p.images)) for p in problems
    ]
