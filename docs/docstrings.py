"""An extension of griffe: docstrings whose lines begin with `name: ` tell of fields, one after the other.

As a list they read better than as the paragraph that Markdown makes.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

FIELD = re.compile(r"^(\w+(?:, \w+)*): ")


def listed(text: str) -> str:
    """The text with each run of two or more such lines (and what continues them) as a list.

    >>> print(listed("What it is.\\n\\na_T: one thing\\n    and more.\\nb: another."))
    What it is.
    <BLANKLINE>
    - `a_T`: one thing
        and more.
    - `b`: another.
    """
    paragraphs = text.split("\n\n")
    for i, paragraph in enumerate(paragraphs):
        lines = paragraph.split("\n")
        if FIELD.match(lines[0]) and sum(bool(FIELD.match(line)) for line in lines) > 1:
            paragraphs[i] = "\n".join(FIELD.sub(r"- `\1`: ", line) for line in lines)
    return "\n\n".join(paragraphs)


class Fields(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)
