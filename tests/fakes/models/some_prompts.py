"""A few prompts of unlike length with noisy pictures, for the tests of engines."""

from __future__ import annotations

import io

import torch
from PIL import Image

from r3v import prompts as words
from r3v.records import BytesImage, Problem, Prompt

STYLE = words.style("short")


def picture(width: int, height: int, seed: int) -> BytesImage:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)
    data = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(data, "PNG")
    return BytesImage(data.getvalue())


def problem(i: int) -> Problem:
    text = "What is angle C" + " of the triangle" * i + "?"
    return Problem(f"p{i}", text, "A", "choice", images=(picture(40 + 8 * i, 48, i),), choices=("1", "2"))


def some_prompts(n: int = 4) -> list[Prompt]:
    return [words.solve(problem(i), STYLE) for i in range(n)]
