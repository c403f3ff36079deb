"""Fingerprints that survive small changes: of pictures (dHash, pHash) and of texts (word shingles).

dHash compares neighbouring grey values of a shrunken picture, pHash the low frequencies of its cosine transform with
their median (Krawetz 2011, 2013; Zauner 2010). Distances are numbers of differing bits.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from r3v.records import ImageSource

if TYPE_CHECKING:
    from PIL import Image

DHASH_BITS = 256
PHASH_BITS = 64
_MARGIN = 8
_INK = 64
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Print:
    """Fingerprint of one picture. `pixels` is equal for equal RGB pixels only, whatever the file format."""

    dhash: int
    phash: int
    pixels: str


def dhash(image: Image.Image) -> int:
    """256 bits: whether each of 16 x 16 cells is darker than its right neighbour, by more than noise makes it.

    The margin is ours: on the white of a drawing the plain comparison is decided by noise.
    """
    from PIL import Image as Pillow

    grey_HW = np.asarray(image.convert("L").resize((17, 16), Pillow.Resampling.BOX), dtype=np.int16)
    return _number(grey_HW[:, 1:] > grey_HW[:, :-1] + _MARGIN)


def phash(image: Image.Image) -> int:
    """64 bits: whether each of the 8 x 8 lowest frequencies of the 32 x 32 picture is above their median."""
    from PIL import Image as Pillow

    grey_HW = np.asarray(image.convert("L").resize((32, 32), Pillow.Resampling.BOX), dtype=np.float64)
    low = (_cosines() @ grey_HW @ _cosines().T)[:8, :8]
    return _number(low > np.median(low.ravel()[1:]))


@functools.lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    k, n = np.arange(32)[:, None], np.arange(32)[None, :]
    return np.cos(np.pi * k * (2 * n + 1) / 64)


def _number(bits: np.ndarray) -> int:
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")


def fingerprint(source: ImageSource) -> Print:
    """Fingerprint of a picture. Raises ImageError for one that cannot be decoded."""
    from r3v.data.images import decode

    return _print(decode(source))


def _print(image: Image.Image) -> Print:
    pixels = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
    trimmed = _trim(image)
    return Print(dhash(trimmed), phash(trimmed), pixels)


def _trim(image: Image.Image) -> Image.Image:
    """Without the border of one colour, so that a crop of empty paper changes nothing."""
    from PIL import Image as Pillow
    from PIL import ImageChops

    plain = Pillow.new("RGB", image.size, image.getpixel((0, 0)))
    box = ImageChops.difference(image, plain).convert("L").point([255 * (v > _INK) for v in range(256)]).getbbox()
    return image.crop(box) if box else image


def mirrored(source: ImageSource) -> Print:
    """Fingerprint of a picture's mirror image."""
    from PIL import ImageOps

    from r3v.data.images import decode

    return _print(ImageOps.mirror(decode(source)))


class NearPrints:
    """Fingerprints in order, searched by distance: 40 bytes each and one pass over all of them for a search."""

    def __init__(self) -> None:
        self._words_NW = np.zeros((64, 5), dtype=np.uint64)
        self._n = 0
        self._pixels: dict[str, int] = {}

    def __len__(self) -> int:
        return self._n

    def add(self, found: Print) -> int:
        """Its number, from 0."""
        if self._n == len(self._words_NW):
            self._words_NW = np.concatenate([self._words_NW, np.zeros_like(self._words_NW)])
        self._words_NW[self._n] = _words(found)
        self._pixels.setdefault(found.pixels, self._n)
        self._n += 1
        return self._n - 1

    def same(self, found: Print) -> int | None:
        """The first picture with the same pixels."""
        return self._pixels.get(found.pixels)

    def near(self, found: Print, dhash_bits: int, phash_bits: int) -> list[int]:
        """Pictures that differ in at most so many bits of both hashes."""
        apart_NW = np.bitwise_count(self._words_NW[: self._n] ^ _words(found))
        close_N = (apart_NW[:, :4].sum(axis=1) <= dhash_bits) & (apart_NW[:, 4] <= phash_bits)
        return [int(i) for i in close_N.nonzero()[0]]


def _words(found: Print) -> np.ndarray:
    mask = (1 << 64) - 1
    words = [(found.dhash >> (64 * k)) & mask for k in range(4)]
    return np.array([*words, found.phash], dtype=np.uint64)


def plain(text: str) -> str:
    """Lower-case words and numbers alone."""
    return " ".join(_WORDS.findall(text.lower()))


def shingles(text: str, width: int = 3) -> frozenset[str]:
    """Every `width` consecutive words; the whole text where it is shorter."""
    words = _WORDS.findall(text.lower())
    if len(words) <= width:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[i : i + width]) for i in range(len(words) - width + 1))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared over all shingles, 0 to 1."""
    return len(a & b) / len(a | b) if a or b else 1.0


class NearTexts:
    """Texts searched by Jaccard similarity of their shingles, with MinHash bands (Broder 1997) to find candidates.

    A pair of similarity s is missed with chance (1 - s**4)**12: 0.2 % at 0.8, under 1e-5 at 0.9.
    """

    BANDS, ROWS = 12, 4

    def __init__(self) -> None:
        self._texts: list[frozenset[str]] = []
        self._bands: list[dict[bytes, list[int]]] = [{} for _ in range(self.BANDS)]

    def add(self, text: str) -> int:
        """Its number, from 0."""
        pieces = shingles(text)
        number = len(self._texts)
        self._texts.append(pieces)
        for band, key in zip(self._bands, self._keys(pieces), strict=True):
            band.setdefault(key, []).append(number)
        return number

    def near(self, text: str, at_least: float) -> list[int]:
        pieces = shingles(text)
        found = {i for band, key in zip(self._bands, self._keys(pieces), strict=True) for i in band.get(key, ())}
        return sorted(i for i in found if jaccard(pieces, self._texts[i]) >= at_least)

    def _keys(self, pieces: frozenset[str]) -> Sequence[bytes]:
        hashes_N = np.array(
            [int.from_bytes(hashlib.blake2b(p.encode(), digest_size=8).digest(), "big") for p in sorted(pieces)],
            dtype=np.uint64,
        )
        factors, offsets = _permutations(self.BANDS * self.ROWS)
        least_K = (hashes_N[None, :] * factors[:, None] + offsets[:, None]).min(axis=1)
        return [row.tobytes() for row in least_K.reshape(self.BANDS, self.ROWS)]


@functools.lru_cache(maxsize=4)
def _permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and offsets modulo 2**64: each pair permutes the hashes."""
    rng = np.random.default_rng(20260228)
    factors = rng.integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return factors, rng.integers(0, 2**63, count, dtype=np.uint64)
