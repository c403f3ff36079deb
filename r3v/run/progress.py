"""One line about long work, live: what is done of how much, at what speed, how well so far, and how long it will take.

In a terminal it is a bar (tqdm); in a log it is a plain line once a minute. Whatever works long opens a `task` and says
what it has done; it needs not know who looks. `stage` names what the tasks belong to and how long the run goes on after
it. Everything goes to stderr, where results never go.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from tqdm import tqdm

EVERY = 60.0
"""Seconds between two lines in a log."""
BAR_EVERY = 0.5
"""Seconds between two looks of the bar."""


@dataclass
class Line:
    """Where progress is shown. `terminal`: None asks the stream; `clock` counts seconds."""

    stream: TextIO | None = None
    terminal: bool | None = None
    clock: Callable[[], float] = time.monotonic
    stage: str = ""
    left_after: float | None = None
    """Seconds that the run is expected to take after the present stage; None: nobody knows yet."""
    rounds: int | None = None
    """How many rounds the run has after the base measurement; None: nobody said."""
    open: list[Task] = field(default_factory=list)

    @property
    def out(self) -> TextIO:
        return self.stream or sys.stderr

    @property
    def bar(self) -> bool:
        return self.out.isatty() if self.terminal is None else self.terminal


class Task:
    """Work of which `total` units are to be done. `done` units were there already and say nothing about speed."""

    def __init__(self, line: Line, name: str, total: int, unit: str, done: int = 0, shown: bool = True) -> None:
        self.line, self.name, self.total, self.unit, self.shown = line, name, total, unit, shown
        self.done = self.begun_with = done
        self.figures: dict[str, float] = {}
        self.tokens = 0
        self.start = self.told = line.clock()
        self._bar: Any = None
        if shown and line.bar:
            self._bar = tqdm(
                total=total, initial=done, desc=self.label, unit=unit, file=line.out, dynamic_ncols=True, leave=False,
                mininterval=BAR_EVERY, position=len(line.open),
            )  # fmt: skip

    @property
    def label(self) -> str:
        return ": ".join(filter(None, (self.line.stage, self.name)))

    def due(self) -> bool:
        """Whether what is said now will be shown: figures that cost something to find need not be found otherwise."""
        return self.shown and self.line.clock() - self.told >= (BAR_EVERY if self._bar is not None else EVERY)

    def skip(self, count: int) -> None:
        """Units that turn out to be done already; they say nothing about speed."""
        self.begun_with += count
        self.reach(self.done + count)

    def advance(self, count: int = 1, tokens: int = 0, **figures: float) -> None:
        """`count` more units are done, which took `tokens`; `figures` replace those shown: `right` is a share, anything
        else is shown under its name."""
        self.reach(self.done + count, self.tokens + tokens, **figures)

    def heard(self, count: int, tokens: int) -> None:
        """Answers of an engine have come. They are units of a task that counts answers, and a figure of any other."""
        if self.unit == "answer":
            self.advance(count, tokens)
        else:
            self.reach(self.done, self.tokens + tokens, answers=self.figures.get("answers", 0) + count)

    def reach(self, done: int, tokens: int | None = None, **figures: float) -> None:
        """So many units and tokens are done in all."""
        more, self.done = min(done, self.total) - self.done, min(done, self.total)
        self.tokens = self.tokens if tokens is None else tokens
        self.figures |= figures
        due = self.due()
        if self._bar is not None:
            self._bar.update(more)
            if due:
                self._bar.set_postfix_str(self.told_now(left=False))
        elif due:
            print(f"{self.label} {self.done:,} of {self.total:,} {self.unit}s, {self.told_now()}", file=self.line.out)
            self.line.out.flush()
        if due:
            self.told = self.line.clock()

    def told_now(self, left: bool = True) -> str:
        """The figures of the line. `left`: with the time left of the stage, which a bar shows by itself."""
        seconds = max(self.line.clock() - self.start, 1e-9)
        parts = [f"{name} {value:.4g}" for name, value in self.figures.items() if name != "right"]
        if self.tokens:
            parts.append(f"{self.speed():,.0f} tokens/s")
        if "right" in self.figures:
            parts.append(f"right {100 * self.figures['right']:.1f} %")
        parts.append(f"{peak_memory() / 2**30:.1f} GiB")
        remaining = self.remaining(seconds)
        if remaining is not None and left:
            parts.append(f"{duration(remaining)} left")
        if remaining is not None and self.line.left_after is not None:
            parts.append(f"run {duration(remaining + self.line.left_after)} left")
        return ", ".join(parts)

    def speed(self) -> float:
        """Tokens a second so far."""
        return self.tokens / max(self.line.clock() - self.start, 1e-9)

    def remaining(self, seconds: float) -> float | None:
        """Seconds that the rest takes at the speed so far; None before anything is done."""
        here = self.done - self.begun_with
        return seconds / here * (self.total - self.done) if here > 0 else None

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


_line = Line()


@contextmanager
def shown_on(line: Line) -> Iterator[Line]:
    """Show progress there until the block ends."""
    global _line
    before, _line = _line, line
    try:
        yield line
    finally:
        _line = before


@contextmanager
def stage(name: str, left_after: float | None = None) -> Iterator[None]:
    """What the tasks of the block belong to, and the seconds that the run takes after it."""
    before = (_line.stage, _line.left_after)
    _line.stage, _line.left_after = name, left_after
    try:
        yield
    finally:
        _line.stage, _line.left_after = before


@contextmanager
def task(name: str, total: int, unit: str, done: int = 0, shown: bool = True) -> Iterator[Task]:
    """A task, shown until the block ends."""
    made = Task(_line, name, total, unit, done, shown)
    _line.open.append(made)
    try:
        yield made
    finally:
        _line.open.remove(made)
        made.close()


@contextmanager
def of_rounds(rounds: int | None) -> Iterator[None]:
    """How many rounds the run of the block has."""
    before, _line.rounds = _line.rounds, rounds
    try:
        yield
    finally:
        _line.rounds = before


def rounds() -> int | None:
    return _line.rounds


def answered(count: int, tokens: int) -> None:
    """Said by an engine for answers as they come, so that a long call moves the line of whoever waits for it."""
    if _line.open:
        _line.open[-1].heard(count, tokens)


def say(text: str) -> None:
    """A line of text beside an open bar."""
    tqdm.write(text, file=_line.out) if _line.open and _line.bar else print(text, file=_line.out, flush=True)


def peak_memory() -> int:
    """Bytes: the most that the accelerator held where there is one, or this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib if sys.platform == "darwin" else kib * 1024


def duration(seconds: float) -> str:
    """Two digits are enough for what is an estimate: 41 s, 12 min, 3.4 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"
