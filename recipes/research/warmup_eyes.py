"""Teach the vision tower of geoworld-tiny to see before it is asked to speak.

From text targets alone a tower of this size guesses for thousands of steps. GeoWorld knows where every label is
drawn, so each of the 49 image tokens is first trained, through small heads that are thrown away afterwards, to say
which letter or number is centred in its cell, and which vertices that number belongs to. Half-way up the tower every
cell with a label also has to say where the points are that the label is about: then whose a number is takes one
comparison of places in the upper half. The same loss goes on beside the language loss later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from r3v.data.geoworld import Item
from r3v.data.geoworld.render import Layout
from r3v.recipes.research.warmup_model import IMAGE_SIZE, PATCH, SHUFFLE

LETTERS = "ABCDEFGHKMNPQO"
GRID = IMAGE_SIZE // PATCH // SHUFFLE
CELLS = GRID * GRID
OWNERS = slice(6, 6 + len(LETTERS))
POINTS = slice(6 + len(LETTERS), 10 + len(LETTERS))
FIELDS = POINTS.stop
BINS = IMAGE_SIZE // PATCH
"""Per cell: a number is centred here; its three digits (10 is none); it is an angle; the letter centred here
(len(LETTERS) is none); one flag for each vertex the number belongs to; then column and row, in patches, of the point
that the label is about and of a second one where it is about two (BINS is none)."""


def targets(item: Item, layout: Layout) -> np.ndarray:
    """What each cell shows, uint8 [49, FIELDS]."""
    found = np.zeros((CELLS, FIELDS), dtype=np.uint8)
    found[:, 1:4], found[:, 5], found[:, POINTS] = 10, len(LETTERS), BINS
    givens = {g.key: g for g in item.draft.givens}
    for label in layout.labels:
        x0, y0, x1, y1 = label.box
        column, row = (min(GRID - 1, max(0, int((a + b) / 2 * GRID / IMAGE_SIZE))) for a, b in ((x0, x1), (y0, y1)))
        cell = found[row * GRID + column]
        if label.kind == "letter":
            cell[5] = LETTERS.index(label.text)
            cell[POINTS] = _bins([layout.points[label.text]])
            continue
        digits = label.text.rjust(3)[-3:]
        measure = givens[label.given].measure
        cell[0] = 1
        cell[1:4] = [10 if d == " " else int(d) for d in digits]
        cell[4] = measure[0] == "angle"
        owners = measure[2:3] if measure[0] == "angle" else measure[1:]
        for name in owners:
            cell[OWNERS.start + LETTERS.index(name)] = 1
        cell[POINTS] = _bins(sorted(layout.points[name] for name in owners))
    return found


def _bins(points: Sequence[tuple[float, float]]) -> list[int]:
    """Column and row of the patch of one or two points, from left to right."""
    found = [min(BINS - 1, max(0, int(v // PATCH))) for point in points for v in point]
    return found + [BINS] * (4 - len(found))


class Eyes(nn.Module):
    """Linear heads on the image tokens [B, 49, H] and on the patches half-way up the tower [B, 196, W]; not part of the
    model that ships.
    """

    def __init__(self, width: int, patch_width: int) -> None:
        super().__init__()
        self.points = nn.Linear(SHUFFLE * SHUFFLE * patch_width, 4 * (BINS + 1))
        self.here = nn.Linear(width, 2)
        self.digits = nn.Linear(width, 33)
        self.letter = nn.Linear(width, len(LETTERS) + 1)
        self.owner = nn.Linear(width, len(LETTERS))

    def forward(
        self, tokens_BCH: Tensor, patches_BPW: Tensor, targets_BCF: Tensor
    ) -> tuple[Tensor, dict[str, tuple[float, int]]]:
        """The loss, and (right, count) of numbers, letters, owners and points for the log."""
        flat, want = tokens_BCH.float().flatten(0, 1), targets_BCF.flatten(0, 1).long()
        number, letter = want[:, 0] == 1, want[:, 5] < len(LETTERS)
        here = self.here(flat)
        presence = F.binary_cross_entropy_with_logits(here[:, 0], number.float())
        weight = torch.full((len(LETTERS) + 1,), 1.0)
        weight[-1] = 0.1
        letters = self.letter(flat)
        loss = 2.0 * presence + F.cross_entropy(letters, want[:, 5], weight=weight)
        labelled = number | letter
        at = self.points(cells(patches_BPW.float()).flatten(0, 1)[labelled]).view(-1, 4, BINS + 1)
        points = want[labelled][:, POINTS]
        loss = loss + 2.0 * F.cross_entropy(at.flatten(0, 1), points.flatten())
        seen = flat[number]
        digits = self.digits(seen).view(-1, 3, 11)
        owner = self.owner(seen)
        if len(seen):
            loss = loss + F.cross_entropy(digits.flatten(0, 1), want[number][:, 1:4].flatten())
            loss = loss + F.binary_cross_entropy_with_logits(here[number][:, 1], want[number][:, 4].float())
            share = want[number][:, OWNERS].float()
            loss = loss - (owner.log_softmax(-1) * share).sum(-1).div(share.sum(-1)).mean()
        with torch.no_grad():
            right = (digits.argmax(-1) == want[number][:, 1:4]).all(-1)
            whose = want[number][:, OWNERS] == 1
            least = owner.masked_fill(~whose, torch.inf).amin(-1)
            owned = least > owner.masked_fill(whose, -torch.inf).amax(-1)
            named = letters.argmax(-1)[letter] == want[letter][:, 5]
            placed = (at.argmax(-1) == points).all(-1)
        meter = {"eyes_number": right, "eyes_owner": owned, "eyes_letter": named, "eyes_points": placed}
        return loss, {name: (float(hit.sum()), len(hit)) for name, hit in meter.items()}


def cells(patches_BPW: Tensor) -> Tensor:
    """The four patches of each cell side by side: [B, 196, W] to [B, 49, 4 W]."""
    return rearrange(patches_BPW, "b (i s j t) w -> b (i j) (s t w)", i=GRID, j=GRID, s=SHUFFLE)
