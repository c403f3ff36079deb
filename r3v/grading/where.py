"""Where a text states its answer.

Thoughts are no part of what was said: what stands between their tags is not searched, and where a thought was cut off
nothing was answered. In the rest, markers (rows of `rules`) introduce statements, in one order of strength: answer tag,
box, "Final answer:", "Answer:" and its kin, "####" before nothing but a value, a heading with the value on the next
line, a JSON field, a sentence such as "the answer is". The strongest that states anything counts; two statements of
one strength that differ are no answer, unless words between them take the first one back. Everything else in a
rationale - equations, numbers, option letters in passing - names no answer.

Only the last 6,000 characters of a text are searched: answers stand at the end, and the time stays bounded."""

from __future__ import annotations

import bisect
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from r3v.grading import rules
from r3v.grading.writing import without_chat_tokens
from r3v.thoughts import spoken

TAIL = 6000
MAX_PAYLOAD = 300  # characters of one stated answer


@dataclass(frozen=True, slots=True)
class Statement:
    """`payload` as written, not yet cleaned; `start` and `end` are its place in the text. `same_line`: it stood beside
    its marker. `cut`: the line went on behind MAX_PAYLOAD characters."""

    start: int
    end: int
    payload: str
    strength: int
    rule: str
    same_line: bool = True
    cut: bool = False

    @property
    def strong(self) -> bool:
        """A form made for answers, with the answer beside it."""
        return self.strength > rules.SENTENCE and self.same_line


@dataclass(frozen=True)
class _Compiled:
    ends: re.Pattern[str] | None
    thoughts: list[tuple[re.Pattern[str], re.Pattern[str]]]
    markers: list[tuple[str, re.Pattern[str], int, str, tuple[str, ...]]]
    doubts: list[re.Pattern[str]]


@lru_cache(maxsize=4)
def _compiled(table: rules.Table) -> _Compiled:
    ends = [rule.pattern for rule in table.stage("end")]
    flags = re.IGNORECASE
    markers = []
    for rule in table.stage("marker"):
        strength, extent, needs = rule.meaning
        markers.append(
            (
                rule.name,
                re.compile(rule.pattern, 0 if extent == "letter" else flags),
                strength,
                extent,
                tuple(needs.split()),
            )
        )
    return _Compiled(
        re.compile("|".join(ends)) if ends else None,
        [(re.compile(r.pattern, flags), re.compile(r.meaning, flags)) for r in table.stage("thought")],
        markers,
        [re.compile(rule.pattern, flags) for rule in table.stage("doubt")],
    )


def said(text: str) -> str | None:
    """The text without its thoughts and what follows the end of the turn; None where a thought was cut off."""
    table = _compiled(rules.TABLE)
    tagged = any(char in text for char in "<[◁")
    without = spoken(text, table.thoughts)
    if without is None:
        return None
    text = without
    if table.ends is not None and tagged:
        match = table.ends.search(text.lstrip(), 1)
        if match:
            text = text.lstrip()[: match.start()] + "\n"
    return text


def clip(text: str) -> tuple[str, bool]:
    """The end of the text that is searched, and whether anything was cut off before it."""
    tail = text.rstrip()[-TAIL:]
    return without_chat_tokens(tail).rstrip(), len(text.rstrip()) > TAIL


def statements(tail: str, choice: bool) -> list[Statement]:
    """All statements of an answer in order of appearance; `choice` adds the phrasings that name an option."""
    table = _compiled(rules.TABLE)
    matches: list[tuple[int, int, int, str, str, re.Match[str]]] = []
    lowered = tail.lower()
    for name, pattern, strength, extent, needs in table.markers:
        if (extent == "letter" and not choice) or not any(need in lowered for need in needs):
            continue
        for match in pattern.finditer(tail):
            if strength == rules.SENTENCE and _doubtful(table, tail, match.start()):
                continue
            matches.append((match.start(), match.end(), strength, name, extent, match))
    matches.sort(key=lambda found: (found[0], -found[1]))
    lines = sorted({start for start, _, _, _, extent, _ in matches if extent in ("line", "next line")})
    found: list[Statement] = []
    covered = -1
    for start, end, strength, name, extent, match in matches:
        if extent == "line" and start < covered:  # "Final answer:" holds "answer:"
            continue
        one = _statement(tail, start, end, strength, name, extent, match, lines)
        if one is not None:
            found.append(one)
            if extent == "line":
                covered = end
    return found


