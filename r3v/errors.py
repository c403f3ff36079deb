"""Every error r3v raises on purpose, under one base, each saying what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class R3VError(Exception):
    """Base of all errors raised on purpose; the command line prints it without a traceback."""


class DataError(R3VError, ValueError):
    """A row, image or file that cannot be used.

    The message names file, row and field, what was found, what was expected, and what to do.
    """

    def __init__(
        self,
        what: str,
        *,
        file: object = None,
        row: object = None,
        field: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.file, self.row, self.field, self.fix = what, file, row, field, fix
        where = ", ".join(
            f"{name} {value}" for name, value in (("file", file), ("row", row), ("field", field)) if value is not None
        )
        super().__init__(f"{where + ': ' if where else ''}{what}{'. ' + fix if fix else ''}")

    def __reduce__(self):
        return _rebuild_data_error, (type(self), self.what, self.file, self.row, self.field, self.fix)


def _rebuild_data_error(cls, what, file, row, field, fix):
    return cls(what, file=file, row=row, field=field, fix=fix)


class ImageError(DataError):
    """An image that is missing, broken, too large, or outside the data folder."""


class ConfigError(R3VError, ValueError):
    """A setting that is unknown, of the wrong type, or contradicts another."""


class ModelError(R3VError, RuntimeError):
    """A model, processor or adapter that cannot be loaded or used as asked."""


class RunError(R3VError, RuntimeError):
    """A run folder that does not fit the command: other settings, missing or damaged files."""


class EngineError(R3VError, RuntimeError):
    """The engine behind a Policy failed; the affected items are UNAVAILABLE, never wrong."""


class PromptError(EngineError):
    """A prompt that the engine cannot take, now or later: it is not asked for again. `problems`: the ids of all
    problems whose prompts are such, as far as the engine says."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class EngineGoneError(RunError):
    """The engine that the run had started ended or hangs. The stage ends here; the same command goes on from it."""


def near(name: str, known: Iterable[str]) -> str:
    """Words for an error message: the nearest known name, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
