"""A picture as PNG bytes."""

from __future__ import annotations

import io

from PIL import Image


def png(image: Image.Image) -> bytes:
    """The picture as PNG, the same bytes for the same pixels."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
