"""A safe reader of the arithmetic in rationales: finds "a + b = c" steps and says whether they hold. No eval.

Knows + - * / ^, roots, pi, brackets, decimals, thousands separators, chains (a = b = c), degree signs and
common units, and the LaTeX spellings of these. A step with an unknown quantity or a function name in it is
left alone: what cannot be read is not called wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\\sqrt\s*\{([^{}]*)\}"), r"√(\1)"),
    (re.compile(r"\\(?:times|cdot)"), "*"),
    (re.compile(r"\\div"), "/"),
    (re.compile(r"\\approx"), "≈"),
    (re.compile(r"\\pi"), "π"),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree|\\circ"), "°"),
    (re.compile(r"\\left|\\right|\\[()\[\],;!]|\$"), " "),
)
_TOKEN = re.compile(
    r"(?P<name>(?:(?i:angle|line|step|figure|triangle|point|case)s?\b|∠)\s*\d+)"
    r"|(?P<number>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
    r"|(?P<unit>°|º|(?:degrees?|cm|mm|km|dm|units?)(?:\^?[23²³])?(?![A-Za-z]))"
    r"|(?P<root>√|(?i:sqrt)(?![A-Za-z]))|(?P<pi>π|(?i:pi)(?![A-Za-z]))"
    r"|(?P<function>(?:sin|cos|tan|cot|log|ln|arc[a-z]+)(?![a-z]))"
    r"|(?P<op>\*\*|[-+*/^×÷·−–²³])|(?P<bracket>[()])|(?P<equal>[=≈≒])"
    r"|(?P<space>[ \t]+)|(?P<other>[A-Za-z]+\d*|.|\n)",
    re.DOTALL,
)
_SAME_OP = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "**": "^"}
_BREAKS = frozenset("\n.,;:!?，。；：")
_LONGEST = 64
"""Most tokens on one side of an equality; longer ones are left alone."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One equality of two sides that could be read; `text` as it stood, spaces removed."""

    text: str
    left: float
    right: float
    holds: bool


def tokens(text: str) -> list[Token]:
    """The tokens of a text; units and spaces are left out, whatever is not arithmetic is of kind `other`."""
    for pattern, spelling in _LATEX:
        text = pattern.sub(spelling, text)
    found = []
    for match in _TOKEN.finditer(text):
        kind, raw = match.lastgroup or "other", match.group()
        if kind == "space" or kind == "unit":
            continue
        found.append(Token(kind, _SAME_OP.get(raw, raw)))
    return found


class _Unreadable(Exception):
    """The tokens are no expression."""


class _Reader:
    """Recursive descent over tokens: sum > product > power > atom. Implicit products: 2√3, 2π, 2(3 + 4)."""

    def __init__(self, side: list[Token]) -> None:
        self.side, self.at = side, 0

    def peek(self) -> Token | None:
        return self.side[self.at] if self.at < len(self.side) else None

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise _Unreadable
        self.at += 1
        return token

    def all(self) -> float:
        value = self.sum()
        if self.peek() is not None:
            raise _Unreadable
        return value

    def sum(self) -> float:
        value = self.product()
        while (token := self.peek()) and token.text in "+-":
            self.at += 1
            value = value + self.product() if token.text == "+" else value - self.product()
        return value

    def product(self) -> float:
        value = self.signed()
        while token := self.peek():
            if token.kind == "op" and token.text in "*/":
                self.at += 1
                right = self.signed()
                value = value * right if token.text == "*" else value / right
            elif token.kind in ("root", "pi") or token.text == "(":
                value *= self.power()
            else:
                break
        return value

    def signed(self) -> float:
        if (token := self.peek()) and token.text == "-":
            self.at += 1
            return -self.signed()
        return self.power()

    def power(self) -> float:
        value = self.atom()
        while (token := self.peek()) and token.text in ("²", "³", "^"):
            self.at += 1
            exponent = {"²": 2.0, "³": 3.0}.get(token.text)
            exponent = self.signed() if exponent is None else exponent
            if abs(exponent) > 8:
                raise _Unreadable
            powered = value**exponent
            if isinstance(powered, complex):
                raise _Unreadable
            value = powered
        return value

    def atom(self) -> float:
        token = self.take()
        if token.kind == "number":
            return float(token.text.replace(",", ""))
        if token.kind == "pi":
            return math.pi
        if token.kind == "root":
            return math.sqrt(self.power())
        if token.text == "(":
            value = self.sum()
            if self.take().text != ")":
                raise _Unreadable
            return value
        raise _Unreadable


