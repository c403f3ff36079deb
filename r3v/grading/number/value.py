"""The value of parts of a number: digits, number words, Chinese numerals, powers, roots. Exact where it is rational."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from r3v.grading.number.tokens import Token, Unreadable

MAX_DIGITS = 60
MAX_POWER_DIGITS = 4000
TEN = -10
"""Stands in `decimals` of a power of ten, so that a factor before it makes it scientific notation."""
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_WORDS = {word: i for i, word in enumerate((_ONES + " seventeen eighteen nineteen").split())}
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS |= {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_CHINESE = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CHINESE_PLACES = {"十": 10, "百": 100, "千": 1000}


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a value. `literal`: digits or a number word; `words`: spelled out; `step`: plain arithmetic."""

    value: Fraction | float
    decimals: int | None = None
    literal: bool = False
    words: bool = False
    closed: bool = False
    step: bool = False


def literal(token: Token) -> Node:
    """The value of one token that is a number by itself. Raises Unreadable."""
    if token.kind == "article":
        return Node(Fraction(1), literal=True, words=True)
    if token.kind == "words":
        parts = re.split(r"[-\s]+", token.text.casefold())
        return Node(Fraction(sum(_WORDS[part] for part in parts)), 0, literal=True, words=True)
    if token.kind == "chinese":
        return Node(Fraction(_chinese(token.text)), 0, literal=True, words=True)
    digits = re.findall(r"\d+", token.text)
    if sum(map(len, digits)) > MAX_DIGITS:
        raise Unreadable
    if token.kind == "mixed":
        whole, above, below = (int(part) for part in digits[:3])
        if above >= below:
            raise Unreadable
        return Node(whole + Fraction(above, below), literal=True)
    if token.kind == "scientific":
        number, _, exponent = token.text.casefold().partition("e")
        return Node(Fraction(number) * Fraction(10) ** int(exponent), literal=True)
    text = token.text.replace(token.meaning, "") if token.meaning else token.text
    return Node(Fraction(text), len(text.partition(".")[2]), literal=True)


def _chinese(text: str) -> int:
    """ "三百二十" is 320. Raises Unreadable for what is no such number."""
    if all(char in _CHINESE for char in text):
        if len(text) > 1:
            raise Unreadable
        return _CHINESE[text]
    total, digit, last = 0, None, 10**9
    for char in text:
        if char in _CHINESE:
            if digit:
                raise Unreadable
            digit = _CHINESE[char]
            continue
        place = _CHINESE_PLACES[char]
        if place >= last or (digit is None and place != 10):
            raise Unreadable
        total, digit, last = total + (1 if digit is None else digit) * place, None, place
    return total + (digit or 0)


def finite(value: Fraction | float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def power_of(node: Node, exponent: Fraction | float) -> Node:
    """Exact for whole powers of a fraction. Raises Unreadable for what is too large or not real."""
    base = node.value
    ten = TEN if base == 10 and exponent == int(exponent) else None
    if isinstance(base, Fraction) and exponent == int(exponent):
        size = max(len(str(abs(base.numerator))), len(str(base.denominator)))
        if abs(exponent) * size > MAX_POWER_DIGITS:
            raise Unreadable
        return Node(base ** int(exponent), ten, closed=True)
    if base < 0 or abs(exponent) > 64 or abs(base) > 1e9:
        raise Unreadable
    value = float(base) ** float(exponent)
    near = Fraction(round(value))
    exact = isinstance(base, Fraction) and abs(value - round(value)) < 1e-12 * max(1.0, value)
    return Node(near if exact else value, closed=True)


def root_of(value: Fraction | float, index: int) -> Fraction | float:
    """Exact for perfect powers."""
    if isinstance(value, Fraction):
        above, below = _whole_root(abs(value.numerator), index), _whole_root(value.denominator, index)
        if above is not None and below is not None:
            return Fraction(above if value >= 0 else -above, below)
    size = float(abs(value)) ** (1 / index)
    return size if value >= 0 else -size


def _whole_root(number: int, index: int) -> int | None:
    if index == 2:
        root = math.isqrt(number)
    else:
        root = round(number ** (1 / index)) if number < 2**53 else 0
    return root if root**index == number else None
