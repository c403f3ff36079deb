"""GeoWorld: a procedural world of geometry problems with exact answers, pictures, gold rationales and
typical mistakes.
"""

from r3v.data.geoworld.core import Family, Item
from r3v.data.geoworld.make import FAMILIES, NOVEL, SPLITS, RenderedImage, item_of, make
from r3v.data.geoworld.oracle import rationale_is_right
from r3v.data.geoworld.source import SIZES, source, write_dataset

__all__ = [
    "FAMILIES",
    "NOVEL",
    "SIZES",
    "SPLITS",
    "Family",
    "Item",
    "RenderedImage",
    "item_of",
    "make",
    "rationale_is_right",
    "source",
    "write_dataset",
]
