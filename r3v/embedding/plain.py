"""The embedder of words and pictures that needs no model: hashed words and letters, simple features of a picture.

It finds pictures by what they are called and pictures that look alike; for meaning, give an embedder on a model
(`r3v.embedding.models`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange, reduce

from r3v.embedding.protocol import PARTS, Asked, Part, Vectors, Worded, check_part
from r3v.records import ImageSource

if TYPE_CHECKING:
    from PIL import Image

_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


class PlainEmbedder:
    """Words into `text` hashed places, the first picture into 208 numbers; in `mixed` both halves weigh the same where
    both are given. Without `looks`, pictures are not read and there is only the part `text`.
    """

    LOOKS = 208
    id = "plain"

    def __init__(self, text: int = 304, looks: bool = True) -> None:
        self._text, self._looks = text, looks
        self.modalities: tuple[Part, ...] = PARTS if looks else ("text",)

    @property
    def revision(self) -> str:
        return f"1.{self._text}.{'looks' if self._looks else 'words'}"

    @property
    def dim(self) -> int:
        return self._text + self.LOOKS * self._looks

    def embed_problems(self, problems: Sequence[Asked], part: Part = "text") -> Vectors:
        """N D. Raises ImageError for a picture that cannot be decoded."""
        check_part(self, part)
        return self._rows([(p.question, p.images) for p in problems], part)

    def embed_notes(self, notes: Sequence[Worded], part: Part = "text") -> Vectors:
        check_part(self, part)
        return self._rows([(note.words, ()) for note in notes], part)

    def _rows(self, items: Sequence[tuple[str, Sequence[ImageSource]]], part: Part) -> Vectors:
        rows_ND = np.zeros((len(items), self.dim), np.float32)
        for row_D, (words, images) in zip(rows_ND, items, strict=True):
            if part != "image":
                row_D[: self._text] = hashed_words(words, self._text)
            if part != "text" and images:
                row_D[self._text :] = looks(_small(images[0]))
            row_D[:] = _unit(row_D)
        return rows_ND


def _unit(v: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(v))
    return (v / norm if norm else v).astype(np.float32)


def hashed_words(text: str, size: int) -> np.ndarray:
    """Unit vector of signed hashed words (weight 2) and letter triples (weight 1); zeros for no words."""
    v = np.zeros(size, np.float32)
    for word in (w.lower() for w in _SPLIT.findall(text)):
        padded = f"^{word}$"
        pieces = [(word, 2.0), *((padded[i : i + 3], 1.0) for i in range(len(padded) - 2))]
        for piece, weight in pieces:
            number = int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=8).digest(), "big")
            v[number % size] += weight if number >> 63 else -weight
    return _unit(v)


def _small(source: ImageSource) -> Image.Image:
    from PIL import Image as Pillow

    from r3v.data.images import decode

    return decode(source).resize((32, 32), Pillow.Resampling.BOX)


def looks(image: Image.Image) -> np.ndarray:
    """Unit vector of 64 colour counts, a 4 x 4 grid of 5 numbers (grey level, edges in 4 directions), and 8 x 8 grey
    values; each part is centred and weighs the same."""
    a_HWC = np.asarray(image, dtype=np.float32) / 255
    bins = rearrange(np.minimum((a_HWC * 4).astype(int), 3), "h w c -> (h w) c")
    colours = np.sqrt(np.bincount(bins @ np.array([16, 4, 1]), minlength=64) / len(bins))
    grey_HW = a_HWC.mean(axis=2)
    dy, dx = np.gradient(grey_HW)
    strength, turn = np.hypot(dx, dy), (np.arctan2(dy, dx) % np.pi) / np.pi * 4
    planes = [grey_HW, *(strength * (np.minimum(turn.astype(int), 3) == k) for k in range(4))]
    cells = reduce(np.stack(planes), "plane (h i) (w j) -> (plane h w)", "mean", h=4, w=4)
    thumb = reduce(grey_HW, "(h i) (w j) -> (h w)", "mean", h=8, w=8)
    parts = [_unit(colours - colours.mean()), _unit(cells - cells.mean()), _unit(thumb - thumb.mean())]
    return _unit(np.concatenate(parts))
