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
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from r3v.grading import rules, writing

MAX_WRITTEN = 120  # characters of one written number with its unit; longer texts are not numbers
MAX_DIGITS = 60
MAX_POWER_DIGITS = 4000
MAX_DEPTH = 12
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
WORDS = {word: i for i, word in enumerate((_ONES + " seventeen eighteen nineteen").split())}
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS |= {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_CHINESE = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CHINESE_PLACES = {"十": 10, "百": 100, "千": 1000}
_COMPOUND = {"area": ("length", 2), "volume": ("length", 3)}
_VAGUE = re.compile(r"[多半几余倍]|左右|以上|以下")

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


class _Unreadable(Exception):
    """The tokens are no number."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    meaning: Any
    text: str


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a value. `literal`: digits or a number word; `words`: spelled out; `step`: plain arithmetic."""

    value: Fraction | float
    decimals: int | None = None
    literal: bool = False
    words: bool = False
    closed: bool = False
    step: bool = False


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
        return _Parser(table, _tokens(table, text), unit, question, nouns).quantity(text)
    except (_Unreadable, ZeroDivisionError, OverflowError, RecursionError):
        return None


def _tokens(table: rules.Table, text: str) -> list[_Token]:
    found, position = [], 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = table.lexer.match(text, position)
        if match is None or match.end() == position:
            raise _Unreadable
        kind, meaning = table.meanings[str(match.lastgroup)]
        found.append(_Token(kind, meaning, match[0]))
        position = match.end()
    return found


class _Parser:
    def __init__(self, table: rules.Table, tokens: list[_Token], unit: str, question: str, nouns: bool) -> None:
        self.table, self.tokens, self.nouns = table, tokens, nouns
        self.unit, self.question = unit.casefold(), question.casefold()
        self.at = 0

    # ------------------------------------------------------------------------------------------------ tokens

    def peek(self, ahead: int = 0) -> _Token:
        i = self.at + ahead
        return self.tokens[i] if i < len(self.tokens) else _END

    def next_is(self, *texts: str) -> bool:
        token = self.peek()
        return token.kind == "operator" and token.text in texts

    def take(self) -> _Token:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, text: str) -> None:
        if not self.next_is(text):
            raise _Unreadable
        self.at += 1

    # ------------------------------------------------------------------------------------------------ quantity

    def quantity(self, text: str) -> Quantity:
        money = self.currency()
        negative = self.sign()
        money = money or self.currency()
        if money and negative is None:
            negative = self.sign()
        node = self.sum(0, signed=False)
        if node.step and not node.closed:
            raise _Unreadable
        value, decimals = -node.value if negative else node.value, node.decimals
        if self.peek().kind == "scale":
            value, decimals = self.scaled(node, value, decimals)
        percent = self.peek().kind == "percent"
        if percent:
            self.take()
        elif self.peek().kind == "permille":
            value, decimals = value * self.take().meaning, None
        if not _finite(value):
            raise _Unreadable
        shown, measure = self.unit_phrase(value)
        if self.peek() is not _END:
            raise _Unreadable
        if money:
            known = self.table.units.get(_CURRENCY_NAMES[money.meaning])
            own = (((known[0], 1),), Fraction(1)) if known else None
            shown, measure = (shown or money.text), _money(own, measure, bool(shown))
        return Quantity(value, decimals, percent, text.strip(), shown, measure, node.closed)

    def currency(self) -> _Token | None:
        return self.take() if self.peek().kind == "currency" else None

    def sign(self) -> bool | None:
        """One sign in front: True for minus, False for plus, None for no sign."""
        token = self.peek()
        if token.kind == "minus" or self.next_is("-"):
            self.take()
            return True
        if token.kind == "plus" or self.next_is("+"):
            self.take()
            return False
        return None

    def scaled(self, node: _Node, value: Fraction | float, decimals: int | None) -> tuple[Any, int | None]:
        """ "5.7 million" is 5700000; where the problem counts in millions, the word is a unit."""
        token = self.peek()
        if node.words or node.closed:
            raise _Unreadable
        stem = token.text.casefold().rstrip("s")
        if len(stem) > 1 and re.search(rf"\b{re.escape(stem)}s?\b", self.unit):
            self.take()
            return value, decimals
        if token.meaning == 12 and stem in self.question:
            raise _Unreadable  # "how many dozens?" may be answered with dozens or with pieces
        self.take()
        if self.peek().kind == "scale":
            raise _Unreadable
        return value * token.meaning, None if decimals is None else decimals

    # ------------------------------------------------------------------------------------------------ value

    def sum(self, depth: int, signed: bool = True) -> _Node:
        if depth > MAX_DEPTH:
            raise _Unreadable
        negative = self.sign() if signed else None
        node = self.product(depth)
        if negative:
            node = replace(node, value=-node.value)
        while self.next_is("+", "-"):
            minus = self.take().text == "-"
            right = self.product(depth)
            node = _Node(
                node.value - right.value if minus else node.value + right.value,
                closed=node.closed or right.closed,
                step=True,
            )
        return node

    def product(self, depth: int) -> _Node:
        node, divided = self.power(depth), False
        while True:
            if self.next_is("*", "÷"):
                times = self.take().text == "*"
                right = self.power(depth)
                scientific = times and node.literal and right.closed and right.decimals == _TEN
                step = not scientific
                value = node.value * right.value if times else node.value / right.value
                closed = (node.closed or right.closed) and not scientific
                node = _Node(value, closed=closed, step=(step and not (node.closed or right.closed)) or node.step)
            elif self.next_is("/"):
                if divided or not self.divides():
                    return node
                self.take()
                right = self.power(depth)
                node = _Node(node.value / right.value, closed=node.closed or right.closed, step=node.step or right.step)
                divided = True
            elif self.peek().kind in ("root", "pi", "fraction") or self.next_is("(", "{"):
                at = self.at
                right = self.power(depth)
                if not right.closed and not (node.closed and self.tokens[at].kind == "fraction"):
                    self.at = at
                    return node
                if divided or node.words:
                    raise _Unreadable
                node = _Node(node.value * right.value, closed=True, step=node.step or right.step)
            else:
                return node

    def divides(self) -> bool:
        """The next "/" is followed by a value: not by a unit, as in "5 m/s"."""
        token = self.peek(1)
        return token.kind in ("number", "root", "pi", "fraction") or token.text in ("(", "{")

    def power(self, depth: int) -> _Node:
        node = self.base(depth)
        if self.peek().kind == "power":
            if self.peek(1).kind in ("word", "unit sign"):
                raise _Unreadable  # "7 cubed meters" may be 7 cubic meters
            return _power(node, Fraction(self.take().meaning))
        if not self.next_is("^"):
            return node
        self.take()
        if self.next_is("(", "{"):
            exponent = self.group(depth)
        else:
            negative = self.sign()
            token = self.take()
            if token.kind != "number":
                raise _Unreadable
            exponent = _literal(token)
            exponent = replace(exponent, value=-exponent.value) if negative else exponent
        if self.next_is("^"):
            raise _Unreadable
        return _power(node, exponent.value)

    def group(self, depth: int) -> _Node:
        closing = {"(": ")", "{": "}"}[self.take().text]
        node = self.sum(depth + 1)
        self.expect(closing)
        return replace(node, literal=False, decimals=node.decimals if node.literal else None)

    def base(self, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise _Unreadable
        if self.next_is("(", "{"):
            return self.group(depth)
        token = self.take()
        if token.kind in ("number", "mixed", "scientific", "words", "chinese", "article"):
            node = _literal(token)
            if self.peek().kind == "part":
                return self.part(node)
            if token.kind == "article" and self.peek().kind != "scale":
                raise _Unreadable
            return replace(node, words=False) if token.kind == "article" else node
        if token.kind == "part" and token.meaning == 2:
            return _Node(Fraction(1, 2), words=True)
        if token.kind == "pi":
            return _Node(math.pi, closed=True)
        if token.kind == "root":
            return self.root(token, depth)
        if token.kind == "fraction":
            above, below = self.braced(depth), self.braced(depth)
            return _Node(above.value / below.value, closed=above.closed or below.closed)
        raise _Unreadable

    def braced(self, depth: int) -> _Node:
        if not self.next_is("{"):
            raise _Unreadable
        return self.group(depth)

    def part(self, node: _Node) -> _Node:
        """ "two thirds", "5 tenths"; where the problem speaks of quarters they may be coins."""
        token = self.take()
        word = token.text.strip(" -").casefold().rstrip("s")
        if not node.literal or node.value != int(node.value) or word in self.question or word in self.unit:
            raise _Unreadable
        return _Node(Fraction(node.value) / token.meaning, words=True)

    def root(self, token: _Token, depth: int) -> _Node:
        index = token.meaning if token.meaning else int(re.findall(r"\d+", token.text)[0])
        if self.next_is("["):
            self.take()
            number = self.take()
            if number.kind != "number" or not number.text.isdigit():
                raise _Unreadable
            index = int(number.text)
            self.expect("]")
        if self.next_is("(", "{"):
            node = self.group(depth)
        else:
            follows = self.peek()
            if token.text == "\\sqrt" and len(follows.text) > 1 and follows.kind == "number":
                raise _Unreadable  # \sqrt32 is the root of 3, twice, to LaTeX and the root of 32 to most who type it
            node = self.base(depth + 1)
        if not 2 <= index <= 64 or (node.value < 0 and index % 2 == 0):
            raise _Unreadable
        return _Node(_root(node.value, index), closed=True)

    # ------------------------------------------------------------------------------------------------ unit

    def unit_phrase(self, value: Fraction | float) -> tuple[str, Measure | None]:
        """What was written as a unit up to the end, and its measure where it is known. Raises _Unreadable."""
        start = self.at
        measure = self.known_unit()
        if measure is None or self.peek().kind in ("word", "unit sign"):
            self.at = start
            if self.peek() is _END:
                return "", None
            if not self.noun_phrase(value):
                raise _Unreadable
            measure = None
        while self.peek().kind == "point":
            self.take()
        if self.peek().kind in ("of", "per") or (measure is None and self.next_is("/")):
            joint = self.take().kind
            if not self.nouns or not self.noun_phrase(1):
                raise _Unreadable
            measure = measure if joint == "of" else None
        return " ".join(token.text for token in self.tokens[start : self.at]), measure

    def known_unit(self) -> Measure | None:
        """Units joined by "/", "per" or "*", each with its power; None where the next words are no known unit."""
        dims: dict[str, int] = {}
        factor: Fraction | float = Fraction(1)
        direction, found = 1, False
        while True:
            at = self.at
            one = self.one_unit()
            if one is None:
                self.at = at - (1 if found else 0)
                break
            names, size, power = one
            for name, exponent in names:
                dims[name] = dims.get(name, 0) + direction * exponent * power
            factor = factor * size ** (direction * power)
            found = True
            if self.peek().kind == "per" or self.next_is("/"):
                direction = -1
            elif not self.next_is("*"):
                break
            self.take()
        if not found:
            return None
        return tuple(sorted((name, n) for name, n in dims.items() if n)), factor

    def one_unit(self) -> tuple[list[tuple[str, int]], Fraction | float, int] | None:
        token = self.take()
        power = 1
        if token.kind == "before unit":
            power, token = token.meaning, self.take()
            while token.kind == "point":
                token = self.take()
        name = token.text if token.kind == "word" else token.meaning if token.kind == "unit sign" else None
        if name is None and token.kind == "currency":
            name = _CURRENCY_NAMES[token.meaning]
        known = self.table.units.get(name or "", self.table.units.get((name or "").casefold()))
        if known is None:
            return None
        while self.peek().kind == "point" and self.peek(1) is not _END:
            self.take()
        if self.next_is("^"):
            self.take()
            braced = self.next_is("{", "(")
            if braced:
                self.take()
            sign = -1 if self.sign() else 1
            number = self.take()
            if number.text not in ("1", "2", "3"):
                raise _Unreadable
            power = sign * int(number.text)
            if braced:
                self.take()
        elif self.peek().kind == "power":
            power = self.take().meaning
        dimension, size = known
        if not dimension:
            return [], Fraction(1), 1
        if dimension == "speed":
            return [("length", 1), ("time", -1)], size, power
        return [_COMPOUND.get(dimension, (dimension, 1))], size, power

    def noun_phrase(self, value: Fraction | float) -> bool:
        """ "clubs", "red balls", "people in" not: one to four words that end in a noun one can count."""
        if not self.nouns:
            return False
        words: list[str] = []
        while self.peek().kind in ("word", "before unit") and len(words) < 4:
            words.append(self.take().text.casefold())
        if not words or any(self.table.nouns.get(word) == "never" for word in words):
            return False
        last = words[-1]
        if _is_cjk(last):
            counted = self.table.nouns.get(last) or self.table.nouns.get(last[0])
            return len(words) == 1 and counted == "many" and not _VAGUE.search(last)
        if any(len(word) == 1 for word in words):
            return False
        if self.table.nouns.get(last) == "many" or last in self.table.units:
            return True
        if any(pattern.fullmatch(last) for pattern in self.table.plurals):
            return True
        asked = self.question + " " + self.unit
        return abs(value) <= 1 or all(re.search(rf"\b{re.escape(word)}", asked) for word in words)


_END = _Token("end", None, "")
_TEN = -10  # stands in `decimals` of a power of ten, so that a factor before it makes it scientific notation
_CURRENCY_NAMES = {"dollar": "dollars", "euro": "euros", "sterling": "sterling", "yuan": "yuan", "rupee": "rupees"}


def _money(own: Measure | None, behind: Measure | None, named: bool) -> Measure | None:
    """The measure of "$5", "$5 dollars", "$5 per hour"; None where what follows is not known."""
    if not named:
        return own
    return behind if behind == own else None


def _is_cjk(word: str) -> bool:
    return word[0] > "\u2e7f"


def _literal(token: _Token) -> _Node:
    if token.kind == "article":
        return _Node(Fraction(1), literal=True, words=True)
    if token.kind == "words":
        parts = re.split(r"[-\s]+", token.text.casefold())
        return _Node(Fraction(sum(WORDS[part] for part in parts)), 0, literal=True, words=True)
    if token.kind == "chinese":
        return _Node(Fraction(_chinese(token.text)), 0, literal=True, words=True)
    digits = re.findall(r"\d+", token.text)
    if sum(map(len, digits)) > MAX_DIGITS:
        raise _Unreadable
    if token.kind == "mixed":
        whole, above, below = (int(part) for part in digits[:3])
        if above >= below:
            raise _Unreadable
        return _Node(whole + Fraction(above, below), literal=True)
    if token.kind == "scientific":
        number, _, exponent = token.text.casefold().partition("e")
        return _Node(Fraction(number) * Fraction(10) ** int(exponent), literal=True)
    text = token.text.replace(token.meaning, "") if token.meaning else token.text
    return _Node(Fraction(text), len(text.partition(".")[2]), literal=True)


def _chinese(text: str) -> int:
    """ "三百二十" is 320. Raises _Unreadable for what is no such number."""
    if all(char in _CHINESE for char in text):
        if len(text) > 1:
            raise _Unreadable
        return _CHINESE[text]
    total, digit, last = 0, None, 10**9
    for char in text:
        if char in _CHINESE:
            if digit:
                raise _Unreadable
            digit = _CHINESE[char]
            continue
        place = _CHINESE_PLACES[char]
        if place >= last or (digit is None and place != 10):
            raise _Unreadable
        total, digit, last = total + (1 if digit is None else digit) * place, None, place
    return total + (digit or 0)


def _finite(value: Fraction | float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _power(node: _Node, exponent: Fraction | float) -> _Node:
    base = node.value
    ten = _TEN if base == 10 and exponent == int(exponent) else None
    if isinstance(base, Fraction) and exponent == int(exponent):
        size = max(len(str(abs(base.numerator))), len(str(base.denominator)))
        if abs(exponent) * size > MAX_POWER_DIGITS:
            raise _Unreadable
        return _Node(base ** int(exponent), ten, closed=True)
    if base < 0 or abs(exponent) > 64 or abs(base) > 1e9:
        raise _Unreadable
    value = float(base) ** float(exponent)
    near = Fraction(round(value))
    exact = isinstance(base, Fraction) and abs(value - round(value)) < 1e-12 * max(1.0, value)
    return _Node(near if exact else value, closed=True)


def _root(value: Fraction | float, index: int) -> Fraction | float:
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
