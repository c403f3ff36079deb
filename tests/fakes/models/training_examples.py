"""Small examples for the training tests: problems with a drawn picture and branches of several kinds."""

from __future__ import annotations

import io
import random

from PIL import Image

from r3v.prompts import refine, select, solve, style
from r3v.records import BytesImage, Example, Problem

STYLE = style("short")


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> BytesImage:
    """A noisy PNG, different for every seed."""
    rng = random.Random(seed)
    image = Image.new("RGB", size)
    image.putdata([(rng.randrange(256), rng.randrange(256), 90) for _ in range(size[0] * size[1])])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return BytesImage(buffer.getvalue(), f"picture-{seed}")


def problem(n: int, images: int = 1) -> Problem:
    """Problem number n: what is n + n, with pictures."""
    pictures = tuple(picture(10 * n + i) for i in range(images))
    return Problem(
        id=f"p{n}",
        question=f"In the figure, what is {n} + {n}?",
        answer=str(2 * n),
        kind="number",
        images=pictures,
    )


def examples_of(n: int, images: int = 1) -> list[Example]:
    """Two answers, a refine and a select branch of problem n."""
    p = problem(n, images)
    right, wrong = f"{n} + {n} = {2 * n}. Answer: {2 * n}", f"{n} + {n} = {2 * n + 1}. Answer: {2 * n + 1}"
    return [
        Example("answer", p.id, solve(p, STYLE), right),
        Example("answer", p.id, solve(p, STYLE), f"It is twice {n}. Answer: {2 * n}", weight=0.5),
        Example("refine", p.id, refine(p, STYLE, wrong), right, weight=0.5),
        Example("select", p.id, select(p, STYLE, [wrong, right]), f"[2] Answer: {2 * n}", weight=0.25),
    ]