def _statement(
    tail: str, start: int, end: int, strength: int, name: str, extent: str, match: re.Match[str], lines: list[int]
) -> Statement | None:
    if extent == "letter":
        return Statement(start, match.end(), f"({match['letter']})", strength, name)
    if extent == "braces":
        return _braced(tail, start, end, strength, name)
    if extent == "json":
        return _field(tail, start, end, strength, name)
    if extent == "last line":
        return _last(tail, start, end, strength, name)
    if extent not in ("line", "next line"):
        close = re.compile(extent, re.IGNORECASE).search(tail, end)
        stop = close.end() if close else len(tail)
        payload = tail[end : close.start() if close else stop].strip()
        return (
            Statement(start, stop, payload[:MAX_PAYLOAD], strength, name, cut=len(payload) > MAX_PAYLOAD)
            if payload
            else None
        )
    follows = bisect.bisect_left(lines, end)
    stop = lines[follows] if follows < len(lines) else len(tail)
    payload, same_line, where = _payload(tail, end, stop)
    if strength > rules.SENTENCE and _quoted_instruction(tail, start, payload):
        return None
    if not payload:
        return None
    whole = len(payload) <= MAX_PAYLOAD
    short = same_line or extent == "next line" or len(payload.split()) <= 6
    return Statement(start, where, payload[:MAX_PAYLOAD], strength, name, short, not whole)


def _doubtful(table: _Compiled, tail: str, start: int) -> bool:
    """The words before a statement deny or suppose it: "if the answer is", "does not match option"."""
    before = tail[max(0, start - 80) : start]
    return any(pattern.search(before) for pattern in table.doubts)


def _payload(tail: str, end: int, stop: int) -> tuple[str, bool, int]:
    """The rest of the line, or the next line that is not empty; whether it stood on the same line; and its end."""
    rest = tail[end : min(stop, end + 4 * MAX_PAYLOAD)]
    line, _, after = rest.partition("\n")
    if line.strip(" \t*_:"):
        return line.strip(), True, end + len(line)
    place = end + len(line) + 1
    for following in after.split("\n"):
        if following.strip(" \t*_:"):
            return _without_bullet(following.strip()), False, place + len(following)
        place += len(following) + 1
    return "", False, end


def _without_bullet(line: str) -> str:
    """ "- Blue" in a list is Blue; "- 5" may be the item 5 or the number -5: its dash becomes one that is no sign."""
    return re.sub(r"^[-–](?=\s+[\d.])", "•", re.sub(r"^[-–•*]\s+(?![\d.\s])", "", line))


def _quoted_instruction(tail: str, start: int, payload: str) -> bool:
    """The prompt's own "one line that reads 'Answer: ' followed by ...", repeated by the model."""
    quotes = ("'", '"', "‘", "’", "“", "”", "`")
    return tail[max(0, start - 1) : start] in quotes and payload[:1] in quotes


def _braced(tail: str, start: int, end: int, strength: int, name: str) -> Statement | None:
    """Contents of \\\\boxed{...}, braces balanced; an unclosed box is cut text and states nothing."""
    depth = 1
    for i in range(end, min(len(tail), end + MAX_PAYLOAD)):
        depth += {"{": 1, "}": -1}.get(tail[i], 0)
        if depth == 0:
            payload = tail[end:i]
            return Statement(start, i + 1, payload, strength, name) if payload.strip() else None
    return None


def _field(tail: str, start: int, end: int, strength: int, name: str) -> Statement | None:
    """The value of a JSON field: text, or a number as it is written."""
    try:
        value, _ = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode(tail[end : end + 2 * MAX_PAYLOAD])
    except (ValueError, RecursionError):
        return None
    shown: Any = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else value
    if not isinstance(shown, str) or not shown.strip():
        return None
    return Statement(start, end, shown[:MAX_PAYLOAD], strength, name, cut=len(shown) > MAX_PAYLOAD)


def _last(tail: str, start: int, end: int, strength: int, name: str) -> Statement | None:
    """What follows "####" on its line, if that is the end of the text: elsewhere it is a heading."""
    line, _, after = tail[end:].partition("\n")
    if not line.strip() or after.strip():
        return None
    return Statement(start, len(tail), line.strip()[:MAX_PAYLOAD], strength, name, cut=len(line) > MAX_PAYLOAD)


_CLOSED = re.compile(r"(?:\n|<\|[^<>|]{1,30}\|>|</s>)\s*$")


def last_line(text: str, tail: str, clipped: bool) -> tuple[str, bool] | None:
    """A last line that may stand for an answer without "Answer:", and whether it is the whole reply.

    In a longer text it must be set off by an empty line before it, or closed by a line break: the last line of a text
    that was cut short is otherwise no different ("5" of "5 + 3", "B" of "Both")."""
    lines = tail.split("\n")
    if len(lines[-1]) > MAX_PAYLOAD:
        return None
    single = not clipped and not any(line.strip() for line in lines[:-1])
    set_off = len(lines) > 1 and not lines[-2].strip()
    return (lines[-1], single) if single or set_off or _CLOSED.search(text[-80:]) else None
