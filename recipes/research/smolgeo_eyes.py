"""What every cell of a picture shows, and heads that are asked for it while the vision tower learns.

From the text of answers alone a tower guesses for thousands of steps; told directly which label stands where and what
it is about, it learns to see in hundreds. The heads are thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from r3v.recipes.research.smolgeo_model import SIZE, Size

CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
GLYPHS = " 0123456789.°√πabcdefghijklmnopqrstuvwxyzαβγθ'" + CAPITALS
"""What a label is written with; the first stands for none, and anything else is read as none."""
LONGEST = 4


@dataclass(frozen=True)
class Label:
    """Ink of a letter or a number: its text, its box in pixels, and the letters of the points it is about."""

    text: str
    box: tuple[float, float, float, float]
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A drawn figure, grey uint8 [H, W], and where everything lies on it, in pixels."""

    pixels: np.ndarray
    labels: tuple[Label, ...] = ()
    points: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether it is known what the picture shows where."""
        return bool(self.labels)


class Fields:
    """Columns of a cell's targets: a label is centred here; its glyphs; one flag for each capital it is about; column
    and row of up to two points it is about (`bins` is none)."""

    here = 0
    glyphs = slice(1, 1 + LONGEST)
    owners = slice(1 + LONGEST, 1 + LONGEST + len(CAPITALS))
    points = slice(1 + LONGEST + len(CAPITALS), 5 + LONGEST + len(CAPITALS))
    count = 5 + LONGEST + len(CAPITALS)


def targets(picture: Picture, size: Size = SIZE) -> np.ndarray:
    """What each cell shows, uint8 [cells * cells, Fields.count]. Of two labels in a cell the later one is told."""
    height, width = picture.pixels.shape
    found = np.zeros((size.tokens, Fields.count), dtype=np.uint8)
    found[:, Fields.points] = size.patches
    for label in picture.labels:
        x0, y0, x1, y1 = label.box
        column, row = _bin((x0 + x1) / 2 / width, size.cells), _bin((y0 + y1) / 2 / height, size.cells)
        cell = found[row * size.cells + column]
        cell[:] = 0
        cell[Fields.here] = 1
        codes = [max(0, GLYPHS.find(c)) for c in label.text[:LONGEST]]
        cell[Fields.glyphs] = codes + [0] * (LONGEST - len(codes))
        for name in label.about:
            if name in CAPITALS:
                cell[Fields.owners.start + CAPITALS.index(name)] = 1
        at = [picture.points[name] for name in label.about if name in picture.points][:2]
        bins = [_bin(v / n, size.patches) for x, y in at for v, n in ((x, width), (y, height))]
        cell[Fields.points] = bins + [size.patches] * (4 - len(bins))
    return found


def _bin(share: float, count: int) -> int:
    return min(count - 1, max(0, int(share * count)))


class Eyes(nn.Module):
    """Linear heads on the image tokens [B, C, H], and on the patches half-way up the tower [B, P, W]."""

    def __init__(self, width: int, size: Size = SIZE) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.LayerNorm(width)
        self.here = nn.Linear(width, 1)
        self.glyphs = nn.Linear(width, LONGEST * len(GLYPHS))
        self.owner = nn.Linear(width, len(CAPITALS))
        self.points = nn.Linear(size.shuffle**2 * size.width, 4 * (size.patches + 1))

    def forward(
        self, tokens_BCH: Tensor, patches_BPW: Tensor, targets_BCF: Tensor
    ) -> tuple[Tensor, dict[str, tuple[float, int]]]:
        """The loss, and (right, count) of presence, labels, owners and points for the log."""
        n, s = self.size.cells, self.size.shuffle
        flat, want = self.norm(tokens_BCH).flatten(0, 1), targets_BCF.flatten(0, 1).long()
        here = self.here(flat)[:, 0]
        shown = want[:, Fields.here] == 1
        loss = 2.0 * F.binary_cross_entropy_with_logits(here, shown.float())
        hits = {"eyes_here": (here > 0) == shown}
        if not shown.any():
            return loss, _count(hits)
        glyphs, text = self.glyphs(flat[shown]).view(-1, LONGEST, len(GLYPHS)), want[shown][:, Fields.glyphs]
        cells = rearrange(patches_BPW, "b (i s j t) w -> (b i j) (s t w)", i=n, j=n, s=s, t=s)
        at = self.points(cells[shown]).view(-1, 4, self.size.patches + 1)
        where = want[shown][:, Fields.points]
        # The first glyph tells the letter or the first digit; the others are mostly none.
        loss = loss + 2.0 * F.cross_entropy(glyphs.flatten(0, 1), text.flatten())
        loss = loss + 2.0 * F.cross_entropy(at.flatten(0, 1), where.flatten())
        share = want[shown][:, Fields.owners].float()
        owned = share.sum(-1) > 0
        right = (glyphs.argmax(-1) == text).all(-1)
        letter = (text[:, 0] >= GLYPHS.index("A")) & (text[:, 1] == 0)
        hits |= {"eyes_letter": right[letter], "eyes_number": right[~letter]}
        hits["eyes_points"] = (at.argmax(-1) == where).all(-1)[where[:, 0] < self.size.patches]
        if owned.any():
            owner = self.owner(flat[shown][owned]).log_softmax(-1)
            loss = loss - (owner * share[owned]).sum(-1).div(share[owned].sum(-1)).mean()
            whose = share[owned] == 1
            least = owner.masked_fill(~whose, torch.inf).amin(-1)
            hits["eyes_owner"] = least > owner.masked_fill(whose, -torch.inf).amax(-1)
        return loss, _count(hits)


def _count(hits: dict[str, Tensor]) -> dict[str, tuple[float, int]]:
    return {name: (float(hit.sum()), len(hit)) for name, hit in hits.items()}


def stack(pictures: Sequence[Picture], size: Size = SIZE) -> Tensor:
    """Targets of several pictures, [B, C, F]."""
    return torch.from_numpy(np.stack([targets(picture, size) for picture in pictures]))
