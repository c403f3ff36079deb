"""Where a text states its answer.

A *strong* statement is a form made for answers: "Answer: ...", "Final answer: ...", "\\\\boxed{...}", "####
...", "<answer>...</answer>". A *weak* one is a sentence: "the answer is ...", and for choices "so B is
correct", "choose option B". The last statement that can be read counts. Everything else in a rationale -
equations, numbers, option letters in passing - names no answer.

Only the last 6,000 characters of a text are searched: answers stand at the end, and the time stays bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from r3v.grading.clean import without_chat_tokens
from r3v.grading.reading import MAX_PAYLOAD

TAIL = 6000


@dataclass(frozen=True, slots=True)
class Statement:
    """`payload` as written, not yet cleaned; `start` is its place in the text."""

    start: int
    payload: str
    strong: bool


_STRONG = re.compile(
    r"(?<![A-Za-z])(?:final\s+)?(?:answer|ans)\b[ \t*_]{0,4}(?::|：|=)[*_]{0,3}"
    r"|(?<!#)####(?!#)|<answer>|答案\s*[:：]",
    re.IGNORECASE,
)
_WEAK = re.compile(
    r"\banswer(?:\s+(?:to|for|of|choice|option)\b[^.\n:]{0,60}?|\s*\([^()\n]{0,40}\))?"
    r"\s+(?:is|are|was|must be|should be|would be|will be|equals)\b[ \t]*[:：]?[*_]{0,3}"
    r"|\b(?:correct|right|best)\s+(?:option|choice|one)\s*(?:is\b[ \t]*:?|:)[*_]{0,3}"
    r"|故?答案(?:是|为)[:：]?|故选[:：]?",
    re.IGNORECASE,
)
_LETTER = r"[\(\[*]{0,3}(?P<letter>[A-Z])[\)\]*]{0,3}"
_CHOICE_PHRASES = (
    re.compile(
        r"(?i:\b(?:choose|select|pick|chose|corresponds? to|corresponding to|match(?:es)?"
        r"|(?:which|this|that) is|so|thus|hence|therefore,?)"
        rf"\s+(?:the\s+)?(?:option|choice)\s+){_LETTER}"
        r"(?=\s*(?:$|[.,;:!\n]|because\b|since\b|as\b|with\b|which\b))"
    ),
    re.compile(
        rf"(?<![\w'∠△-])(?:(?i:option|choice|answer)\s+)?{_LETTER}\s+(?i:is|must be)\s+(?i:the\s+)?"
        r"(?i:correct(?:\s+(?:answer|option|choice|one))?|right\s+(?:answer|option|choice|one)|answer)\b(?!-|\s*\?)"
    ),
    re.compile(
        rf"\b(?i:option|choice)\s+{_LETTER}\s+(?i:is|must be)\s+(?i:right|true)\b"
        r"(?!-|\s*(?:\?|angle|triangle))"
    ),
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_DOUBT = re.compile(
    r"(?:\b(?:if|whether|suppose|assume|assuming|not|nor|never|cannot|neither|unless|angle|triangle|point|line|"
    r"segment|vertex|side)|n't)\s*(?:that\s+)?(?:the\s+|then\s+)?(?:correct\s+|final\s+|right\s+)?$",
    re.IGNORECASE,
)


_CLOSED = re.compile(r"(?:\n|<\|[^<>|]{1,30}\|>|</s>)\s*$")


def last_line(text: str, tail: str, clipped: bool) -> tuple[str, bool] | None:
    """A last line that may stand for an answer without "Answer:", and whether it is the whole reply.

    In a longer text it must be set off by an empty line before it, or closed by a line break: the last line
    of a text that was cut short is otherwise no different ("5" of "5 + 3", "B" of "Both")."""
    lines = tail.split("\n")
    if len(lines[-1]) > MAX_PAYLOAD:
        return None
    single = not clipped and not any(line.strip() for line in lines[:-1])
    set_off = len(lines) > 1 and not lines[-2].strip()
    return (lines[-1], single) if single or set_off or _CLOSED.search(text[-80:]) else None


def clip(text: str) -> tuple[str, bool]:
    """The end of the text that is searched, and whether anything was cut off before it."""
    tail = text.rstrip()[-TAIL:]
    return without_chat_tokens(tail).rstrip(), len(text.rstrip()) > TAIL


def statements(tail: str, choice: bool) -> list[Statement]:
    """All statements of an answer in order of appearance; `choice` adds the phrasings that name an option."""
    starts: list[tuple[int, int, bool]] = [(m.start(), m.end(), True) for m in _STRONG.finditer(tail)]
    starts += [(m.start(), m.end(), False) for m in _WEAK.finditer(tail) if not _doubtful(tail, m.start())]
    starts.sort()
    found = []
    for i, (start, end, strong) in enumerate(starts):
        stop = starts[i + 1][0] if i + 1 < len(starts) else len(tail)
        payload, same_line = _payload(tail, end, stop)
        if strong and _quoted_instruction(tail, start, payload):
            continue
        if payload:
            found.append(Statement(start, payload, strong and same_line))
    found += [Statement(start, payload, True) for start, payload in _boxes(tail)]
    if choice:
        found += [
            Statement(m.start(), f"({m['letter']})", False)
            for pattern in _CHOICE_PHRASES
            for m in pattern.finditer(tail)
            if not _doubtful(tail, m.start())
        ]
    return sorted(found, key=lambda statement: statement.start)


def _doubtful(tail: str, start: int) -> bool:
    """The words before a statement deny or suppose it: "if the answer is", "does not match option"."""
    return bool(_DOUBT.search(tail[max(0, start - 40) : start]))


def _payload(tail: str, end: int, stop: int) -> tuple[str, bool]:
    """The rest of the line, or the next line that is not empty; and whether it stood on the same line."""
    rest = tail[end : min(stop, end + 4 * MAX_PAYLOAD)]
    line, _, after = rest.partition("\n")
    if line.strip(" \t*_:"):
        return line.strip()[:MAX_PAYLOAD], True
    following = next((x.strip() for x in after.split("\n") if x.strip(" \t*_:")), "")
    return following[:MAX_PAYLOAD], len(following.split()) <= 6


def _quoted_instruction(tail: str, start: int, payload: str) -> bool:
    """The prompt's own "one line that reads 'Answer: ' followed by ...", repeated by the model."""
    return tail[max(0, start - 1) : start] in ("'", '"', "‘", "“", "`") and payload[:1] in (
        "'",
        '"',
        "’",
        "”",
        "`",
    )


def _boxes(tail: str) -> list[tuple[int, str]]:
    """Contents of each \\\\boxed{...}, braces balanced; an unclosed box is cut text and states nothing."""
    found = []
    for match in _BOX.finditer(tail):
        depth = 1
        for i in range(match.end(), min(len(tail), match.end() + MAX_PAYLOAD)):
            depth += {"{": 1, "}": -1}.get(tail[i], 0)
            if depth == 0:
                if tail[match.end() : i].strip():
                    found.append((match.start(), tail[match.end() : i]))
                break
    return found
