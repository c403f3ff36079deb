"""A value as an error tells it: what it is, the beginning of what it says, and never what its bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LENGTH = 60


def shown(value: Any, length: int = LENGTH) -> str:
    """At most about `length` characters, however large the value is. Bytes are counted, wherever they stand."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    if isinstance(value, str):
        return repr(value) if len(value) <= length else f"{value[:length]!r}... ({len(value):,} characters)"
    if isinstance(value, Mapping):
        return _joined(
            "{}", [f"{shown(key, 20)}: {shown(item, 20)}" for key, item in list(value.items())[:8]], len(value)
        )
    if isinstance(value, list | tuple):
        return _joined("[]", [shown(item, 20) for item in value[:8]], len(value))
    if value is None or isinstance(value, bool | int | float):
        return repr(value)[:length]
    return f"a {type(value).__name__}"


def _joined(brackets: str, parts: list[str], number: int) -> str:
    left = [f"{number - len(parts)} more"] if number > len(parts) else []
    return brackets[0] + ", ".join([*parts, *left]) + brackets[1]
