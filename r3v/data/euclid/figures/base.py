"""The table of constructions, and the draws they share."""

from __future__ import annotations

import random
from collections.abc import Callable

from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Fact, Figure, Quantity

Build = Callable[[Figure, random.Random], None]
CONSTRUCTIONS: dict[str, Build] = {}


class Retry(Exception):
    """These parameters draw no fair figure; the next draw may."""


def construction(build: Build) -> Build:
    """Enter a function into the table under its name."""
    CONSTRUCTIONS[build.__name__] = build
    return build


def degrees(rng: random.Random, low: int, high: int, step: int = 0) -> int:
    """A whole number of degrees in [low, high]; often a multiple of five, as in school books."""
    step = step or rng.choice((1, 1, 2, 5, 5, 10))
    first = -(-low // step) * step
    if first > high:
        return rng.randint(low, high)
    return rng.randrange(first, high + 1, step)


def fair(condition: bool) -> None:
    if not condition:
        raise Retry


def value(quantity: Quantity | None, amount: int) -> Fact:
    """The fact that a quantity has a whole value."""
    fair(quantity is not None)
    return ("value", quantity, number(amount))


def length(p: str, q: str) -> Quantity:
    return Figure.length_key(p, q)


def equal(p: str, q: str, r: str, s: str) -> Fact:
    """The fact that two segments are equal."""
    return ("eq", length(p, q), length(r, s))


TRIPLES = ((3, 4, 5), (6, 8, 10), (5, 12, 13), (9, 12, 15), (8, 15, 17), (12, 16, 20), (7, 24, 25), (15, 20, 25))
