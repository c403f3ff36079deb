"""Numbers as people and models write them: units, thousands, %, fractions, degrees, powers of ten,
magnitudes.

A `Quantity` is what one written number says. `equal` holds the comparison rules:

- Units are not compared and not converted: "5 clubs" and "12 cm" are 5 and 12.
- Exact rule (no tolerance): equal values; or, where the gold has printed decimals and is no whole number,
  equal after rounding to them ("4.33" takes 4.3301); or, where the gold is an irrational written out (six
  decimals or more), the gold rounded to the two or more decimals that were given (4.330127018922193 takes
  "4.33").
- A tolerance is relative to the gold; a gold of zero is compared exactly.
- Years: where gold and answer are both plain four-digit whole numbers and the gold lies in 1900-2100, they
  are compared exactly, whatever the tolerance: 2010 is not 2015.
- "45%" equals 45 and 0.45.
- Infinity and "nan" are no numbers, so they never equal anything.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from r3v.grading import closed_form
from r3v.grading.clean import UNIT_WORDS, plain_math

MAX_WRITTEN = 120  # characters of one written number with its unit; longer texts are not numbers
MAX_DIGITS = 60
SCALES = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "mn": 10**6,
    "billion": 10**9,
    "bn": 10**9,
    "trillion": 10**12,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "B": 10**9,
}
_NAMES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty
"""
WORDS = {word: value for value, word in enumerate(_NAMES.split())}
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS |= {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_HEDGE = r"(?:(?:approximately|approx\.?|about|around|roughly|nearly|almost|exactly|only|just|~|≈)\s*)*"
_NUMBER = (
    r"(?P<sign>[-+])?\s*(?P<currency>[$€£¥]\s*)?(?P<sign2>-)?"
    r"(?:(?P<whole>\d+)\s+(?P<mn>\d+)\s*/\s*(?P<md>\d+)"
    r"|(?P<n>\d+(?:\.\d+)?)\s*/\s*(?P<d>\d+(?:\.\d+)?)"
    r"|(?P<grouped>\d{1,3}(?:,\d{3})+(?:\.\d+)?)"
    r"|(?P<plain>\d+(?:\.\d*)?|\.\d+))"
    r"(?:\s*[×x*]\s*10\s*\^\s*\{?(?P<power>[-+]?\d{1,3})\}?|[eE](?P<exp>[-+]?\d{1,3})(?![\w.]))?"
)
_SCALE = r"(?:\s*(?P<scale>hundred|thousand|million|billion|trillion|mn|bn)\b|(?P<letter>[kKMB])(?![A-Za-z]))?"
_PERCENT = r"\s*(?P<percent>%|percent\b|per cent\b)?"
_UNIT = r"\s*(?P<unit>[^\d]*(?:\^\s*\{?[23]\}?|[²³])?[^\d]*)"
_QUANTITY = re.compile(rf"^{_HEDGE}\(?\s*{_NUMBER}{_SCALE}{_PERCENT}{_UNIT}$")
_TOKEN = re.compile(rf"(?<![\w.^,/]){_NUMBER}{_SCALE}{_PERCENT}(?![\w/^]|[.,:]\d)")
_POWER_OF_TEN = re.compile(r"^([-+]?)10\s*\^\s*\{?([-+]?\d{1,3})\}?$")
_UNIT_SHAPE = re.compile(r"^[\sA-Za-z°'\"/().,²³^{}23€£¥$%·-]*$")
# words behind a number that make it part of a larger statement, or an unknown multiplied by it
_NOT_A_UNIT = re.compile(
    r"^[abcnpqrtuvwxyz]$|\b(?:or|and|to|than|more|less|fewer|plus|minus|times|pi|sqrt|not|if|then|out)\b",
    re.IGNORECASE,
)
_PLAIN_YEAR = re.compile(r"^\d{4}$")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One written number. `value` is exact except for closed forms (square roots, pi); `decimals` are the
    printed digits after the point, None where the form has none (fractions, powers, closed forms)."""

    value: Fraction | float
    decimals: int | None = None
    percent: bool = False
    written: str = ""
    unit: str = ""

    @property
    def whole(self) -> bool:
        return self.value == int(self.value)

    @property
    def canonical(self) -> str:
        """One string for equal values: "0.75" for 3/4, "95" for 95.0. Percent signs are dropped: "45%" is
        "45"."""
        if self.whole:
            return str(int(self.value))
        return format(float(self.value), ".10g")


def _finite(value: Fraction | float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _value(match: re.Match[str]) -> tuple[Fraction, int | None] | None:
    """Value and printed decimals of a match of `_NUMBER`; None for a zero denominator or too many digits."""
    part = match.groupdict()
    if sum(len(part[name] or "") for name in ("whole", "mn", "md", "n", "d", "grouped", "plain")) > MAX_DIGITS:
        return None
    decimals: int | None = None
    if part["whole"]:
        if int(part["md"]) == 0:
            return None
        value = int(part["whole"]) + Fraction(int(part["mn"]), int(part["md"]))
    elif part["n"]:
        if Fraction(part["d"]) == 0:
            return None
        value = Fraction(part["n"]) / Fraction(part["d"])
    else:
        digits = (part["grouped"] or part["plain"]).replace(",", "")
        value = Fraction(digits.rstrip(".") if digits.endswith(".") else digits)
        decimals = len(digits.partition(".")[2])
    exponent = part["power"] or part["exp"]
    if exponent:
        value, decimals = value * Fraction(10) ** int(exponent), None
    if (part["sign"] == "-") != (part["sign2"] == "-"):
        value = -value
    return value, decimals


def _scaled(match: re.Match[str], unit: str | None) -> Quantity | None:
    read = _value(match)
    if read is None:
        return None
    value, decimals = read
    scale = match["scale"] or match["letter"]
    # a scale that the problem gives as its unit is a unit: "5.7 million" answers "how many millions" with 5.7
    if scale and not (unit and re.search(rf"\b{scale}s?\b", unit)):
        value, decimals = value * SCALES[scale], None
    if not _finite(value):
        return None
    return Quantity(value, decimals, bool(match["percent"]), match[0].strip())


def _is_unit(text: str, max_words: int) -> bool:
    words = re.findall(r"[A-Za-z]+", text)
    return bool(_UNIT_SHAPE.match(text)) and len(words) <= max_words and not _NOT_A_UNIT.search(text.strip())


def parse(text: str, unit: str | None = None, max_unit_words: int = 4) -> Quantity | None:
    """The number that `text` is, with at most a unit behind it; None if `text` is anything else.

    `unit` is the problem's own unit. `max_unit_words=0` takes a bare number (and %, currency, degrees) only.
    """
    if len(text) > 4 * MAX_WRITTEN:
        return None
    text = plain_math(text).strip()
    if not text or len(text) > MAX_WRITTEN:
        return None
    power = _POWER_OF_TEN.match(text)
    if power:
        value = Fraction(10) ** int(power[2]) * (-1 if power[1] == "-" else 1)
        return Quantity(value, written=text) if _finite(value) else None
    match = _QUANTITY.match(text)
    if match and _is_unit(match["unit"], max_unit_words):
        quantity = _scaled(match, unit)
        rest = match["unit"].strip(" ().,")
        return quantity and Quantity(quantity.value, quantity.decimals, quantity.percent, quantity.written, rest)
    spelled = _spelled(text)
    if spelled and _is_unit(spelled[1], max_unit_words):
        return Quantity(Fraction(spelled[0]), 0, written=text, unit=spelled[1])
    value = closed_form.evaluate(_without_unit(text))
    return None if value is None else Quantity(value, written=text)


def _spelled(text: str) -> tuple[int, str] | None:
    """The value of a number word up to "ninety-nine" and what follows it; None for longer ones ("one hundred")."""
    match = re.match(r"^([A-Za-z]+)(?![\w])(?:[-\s]?([A-Za-z]*))(?![\w])", text)
    value = WORDS.get(match[1].lower()) if match else None
    if match is None or value is None:
        return None
    follows = match[2].lower()
    if match[1].lower() in _TENS and 1 <= WORDS.get(follows, 0) <= 9:
        return value + WORDS[follows], text[match.end() :].strip()
    return None if follows in WORDS or follows in SCALES else (value, text[match.end(1) :].strip())


def parse_measure(text: str) -> Quantity | None:
    """A number with no unit or a well-known one: "95", "95°", "12 cm", "$5", "45%". "3 red balls" is none."""
    quantity = parse(text)
    if quantity is None:
        return None
    words = re.findall(r"[A-Za-z]+", quantity.unit)
    return quantity if all(word.lower() in UNIT_WORDS for word in words) else None


def _without_unit(text: str) -> str:
    """A closed form without the known unit behind it: "2√3 cm" -> "2√3"."""
    match = re.match(r"^(.*?)\s*(°|[A-Za-z]+(?:\s*\^\s*2|²)?)?$", text, re.DOTALL)
    if match and match[2] and re.sub(r"[\s^2²]", "", match[2]).lower() in UNIT_WORDS:
        return match[1]
    return text


def tokens(text: str, unit: str | None = None) -> list[Quantity]:
    """Every free-standing number in `text`, in order; digits inside words, dates and times are none."""
    found = (_scaled(match, unit) for match in _TOKEN.finditer(plain_math(text)))
    return [quantity for quantity in found if quantity is not None]


def same(a: Fraction | float, b: Fraction | float) -> bool:
    """Equal: exactly for whole numbers, to one part in a thousand million otherwise."""
    if a == b:
        return True
    if a == int(a) and b == int(b):
        return False
    return math.isclose(float(a), float(b), rel_tol=1e-9)


def _rounded(value: Fraction | float, decimals: int) -> Fraction:
    """Rounded half away from zero, as in school."""
    scaled = abs(Fraction(value)) * 10**decimals
    nearest = Fraction(math.floor(scaled + Fraction(1, 2)), 10**decimals)
    return -nearest if value < 0 else nearest


def rounds_to(fine: Quantity, coarse: Quantity) -> bool:
    """`fine`, rounded to the printed decimals of `coarse`, is `coarse`; whole numbers are never rounded
    to."""
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


def equal(gold: Quantity, answer: Quantity, tolerance: float | None = None) -> bool:
    """Whether `answer` is the number `gold`, by the rules in the module docstring."""
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
