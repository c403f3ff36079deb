"""Image operations that keep the answer: what they change is drawn from a seed, recorded, and applied again the same.

Each operation has `choose(image, rng)`, which gives its parameters (JSON values) or raises EditRefused, and
`apply(image, parameters)`. Pictures are RGB. None of them hides ink: a number on the picture stays readable.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from r3v.curriculum.practice.relabel import EditRefused
from r3v.records import Problem

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Parameters = Mapping[str, Any]
INK = 24
"""Grey levels by which a pixel must differ from the background to count as ink."""
_DIRECTION = re.compile(
    r"\b(left(most)?|right(?!\s*-?(angle|triangle|trapezoid|prism))(most)?|above|below|top|bottom|upper|lower|"
    r"(anti-?|counter-?)?clockwise|horizontal\w*|vertical(?!\s+angle)(ly)?|north|south|east|west|upward|downward)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Op:
    """`turns`: refused where the question speaks of directions. `flips`: refused where the picture may hold text."""

    name: str
    choose: Callable[[Image.Image, random.Random], Parameters]
    apply: Callable[[Image.Image, Parameters], Image.Image]
    turns: bool = False
    flips: bool = False

    def require(self, problem: Problem) -> None:
        """Raises EditRefused where the operation could change the answer of this problem."""
        words = " ".join([problem.question, *(problem.choices or ())])
        found = _DIRECTION.search(words) if self.turns else None
        if found:
            raise EditRefused(
                f"{self.name}: the question says {found[0]!r}, which turning the picture would change", row=problem.id
            )
        if self.flips and not problem.meta.get("text_free"):
            raise EditRefused(
                f"{self.name}: writing in the picture would be mirrored",
                row=problem.id,
                fix="Set meta.text_free where the picture holds no writing",
            )


def background(image: Image.Image) -> tuple[int, int, int]:
    """The most frequent colour of the border pixels."""
    import numpy as np

    a_HWC = np.asarray(image.convert("RGB"))
    edge_NC = np.concatenate([a_HWC[0], a_HWC[-1], a_HWC[:, 0], a_HWC[:, -1]])
    colours, counts = np.unique(edge_NC, axis=0, return_counts=True)
    r, g, b = (int(v) for v in colours[counts.argmax()])
    return r, g, b


def ink(image: Image.Image) -> np.ndarray:
    """Boolean [H, W]: pixels that differ from the background."""
    import numpy as np

    a_HWC = np.asarray(image.convert("RGB"), dtype=np.int16)
    return np.abs(a_HWC - np.array(background(image), dtype=np.int16)).max(axis=2) > INK


def _choose_crop(image: Image.Image, rng: random.Random) -> Parameters:
    import numpy as np

    ink_HW = ink(image)
    ys, xs = np.flatnonzero(ink_HW.any(axis=1)), np.flatnonzero(ink_HW.any(axis=0))
    if not len(xs):
        raise EditRefused("crop: the picture is one colour")
    room = (int(xs[0]), int(ys[0]), image.width - 1 - int(xs[-1]), image.height - 1 - int(ys[-1]))
    cut = [rng.randint(0, max(0, r - 1)) for r in room]
    if sum(cut) < 2:
        raise EditRefused("crop: the picture has no empty border to cut")
    return {"box": [cut[0], cut[1], image.width - cut[2], image.height - cut[3]]}


def _crop(image: Image.Image, p: Parameters) -> Image.Image:
    x0, y0, x1, y1 = p["box"]
    return image.crop((x0, y0, x1, y1))


def _choose_rotate(image: Image.Image, rng: random.Random) -> Parameters:
    return {"degrees": round(rng.choice((-1, 1)) * rng.uniform(2, 9), 2)}


def _rotate(image: Image.Image, p: Parameters) -> Image.Image:
    from PIL import Image as Pillow

    return image.rotate(p["degrees"], Pillow.Resampling.BICUBIC, expand=True, fillcolor=background(image))


def _choose_mirror(image: Image.Image, rng: random.Random) -> Parameters:
    return {}


def _mirror(image: Image.Image, p: Parameters) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.mirror(image)


def _choose_occlude(image: Image.Image, rng: random.Random) -> Parameters:
    """Up to three rectangles on places without ink (one pixel of air), found with a summed-area table."""
    import numpy as np

    ink_HW = ink(image)
    sums = np.zeros((image.height + 1, image.width + 1), dtype=np.int64)
    sums[1:, 1:] = ink_HW.cumsum(0).cumsum(1)
    boxes: list[list[int]] = []
    for _ in range(200):
        w = rng.randint(max(4, image.width // 16), max(5, image.width // 5))
        h = rng.randint(max(4, image.height // 16), max(5, image.height // 5))
        if w + 2 > image.width or h + 2 > image.height:
            continue
        x, y = rng.randint(1, image.width - w - 1), rng.randint(1, image.height - h - 1)
        x0, y0, x1, y1 = x - 1, y - 1, x + w + 1, y + h + 1
        if sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0] == 0:
            boxes.append([x, y, x + w, y + h])
            if len(boxes) == 3:
                break
    if not boxes:
        raise EditRefused("occlude: found no place without ink")
    return {"boxes": boxes, "grey": rng.randint(120, 200)}


def _occlude(image: Image.Image, p: Parameters) -> Image.Image:
    out = image.copy()
    for x0, y0, x1, y1 in p["boxes"]:
        out.paste((p["grey"],) * 3, (x0, y0, x1, y1))
    return out


def _choose_noise(image: Image.Image, rng: random.Random) -> Parameters:
    return {
        "sigma": round(rng.uniform(4, 16), 2),
        "seed": rng.randrange(2**31),
        "contrast": round(rng.uniform(0.75, 1.0), 3),
        "blur": round(rng.choice((0.0, 0.3, 0.5)), 2),
    }


def _noise(image: Image.Image, p: Parameters) -> Image.Image:
    import numpy as np
    from PIL import Image as Pillow
    from PIL import ImageFilter

    if p["blur"]:
        image = image.filter(ImageFilter.GaussianBlur(p["blur"]))
    a_HWC = np.asarray(image.convert("RGB"), dtype=np.float64)
    a_HWC = 128 + (a_HWC - 128) * p["contrast"]
    a_HWC = a_HWC + np.random.default_rng(p["seed"]).normal(0.0, p["sigma"], a_HWC.shape)
    return Pillow.fromarray(np.clip(np.rint(a_HWC), 0, 255).astype(np.uint8))


OPS: dict[str, Op] = {
    op.name: op
    for op in (
        Op("crop", _choose_crop, _crop),
        Op("rotate", _choose_rotate, _rotate, turns=True),
        Op("mirror", _choose_mirror, _mirror, turns=True, flips=True),
        Op("occlude", _choose_occlude, _occlude),
        Op("noise", _choose_noise, _noise),
    )
}
"""The pixel operations. On GeoWorld items `mirror` goes through the renderer instead, so that labels stay upright."""
