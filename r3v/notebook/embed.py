"""Embedders by name (`make_embedder`), and the one without a model that knows words.

`lexical` lives here: hashed words and n-grams, no model, exact to repeat. Embedders on models are in
`r3v.notebook.embed_models`, imported only when one is asked for. The interface is `r3v.embedding.Embedder`.

Suffixes: N items, D width.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from r3v.embedding import Asked, Embedder, Part, Vectors, check_part, unit_rows
from r3v.errors import ConfigError
from r3v.notebook.note import Note

# ---- lexical -----------------------------------------------------------------------------------------

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

    def embed_notes(self, notes: Sequence[Note], part: Part = "text") -> Vectors:
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


# ---- the table ---------------------------------------------------------------------------------------

Factory = Callable[[str, Any], Embedder]
"""From what stands behind the colon, and the solver's policy, to an embedder."""


def _lexical(argument: str, policy: Any) -> Embedder:
    if argument and not argument.isdecimal():
        raise ConfigError(f"found embedder lexical:{argument}, expected lexical or lexical:WIDTH")
    return Lexical(int(argument)) if argument else Lexical()


def _plain(argument: str, policy: Any) -> Embedder:
    if argument:
        raise ConfigError(f"found embedder plain:{argument}, expected plain")
    from r3v.curriculum.embed import PlainEmbedder

    return PlainEmbedder()


def _model(name: str) -> Factory:
    def make(argument: str, policy: Any) -> Embedder:
        from r3v.notebook import embed_models

        return embed_models.FACTORIES[name](argument, policy)

    return make


EMBEDDERS: dict[str, Factory] = {
    "self": _model("self"),
    "lexical": _lexical,
    "plain": _plain,
    "st": _model("st"),
    "clip": _model("clip"),
}
"""`self` (the solver's hidden states), `lexical`, `plain` (words and looks, without a model), `st:NAME`
(sentence-transformers), `clip:NAME` (CLIP, SigLIP)."""


def make_embedder(spec: str, policy: Any = None) -> Embedder:
    """The embedder of a spec such as `self`, `lexical`, `st:Qwen/Qwen3-VL-Embedding-2B`,
    `clip:google/siglip2-base-patch16-224`.

    `policy` is the solver, which `self` needs. Raises ConfigError for an unknown name, ModelError where a model or
    package is missing.
    """
    name, _, argument = spec.partition(":")
    if name not in EMBEDDERS:
        near = difflib.get_close_matches(name, EMBEDDERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"found embedder {spec!r}, expected one of {', '.join(EMBEDDERS)}{hint}")
    return EMBEDDERS[name](argument, policy)
