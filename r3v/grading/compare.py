"""When two numbers are the same.

- A number without a unit equals one with any: "12 cm" and "5 clubs" are 12 and 5. Two known units of one kind are
  converted ("120 mm" is "12 cm", "12 m" is not); of two kinds ("12 cm" and "12 cm^2") they are different answers.
- Exact rule (no tolerance): equal values; or, where the gold has printed decimals and is no whole number, equal after
  rounding to them ("4.33" takes 4.3301); or, where the gold is an irrational written out (six decimals or more), the
  gold rounded to the two or more decimals that were given (4.330127018922193 takes "4.33").
- A tolerance is relative to the gold; a gold of zero is compared exactly.
- Years: where gold and answer are both plain four-digit whole numbers and the gold lies in 1900-2100, they are compared
  exactly, whatever the tolerance: 2010 is not 2015.
- "45%" equals 45 and 0.45.
- Infinity and "nan" are no numbers, so they never equal anything."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction

from r3v.grading.number import Quantity

_PLAIN_YEAR = re.compile(r"^\d{4}$")
_DEGREES, _TEMPERATURES = (("angle", 1),), ((("celsius", 1),), (("fahrenheit", 1),))


def same(a: Fraction | float, b: Fraction | float) -> bool:
    """Equal: exactly for whole numbers, to one part in a thousand million otherwise."""
    if a == b:
        return True
    if a == int(a) and b == int(b) and isinstance(a, Fraction) and isinstance(b, Fraction):
        return False
    return math.isclose(float(a), float(b), rel_tol=1e-9)


def _rounded(value: Fraction | float, decimals: int) -> Fraction:
    """Rounded half away from zero, as in school."""
    scaled = abs(Fraction(value)) * 10**decimals
    nearest = Fraction(math.floor(scaled + Fraction(1, 2)), 10**decimals)
    return -nearest if value < 0 else nearest


def rounds_to(fine: Quantity, coarse: Quantity) -> bool:
    """`fine`, rounded to the printed decimals of `coarse`, is `coarse`; whole numbers are never rounded to."""
    if not coarse.decimals or coarse.whole:
        return False
    if fine.decimals is not None and fine.decimals <= coarse.decimals:
        return False
    return _rounded(fine.value, coarse.decimals) == coarse.value


def _equal_values(gold: Quantity, answer: Quantity, tolerance: float | None) -> bool:
    if same(gold.value, answer.value):
        return True
    if tolerance is not None:
        return abs(float(answer.value) - float(gold.value)) <= tolerance * abs(float(gold.value)) * (1 + 1e-12)
    if rounds_to(answer, gold):
        return True
    long_gold = gold.decimals is not None and gold.decimals >= 6
    return long_gold and (answer.decimals or 0) >= 2 and rounds_to(gold, answer)


def kinds_differ(a: Quantity, b: Quantity) -> bool:
    """Both have known units, and they measure different things."""
    if a.measure is None or b.measure is None or not a.measure[0] or not b.measure[0]:
        return False
    kinds = {a.measure[0], b.measure[0]}
    return len(kinds) == 2 and not (_DEGREES in kinds and kinds & set(_TEMPERATURES))  # "30 degrees" for 30 °C


def in_units_of(answer: Quantity, gold: Quantity) -> Quantity:
    """`answer` in the unit of `gold` where both are known and of one kind, otherwise as it is."""
    if gold.measure is None or answer.measure is None or gold.measure == answer.measure:
        return answer
    if gold.measure[0] != answer.measure[0]:
        return answer
    ratio = answer.measure[1] / gold.measure[1]
    return answer if ratio == 1 else replace(answer, value=answer.value * ratio, decimals=None, measure=gold.measure)


def equal(gold: Quantity, answer: Quantity, tolerance: float | None = None) -> bool:
    """Whether `answer` is the number `gold`, by the rules in the module docstring."""
    if kinds_differ(gold, answer):
        return False
    answer = in_units_of(answer, gold)
    years = _PLAIN_YEAR.match(gold.written) and _PLAIN_YEAR.match(answer.written)
    if years and 1900 <= gold.value <= 2100:
        return gold.value == answer.value
    if _equal_values(gold, answer, tolerance):
        return True
    if gold.percent == answer.percent:
        return False
    hundredth = Fraction(1, 100)
    if gold.percent:
        return _equal_values(_times(gold, hundredth), answer, tolerance)
    return _equal_values(gold, _times(answer, hundredth), tolerance)


def _times(quantity: Quantity, factor: Fraction) -> Quantity:
    decimals = None if quantity.decimals is None else quantity.decimals + 2
    return Quantity(quantity.value * factor, decimals, written=quantity.written)
