"""The constructions: each draws a figure with parameters of its own and says what it is."""

from r3v.data.euclid.figures import (
    circles,
    isosceles,
    lengths,
    lines,
    proofs,
    proportions,
    quads,
    rectangles,
    rounds,
    stories,
    tangents,
    triangles,
)
from r3v.data.euclid.figures.base import CONSTRUCTIONS, Retry

__all__ = [
    "CONSTRUCTIONS",
    "Retry",
    "circles",
    "isosceles",
    "lengths",
    "lines",
    "proofs",
    "proportions",
    "quads",
    "rectangles",
    "rounds",
    "stories",
    "tangents",
    "triangles",
]
