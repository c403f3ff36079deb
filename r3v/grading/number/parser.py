"""Numbers as people and models write them: signs, powers, roots, fractions, multiples of pi, percent, units.

`parse` reads a whole text as one number with at most a unit behind it, or not at all: a number beside anything that
was not read is no number. A recursive descent over at most MAX_WRITTEN characters, exact where the value is rational:

    quantity = [currency] [sign] sum [scale] [percent] [unit]
    sum      = product {(+|-) product}
    product  = power {(*|/|juxtaposed) power}
    power    = base [^ exponent]
    base     = number | number part | fraction | root base | pi | ( sum )

Plain arithmetic such as "180 - 85" is a step, not an answer, and is not read; with a root, a power or pi in it
("6 + 2√3") it is a closed form. "1/2π" could be two numbers and is not read either."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from r3v.grading import rules, writing
from r3v.grading.number.quantity import Quantity
from r3v.grading.number.tokens import END, Token, Unreadable, tokens_of
from r3v.grading.number.units import CURRENCY_NAMES, UnitReader, money
from r3v.grading.number.value import TEN, Node, finite, literal, power_of, root_of

MAX_WRITTEN = 120  # characters of one written number with its unit; longer texts are not numbers
MAX_DEPTH = 12


def parse(text: str, unit: str | None = None, question: str = "", nouns: bool = True) -> Quantity | None:
    """The number that `text` is, with at most a unit behind it; None if `text` is anything else.

    `unit` and `question` are the problem's own: a word they contain counts as a unit. Without `nouns` only known units
    are units, so that "3 red balls" is no number."""
    if len(text) > 4 * MAX_WRITTEN:
        return None
    return of_plain(writing.plain(text), unit, question, nouns)


def of_plain(text: str, unit: str | None = None, question: str = "", nouns: bool = True) -> Quantity | None:
    """`parse` of a text that `writing.plain` has spelled already."""
    if not text or len(text) > MAX_WRITTEN:
        return None
    return _parse(rules.TABLE, text, unit or "", question, nouns)


@lru_cache(maxsize=1024)
def _parse(table: rules.Table, text: str, unit: str, question: str, nouns: bool) -> Quantity | None:
    try:
        return _Parser(table, tokens_of(table, text), unit, question, nouns).quantity(text)
    except (Unreadable, ZeroDivisionError, OverflowError, RecursionError):
        return None


class _Parser(UnitReader):
    """One quantity, from its sign to its unit."""

    def quantity(self, text: str) -> Quantity:
        price = self.currency()
        negative = self.sign()
        price = price or self.currency()
        if price and negative is None:
            negative = self.sign()
        node = self.sum(0, signed=False)
        if node.step and not node.closed:
            raise Unreadable
        value, decimals = -node.value if negative else node.value, node.decimals
        if self.peek().kind == "scale":
            value, decimals = self.scaled(node, value, decimals)
        percent = self.peek().kind == "percent"
        if percent:
            self.take()
        elif self.peek().kind == "permille":
            value, decimals = value * self.take().meaning, None
        if not finite(value):
            raise Unreadable
        shown, measure = self.unit_phrase(value)
        if self.peek() is not END:
            raise Unreadable
        if price:
            known = self.table.units.get(CURRENCY_NAMES[price.meaning])
            own = (((known[0], 1),), Fraction(1)) if known else None
            shown, measure = (shown or price.text), money(own, measure, bool(shown))
        return Quantity(value, decimals, percent, text.strip(), shown, measure, node.closed)

    def currency(self) -> Token | None:
        return self.take() if self.peek().kind == "currency" else None

    def scaled(self, node: Node, value: Fraction | float, decimals: int | None) -> tuple[Any, int | None]:
        """ "5.7 million" is 5700000; where the problem counts in millions, the word is a unit."""
        token = self.peek()
        if node.words or node.closed:
            raise Unreadable
        stem = token.text.casefold().rstrip("s")
        if len(stem) > 1 and re.search(rf"\b{re.escape(stem)}s?\b", self.unit):
            self.take()
            return value, decimals
        if token.meaning == 12 and stem in self.question:
            raise Unreadable  # "how many dozens?" may be answered with dozens or with pieces
        self.take()
        if self.peek().kind == "scale":
            raise Unreadable
        return value * token.meaning, None if decimals is None else decimals

    # ------------------------------------------------------------------------------------------------ value

    def sum(self, depth: int, signed: bool = True) -> Node:
        if depth > MAX_DEPTH:
            raise Unreadable
        negative = self.sign() if signed else None
        node = self.product(depth)
        if negative:
            node = replace(node, value=-node.value)
        while self.next_is("+", "-"):
            minus = self.take().text == "-"
            right = self.product(depth)
            node = Node(
                node.value - right.value if minus else node.value + right.value,
                closed=node.closed or right.closed,
                step=True,
            )
        return node

    def product(self, depth: int) -> Node:
        node, divided = self.power(depth), False
        while True:
            if self.next_is("*", "÷"):
                times = self.take().text == "*"
                right = self.power(depth)
                scientific = times and node.literal and right.closed and right.decimals == TEN
                step = not scientific
                value = node.value * right.value if times else node.value / right.value
                closed = (node.closed or right.closed) and not scientific
                node = Node(value, closed=closed, step=(step and not (node.closed or right.closed)) or node.step)
            elif self.next_is("/"):
                if divided or not self.divides():
                    return node
                self.take()
                right = self.power(depth)
                node = Node(node.value / right.value, closed=node.closed or right.closed, step=node.step or right.step)
                divided = True
            elif self.peek().kind in ("root", "pi", "fraction") or self.next_is("(", "{"):
                at = self.at
                right = self.power(depth)
                if not right.closed and not (node.closed and self.tokens[at].kind == "fraction"):
                    self.at = at
                    return node
                if divided or node.words:
                    raise Unreadable
                node = Node(node.value * right.value, closed=True, step=node.step or right.step)
            else:
                return node

    def divides(self) -> bool:
        """The next "/" is followed by a value: not by a unit, as in "5 m/s"."""
        token = self.peek(1)
        return token.kind in ("number", "root", "pi", "fraction") or token.text in ("(", "{")

    def power(self, depth: int) -> Node:
        node = self.base(depth)
        if self.peek().kind == "power":
            if self.peek(1).kind in ("word", "unit sign"):
                raise Unreadable  # "7 cubed meters" may be 7 cubic meters
            return power_of(node, Fraction(self.take().meaning))
        if not self.next_is("^"):
            return node
        self.take()
        if self.next_is("(", "{"):
            exponent = self.group(depth)
        else:
            negative = self.sign()
            token = self.take()
            if token.kind != "number":
                raise Unreadable
            exponent = literal(token)
            exponent = replace(exponent, value=-exponent.value) if negative else exponent
        if self.next_is("^"):
            raise Unreadable
        return power_of(node, exponent.value)

    def group(self, depth: int) -> Node:
        closing = {"(": ")", "{": "}"}[self.take().text]
        node = self.sum(depth + 1)
        self.expect(closing)
        return replace(node, literal=False, decimals=node.decimals if node.literal else None)

    def base(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise Unreadable
        if self.next_is("(", "{"):
            return self.group(depth)
        token = self.take()
        if token.kind in ("number", "mixed", "scientific", "words", "chinese", "article"):
            node = literal(token)
            if self.peek().kind == "part":
                return self.part(node)
            if token.kind == "article" and self.peek().kind != "scale":
                raise Unreadable
            return replace(node, words=False) if token.kind == "article" else node
        if token.kind == "part" and token.meaning == 2:
            return Node(Fraction(1, 2), words=True)
        if token.kind == "pi":
            return Node(math.pi, closed=True)
        if token.kind == "root":
            return self.root(token, depth)
        if token.kind == "fraction":
            above, below = self.braced(depth), self.braced(depth)
            return Node(above.value / below.value, closed=above.closed or below.closed)
        raise Unreadable

    def braced(self, depth: int) -> Node:
        if not self.next_is("{"):
            raise Unreadable
        return self.group(depth)

    def part(self, node: Node) -> Node:
        """ "two thirds", "5 tenths"; where the problem speaks of quarters they may be coins."""
        token = self.take()
        word = token.text.strip(" -").casefold().rstrip("s")
        if not node.literal or node.value != int(node.value) or word in self.question or word in self.unit:
            raise Unreadable
        return Node(Fraction(node.value) / token.meaning, words=True)

    def root(self, token: Token, depth: int) -> Node:
        index = token.meaning if token.meaning else int(re.findall(r"\d+", token.text)[0])
        if self.next_is("["):
            self.take()
            number = self.take()
            if number.kind != "number" or not number.text.isdigit():
                raise Unreadable
            index = int(number.text)
            self.expect("]")
        if self.next_is("(", "{"):
            node = self.group(depth)
        else:
            follows = self.peek()
            if token.text == "\\sqrt" and len(follows.text) > 1 and follows.kind == "number":
                raise Unreadable  # \sqrt32 is the root of 3, twice, to LaTeX and the root of 32 to most who type it
            node = self.base(depth + 1)
        if not 2 <= index <= 64 or (node.value < 0 and index % 2 == 0):
            raise Unreadable
        return Node(root_of(node.value, index), closed=True)
