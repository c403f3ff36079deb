"""Images: found inside their data folder, checked from the header, decoded when needed, always plain RGB.

A data set is untrusted input. A name may not lead out of its folder (`..`, absolute paths and symbolic
links are resolved first), the pixel count is read from the header before anything is decoded, and only
raster formats that Pillow decodes itself are accepted (no EPS or PDF, which start other programs). A strip
longer than 200 times its width is refused with them: no processor of the tested families cuts it into tokens.
"""

from __future__ import annotations

import io
import math
import os
import stat
import struct
import warnings
import zlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r3v.data.shown import shown
from r3v.errors import ImageError
from r3v.records import BytesImage, FileImage, ImageSource

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 64_000_000
"""Largest image accepted unless told otherwise; 64 megapixels decode to 192 MB."""
MAX_BYTES = 256_000_000
MAX_RATIO = 200
"""Longest edge by shortest. The processors of Qwen-VL and GLM-V raise beyond it; others squeeze such a strip to
nothing."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
# What Pillow raises on damaged files: its parsers let errors of struct, zlib and indexing through.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


def locate(name: Any, root: str | Path, *, file: str, row: str, field: str) -> FileImage:
    """The image called `name` in the folder `root`, not yet read.

    Raises ImageError naming file, row and field when `name` is not text, leaves the folder, does not exist,
    is not a regular file, is empty or is larger than 256 MB.
    """

    def fail(what: str, fix: str) -> ImageError:
        return ImageError(what, file=file, row=row, field=field, fix=fix)

    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise fail(
            f"found {shown(name)}, expected the name of an image file", "Give a path relative to the data folder"
        )
    base = os.path.realpath(root)
    try:
        path = os.path.realpath(os.path.join(base, name))
    except UnicodeEncodeError as error:
        raise fail(f"found {shown(name)}, which no file can be called", "Correct the name") from error
    if os.path.commonpath([base, path]) != base:
        raise fail(
            f"image {shown(name)} leaves the data folder {base}",
            "Move it inside, or name the folder that holds the images with the option root=DIR",
        )
    try:
        status = os.stat(path)
    except OSError as error:
        raise fail(
            f"image {shown(name)} cannot be found in {base}: {error.strerror or error}",
            "Restore the file, or name the folder that holds the images with the option root=DIR",
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise fail(f"image {shown(name)} is not a regular file", "Name an image file")
    if not 0 < status.st_size <= MAX_BYTES:
        raise fail(f"image {shown(name)} has {status.st_size} bytes, expected 1 to {MAX_BYTES}", "Replace the file")
    return FileImage(path, origin=(file, row, field))


def _fail(image: ImageSource, what: str, fix: str) -> ImageError:
    origin = getattr(image, "origin", None)
    file, row, field = origin or (image.describe(), None, None)
    return ImageError(f"image {image.describe()}: {what}" if origin else what, file=file, row=row, field=field, fix=fix)


def _hush_pillow() -> None:
    """Ignore what Pillow warns of, and nothing else. Pictures are decoded in threads of their own, where
    `warnings.catch_warnings` would take the filters, and the warnings, of all other threads with it."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _open(image: ImageSource, data: bytes, limit: int) -> Image.Image:
    """Header only: format and size are known and within the limit, no pixel is decoded."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise _fail(image, "found 0 bytes, expected an image", "Replace the file")
    bomb = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        _hush_pillow()  # its own bomb warning; the limit below is stricter and is an error
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _fail(
            image,
            f"broken, or not an image of a known type, expected one of {', '.join(FORMATS)}",
            "Convert or replace it",
        ) from error
    except bomb as error:
        raise _fail(image, f"too large to decode safely (limit {limit:,} pixels): {error}", "Scale it down") from error
    except _BROKEN as error:
        raise _fail(image, f"broken header: {error}", "Replace the file") from error
    width, height = opened.size
    if width < 1 or height < 1:
        raise _fail(image, f"size {width}x{height}, expected at least 1x1", "Replace the file")
    if width * height > limit:
        raise _fail(
            image,
            f"{width}x{height} = {width * height:,} pixels, more than the limit of {limit:,}",
            "Scale it down",
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        raise _fail(
            image,
            f"{width}x{height} pixels, an aspect ratio of {max(width, height) / min(width, height):.4g}, more than the "
            f"{MAX_RATIO} that processors of models take",
            "Crop it, or leave the row out",
        )
    return opened


def fitted(width: int, height: int, least: int | None, most: int | None) -> tuple[int, int]:
    """(width, height) of a picture scaled to hold at least `least` and at most `most` pixels; None is no limit.

    Whole numbers cannot keep the ratio of the edges: it only ever falls, so that a legal strip stays one. Where the
    two limits leave no room for rounding, `most` counts.
    """
    long, short = max(width, height), min(width, height)
    edge = short
    if least is not None and width * height < least:
        edge = max(1, math.isqrt(least * short // long))
        while edge * (edge * long // short) < least:
            edge += 1
    if edge == short and (most is None or width * height <= most):
        return width, height
    other = edge * long // short
    if most is not None and edge * other > most:
        edge = max(1, math.isqrt(most * short // long))
        other = max(1, min(edge * long // short, most // edge))
    return (other, edge) if width >= height else (edge, other)


def size(image: ImageSource, max_pixels: int | None = None) -> tuple[int, int]:
    """(width, height) from the header, before EXIF rotation. Raises ImageError."""
    with _open(image, image.read(), max_pixels or MAX_PIXELS) as opened:
        return opened.size


def decode(image: ImageSource, max_pixels: int | None = None) -> Image.Image:
    """Decode to RGB: first frame of an animation, EXIF orientation applied, transparency on white, 16 bits
    to 8.

    `max_pixels` is the largest width x height accepted (64 million by default), checked before decoding.
    Images are never scaled here. Raises ImageError, naming the row and field where the source knows them.
    """
    from PIL import ImageOps

    with _open(image, image.read(), max_pixels or MAX_PIXELS) as opened:
        try:
            _hush_pillow()  # remarks on odd metadata; the pixels are checked by decoding them
            opened.load()
            return _rgb(ImageOps.exif_transpose(opened))
        except _BROKEN as error:
            raise _fail(image, f"broken or cut off: {error}", "Replace the file") from error


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey to 8 bits. Pillow's own conversion would clip everything above
    255."""
    import numpy as np
    from PIL import Image

    values_HW = np.nan_to_num(np.asarray(image, dtype=np.float64))
    top = float(values_HW.max())
    if image.mode == "F" and top <= 1.0:
        values_HW = values_HW * 255.0
    elif image.mode != "F" and (image.mode.startswith("I;16") or top > 255.0):
        values_HW = values_HW / (257.0 if top <= 65535.0 else top / 255.0)
    grey_HW = np.clip(np.rint(values_HW), 0, 255).astype(np.uint8)
    return Image.fromarray(grey_HW).convert("RGB")


WHITE, GREY = 255, 128


def blank(image: ImageSource, shade: int = WHITE) -> BytesImage:
    """A picture of the same size and one shade: for what a model knows without looking. Raises ImageError for one that
    cannot be read."""
    return _plain(*size(image), shade)


@lru_cache(maxsize=4096)
def _plain(width: int, height: int, shade: int) -> BytesImage:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (shade,) * 3).save(buffer, "PNG")
    return BytesImage(buffer.getvalue(), f"blank {width}x{height}")
