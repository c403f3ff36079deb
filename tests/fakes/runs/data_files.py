"""Small data files for the tests of the readers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image


def png(colour: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (colour % 256, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def folder(path: Path, images: int = 4) -> Path:
    """A data folder with images/0.png, 1.png, ..."""
    (path / "images").mkdir(parents=True)
    for i in range(images):
        (path / "images" / f"{i}.png").write_bytes(png(i))
    return path


def write(path: Path, value: Any) -> Path:
    """JSON Lines for .jsonl, else one JSON value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = value if path.suffix == ".jsonl" else [value]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def good(i: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"p{i}",
        "question": f"What is {i} + 1?",
        "answer": i + 1,
        "image": f"images/{i % 4}.png",
        **changes,
    }
