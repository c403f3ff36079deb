"""May this solver use these notes? What passed the gate for one model is qualified before another model uses it.

A note is at home with the solvers for which the gate accepted its present revision; the receipts of the commits say
which. What a person wrote or imported passed no gate and is nobody's in particular. `r3v notebook qualify` leaves an
event `qualified` with its solver, its verdict and the revisions it measured; a later revision needs another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook

Unqualified = Literal["refuse", "warn", "allow"]
"""What becomes of notes that passed the gate for another model only: an error, a line, or nothing."""


def homes(notebook: Notebook) -> dict[str, set[str]]:
    """Revision -> the solvers for which the gate accepted it; revisions without a gate's receipt are not in it."""
    found: dict[str, set[str]] = {}
    for (text,) in notebook.query("SELECT receipt FROM commits WHERE receipt IS NOT NULL"):
        versions = json.loads(text).get("versions") or {}
        if isinstance(solver := versions.get("solver"), str):
            for revision in versions.get("revisions", ()):
                found.setdefault(revision, set()).add(solver)
    return found


def strangers(notebook: Notebook, notes: Mapping[str, Note], solver: str) -> list[Note]:
    """The notes that passed the gate, but not for this solver."""
    known = homes(notebook)
    return [note for note in notes.values() if note.revision in known and solver not in known[note.revision]]


def record(notebook: Notebook, notes: Mapping[str, Note], report: Mapping[str, Any]) -> None:
    """Keep the result of `r3v.notebook.evolve.qualify.qualify` in the notebook's log."""
    names = ("solver", "verdict", "n", "noted", "difference", "ci95")
    revisions = sorted(note.revision for note in notes.values())
    notebook.record("qualified", **{name: report[name] for name in names}, revisions=revisions)


def reports(notebook: Notebook) -> dict[str, dict[str, Any]]:
    """Solver -> its last qualification in which a problem was shown a note."""
    return {e.data["solver"]: e.data for e in notebook.events("qualified") if e.data["noted"]}


def objection(notebook: Notebook, notes: Mapping[str, Note], solver: str) -> str | None:
    """Why this solver should not use these notes, with the command that settles it; None where nothing speaks against
    it."""
    foreign = strangers(notebook, notes, solver)
    if not foreign:
        return None
    report = reports(notebook).get(solver)
    if report is None or not {note.revision for note in foreign} <= set(report["revisions"]):
        owners = sorted(set.union(*(homes(notebook)[note.revision] for note in foreign)))
        return (
            f"{notebook.path}: {len(foreign)} of {len(notes)} notes, such as {foreign[0].id!r}, passed the gate with "
            f"{', '.join(owners)} and were never measured with {solver}. Run r3v notebook qualify {notebook.path} "
            "--data SPEC with this solver"
        )
    if report["verdict"] == "hurts":
        low, high = report["ci95"]
        return (
            f"{notebook.path}: these notes hurt {solver}: {100 * report['difference']:+.1f} points (95 % interval "
            f"{100 * low:+.1f} to {100 * high:+.1f}, n {report['n']}), as r3v notebook qualify measured"
        )
    return None
