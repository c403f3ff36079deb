"""One spelling for each sign, and what surrounds an answer (markdown, LaTeX wrappers, quotes) taken away.

All functions take short strings (the callers cap them) and use regular expressions without nested repeats, so their
time is linear."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from r3v.grading import rules

_WRAPPED = re.compile(
    r"^(?:\\(?:text|textbf|mathrm|mathbf|textit|boxed|fbox|mbox)\s*\{([^{}]*)\}|\\\((.*)\\\)|\\\[(.*)\\\]"
    r"|\$\$?([^$]*)\$\$?|\*{1,3}([^*]*)\*{1,3}|`([^`]*)`|\"([^\"]*)\"|“([^”]*)”|'([^']*)'"
    r"|</?(?:final_)?answer>(.*?)(?:</?(?:final_)?answer>)?|(.*)</(?:final_)?answer>)$",
    re.DOTALL | re.IGNORECASE,
)
_BOLD = re.compile(r"(?<![\w*])(\*{1,3}|__)(?=\S)([^*\n]*?\S)\1(?![*\w])")
_CODE = re.compile(r"`([^`\n]+)`")
_CHAT_TOKEN = re.compile(
    r"<\|(?!begin_of_box|end_of_box)[^<>|]{1,30}\|>|</?(?:s|end_of_utterance|eos|bos|pad)>", re.IGNORECASE
)
_TRAILING = ".,;:!?。，；！．｡ \t\r\n"
_MATH = re.compile(r"\$|\\[()\[\]]")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


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


def plain(text: str) -> str:
    """`text` unwrapped and spelled one way: minus and degree signs, digits, fractions, LaTeX commands."""
    return _plain(rules.TABLE, text)


@lru_cache(maxsize=1024)
def _plain(table: rules.Table, text: str) -> str:
    text = _CODE.sub(r"\1", _BOLD.sub(r"\2", unwrap(text)))
    for pattern, spelled in table.spelling:
        text = pattern.sub(spelled, text)
    text = _dollars(text)
    return re.sub(r"\s+", " ", unwrap(text)).strip()


def _dollars(text: str) -> str:
    """Mathematics loses its dollar signs, a price keeps its own."""
    if "$" not in text and "\\" not in text:
        return text
    text = text.replace("\\$", "\x00")
    if text.count("$") % 2 == 0:
        text = text.replace("$", "")
    return re.sub(r"\\[()\[\]]", "", text.replace("\x00", "$"))


def words(text: str) -> str:
    """Case, articles and punctuation removed: "The U.S., then." -> "us then". Digits keep their point and sign."""
    text = unicodedata.normalize("NFKC", unwrap(text)).casefold()
    text = re.sub(r"[’‘]", "'", text)
    text = re.sub(r"[−‐‑‒–]", "-", text)
    text = re.sub(r"(?<=\d)[,](?=\d{3})", "", text)
    text = re.sub(r"(?<=\w)'(?=\w)|(?<!\d)\.(?!\d)|(?<=\d)\.(?!\d)|(?<=[^\W\d])\.", "", text)
    text = re.sub(r"(?<![\w])-(?=\d)", "\x00", text)  # a sign, not a hyphen
    text = re.sub(r"[^\w\s.%$€£¥°/^+=<>√π\x00\\{}|*×]|_", " ", text).replace("\x00", "-")
    shorter = re.sub(r"\s+", " ", _ARTICLES.sub(" ", text)).strip()
    return shorter or re.sub(r"\s+", " ", text).strip()
