"""Words and pictures as unit vectors: the one interface of every embedder, and what may be compared with what.

An embedder has up to three parts, each a vector space of its own: `text` (the words), `image` (the pictures) and
`mixed` (both in one vector). Stored vectors carry `identity(embedder, part)`; vectors of two identities are never
compared. The notebook finds notes with it (`r3v.notebook.retrieval.retrieve`), image search finds pictures
(`r3v.curriculum.images.search`); any embedder serves both.

Suffixes: N items, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from r3v.errors import ConfigError, ModelError
from r3v.records import ImageSource

Part = Literal["text", "image", "mixed"]
PARTS: tuple[Part, ...] = ("text", "image", "mixed")
Vectors = npt.NDArray[np.float32]


class Asked(Protocol):
    """Words and pictures under a name; every `r3v.records.Problem` is one."""

    @property
    def id(self) -> str: ...

    @property
    def question(self) -> str: ...

    @property
    def images(self) -> tuple[ImageSource, ...]: ...


class Worded(Protocol):
    """What is compared with a question; every note of a notebook is one."""

    @property
    def id(self) -> str: ...

    @property
    def words(self) -> str: ...


class Embedder(Protocol):
    """What retrieval and search ask of an embedder.

    `id` and `revision` name the model and its weights: two embedders that agree on both give the same vectors.
    `modalities` are the parts it has. Rows are float32 of length 1; a row of zeros says that the item has nothing
    of this part (a problem without a picture has no image vector).
    """

    @property
    def id(self) -> str: ...

    @property
    def revision(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def modalities(self) -> tuple[Part, ...]: ...

    def embed_problems(self, problems: Sequence[Asked], part: Part = "text") -> Vectors:
        """N D: one row per problem. Raises ConfigError for a part it does not have, ImageError, EngineError."""
        ...

    def embed_notes(self, notes: Sequence[Worded], part: Part = "text") -> Vectors:
        """N D: one row per note, of its words (`Note.words`), in the space of the problems' rows."""
        ...


def identity(embedder: Embedder, part: Part) -> str:
    """The name under which vectors of this embedder and part are stored: `lexical@1/text`."""
    return f"{embedder.id}@{embedder.revision}/{part}"


def check_part(embedder: Embedder, part: str) -> None:
    """Raise ConfigError when the embedder lacks this part."""
    if part not in embedder.modalities:
        raise ConfigError(f"embedder {embedder.id} has the parts {', '.join(embedder.modalities)}, found {part!r}")


def unit_rows(rows: npt.ArrayLike) -> Vectors:
    """N D float32 with every row of length 1; rows of zeros stay. Raises ModelError for nan or infinity."""
    rows_ND = np.atleast_2d(np.asarray(rows, dtype=np.float32))
    if not np.isfinite(rows_ND).all():
        raise ModelError("the embedder gave nan or infinity; run it at a higher precision (model.dtype float32)")
    length_N1 = np.linalg.norm(rows_ND.astype(np.float64), axis=1, keepdims=True)
    return np.ascontiguousarray(np.divide(rows_ND, length_N1, where=length_N1 > 0, out=np.zeros_like(rows_ND)))


Factory = Callable[[str, Any], Embedder]
"""From what stands behind the colon, and the solver's policy, to an embedder."""
