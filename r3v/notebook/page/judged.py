"""What the gate said of a note, read from the receipts of a notebook's commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from r3v.notebook.store.changes import log
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict in few words. `counts`: problems won and lost, empty where the receipt has none; `effect`: the share of
    right answers gained, with a 95 % interval, None where nothing was measured; `changed`: the note was changed without
    a verdict since."""

    reason: str
    counts: str = ""
    effect: float | None = None
    low: float = -1.0
    high: float = 1.0
    changed: bool = False

    @classmethod
    def of(cls, receipt: Mapping[str, Any]) -> Judged:
        """From any receipt: those of the gate have pairs, of the value and of people they have a reason alone."""
        reason = str(receipt.get("reason", ""))
        wins, losses = receipt.get("wins"), receipt.get("losses")
        if not isinstance(wins, int) or not isinstance(losses, int):
            return cls(reason or "accepted")
        items = receipt.get("items")
        of = f" of {len(items)} problems" if isinstance(items, list) and items else ""
        counts = f"{wins} won, {losses} lost{of}"
        interval, effect = receipt.get("ci95"), receipt.get("effect")
        if not of or not isinstance(effect, int | float) or not isinstance(interval, list) or len(interval) != 2:
            return cls(reason, counts)
        return cls(reason, counts, float(effect), float(interval[0]), float(interval[1]))


def verdicts(notebook: Notebook, notes: Mapping[str, Note]) -> dict[str, Judged]:
    """Note id -> the newest verdict on it in the history of head; notes without one are left out."""
    found: dict[str, Judged] = {}
    since: set[str] = set()
    for commit, change in log(notebook):
        for name in change.keys() & notes.keys() - found.keys():
            if commit.receipt is not None:
                found[name] = replace(Judged.of(commit.receipt), changed=name in since)
            since.add(name)
    return found
