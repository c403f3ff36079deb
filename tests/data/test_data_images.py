"""Images: every way a file can be bad is a named ImageError, every mode a good file can have becomes RGB."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from r3v.data.images import MAX_RATIO, decode, fitted, locate, size
from r3v.errors import ImageError
from r3v.records import BytesImage, FileImage

WHERE = {"file": "data.jsonl", "row": "17", "field": "image"}


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no such pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


PICTURE = encoded(Image.effect_noise((64, 48), 50).convert("RGB"))
JPEG = encoded(Image.effect_noise((64, 48), 50).convert("RGB"), "JPEG")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "0 bytes"),
        (b"not an image at all", "not an image of a known type"),
        (b"%PDF-1.4 \n", "not an image of a known type"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known type"),
        (PICTURE[: len(PICTURE) // 2], "broken or cut off"),
        (JPEG[: len(JPEG) // 2], "broken or cut off"),
        (PICTURE[:40], "broken"),
        (png_header(0, 5), "expected"),
        (png_header(9000, 8000), "72,000,000 pixels, more than the limit of 64,000,000"),
        (png_header(60000, 60000), "too large to decode safely"),
        (png_header(10, 10), "broken or cut off"),
    ],
    ids=[
        "empty",
        "text",
        "pdf",
        "eps",
        "half-png",
        "half-jpeg",
        "header",
        "zero",
        "large",
        "bomb",
        "no-pixels",
    ],
)
def test_bad_bytes(data: bytes, what: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(BytesImage(data, "picture"))
    assert what in str(caught.value)
    assert str(caught.value).startswith("file picture: ")


@settings(max_examples=60)
@given(st.integers(0, len(PICTURE) - 1), st.integers(0, 255), st.booleans())
def test_damage_is_an_image_error_or_harmless(position: int, value: int, jpeg: bool) -> None:
    data = bytearray(JPEG if jpeg else PICTURE)
    data[position % len(data)] = value
    with contextlib.suppress(ImageError):
        assert decode(BytesImage(bytes(data))).mode == "RGB"


def test_limit_is_checked_before_decoding() -> None:
    image = BytesImage(encoded(Image.new("RGB", (20, 10))))
    assert decode(image, max_pixels=200).size == (20, 10)
    with pytest.raises(ImageError, match=r"20x10 = 200 pixels, more than the limit of 199"):
        decode(image, max_pixels=199)
    assert size(BytesImage(png_header(4000, 4000))) == (4000, 4000)


@pytest.mark.parametrize(("width", "height"), [(5000, 20), (600, 2), (2, 600), (201, 1)])
def test_a_strip_that_no_processor_takes_is_refused_from_its_header(width: int, height: int) -> None:
    with pytest.raises(ImageError, match=r"^file picture: \d+x\d+ pixels, an aspect ratio of (250|300|201), more than"):
        decode(BytesImage(png_header(width, height), "picture"))
    with pytest.raises(ImageError, match="aspect ratio"):
        size(BytesImage(png_header(width, height)))


def test_a_strip_at_the_limit_and_a_single_pixel_are_read() -> None:
    for shape in ((200, 1), (1, 200), (5000, 26), (1, 1)):
        assert decode(BytesImage(encoded(Image.new("RGB", shape)))).size == shape


@pytest.mark.parametrize(
    ("given", "least", "most", "wanted"),
    [
        ((640, 480), None, None, (640, 480)),
        ((640, 480), 784, 307_200, (640, 480)),
        ((640, 480), None, 76_800, (320, 240)),
        ((5000, 26), None, 20_000, (1923, 10)),  # 192.3:1 stays one; 1961 x 10 would be 196:1 and 2077 x 10 illegal
        ((26, 5000), None, 20_000, (10, 1923)),
        ((1, 1), 200_704, None, (448, 448)),
        ((132, 117), 200_704, 602_112, (476, 422)),  # the least pair of its ratio: 475 x 421 are 199,975 pixels
        ((10, 10), 784, 784, (28, 28)),
    ],
)
def test_fitted(given: tuple[int, int], least: int | None, most: int | None, wanted: tuple[int, int]) -> None:
    assert fitted(*given, least, most) == wanted


@settings(max_examples=300)
@given(
    short=st.integers(1, 300),
    ratio=st.floats(1, MAX_RATIO),
    tall=st.booleans(),
    least=st.none() | st.integers(784, 300_000),
    room=st.none() | st.floats(1, 20),
)
def test_scaling_never_makes_a_picture_thinner(
    short: int, ratio: float, tall: bool, least: int | None, room: float | None
) -> None:
    """The ratio of the edges does not grow, `most` is never passed, `least` is reached where there is room."""
    width, height = (short, int(short * ratio)) if tall else (int(short * ratio), short)
    most = None if room is None else int((least or 784) * room)
    new_width, new_height = fitted(width, height, least, most)
    long, thin = max(new_width, new_height), min(new_width, new_height)
    assert thin >= 1
    assert long * min(width, height) <= max(width, height) * thin
    if most is not None:
        assert long * thin <= most
    if least is not None and (most is None or most >= 4 * least):  # from 1 to 2 pixels is four times as many
        assert long * thin >= least
    assert (new_width >= new_height) == (width >= height) or new_width == new_height


def test_modes_become_rgb() -> None:
    """Half-transparent black on white is grey 127 or 128; 16-bit 32896 is 8-bit 128; CMYK 0,0,0,0 is
    white."""
    deep = Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16))
    real = Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32))
    clear = Image.new("P", (4, 4), 0)
    clear.putpalette([10, 20, 30])
    cases = [
        (encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128))), (127, 127, 127)),
        (encoded(Image.new("RGBA", (4, 4), (9, 9, 9, 0))), (255, 255, 255)),
        (encoded(Image.new("LA", (4, 4), (0, 0))), (255, 255, 255)),
        (encoded(clear, transparency=0), (255, 255, 255)),
        (encoded(Image.new("1", (4, 4), 1)), (255, 255, 255)),
        (encoded(Image.new("L", (4, 4), 7)), (7, 7, 7)),
        (encoded(deep), (128, 128, 128)),
        (encoded(deep, "TIFF"), (128, 128, 128)),
        (encoded(real, "TIFF"), (128, 128, 128)),
        (encoded(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), "TIFF"), (255, 255, 255)),
        (encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), (255, 255, 255)),
    ]
    for data, expected in cases:
        image = decode(BytesImage(data))
        assert image.mode == "RGB"
        assert max(abs(a - b) for a, b in zip(pixel(image), expected, strict=True)) <= 1


def test_animation_gives_its_first_frame_and_exif_is_applied() -> None:
    red, blue = Image.new("RGB", (6, 4), (255, 0, 0)), Image.new("RGB", (6, 4), (0, 0, 255))
    assert pixel(decode(BytesImage(encoded(red, "GIF", save_all=True, append_images=[blue])))) == (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees
    assert decode(BytesImage(encoded(red, "JPEG", exif=exif))).size == (4, 6)


def test_locate_stays_in_the_folder(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    data.mkdir()
    outside.mkdir()
    for folder in (data, outside):
        (folder / "a.png").write_bytes(PICTURE)
    (data / "link.png").symlink_to(outside / "a.png")
    (data / "inner.png").symlink_to(data / "a.png")
    (data / "empty.png").write_bytes(b"")
    os.mkfifo(data / "pipe.png")
    assert decode(locate("a.png", data, **WHERE)).size == (64, 48)
    assert locate("inner.png", data, **WHERE) == FileImage(str(data / "a.png"))
    assert locate(str(data / "a.png"), data, **WHERE) == FileImage(str(data / "a.png"))
    for name, what in [
        ("../outside/a.png", "leaves the data folder"),
        (str(outside / "a.png"), "leaves the data folder"),
        ("link.png", "leaves the data folder"),
        ("none.png", "cannot be found"),
        ("empty.png", "0 bytes"),
        ("pipe.png", "not a regular file"),
        (".", "not a regular file"),
        ("", "expected the name of an image file"),
        (7, "expected the name of an image file"),
        ("a\0.png", "expected the name of an image file"),
        ("x" * 5000, "cannot be found"),
    ]:
        with pytest.raises(ImageError) as caught:
            locate(name, data, **WHERE)
        assert what in str(caught.value)
        assert str(caught.value).startswith("file data.jsonl, row 17, field image: ")


def test_errors_of_a_located_image_name_its_row(tmp_path: Path) -> None:
    (tmp_path / "half.png").write_bytes(PICTURE[:200])
    image = locate("half.png", tmp_path, **WHERE)
    with pytest.raises(ImageError, match=r"^file data.jsonl, row 17, field image: image .*half.png: broken"):
        decode(image)
    (tmp_path / "half.png").unlink()
    with pytest.raises(ImageError, match=r"^file data.jsonl, row 17, field image: cannot read"):
        decode(image)