def _value(side: list[Token]) -> float | None:
    """Value of a whole side, nan where it is undefined (1/0, root of -1), None where it is no expression."""
    if not side or len(side) > _LONGEST:
        return None
    try:
        return _Reader(side).all()
    except _Unreadable:
        return None
    except (ZeroDivisionError, ValueError, OverflowError):
        return math.nan


def _tail(side: list[Token], open_left: bool) -> list[Token]:
    """The longest end of `side` that is an expression; none where it hangs on something unread to its
    left.
    """
    for start in range(max(0, len(side) - _LONGEST), len(side)):
        rest = side[start:]
        hangs = rest[0].kind == "op" and (start > 0 or open_left)
        if not hangs and _value(rest) is not None and not (start and side[start - 1].kind == "op"):
            return rest
    return []


def _head(side: list[Token]) -> list[Token]:
    """The longest beginning of `side` that is an expression; none where an operator joins it to something
    unread.
    """
    for end in range(min(len(side), _LONGEST), 0, -1):
        if _value(side[:end]) is not None:
            follows = side[end].kind if end < len(side) else ""
            return [] if follows in ("op", "root", "pi") else side[:end]
    return []


def _variable(token: Token) -> bool:
    """A quantity with a name (x, ∠, A1) rather than a word."""
    return token.kind == "name" or token.text == "∠" or (token.text[:1].isalpha() and len(token.text) <= 2)


@dataclass(frozen=True, slots=True)
class _Span:
    """A run of arithmetic: its sides, the signs between them, and the unread token on each side of it."""

    sides: list[list[Token]]
    signs: list[str]
    before: Token
    after: Token


def _spans(text: str) -> Iterator[_Span]:
    sides: list[list[Token]] = [[]]
    signs: list[str] = []
    before = Token("other", "\n")
    for token in [*tokens(text), before]:
        if token.kind in ("other", "function", "name"):
            if signs and before.kind != "function":
                yield _Span(sides, signs, before, token)
            sides, signs, before = [[]], [], token
        elif token.kind == "equal":
            sides.append([])
            signs.append(token.text)
        else:
            sides[-1].append(token)


def _last_side(span: _Span) -> list[Token]:
    """The right end of a run; empty where a variable follows it (2x)."""
    side = span.sides[-1]
    head = _head(side)
    return [] if len(head) == len(side) and _variable(span.after) else head


def _close(left: list[Token], right: list[Token], sign: str) -> bool:
    a, b = _value(left), _value(right)
    assert a is not None
    assert b is not None
    if math.isnan(a) or math.isnan(b):
        return False
    slack = 1e-6 * max(1.0, abs(a), abs(b))
    for side in (left, right):
        if len(side) == 1 and "." in side[0].text:
            slack = max(slack, 0.501 * 10.0 ** -len(side[0].text.split(".")[1]))
    if sign != "=":
        slack = max(slack, 0.02 * max(abs(a), abs(b)))
    return abs(a - b) <= slack


def steps(text: str) -> list[Step]:
    """The equalities in `text` of which at least one side computes something, in order.

    A decimal that stands alone may be rounded to its digits; after ≈ two per cent are allowed.
    """
    found = []
    for span in _spans(text):
        for i, sign in enumerate(span.signs):
            left = _tail(span.sides[0], span.before.text not in _BREAKS) if i == 0 else span.sides[i]
            right = _last_side(span) if i + 1 == len(span.signs) else span.sides[i + 1]
            a, b = _value(left), _value(right)
            computes = len(left) > 1 or len(right) > 1
            named = i == 0 and len(left) == 1 and span.before.text.isalpha()
            if a is None or b is None or named or not computes:
                continue
            shown = "".join(t.text for t in left) + sign + "".join(t.text for t in right)
            found.append(Step(shown, a, b, _close(left, right, sign)))
    return found


def last_value(text: str) -> float | None:
    """The value right of the last equality sign that one can read, else the last number, else None."""
    values = []
    for span in _spans(text):
        right = _value(_last_side(span))
        if right is not None and not math.isnan(right):
            values.append(right)
    if values:
        return values[-1]
    numbers = [t.text for t in tokens(text) if t.kind == "number"]
    return float(numbers[-1].replace(",", "")) if numbers else None


def value_of(text: str) -> float | None:
    """The value of an answer such as "95°", "10√3 cm" or "x = 5/2"; None where it is not one number."""
    side = tokens(text)
    for i in range(len(side) - 1, -1, -1):
        if side[i].kind == "equal":
            side = side[i + 1 :]
            break
    while side and side[-1].kind == "other":
        side = side[:-1]
    value = _value(side)
    return None if value is None or math.isnan(value) else value
