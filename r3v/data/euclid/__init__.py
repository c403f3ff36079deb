"""Euclid: a world of geometry problems whose solutions are found by forward chaining over theorems.

A construction draws a figure, a few of its measures are given, rules say what follows, and one of the things that
follow is asked for. Every solution is right; this world plants no mistakes.
"""

from r3v.data.euclid.choose import SPLITS
from r3v.data.euclid.figures import CONSTRUCTIONS
from r3v.data.euclid.item import Item
from r3v.data.euclid.make import EuclidImage, item_of, make
from r3v.data.euclid.reading import READINGS, Reading, reading, readings
from r3v.data.euclid.rules import RULES, TAGS, Rule
from r3v.data.euclid.source import SIZES, EuclidSource, Lesson, lessons, rationale_of, source, theorem_homes

__all__ = [
    "CONSTRUCTIONS",
    "READINGS",
    "RULES",
    "SIZES",
    "SPLITS",
    "TAGS",
    "EuclidImage",
    "EuclidSource",
    "Item",
    "Lesson",
    "Reading",
    "Rule",
    "item_of",
    "lessons",
    "make",
    "rationale_of",
    "reading",
    "readings",
    "source",
    "theorem_homes",
]
