"""How a picture looks: size, strokes, letters, paper; drawn anew for each problem, as real pictures differ."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONTS = Path(__file__).parent / "fonts"
SCALE = 3
"""Pictures are drawn so many times too large and averaged down."""


@dataclass(frozen=True, slots=True)
class Hand:
    """The shape of letters or digits: face of the font, its height in pixels, slant, boldness and width."""

    face: str
    size: float
    slant: float
    bold: int
    stretch: float


@dataclass(frozen=True, slots=True)
class Style:
    """One way to draw; lengths in pixels."""

    side: int
    """The longer side of the picture."""
    stroke: float
    letters: Hand
    digits: Hand
    ink: int
    paper: int
    dots: bool
    degree_sign: bool
    arcs: int
    """How many arcs mark an angle whose value is written."""
    white_box: bool
    """Whether numbers stand on white, breaking the lines below."""
    blur: float
    noise: int
    turn: float
    """Degrees by which the figure is turned."""
    mirror: bool
    margin: float


def draw_style(rng: random.Random, upright: bool) -> Style:
    """A style; `upright` figures (stories) are not turned."""
    side = min(300, max(96, round(rng.lognormvariate(5.0, 0.27))))
    size = min(20.0, max(10.5, rng.gauss(13.0, 1.2) * (1.0 + (side - 140) / 500)))
    face = rng.choices(("italic", "serif", "sans"), weights=(60, 8, 32))[0]
    slanted = face == "sans" and rng.random() < 0.7
    size *= 1.12 if face != "sans" else 1.0  # serif letters are smaller in the same square
    letters = Hand(
        face, size, rng.uniform(0.16, 0.3) if slanted else 0.0, rng.choice((0, 0, 0, 1)), rng.uniform(0.88, 1.08)
    )
    digits = Hand(
        "sans" if face == "sans" or rng.random() < 0.2 else "serif",
        size * rng.uniform(0.9, 1.02),
        0.2 if rng.random() < 0.15 else 0.0,
        rng.choice((0, 0, 1)),
        rng.uniform(0.9, 1.05),
    )
    way = rng.random()
    turn = 0.0 if upright or way < 0.55 else rng.uniform(-15, 15) if way < 0.75 else rng.uniform(0, 360)
    return Style(
        side=side,
        stroke=rng.choice((0.8, 1.0, 1.0, 1.2, 1.4, 1.8)),
        letters=letters,
        digits=digits,
        ink=rng.choice((0, 0, 0, 20, 45, 70)),
        paper=rng.choice((255, 255, 255, 255, 250, 242)),
        dots=rng.random() < 0.08,
        degree_sign=rng.random() < 0.5,
        arcs=rng.choice((0, 1, 1, 1, 2)),
        white_box=rng.random() < 0.4,
        blur=rng.uniform(0.3, 0.7) if rng.random() < 0.2 else 0.0,
        noise=rng.choice((4, 8)) if rng.random() < 0.15 else 0,
        turn=turn,
        mirror=rng.random() < 0.5,
        margin=size * rng.uniform(1.15, 1.5),
    )


@functools.lru_cache(maxsize=256)
def _font(face: str, pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font for "sans"; "serif" and "italic" are the letters of most printed figures."""
    if face == "sans":
        return ImageFont.load_default(pixels)
    name = {"serif": "serif.ttf", "italic": "serif-italic.ttf"}[face]
    return ImageFont.truetype(str(FONTS / name), pixels, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=8192)
def glyphs(text: str, hand: Hand) -> Image.Image:
    """The ink of a text as a mask, `SCALE` mask pixels to one picture pixel, cropped."""
    face = "serif" if "√" in text else hand.face  # the only one that has the sign
    font = _font(face, round(hand.size * SCALE))
    left, top, right, bottom = font.getbbox(text)
    pad = int(2 * SCALE + hand.slant * (bottom - top)) + 2
    mask = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), 0)
    where = (pad - left, pad - top)
    ImageDraw.Draw(mask).text(where, text, fill=255, font=font, stroke_width=hand.bold, stroke_fill=255)
    if hand.slant:
        shift = hand.slant * mask.height / 2
        skew = (1, hand.slant, -shift, 0, 1, 0)
        mask = mask.transform(mask.size, Image.Transform.AFFINE, skew, Image.Resampling.BILINEAR)
    mask = mask.crop(mask.getbbox())
    return mask.resize((max(1, round(mask.width * hand.stretch)), mask.height)) if hand.stretch != 1.0 else mask
