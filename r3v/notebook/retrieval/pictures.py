"""Pictures of notes in prompts: who is shown them, and which are fit to be shown.

A note keeps the picture of a problem it was learnt from. A solver that takes several pictures is shown it behind the
problem's own; `r3v.prompts` numbers the pictures and says which belongs to the note. Every other solver gets the words
alone and is told so once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from r3v.errors import ConfigError, ImageError
from r3v.notebook.store.note import Note
from r3v.prompts import Style
from r3v.records import BytesImage

PIXELS = 4_000_000
"""Largest image of a note that is taken."""
BYTES = 8_000_000
SHOWN = 1
"""Most pictures of one note in a prompt: each costs as much as a page of words."""

Mode = Literal["auto", "always", "never"]
MODES: tuple[Mode, ...] = ("auto", "always", "never")
SEVERAL = frozenset(
    (
        "aria", "gemma3", "gemma3n", "glm4v", "idefics2", "idefics3", "internvl", "llama4", "llava_onevision",
        "mistral3", "mllama", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "smolvlm",
    )
)  # fmt: skip
"""`model_type` of the families trained on several pictures in one question. LLaVA 1.5 takes them and was trained on
one."""


class Pictured(str):
    """A note's words for `r3v.prompts.solve`, with the pictures to show with them."""

    images: tuple[BytesImage, ...]

    def __new__(cls, words: str, images: tuple[BytesImage, ...] = ()) -> Pictured:
        made = super().__new__(cls, words)
        made.images = images
        return made


def same(a: Iterable[str], b: Iterable[str]) -> bool:
    """Whether two lists of note texts make the same prompt: the same words, and the same pictures."""
    return [_content(text) for text in a] == [_content(text) for text in b]


def _content(text: str) -> tuple[str, list[bytes]]:
    return str(text), [image.read() for image in getattr(text, "images", ())]


def takes_several(policy: Any) -> bool | None:
    """Whether a model in process is of a family in `SEVERAL`; None where that cannot be known (servers)."""
    kind = getattr(getattr(getattr(policy, "model", None), "config", None), "model_type", None)
    return None if kind is None else kind in SEVERAL


def shows_pictures(policy: Any, mode: Mode, style: Style, say: Callable[[str], None]) -> bool:
    """Whether this solver is shown the pictures of notes; where `auto` decides against it, `say` is told why.

    The style `short` is for models with little context: `auto` gives them words only. Raises ConfigError for an
    unknown mode.
    """
    if mode not in MODES:
        raise ConfigError(f"found note images {mode!r}, expected one of {', '.join(MODES)}")
    several = takes_several(policy)
    if mode != "auto" or (several and style.name != "short"):
        return mode != "never"
    why = (
        "the prompt style short has room for words only"
        if style.name == "short"
        else "it is not known to take several pictures"
        if several is None
        else "it was trained on one picture at a time"
    )
    say(f"notes are shown to {policy.name} without their pictures: {why}; retrieval.images always shows them")
    return False


def note_images(note: Note, blob: Callable[[str], bytes]) -> tuple[BytesImage, ...]:
    """The images of a note, each checked by its size and header before anything is decoded. Raises ImageError."""
    return tuple(_image(note, digest, blob) for digest in note.images)


def _image(note: Note, digest: str, blob: Callable[[str], bytes]) -> BytesImage:
    from r3v.data.images import size

    data = blob(digest)
    image = BytesImage(data, f"image {digest[:12]} of note {note.id}")
    if hashlib.sha256(data).hexdigest() != digest:
        raise ImageError(f"{image.name} has other bytes than its name says", fix="Run r3v notebook verify")
    if not 0 < len(data) <= BYTES:
        raise ImageError(f"{image.name} has {len(data)} bytes, expected 1 to {BYTES}", fix="Scale it down")
    size(image, PIXELS)
    return image


@dataclass
class Pictures:
    """Gives the pictures to show with a note: the first `SHOWN` that are fit. One that is too large or broken is left
    out, and `say` is told once."""

    blob: Callable[[str], bytes]
    say: Callable[[str], None]
    _fit: dict[str, BytesImage | None] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, note: Note) -> tuple[BytesImage, ...]:
        found = (self._checked(note, digest) for digest in note.images)
        return tuple(image for image in found if image is not None)[:SHOWN]

    def _checked(self, note: Note, digest: str) -> BytesImage | None:
        if digest not in self._fit:
            try:
                self._fit[digest] = _image(note, digest, self.blob)
            except ImageError as error:
                self._fit[digest] = None
                self.say(f"note {note.id} is shown without a picture: {error}")
        return self._fit[digest]
