"""Strips what surrounds an answer (markdown, LaTeX wrappers, quotes, chat tokens) and unifies how maths is
typed.

All functions take short strings (the callers cap them) and use regular expressions without nested repeats, so
their time is linear.
"""

from __future__ import annotations

import re
import unicodedata

_UNITS = """
degree degrees deg rad radian radians percent cm mm m km dm in inch inches ft foot feet yd yard yards mi
mile miles meter meters metre metres centimeter centimeters centimetre centimetres millimeter millimeters
kilometer kilometers kilometre kilometres square sq cubic unit units kg g mg lb lbs oz pound pounds gram
grams kilogram kilograms ounce ounces l ml liter liters litre litres s sec second seconds min minute
minutes h hr hour hours day days week weeks month months year years dollar dollars cent cents usd euro
euros per
"""
UNIT_WORDS = frozenset(_UNITS.split())
_VULGAR = {
    "½": "1/2",
    "⅓": "1/3",
    "⅔": "2/3",
    "¼": "1/4",
    "¾": "3/4",
    "⅕": "1/5",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
}
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_CHAT_TOKEN = re.compile(r"<\|[^<>|]{1,30}\|>|</?(?:s|answer|end_of_utterance|eos|bos|pad|think)>", re.IGNORECASE)
_WRAPPED = re.compile(
    r"^(?:\\(?:text|textbf|mathrm|mathbf|textit|boxed|fbox|mbox)\s*\{([^{}]*)\}|\\\((.*)\\\)|\\\[(.*)\\\]"
    r"|\$\$?([^$]*)\$\$?|\*{1,3}([^*]*)\*{1,3}|`([^`]*)`|\"([^\"]*)\"|“([^”]*)”|'([^']*)')$",
    re.DOTALL,
)
_INLINE_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}|(\d)\s*(\d))")
_TRAILING = ".,;:!?。，；！ \t\r\n"


def without_chat_tokens(text: str) -> str:
    return _CHAT_TOKEN.sub(" ", text)


def unwrap(text: str) -> str:
    """`text` without the markup around it: "**B**." -> "B", "\\text{Blue}" -> "Blue", "$x$" -> "x"."""
    text = without_chat_tokens(text).strip()
    for _ in range(6):  # each pass removes one layer
        before = text
        text = text.strip().rstrip(_TRAILING)
        if text.count("**") == 1:  # half of a pair: the other half stood before the marker
            text = text.removeprefix("**").removesuffix("**").rstrip(_TRAILING)
        match = _WRAPPED.match(text)
        if match:
            text = next(group for group in match.groups() if group is not None)
        if text == before:
            break
    return text.strip()


def plain_math(text: str) -> str:
    """One spelling for each sign: minus, degrees, fractions of whole numbers, powers of ten, escaped % and
    $."""
    text = unwrap(text)
    text = text.replace("−", "-").replace("–", "-").replace("\u00a0", " ").replace("\u202f", " ")
    for sign, fraction in _VULGAR.items():
        text = text.replace(sign, f" {fraction}")
    text = re.sub(r"10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: "10^" + m[1].translate(_SUPERSCRIPT), text)
    text = unicodedata.normalize("NFKC", text.replace("²", "^2").replace("³", "^3").replace("°", "\\degree "))
    text = _INLINE_TEXT.sub(r" \1 ", text)
    text = text.replace("{,}", ",").replace("\\,", " ").replace("\\!", "").replace("\\ ", " ").replace("\\;", " ")
    text = text.replace("\\%", "%").replace("\\$", "$").replace("\\times", "×").replace("\\cdot", "*")
    text = re.sub(r"\^\s*\{?\s*(?:\\circ|∘|º)\s*\}?|\\degrees?\b|∘", "°", text)
    text = _FRACTION.sub(lambda m: f" {m[1] or m[3]}/{m[2] or m[4]} ", text)
    text = re.sub(r"^\s*(-)\s+(\d)", r"\1\2", text)
    text = re.sub(r"(\d)\s*(?:degrees?\b|deg\b)", r"\1°", text, flags=re.IGNORECASE)
    return re.sub(r"\s+", " ", text).strip()


_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def words(text: str) -> str:
    """Case, articles and punctuation removed: "The U.S., then." -> "us then". Digits keep their point and
    sign."""
    text = unicodedata.normalize("NFKC", unwrap(text)).casefold()
    text = text.replace("’", "'").replace("−", "-")
    text = re.sub(r"(?<=\d)[,](?=\d{3})", "", text)
    text = re.sub(r"(?<=\w)'(?=\w)|(?<!\d)\.(?!\d)|(?<=\d)\.(?!\d)|(?<=[^\W\d])\.", "", text)
    text = re.sub(r"(?<![\w])-(?=\d)", "\x00", text)  # a sign, not a hyphen
    text = re.sub(r"[^\w\s.%$€£¥°/^+=<>√π\x00\\{}|*×]|_", " ", text).replace("\x00", "-")
    shorter = re.sub(r"\s+", " ", _ARTICLES.sub(" ", text)).strip()
    return shorter or re.sub(r"\s+", " ", text).strip()
