"""Chat messages of lmms-eval as ours: in each, the pictures first and then the texts, as in training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PIL import Image

from r3v.curriculum.images.png import png
from r3v.errors import ConfigError
from r3v.records import BytesImage, FileImage, ImageSource, Message

_PLAIN = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
"""Modes of Pillow that PNG holds as they are."""


def messages_of(chat: Iterable[Any]) -> list[Message]:
    """The messages of an lmms-eval `ChatMessages`. Raises ConfigError for what no picture is: video and sound."""
    found = []
    for one in chat:
        pictures = tuple(picture(part.url) for part in one.content if part.type == "image")
        other = [part.type for part in one.content if part.type not in ("image", "text")]
        if other:
            raise ConfigError(f"found {other[0]} in a message; r3v reads text and pictures")
        texts = [part.text for part in one.content if part.type == "text" and part.text.strip()]
        found.append(Message(one.role, "\n".join(texts), pictures))
    return found


def picture(value: Any) -> ImageSource:
    """A picture as tasks give it: a file's path, or an image of Pillow. Raises ConfigError for anything else."""
    if isinstance(value, str) and "://" not in value and not value.startswith("data:"):
        return FileImage(value)
    if isinstance(value, Image.Image):
        return BytesImage(png(value if value.mode in _PLAIN else value.convert("RGB")), "of the task")
    shown = value[:60] if isinstance(value, str) else type(value).__name__
    raise ConfigError(f"found the picture {shown}, expected a file or an image of Pillow; nothing is fetched")
