"""How a model's thoughts are marked in its text, and what is left of a text without them. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence

TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
)
"""Opening and closing tag of each way of marking a thought that is known."""
Pattern = re.Pattern[str]
PATTERNS = tuple((re.compile(re.escape(o), re.I), re.compile(re.escape(c), re.I)) for o, c in TAGS)


def spoken(text: str, tags: Sequence[tuple[Pattern, Pattern]] = PATTERNS) -> str | None:
    """The text without its thoughts; None where one was cut off, so that nothing was said after it.

    A closing tag alone ends a thought that the prompt had opened.
    """
    if not any(char in text for char in "<[◁"):
        return text
    for opens, closes in tags:
        events = [(m.start(), m.end(), True) for m in opens.finditer(text)]
        events += [(m.start(), m.end(), False) for m in closes.finditer(text)]
        if not events:
            continue
        kept, position, inside = [], 0, False
        for start, end, is_open in sorted(events):
            if is_open and not inside:
                kept.append(text[position:start])
                inside = True
            elif not is_open:
                if not inside:  # the opening tag stood in the prompt
                    kept = []
                inside, position = False, end
        if inside:
            return None
        text = "\n".join([*kept, text[position:]])
    return text


def opened(text: str) -> tuple[str, str] | None:
    """The opening tag, with the blanks after it, that a prompt ends with, and the closing tag that belongs to it."""
    for opens, closes in TAGS:
        if text.rstrip().endswith(opens):
            return text[text.rindex(opens) :], closes
    return None


def marked(text: str) -> bool:
    """Whether a reply holds a thought of its own: it begins with an opening tag, or closes one of the prompt's."""
    begins = text.lstrip()
    return any(begins.startswith(opens) or closes in text for opens, closes in TAGS)
