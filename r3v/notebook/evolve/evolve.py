"""The notebook learns: batch by batch, failures become notes, and only what passes the gate stays.

A step: solve a batch with the notes at hand (a small share withheld at random), grade, let the supervisor write
lessons on the failures, put the edits on the branch `candidate`, judge each by the gate, commit those that pass to
`head` with their receipts, and remember the others as refused. (M2Note, arXiv 2607.00685, with another gate.)

All state is in the notebook file: an event opens a step and fixes the commit it starts from, one commit with its
events fixes the proposed edits, one commit or event each decision, one event closes the step. Answers of models
are in the ledger beside it. So a run that is killed anywhere and started again ends in the same notes, decisions and
bill. Nothing is written to the notebook while a model is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from r3v.notebook.evolve import write
from r3v.notebook.evolve.book import check_named
from r3v.notebook.evolve.history import History
from r3v.notebook.evolve.meter import bill, per_note
from r3v.notebook.evolve.step import Parts, Step
from r3v.notebook.evolve.supervisors import lesson_hash
from r3v.notebook.evolve.value import harmful, values
from r3v.notebook.retrieval.qualified import objection
from r3v.notebook.retrieval.shelf import pinned
from r3v.records import Problem
from r3v.run.core import locked

STRICT = 2.576
"""Retiring is decided anew at every step, so it asks for a 99 % interval."""


def evolve(parts: Parts) -> dict[str, Any]:
    """Run or resume; returns `{"run", "head", "steps", "accepted", "refused", "costs", "per_accepted_note"}`.

    Raises EngineError when the engine is down (the same command goes on where it stopped), RunError when another
    process evolves this notebook.
    """
    config = parts.config
    config.check()
    if config.supervisor.kind == "theorem_book":
        check_named(parts.train)
    with alone(Path(parts.notebook.path)):
        history = History.read(parts.notebook, parts.run)
        if history.closed:
            parts.say(f"resuming run {parts.run} after {len(history.closed)} closed steps")
        elif why := objection(parts.notebook, parts.notebook.notes(), parts.solver.policy.name):
            parts.say(why)
        pool = pinned(parts.pool)
        for number, batch in batches(parts, {p.id for p in pool}):
            if number in history.closed:
                continue
            if number not in history.base and config.evolve.retire:
                retire_harmful(parts)
            Step(parts, history, number, pinned(batch), pool).play()
            parts.say(step_line(history.closed[number], config.evolve.steps))
    return summary(parts, history)


def alone(path: Path) -> AbstractContextManager[None]:
    """This process alone evolves the notebook until the block ends. Raises RunError."""
    busy = f"{path}: another process evolves this notebook; wait for it"
    return locked(path.parent, f"{path.name}.evolve.lock", busy)


def batches(parts: Parts, without: set[str]) -> Iterator[tuple[int, list[Problem]]]:
    """The batches of all steps, each problem at most once, in an order drawn from the seed; none of the pool."""
    own, train = parts.config.evolve, parts.train
    order = sorted(range(len(train)), key=lambda i: hashlib.sha256(f"{own.seed}|{i}".encode()).digest())
    taken: list[Problem] = []
    number = 0
    for index in order:
        if number == own.steps:
            return
        problem = train[index]
        if problem.id not in without:
            taken.append(problem)
        if len(taken) == own.batch:
            yield number, taken
            number, taken = number + 1, []
    if number < own.steps:
        parts.say(f"the training problems are used up after {number} steps of {own.batch}")


def retire_harmful(parts: Parts) -> list[str]:
    """Retire every note whose value is below zero with its whole interval; a commit with the counts for each."""
    notebook, done = parts.notebook, []
    notes = notebook.notes()
    rows = (event.data for event in notebook.events("retrieved"))
    found = values(notes, rows, STRICT, solver=parts.solver.policy.name)
    for value in harmful(found, parts.config.evolve.min_shown):
        note = notes[value.note]
        reason = (
            f"right in {value.shown_right} of {value.shown} shown and {value.withheld_right} of {value.withheld} "
            "withheld"
        )
        receipt = {"schema": 1, "gate": "value", "accepted": True, "reason": reason, "value": value.to_dict()}
        notebook.refuse(lesson_hash(note.subject, note.guidance), receipt)
        notebook.commit(
            [write.retired(note)],
            message=f"retire {note.id}: {reason}",
            author="r3v evolve",
            receipt=receipt,
            events=[("accepted", {"note": note.id, "kind": "retire", "run": parts.run})],
        )
        parts.say(f"retired {note.id}: {reason}")
        done.append(note.id)
    return done


def step_line(report: Mapping[str, Any], steps: int) -> str:
    share = 100 * report["right"] / report["n"] if report["n"] else 0.0
    costs = report["costs"]
    money = f", {costs['money']:.4f} money" if costs["money"] else ""
    return (
        f"step {report['step'] + 1} of {steps}: {report['right']} of {report['n']} right ({share:.1f} %), "
        f"{report['accepted']} edits accepted, {report['refused']} refused; {costs['calls']:.0f} calls, "
        f"{costs['tokens_in']:.0f} + {costs['tokens_out']:.0f} tokens{money}"
    )


def summary(parts: Parts, history: History) -> dict[str, Any]:
    """The whole run, from the notebook and the ledger alone."""
    steps = [history.closed[number] for number in sorted(history.closed)]
    accepted = sum(step["accepted"] for step in steps)
    costs = bill(parts.solver.ledger, parts.prices, f"{parts.run}/")
    return {
        "schema": 1,
        "run": parts.run,
        "head": parts.notebook.head(),
        "notes": len(parts.notebook.notes()),
        "steps": steps,
        "accepted": accepted,
        "refused": sum(step["refused"] for step in steps),
        "costs": costs,
        "per_accepted_note": per_note(costs, accepted),
    }
