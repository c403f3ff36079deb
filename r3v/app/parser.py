"""argparse with the nearest word in its errors, the types of numbers that flags take, and the flags of a model."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from r3v.errors import ConfigError

_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """Errors are one line and name the nearest command, choice or flag; no abbreviations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, rest = super().parse_known_args(args, namespace)
        if self._subparsers is None:
            self.look_at(rest)
        return found, rest

    def look_at(self, rest: Sequence[str]) -> None:
        """Refuse a flag that is unknown and close to one of this command's."""
        own = [name for name in self._option_string_actions if name.startswith("--")]
        for token in rest:
            flag = token.partition("=")[0]
            if flag.startswith("--") and "." not in flag and (near := nearest(flag, own, 0.75)):
                self.error(f"found {flag}; did you mean {near}?")

    def error(self, message: str) -> NoReturn:
        if bad := _CHOICE.search(message):
            known = [word.strip(" '\"") for word in bad[2].split(",")]
            near = nearest(bad[1], known)
            hint = f"; did you mean {near}?" if near else ""
            what = message.partition(":")[0].removeprefix("argument ")
            message = f"found {what} {bad[1]!r}, expected one of {', '.join(known)}{hint}"
        message = re.sub(r"^argument (\S+): found ", r"found \1 ", message)
        raise ConfigError(f"{message} (`{self.prog} --help` tells more)")


def nearest(word: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=cutoff)), None)


def at_least(least: int) -> Callable[[str], int]:
    """The type of a flag: a whole number from `least` on."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"found {text}, expected a whole number of at least {least}")
        return value

    return number


positive = at_least(1)


def model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that asks a model; `r3v.app.commands.common.model_config` reads them."""
    parser.add_argument("--model", help="folder, hub name, smolgeo, or geoworld-tiny (default)")
    parser.add_argument("--adapter", help="LoRA folder, such as RUN/round_03/adapter")
    parser.add_argument("--run", help="a run folder: its settings, and the adapter of its accepted round")
    parser.add_argument("--recipe", help="take settings from this recipe")
