"""Closed forms with roots and pi: "2√3", "\\frac{5\\sqrt{3}}{2}", "25π/4", "6 + 2sqrt(3)", to a float.

Only forms with a root, pi or a power are read here. Plain arithmetic such as "180 - 85" is a step, not an
answer, and stays unread. A recursive descent over at most 80 characters, so nothing can run away."""

from __future__ import annotations

import math
import re

MAX_LENGTH = 80
MAX_DEPTH = 12
_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|\\[dtc]?frac|\\sqrt|sqrt|√|\\pi|pi|π|\\cdot|\\times|[-+*/^(){}×·])")


class _Unreadable(Exception):
    """The text is no closed form."""


def evaluate(text: str) -> float | None:
    """The value of a closed form, None if `text` is none, or is undefined, complex or not finite."""
    text = text.replace("\\left", "").replace("\\right", "").strip()
    if len(text) > MAX_LENGTH or not re.search(r"√|sqrt|π|\bpi\b|\\pi|\dpi\b|\^", text):
        return None
    try:
        parser = _Parser(_tokens(text))
        value = parser.sum(0)
        if parser.peek() is not None:
            return None
    except (_Unreadable, ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _tokens(text: str) -> list[str]:
    found, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _Unreadable
        found.append(match[1])
        position = match.end()
    return found


class _Parser:
    """sum = product {(+|-) product}; product = power {[*|/] power}; power = atom [^ atom]. Juxtaposition
    multiplies."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise _Unreadable
        self.at += 1
        return token

    def sum(self, depth: int) -> float:
        if depth > MAX_DEPTH:
            raise _Unreadable
        sign = 1.0
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        total = sign * self.product(depth)
        while self.peek() in ("+", "-"):
            sign = -1.0 if self.take() == "-" else 1.0
            total += sign * self.product(depth)
        return total

    def product(self, depth: int) -> float:
        total = self.power(depth)
        while (token := self.peek()) not in (None, "+", "-", ")", "}"):
            if token == "/":
                self.take()
                total /= self.power(depth)
            elif token in ("*", "×", "·", "\\cdot", "\\times"):
                self.take()
                total *= self.power(depth)
            elif re.match(r"[\d.]", str(token)):  # "2 3" is no product
                raise _Unreadable
            else:
                total *= self.power(depth)
        return total

    def power(self, depth: int) -> float:
        base = self.atom(depth)
        if self.peek() != "^":
            return base
        self.take()
        exponent = self.atom(depth)
        if abs(exponent) > 64 or abs(base) > 1e9 or (base < 0 and exponent != int(exponent)):
            raise _Unreadable
        return base**exponent

    def atom(self, depth: int) -> float:
        token = self.take()
        if token in ("(", "{"):
            value = self.sum(depth + 1)
            if self.take() != {"(": ")", "{": "}"}[token]:
                raise _Unreadable
            return value
        if token in ("π", "pi", "\\pi"):
            return math.pi
        if token in ("√", "sqrt", "\\sqrt"):
            radicand = self.atom(depth)
            if radicand < 0:
                raise _Unreadable
            return math.sqrt(radicand)
        if token.endswith("frac"):
            return self.atom(depth) / self.atom(depth)
        if re.match(r"[\d.]", token):
            return float(token)
        raise _Unreadable
