"""Teach the vision tower of geoworld-tiny to see before it is asked to speak.

From text targets alone a tower of this size guesses for thousands of steps. GeoWorld knows where every label is
drawn, so each of the 49 image tokens is first trained, through small heads that are thrown away afterwards, to say
which letter or number is centred in its cell, and which vertices that number belongs to. The same loss goes on beside
the language loss later.
"""

from __future__ import annotations

import numpy as np
import torch
from r3v.recipes.warmup_model import IMAGE_SIZE, PATCH, SHUFFLE
from torch import Tensor, nn
from torch.nn import functional as F

from r3v.data.geoworld import Item
from r3v.data.geoworld.render import Layout

LETTERS = "ABCDEFGHKMNPQO"
GRID = IMAGE_SIZE // PATCH // SHUFFLE
CELLS = GRID * GRID
FIELDS = 6 + len(LETTERS)
"""Per cell: a number is centred here; its three digits (10 is none); it is an angle; the letter centred here
(len(LETTERS) is none); then one flag for each vertex the number belongs to."""


def targets(item: Item, layout: Layout) -> np.ndarray:
    """What each cell shows, uint8 [49, FIELDS]."""
    found = np.zeros((CELLS, FIELDS), dtype=np.uint8)
    found[:, 1:4], found[:, 5] = 10, len(LETTERS)
    givens = {g.key: g for g in item.draft.givens}
    for label in layout.labels:
        x0, y0, x1, y1 = label.box
        column, row = (min(GRID - 1, max(0, int((a + b) / 2 * GRID / IMAGE_SIZE))) for a, b in ((x0, x1), (y0, y1)))
        cell = found[row * GRID + column]
        if label.kind == "letter":
            cell[5] = LETTERS.index(label.text)
            continue
        digits = label.text.rjust(3)[-3:]
        measure = givens[label.given].measure
        cell[0] = 1
        cell[1:4] = [10 if d == " " else int(d) for d in digits]
        cell[4] = measure[0] == "angle"
        owners = measure[2:3] if measure[0] == "angle" else measure[1:]
        for name in owners:
            cell[6 + LETTERS.index(name)] = 1
    return found


class Eyes(nn.Module):
    """Linear heads on the image tokens [B, 49, H]; not part of the model that ships."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.here = nn.Linear(width, 2)
        self.digits = nn.Linear(width, 33)
        self.letter = nn.Linear(width, len(LETTERS) + 1)
        self.owner = nn.Linear(width, len(LETTERS))

    def forward(self, tokens_BCH: Tensor, targets_BCF: Tensor) -> tuple[Tensor, dict[str, tuple[float, int]]]:
        """The loss, and (right, count) of numbers, letters and owners for the log."""
        flat, want = tokens_BCH.float().flatten(0, 1), targets_BCF.flatten(0, 1).long()
        number, letter = want[:, 0] == 1, want[:, 5] < len(LETTERS)
        here = self.here(flat)
        presence = F.binary_cross_entropy_with_logits(here[:, 0], number.float())
        weight = torch.full((len(LETTERS) + 1,), 1.0)
        weight[-1] = 0.1
        letters = self.letter(flat)
        loss = 2.0 * presence + F.cross_entropy(letters, want[:, 5], weight=weight)
        seen = flat[number]
        digits = self.digits(seen).view(-1, 3, 11)
        owner = self.owner(seen)
        if len(seen):
            loss = loss + F.cross_entropy(digits.flatten(0, 1), want[number][:, 1:4].flatten())
            loss = loss + F.binary_cross_entropy_with_logits(here[number][:, 1], want[number][:, 4].float())
            loss = loss + 3.0 * F.binary_cross_entropy_with_logits(owner, want[number][:, 6:].float())
        with torch.no_grad():
            right = (digits.argmax(-1) == want[number][:, 1:4]).all(-1)
            owned = ((owner > 0) == (want[number][:, 6:] == 1)).all(-1)
            named = letters.argmax(-1)[letter] == want[letter][:, 5]
        meter = {"eyes_number": right, "eyes_owner": owned, "eyes_letter": named}
        return loss, {name: (float(hit.sum()), len(hit)) for name, hit in meter.items()}
