"""The constructions: each draws a figure with parameters of its own and says what it is."""

from r3v.data.euclid.figures import circles, lengths, lines, proofs, quads, rounds, stories, triangles
from r3v.data.euclid.figures.base import CONSTRUCTIONS, Retry

__all__ = ["CONSTRUCTIONS", "Retry", "circles", "lengths", "lines", "proofs", "quads", "rounds", "stories", "triangles"]
