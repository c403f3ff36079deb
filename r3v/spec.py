"""The one syntax that names a set of problems: `READER:PATH?key=value&key=value`.

    geoworld:test                                     the built-in world
    euclid:train?n=5000                               the world of theorems
    geoqa:data/geoqa?split=train                      a folder with its own join file
    geoqa:hz2475/geoQA?split=train                    the same data set on the hub
    jsonl:mine.jsonl?question=q&answer=gold&image=img a field mapping
    hub:org/name?split=test&choices=options           any `datasets` dataset

`%3F`, `%26`, `%3D` and `%25` stand for `?`, `&`, `=` and `%` inside a path or a value. Every reader takes
the options `split`, `limit`, `skip_bad`, `open` and `grader`, which are also keyword arguments of `load`; the keyword
wins. All other options belong to the reader, and an unknown one is an error that names the nearest.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from r3v.errors import ConfigError

COMMON = ("split", "limit", "skip_bad", "open", "grader")
_OF_THE_HUB = ("revision", "config")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed spec; `text` is what the user wrote."""

    text: str
    reader: str
    path: str
    options: dict[str, str] = field(default_factory=dict)

    def flag(self, name: str, default: bool = False) -> bool:
        """A yes/no option. Raises ConfigError for anything else."""
        value = self.options.get(name)
        if value is None:
            return default
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
        raise ConfigError(f"{self.text}: option {name}={value!r}, expected one of {', '.join(_TRUE + _FALSE)}")

    def number(self, name: str, default: int | None = None) -> int | None:
        """A non-negative whole number option. Raises ConfigError for anything else."""
        value = self.options.get(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit():
            raise ConfigError(f"{self.text}: option {name}={value!r}, expected a whole number")
        return int(value)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """An option out of `allowed`; the first is the default. Raises ConfigError for anything else."""
        value = self.options.get(name, allowed[0])
        if value not in allowed:
            raise ConfigError(f"{self.text}: option {name}={value!r}, expected one of {', '.join(allowed)}")
        return value

    def only(self, names: Iterable[str]) -> None:
        """Refuse every option that is neither common nor in `names`."""
        allowed = (*COMMON, *names)
        for option in self.options:
            if option not in allowed:
                near = difflib.get_close_matches(option, allowed, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ConfigError(
                    f"{self.text}: unknown option {option!r} for reader {self.reader!r}{hint} "
                    f"(known: {', '.join(allowed)})"
                )


def parse_spec(text: str) -> Spec:
    """Split a spec into reader, path and options. Raises ConfigError when it does not have the form above."""
    if not isinstance(text, str):
        raise ConfigError(f"found {text!r}, expected a data spec such as 'geoworld:test'")
    head, _, query = text.partition("?")
    reader, colon, path = head.partition(":")
    if not colon or not reader or not path:
        raise ConfigError(f"found data spec {text!r}, expected READER:PATH?key=value, for example geoworld:test")
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise ConfigError(f"{text}: option {part!r}, expected key=value")
        if key in options:
            raise ConfigError(f"{text}: option {key!r} is given twice")
        options[unquote(key)] = unquote(value)
    return Spec(text=text, reader=reader, path=unquote(path), options=options)


def at(text: str, place: str) -> str:
    """The same data set at another place: reader and options stay, but for those that name a state of the hub."""
    spec = parse_spec(text)
    options = [f"{key}={quote(value, safe=':/,')}" for key, value in spec.options.items() if key not in _OF_THE_HUB]
    return f"{spec.reader}:{quote(place, safe='/')}" + (f"?{'&'.join(options)}" if options else "")
