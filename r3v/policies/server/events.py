"""Server-sent events, as the standard and as servers write them: bytes of a whole stream in, JSON values out."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import Any

from r3v.policies.server.client import BadAnswerError, as_json

_FIELD = re.compile(rb"(?:data|event|id|retry)?:")


def is_stream(data: bytes, content_type: str) -> bool:
    """Whether a body is a stream of events. Gateways write one content type above the other kind of body: a stream
    never begins with a brace, and JSON never with the name of a field and a colon."""
    begin = data.removeprefix(codecs.BOM_UTF8).lstrip()
    return not begin.startswith(b"{") if "event-stream" in content_type else bool(_FIELD.match(begin))


def events(data: bytes) -> Iterator[Mapping[str, Any]]:
    """The JSON events of a stream, read as the standard of server-sent events says: a byte order mark is skipped, lines
    end in CR, LF or both, the `data` lines of one event are joined, lines that begin with a colon are comments.

    An event whose data is itself a comment (": keepalive") is a gateway's sign of life.
    """
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    lines: list[str] = []
    for line in (*re.split(r"\r\n|\r|\n", text), ""):  # splitlines() would cut at separators inside a text
        field, _, value = line.partition(":")
        if field == "data":
            lines.append(value.removeprefix(" "))
        if line or not lines:
            continue
        whole, lines = "\n".join(lines).strip(), []
        if not whole or whole == "[DONE]" or whole.startswith(":"):
            continue
        yield from _event(whole)


def _event(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON of one event. Servers that put no empty line between events give several, one on a line."""
    try:
        values = [as_json(text.encode())]
    except BadAnswerError:
        lines = [line.strip() for line in text.split("\n")]
        if len(lines) == 1:
            raise
        values = [as_json(line.encode()) for line in lines if line and line != "[DONE]" and not line.startswith(":")]
    for value in values:
        if not isinstance(value, dict) or value.get("error"):
            raise BadAnswerError(f"an error inside the stream: {str(value)[:200]}")
        yield value
