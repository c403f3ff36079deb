"""`r3v chat`: ask a model about pictures in a terminal; each answer is chosen among several, which are shown.

Lines that begin with / change how it is asked: /image FILE, /choices 35|55, /n 8, /method majority, /help, /quit.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.app.parser import model_flags, nearest, positive
from r3v.app.trees import fields_help
from r3v.errors import ConfigError, R3VError

HELP = """a question asks; these change how:
  /image FILE        show this picture (again: one more; without FILE: none)
  /choices A|B|C     the options (without any: a free answer)
  /n 8               candidates
  /method fused      how one is chosen (greedy, majority, likelihood, self_select, fused, refine, tournament)
  /quit              leave, as Ctrl-D"""
COMMANDS = ("/image", "/choices", "/n", "/method", "/help", "/quit")


@dataclass
class State:
    """How the next question is asked."""

    images: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    n: int = 4
    method: str = "fused"

    def line(self) -> str:
        """One line for the user."""
        options = f", choices {' | '.join(self.choices)}" if self.choices else ""
        return f"[{', '.join(self.images) or 'no picture'}{options}; {self.method}@{self.n}]"


def register(commands: Any) -> None:
    """Add `chat` to the subparsers of the command line."""
    text = "ask a model about pictures in a terminal; candidates are shown with their scores"
    p = commands.add_parser("chat", help=text, description=text, add_help=False)
    fields_help(p, "train", listed=False)
    p.set_defaults(handler=run, takes_fields=True)
    model_flags(p)
    p.add_argument("--image", action="append", default=[], help="picture to begin with; may be repeated")
    p.add_argument("--n", type=positive, default=4, help="candidates (default 4)")
    p.add_argument("--method", default="fused", help="selector (default fused)")


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """Ask until the input ends."""
    from r3v.api import Model
    from r3v.app.commands.common import model_config, note
    from r3v.reflection.stages import make_policy

    config = model_config(args, [*rest, f"--select.n={args.n}", f"--select.selectors={args.method}"])
    state = State(tuple(args.image), (), args.n, args.method)
    for image in state.images:
        look_at(image)
    model = Model(make_policy(config.model, config, say=note), config)
    note(f"{model.policy.name}; /help tells what can be changed")
    while True:
        try:
            line = input(f"{state.line()}\n> ").strip()
        except EOFError:
            return 0
        if line == "/quit":
            return 0
        if not line:
            continue
        try:
            print(change(state, line) if line.startswith("/") else answer(model, state, line), flush=True)
        except R3VError as error:  # the next question may be a better one
            print(f"error: {error}", flush=True)


def look_at(image: str) -> None:
    """Raise ImageError for a file that is no picture."""
    from r3v.data.images import decode
    from r3v.records import FileImage

    decode(FileImage(image))


def change(state: State, line: str) -> str:
    """Do what a line with / says; returns what to print. Raises ConfigError, ImageError."""
    name, _, value = line.partition(" ")
    value = value.strip()
    if name == "/image":
        if value:
            place = str(Path(value).expanduser())
            look_at(place)
            state.images = (*state.images, place)
        else:
            state.images = ()
    elif name == "/choices":
        state.choices = tuple(part.strip() for part in value.split("|")) if value else ()
    elif name == "/n":
        if not value.isdecimal() or int(value) < 1:
            raise ConfigError(f"found /n {value}, expected a whole number of at least 1")
        state.n = int(value)
    elif name == "/method":
        from r3v.run.evaluation import check_selectors

        check_selectors((value,))
        state.method = value
    elif name == "/help":
        return HELP
    else:
        near = nearest(name, COMMANDS)
        raise ConfigError(
            f"found {name}, expected one of {', '.join(COMMANDS)}" + (f"; did you mean {near}?" if near else "")
        )
    return state.line()


def answer(model: Any, state: State, question: str) -> str:
    """The chosen rationale, and every candidate with its score."""
    from r3v.api import select
    from r3v.app.commands.core import selection_text

    chosen = select(
        model, question, state.images, choices=state.choices or None, n=state.n, method=state.method
    )  # fmt: skip
    return selection_text(chosen)
