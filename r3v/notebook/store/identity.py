"""Which problem is this? Hashes that a note keeps of its sources, and the record a source can be rebuilt from.

A note must never be shown for a problem it was learnt from, nor for a copy of one under another id. Ids are not
enough, so a note carries the hashes of its sources (`source_hashes`), each with its kind in front:

    image:   sha256 of the encoded bytes of one image
    text:    the normalised question, where the question alone tells problems apart
    look:    normalised question and a coarse hash of the pictures, so that a re-encoded picture is recognised
    source:  the record of the whole problem (question, choices, image hashes; never the answer)

A question that leaves every number to the picture ("Find the area.") is asked of many figures, so its words alone
prove nothing: it has no `text:` hash, only `look:`.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from r3v.errors import DataError, ImageError
from r3v.notebook.store.note import canonical
from r3v.records import BytesImage, ImageSource, Problem, image_hash

LONG = 20
"""A question of at least so many words identifies a problem even without a number in it."""
_PIECE = re.compile(r"\d+(?:[.,]\d+)*|\w+|[^\w\s]")
_IGNORED = frozenset(".,;:!?'\"`()[]{}“”‘’…")


def normal_text(text: str) -> str:
    """Words, numbers and signs in lower case with single spaces: the same for every way of typing a question."""
    pieces = _PIECE.findall(unicodedata.normalize("NFKC", text).casefold())
    return " ".join(piece for piece in pieces if piece not in _IGNORED)


def identifies(problem: Problem) -> bool:
    """Whether the question's words alone tell this problem from others: no picture, a number, or a long text."""
    words = normal_text(problem.question)
    return not problem.images or any(c.isdigit() for c in words) or len(words.split()) >= LONG


def text_hash(problem: Problem) -> str:
    """`text:` and the sha256 of the normalised question. Choices do not count: a problem asked openly is the same."""
    return "text:" + _digest(normal_text(problem.question).encode())


def look_hash(problem: Problem) -> str:
    """`look:` and a hash over the normalised question and the 64-bit difference hash of each picture."""
    looks = " ".join(difference_hash(image) for image in problem.images)
    return "look:" + _digest(f"{normal_text(problem.question)}\n{looks}".encode())


def difference_hash(image: ImageSource) -> str:
    """16 hexadecimal digits: is each of 8 x 8 grey cells brighter than its right neighbour? Raises ImageError.

    Scaling and re-encoding rarely change it (dHash; Krawetz 2013).
    """
    from PIL import Image

    from r3v.data.images import decode

    small = decode(image).convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    cells = list(small.tobytes())
    bits = [cells[9 * row + column] > cells[9 * row + column + 1] for row in range(8) for column in range(8)]
    return f"{sum(1 << i for i, bit in enumerate(bits) if bit):016x}"


def problem_hashes(problem: Problem) -> tuple[str, ...]:
    """Everything `Note.source_hashes` should hold of one problem. Raises ImageError for a broken image."""
    # Pictures may be drawn or fetched when read, so each is read once.
    pictures = tuple(BytesImage(image.read(), image.describe()) for image in problem.images)
    problem = replace(problem, images=pictures)
    found = [source_hash(problem), *(f"image:{image_hash(image)}" for image in problem.images)]
    if identifies(problem):
        found.append(text_hash(problem))
    if problem.images:
        found.append(look_hash(problem))
    return tuple(dict.fromkeys(found))


def hashes_of(problems: Iterable[Problem]) -> tuple[str, ...]:
    """`source_hashes` of a note learnt from these problems, each once, in order."""
    return tuple(dict.fromkeys(value for problem in problems for value in problem_hashes(problem)))


def source_record(problem: Problem) -> bytes:
    """The problem as canonical JSON without its answer: enough to embed it again with another embedder."""
    return canonical(
        {
            "schema": 1,
            "question": problem.question,
            "choices": list(problem.choices) if problem.choices else None,
            "unit": problem.unit,
            "images": [image_hash(image) for image in problem.images],
        }
    )


def source_hash(problem: Problem) -> str:
    """`source:` and the sha256 of `source_record`, which is also the record's name among the store's blobs."""
    return "source:" + _digest(source_record(problem))


def rebuild(record: bytes, blob: Callable[[str], bytes], name: str = "source") -> Problem:
    """The problem of a `source_record`, its images read from the store. Raises DataError for a damaged record."""
    try:
        row: Mapping[str, Any] = json.loads(record)
        choices = tuple(row["choices"]) if row["choices"] else None
        images = tuple(_blob_image(digest, blob) for digest in row["images"])
        question, unit = row["question"], row["unit"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"damaged source record: {error!r}", row=name, fix="Run r3v notebook verify") from error
    return Problem(
        id=name,
        question=question,
        answer="A" if choices else "0",
        kind="choice" if choices else "number",
        images=images,
        choices=choices,
        unit=unit,
    )


def _blob_image(digest: str, blob: Callable[[str], bytes]) -> BytesImage:
    data = blob(digest)
    if hashlib.sha256(data).hexdigest() != digest:
        raise ImageError(f"image {digest[:12]} of the notebook has other bytes than its name says")
    return BytesImage(data, f"blob {digest[:12]}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
