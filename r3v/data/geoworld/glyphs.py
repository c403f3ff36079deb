"""The ink of labels, from the font that Pillow brings: upright digits `PITCH` pixels apart, and letters slanted like
printed vertex names.
"""

from __future__ import annotations

import functools

from PIL import Image, ImageDraw, ImageFont

DIGIT_SIZE = 14.5
PITCH = 8
LETTER_SIZE = 13.5
SLANT = 0.24


@functools.lru_cache(maxsize=2048)
def glyph(text: str, slanted: bool, scale: int) -> Image.Image:
    """The text as a mask, `scale` mask pixels to one picture pixel: cropped to the ink of a letter; of a number only in
    height, so that every digit is in the middle of a column `PITCH` pixels wide.
    """
    if not slanted and len(text) > 1:
        digits = [glyph(digit, False, scale) for digit in text]
        row = Image.new("L", (len(text) * PITCH * scale, max(d.height for d in digits)), 0)
        for k, digit in enumerate(digits):
            row.paste(digit, (k * PITCH * scale, (row.height - digit.height) // 2))
        return row
    font = ImageFont.load_default((LETTER_SIZE if slanted else DIGIT_SIZE) * scale)
    left, top, right, bottom = font.getbbox(text)
    pad = int(4 * scale)
    mask = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), 0)
    ImageDraw.Draw(mask).text(
        (pad - left, pad - top),
        text,
        fill=255,
        font=font,
        stroke_width=0 if slanted else max(1, scale // 5),
        stroke_fill=255,
    )
    if slanted:
        shift = SLANT * mask.height / 2
        mask = mask.transform(mask.size, Image.Transform.AFFINE, (1, SLANT, -shift, 0, 1, 0), Image.Resampling.BILINEAR)
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    if not slanted:
        left = (left + right - PITCH * scale) // 2
        right = left + PITCH * scale
    return mask.crop((left, top, right, bottom))


@functools.lru_cache(maxsize=2048)
def ink_size(text: str, slanted: bool) -> tuple[float, float]:
    """Width and height of the ink in picture pixels."""
    scale = 4
    mask = glyph(text, slanted, scale)
    return mask.width / scale, mask.height / scale
