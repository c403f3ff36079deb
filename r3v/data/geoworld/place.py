"""The lattice that GeoWorld's labels sit on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r3v.data import placing
from r3v.data.geoworld.core import Point
from r3v.data.geoworld.glyphs import ink_size
from r3v.data.placing import BLOCKED, Box

__all__ = ["BLOCKED", "LATTICE", "Box", "Placer"]

LATTICE = (8, 4)
"""Labels sit on a lattice of so many pixels across and down, as characters do on a terminal: the columns of digits then
coincide with the patches of a vision tower, and a small one learns each digit in two places instead of in 64."""


class Placer(placing.Placer):
    """A placer on GeoWorld's lattice, for its own glyphs."""

    def __init__(self, grey: np.ndarray, size: int, points: Sequence[Point]) -> None:
        super().__init__(grey[:size, :size], points, ink_size, lattice=LATTICE)
