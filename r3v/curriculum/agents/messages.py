"""The messages that agents send each other: typed records, read from exactly one JSON object, never guessed."""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from r3v.errors import DataError

Kind = Literal["choice", "number", "text", "expression"]
_MOST_TEXT = 4_000


class MessageError(DataError):
    """A reply that is not the message asked for; the text says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Plan:
    """From the planner: what to ask for, what picture to look for, how to change it."""

    skill: str
    kind: Kind
    summary: str
    queries: tuple[str, ...]
    edit: str = "none"
    instruction: str = ""


@dataclass(frozen=True, slots=True)
class Pick:
    """From the selector: the number of the picture to use, counted from 1; 0 where none is usable."""

    picture: int
    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """From the question writer: the new problem, with the writer's own solution."""

    question: str
    kind: Kind
    answer: str
    solution: str
    choices: tuple[str, ...] | None = None
    unit: str | None = None


Message = TypeVar("Message", Plan, Pick, Question)


def to_dict(message: Plan | Pick | Question) -> dict[str, Any]:
    """JSON values."""
    return json.loads(json.dumps(asdict(message)))


def describe(kind: type[Any]) -> str:
    """The form of a message in words, for prompts: one line for each field."""
    hints = get_type_hints(kind)
    return "\n".join(f'  "{f.name}": {_words(hints[f.name])}{_optional(f)}' for f in fields(kind))


def _optional(f: Any) -> str:
    return "" if f.default is MISSING else f" (may be left out: {json.dumps(f.default)})"


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(json.dumps(v) for v in get_args(hint))
    if get_origin(hint) is tuple:
        return "a list of texts"
    if _is_union(hint):
        return " or ".join("null" if a is type(None) else _words(a) for a in get_args(hint))
    return {str: "a text", int: "a whole number"}[hint]


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def parse(kind: type[Message], text: str) -> Message:
    """The message in a reply. One JSON object, alone, in a code fence or among words; exactly the fields of `kind`.

    Raises MessageError for no object, several, a repeated, unknown, missing or wrongly typed field.
    """
    row = _object(kind.__name__, text)
    hints, known = get_type_hints(kind), fields(kind)
    unknown = sorted(set(row) - {f.name for f in known})
    missing = sorted(f.name for f in known if f.default is MISSING and f.name not in row)
    if unknown or missing:
        raise MessageError(f"{kind.__name__}: unknown fields {unknown}, missing fields {missing}")
    return kind(**{name: _value(kind.__name__, name, value, hints[name]) for name, value in row.items()})


def _object(what: str, text: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    decoder = json.JSONDecoder(object_pairs_hook=lambda pairs: _once(what, pairs))
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError) as error:
            if text[at + 1 :].lstrip().startswith('"'):  # meant as an object: an inner one must not stand in for it
                raise MessageError(f"{what}: found broken JSON ({error})") from error
            at = text.find("{", at + 1)
            continue
        found.append(value)
        at = text.find("{", end)
    if len(found) != 1:
        raise MessageError(f"{what}: found {len(found)} JSON objects in {text[:80]!r}, expected one")
    return found[0]


def _once(what: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise MessageError(f"{what}: a field is given twice in {[name for name, _ in pairs]}")
    return row


def _value(what: str, name: str, value: Any, hint: Any) -> Any:
    def fail() -> MessageError:
        return MessageError(f"{what}.{name}: found {json.dumps(value)[:80]}, expected {_words(hint)}")

    if _is_union(hint):
        if value is None:
            return None
        hint = next(a for a in get_args(hint) if a is not type(None))
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise fail()
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value) or len(value) > 26:
            raise fail()
        return tuple(value)
    if hint is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise fail()
        return value
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise fail()
    return value
