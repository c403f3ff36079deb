"""What model calls cost, kept beside the notebook so that a killed run neither pays twice nor forgets.

A `Ledger` is one SQLite file: every answered call by the hash of all it depends on, with its text, its tokens and
the stage that paid for it. Asking again is free, which is how baselines of the gate are cached and how a run resumes.
It can be deleted: nothing but money and time is lost.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r3v.errors import RunError
from r3v.notebook.store.note import canonical

CHARACTERS_PER_TOKEN = 4
"""Prompt tokens are estimated from the length of the text: a Policy does not report them."""
_TABLE = """CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, stage TEXT NOT NULL, role TEXT NOT NULL,
text TEXT NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, images INTEGER NOT NULL) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Prices:
    """Money per million prompt tokens, per million generated tokens, and per image."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0
    image: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls and what went through them. `tokens_in` is an estimate from characters, images apart."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    images: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def money(self, prices: Prices) -> float:
        return (
            self.tokens_in * prices.tokens_in + self.tokens_out * prices.tokens_out
        ) / 1e6 + self.images * prices.image


@dataclass(frozen=True, slots=True)
class Call:
    """One answered call."""

    text: str
    tokens_in: int
    tokens_out: int
    images: int


def call_key(**parts: Any) -> str:
    """sha256 over everything a call's answer depends on."""
    return hashlib.sha256(canonical(parts)).hexdigest()


class Ledger:
    """Answered calls of one notebook. `path` None keeps them in memory."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(str(path) if path else ":memory:", timeout=60.0)
            with self._db:
                self._db.execute(_TABLE)
        except sqlite3.Error as error:
            raise RunError(f"{path}: not a ledger of calls ({error}); move it away and run again") from error

    def get(self, keys: Iterable[str]) -> dict[str, Call]:
        """Key -> call, for those that were answered."""
        found = {}
        for key in dict.fromkeys(keys):
            row = self._db.execute(
                "SELECT text, tokens_in, tokens_out, images FROM calls WHERE key = ?", (key,)
            ).fetchone()
            if row:
                found[key] = Call(*row)
        return found

    def put(self, stage: str, role: str, calls: Mapping[str, Call]) -> None:
        """Keep answered calls, all or none; the first answer of a key stays."""
        rows = [(key, stage, role, c.text, c.tokens_in, c.tokens_out, c.images) for key, c in calls.items()]
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def usage(self, role: str, stage: str = "") -> Usage:
        """What calls of this role cost, in all stages whose name begins with `stage`."""
        row = self._db.execute(
            "SELECT count(*), total(tokens_in), total(tokens_out), total(images) FROM calls "
            "WHERE role = ? AND substr(stage, 1, ?) = ?",
            (role, len(stage), stage),
        ).fetchone()
        return Usage(*(int(value) for value in row))

    def close(self) -> None:
        self._db.close()


def bill(ledger: Ledger, prices: Mapping[str, Prices], stage: str = "") -> dict[str, float]:
    """`calls`, `tokens_in`, `tokens_out`, `images` and `money` of all roles in `prices` together."""
    used = {role: ledger.usage(role, stage) for role in prices}
    total = sum(used.values(), Usage())
    return {**asdict(total), "money": round(sum(u.money(prices[role]) for role, u in used.items()), 6)}


def per_note(costs: Mapping[str, float], accepted: int) -> dict[str, float]:
    """The bill divided by the notes that were kept; empty where none was."""
    return {name: round(value / accepted, 6) for name, value in costs.items()} if accepted else {}


def prompt_tokens(texts: Sequence[str]) -> int:
    """Estimated tokens of the texts of one prompt."""
    return -(-sum(len(text) for text in texts) // CHARACTERS_PER_TOKEN)
