"""Embedders by name (`make_embedder`), and the one without a model that knows words.

`lexical` lives here: hashed words and n-grams, no model, exact to repeat. Embedders on models are in
`r3v.embedding.models`, imported only when one is asked for. The interface is `r3v.embedding.protocol.Embedder`.

Suffixes: N items, D width.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from r3v.embedding.protocol import Asked, Part, Vectors, Worded, check_part, unit_rows
from r3v.errors import ConfigError

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[+\-*/=°%<>^]")
_UNSPACED = "\u2e80"
"""From here on scripts write no spaces between words, so pairs of characters stand for words."""
_LABEL = re.compile(r"[A-Z]{1,5}")
_STOP = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can do does find for from given has have how if in is it its of on or that the "
        "then there these this to was what which who will with you your",
    )
)
_WEIGHTS = {"word": 1.0, "stop": 0.2, "sign": 0.3, "pair": 0.7, "chars": 0.25}


class Lexical:
    """Hashed words, pairs of words and three-letter pieces (signed feature hashing; Weinberger et al. 2009).

    Numbers count as one word and names of points (`ABC`) as another: two problems are alike by what is asked, not
    by its values. Text only, any language; needs no model.
    """

    id = "lexical"
    modalities: tuple[Part, ...] = ("text",)

    def __init__(self, dim: int = 384) -> None:
        if dim < 16:
            raise ConfigError(f"found a lexical embedder of width {dim}, expected at least 16")
        self.dim = dim

    @property
    def revision(self) -> str:
        return f"1.{self.dim}"

    def embed_problems(self, problems: Sequence[Asked], part: Part = "text") -> Vectors:
        """Rows of the questions; choices are left out, because they are mostly values."""
        check_part(self, part)
        return self.embed_texts([problem.question for problem in problems])

    def embed_notes(self, notes: Sequence[Worded], part: Part = "text") -> Vectors:
        check_part(self, part)
        return self.embed_texts([note.words for note in notes])

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """N D: one row per text; a text without any word is a row of zeros."""
        rows_ND = np.zeros((len(texts), self.dim), dtype=np.float64)
        for row_D, text in zip(rows_ND, texts, strict=True):
            for (kind, piece), count in Counter(_features(text)).items():
                place, sign = _slot(piece, kind, self.dim)
                row_D[place] += sign * _WEIGHTS[kind] * (1.0 + np.log(count))
        return unit_rows(rows_ND)


def _features(text: str) -> Iterator[tuple[str, str]]:
    """(kind, piece) for everything the lexical embedder counts."""
    text = unicodedata.normalize("NFKC", text)
    words = [_word(match[0], text[: match.start()].rstrip()) for match in _TOKEN.finditer(text)]
    for word in words:
        if word[0] >= _UNSPACED:
            for piece in map("".join, pairwise(word)) if len(word) > 1 else (word,):
                yield "word", piece
            continue
        yield "sign" if not word[0].isalnum() else "stop" if word in _STOP else "word", word
        if word[0].isalpha() and word not in _STOP:
            padded = f"^{word}$"
            for i in range(len(padded) - 2):
                yield "chars", padded[i : i + 3]
    content = [word for word in words if word[0].isalnum() and word not in _STOP and word[0] < _UNSPACED]
    for first, second in pairwise(content):
        yield "pair", f"{first} {second}"


def _word(token: str, before: str) -> str:
    """A number is `0`, a name of points `X`; the A and I that begin a sentence are words."""
    if token[0].isdigit():
        return "0"
    starts = not before or before[-1] in ".?!:"
    return "X" if _LABEL.fullmatch(token) and not (token in "AI" and starts) else token.casefold()


@functools.lru_cache(maxsize=65536)
def _slot(piece: str, kind: str, dim: int) -> tuple[int, float]:
    digest = int.from_bytes(hashlib.blake2b(f"{kind} {piece}".encode(), digest_size=8).digest(), "little")
    return (digest >> 1) % dim, 1.0 if digest & 1 else -1.0
