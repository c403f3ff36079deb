"""Exact numbers of school geometry: sums of q·√n·π^k with q a fraction, n squarefree and k a whole number.

A value that the rules cannot express so (a nested root, a quotient of two sums) is None: then the rule does not fire.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

Terms = tuple[tuple[tuple[int, int], Fraction], ...]


@lru_cache(maxsize=4096)
def _square_part(n: int) -> tuple[int, int]:
    """(a, b) with n = a·a·b and b squarefree."""
    a, factor = 1, 2
    while factor * factor <= n:
        while n % (factor * factor) == 0:
            n //= factor * factor
            a *= factor
        factor += 1
    return a, n


class Exact:
    """An immutable exact number; `terms` maps (n, k) to the coefficient of √n·π^k."""

    __slots__ = ("_float", "integer", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.integer: int | None = None
        if not terms:
            self.integer, self._float = 0, 0.0
            return
        if len(terms) == 1 and terms[0][0] == (1, 0):
            q = terms[0][1]
            self._float = q.numerator / q.denominator
            if q.denominator == 1:
                self.integer = q.numerator
            return
        self._float = math.fsum(q.numerator / q.denominator * math.sqrt(n) * math.pi**k for (n, k), q in terms)

    def __float__(self) -> float:
        return self._float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exact) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    def __repr__(self) -> str:
        return f"Exact({self.text})"

    def __add__(self, other: Exact) -> Exact:
        if self.integer is not None and other.integer is not None:
            return number(self.integer + other.integer)
        return _exact([*self.terms, *other.terms])

    def __neg__(self) -> Exact:
        return Exact(tuple((key, -q) for key, q in self.terms))

    def __sub__(self, other: Exact) -> Exact:
        return self + -other

    def __mul__(self, other: Exact) -> Exact:
        if self.integer is not None and other.integer is not None:
            return number(self.integer * other.integer)
        found = []
        for (n, k), p in self.terms:
            for (m, j), q in other.terms:
                a, b = _square_part(n * m)
                found.append(((b, k + j), p * q * a))
        return _exact(found)

    def over(self, other: Exact) -> Exact | None:
        """self / other, or None where `other` is a sum or zero."""
        if len(other.terms) != 1:
            return None
        if self.integer is not None and other.integer is not None:
            return number(Fraction(self.integer, other.integer))
        ((n, k), q) = other.terms[0]
        return self * Exact((((n, -k), 1 / (q * n)),))

    def root(self) -> Exact | None:
        """The square root of a fraction that is not negative, or None."""
        value = self.fraction
        if value is None or value < 0 or value.numerator * value.denominator > 10**8:
            return None
        a, b = _square_part(value.numerator * value.denominator)
        return Exact((((b, 0), Fraction(a, value.denominator)),)) if value else ZERO

    @property
    def fraction(self) -> Fraction | None:
        """The number as a fraction, or None where roots or π remain."""
        if not self.terms:
            return Fraction(0)
        return self.terms[0][1] if len(self.terms) == 1 and self.terms[0][0] == (1, 0) else None

    @property
    def whole(self) -> bool:
        return self.integer is not None

    @property
    def simple(self) -> bool:
        """Whether a person would write it down: at most two terms, small numerators and denominators."""
        if self.integer is not None:
            return abs(self.integer) <= 2000
        return len(self.terms) <= 2 and all(
            abs(q.numerator) <= 2000 and q.denominator <= 60 and n <= 100 and k in (0, 1) for (n, k), q in self.terms
        )

    @property
    def text(self) -> str:
        """As in a solution: "12", "2.5", "16/3", "3√2", "2 + 3√3", "6π"."""
        if not self.terms:
            return "0"
        parts = [_term(n, k, q) for (n, k), q in self.terms]
        joined = parts[0]
        for part in parts[1:]:
            joined += f" - {part[1:]}" if part.startswith("-") else f" + {part}"
        return joined

    @property
    def decimal(self) -> str:
        """As in an option: whole, or rounded to three decimals without closing zeros."""
        value = self.fraction
        if value is not None and value.denominator == 1:
            return str(value.numerator)
        return f"{self._float:.3f}".rstrip("0").rstrip(".")


def _term(n: int, k: int, q: Fraction) -> str:
    tail = (f"√{n}" if n > 1 else "") + ("π" if k == 1 else f"π^{k}" if k else "")
    if not tail:
        return fraction_text(q)
    top = "-" if q.numerator == -1 else "" if q.numerator == 1 else str(q.numerator)
    return f"{top}{tail}" + (f"/{q.denominator}" if q.denominator > 1 else "")


def fraction_text(q: Fraction) -> str:
    """A whole number, a decimal of at most two places, or p/q."""
    if 100 % q.denominator == 0:
        return f"{q.numerator / q.denominator:.2f}".rstrip("0").rstrip(".")
    return f"{q.numerator}/{q.denominator}"


def _exact(pairs: list[tuple[tuple[int, int], Fraction]]) -> Exact:
    total: dict[tuple[int, int], Fraction] = {}
    for key, q in pairs:
        total[key] = total.get(key, Fraction(0)) + q
    return Exact(tuple(sorted((key, q) for key, q in total.items() if q)))


@lru_cache(maxsize=8192)
def number(value: int | Fraction) -> Exact:
    """A whole number or fraction."""
    return Exact((((1, 0), Fraction(value)),)) if value else ZERO


def near(value: float) -> Exact | None:
    """The whole number, half, tenth or small multiple of √2, √3, √5, √6 that a measured value is, or None."""
    for n in (1, 2, 3, 5, 6):
        scaled = value / math.sqrt(n)
        for d in (1, 2, 10) if n == 1 else (1, 2):
            if abs(scaled * d - round(scaled * d)) < 1e-7 and round(scaled * d) and (n == 1 or scaled <= 12):
                return Exact((((n, 0), Fraction(round(scaled * d), d)),))
    return None


ZERO = Exact(())
PI = Exact((((1, 1), Fraction(1)),))
