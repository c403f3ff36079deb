"""Units behind a number: known ones with their measure ("km/h", "square metres"), and nouns that one can count."""

from __future__ import annotations

import re
from fractions import Fraction

from r3v.grading.number.quantity import Measure
from r3v.grading.number.tokens import END, Cursor, Unreadable

_COMPOUND = {"area": ("length", 2), "volume": ("length", 3)}
_VAGUE = re.compile(r"[多半几余倍]|左右|以上|以下")
CURRENCY_NAMES = {"dollar": "dollars", "euro": "euros", "sterling": "sterling", "yuan": "yuan", "rupee": "rupees"}


class UnitReader(Cursor):
    """The unit at the cursor."""

    def unit_phrase(self, value: Fraction | float) -> tuple[str, Measure | None]:
        """What was written as a unit up to the end, and its measure where it is known. Raises Unreadable."""
        start = self.at
        measure = self.known_unit()
        if measure is None or self.peek().kind in ("word", "unit sign"):
            self.at = start
            if self.peek() is END:
                return "", None
            if not self.noun_phrase(value):
                raise Unreadable
            measure = None
        while self.peek().kind == "point":
            self.take()
        if self.peek().kind in ("of", "per") or (measure is None and self.next_is("/")):
            joint = self.take().kind
            if not self.nouns or not self.noun_phrase(1):
                raise Unreadable
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
            name = CURRENCY_NAMES[token.meaning]
        known = self.table.units.get(name or "", self.table.units.get((name or "").casefold()))
        if known is None:
            return None
        while self.peek().kind == "point" and self.peek(1) is not END:
            self.take()
        if self.next_is("^"):
            self.take()
            braced = self.next_is("{", "(")
            if braced:
                self.take()
            sign = -1 if self.sign() else 1
            number = self.take()
            if number.text not in ("1", "2", "3"):
                raise Unreadable
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


def money(own: Measure | None, behind: Measure | None, named: bool) -> Measure | None:
    """The measure of "$5", "$5 dollars", "$5 per hour"; None where what follows is not known."""
    if not named:
        return own
    return behind if behind == own else None


def _is_cjk(word: str) -> bool:
    return word[0] > "\u2e7f"
