"""What the reader of numbers returns: a quantity, an answer that was named, or why none was."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

Measure = tuple[tuple[tuple[str, int], ...], Fraction | float]
"""Dimensions with their exponents, and how many base units one of these is: km/h is (length 1, time -1), 5/18."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One written number. `value` is exact except for irrational closed forms; `decimals` are the printed digits after
    the point, None where the form has none (fractions, powers, closed forms). `closed` says that it has a root, a
    power or pi. `unit` is what was written behind it, `measure` what is known of that unit."""

    value: Fraction | float
    decimals: int | None = None
    percent: bool = False
    written: str = ""
    unit: str = ""
    measure: Measure | None = None
    closed: bool = False

    @property
    def whole(self) -> bool:
        return self.value == int(self.value)

    @property
    def canonical(self) -> str:
        """One string for equal values: "0.75" for 3/4, "95" for 95.0. Percent signs are dropped: "45%" is "45"."""
        if self.whole:
            return str(int(self.value))
        return format(float(self.value), ".10g")


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer that was named. `canonical` is equal for equal answers; `raw` is what was written.

    `equal_options` are the letters of all options the answer names (choice only): more than one where the dataset
    repeats an option. `whole` is the canonical form of all that was stated, where `canonical` is its first sentence
    (text only): a gold may be several sentences."""

    canonical: str
    raw: str
    quantity: Quantity | None = None
    equal_options: str = ""
    whole: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """No answer was named, and why. `blocks` means that the statement takes back or blurs what stood before it ("the
    answer is not B", "5 or 6"), so no other statement counts either."""

    reason: str
    blocks: bool = False
