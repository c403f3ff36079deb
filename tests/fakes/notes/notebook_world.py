"""A world for tests of `evolve`: problems, a solver that is right iff it is told the rule, and whole runs."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from r3v.embedding.lexical import Lexical
from r3v.notebook.evolve.config import EvolveConfig, NotebookConfig
from r3v.notebook.evolve.history import History
from r3v.notebook.evolve.meter import Ledger
from r3v.notebook.evolve.solving import Asker
from r3v.notebook.evolve.step import Parts
from r3v.notebook.evolve.supervisors import PolicySupervisor, Sabotaged
from r3v.notebook.gate.gate import GateConfig
from r3v.notebook.retrieval.scoring import RetrievalConfig
from r3v.notebook.retrieval.shelf import Shelf
from r3v.notebook.store.store import Notebook
from r3v.policies.base import SamplingParams
from r3v.policies.scripted import ScriptedPolicy
from r3v.prompts import STYLES
from r3v.records import Problem, Prompt

RULES = {
    "triangle": "Subtract both given angles from the sum 180.",
    "rectangle": "Multiply both sides to get the area.",
    "circle": "Double the radius to get the diameter.",
}
QUESTIONS = {
    "triangle": "In triangle ABC two angles are {a} and {b} degrees, find the third angle.",
    "rectangle": "A rectangle has sides of {a} and {b} units, find its area.",
    "circle": "The radius of circle O is {a} and a chord is {b}, find the diameter.",
}
NAMES = tuple(QUESTIONS)


def problems(first: int, count: int) -> list[Problem]:
    found = []
    for i in range(first, first + count):
        family = NAMES[i % 3]
        text = QUESTIONS[family].format(a=10 + i % 83, b=i)
        found.append(Problem(f"p{i}", text, str(1000 + i), "number", meta={"family": family}))
    return found


class World:
    """The solver, which knows no rule by itself, and the supervisor, which knows all. `seen` holds every prompt,
    `calls` each with its sample index."""

    def __init__(self, name: str = "world") -> None:
        self.seen: list[str] = []
        self.calls: list[tuple[str, int]] = []
        self.policy = ScriptedPolicy(self.answer, name=name)

    def answer(self, prompt: Prompt, index: int) -> str:
        text = prompt.messages[-1].text
        self.seen.append(text)
        self.calls.append((text, index))
        number = int(prompt.problem_id[1:])
        rule = RULES[NAMES[number % 3]]
        if "Write a note" in text:
            return rule
        return f"Answer: {1000 + number}" if rule in text else "Answer: 1"


def parts(
    folder: Path, stack: ExitStack, policy: Any = None, *, sabotage: float = 0.0, name: str = "n.db", **changes: Any
) -> Parts:
    own = {"steps": 3, "withhold": 0.0, "notebook": str(folder / name), **changes.pop("evolve", {})}
    config = NotebookConfig(
        evolve=EvolveConfig(**own),
        retrieval=RetrievalConfig(embedder="lexical", threshold=0.6),
        gate=changes.pop("gate", GateConfig()),
    )
    policy = policy or World().policy
    notebook = stack.enter_context(Notebook.open(folder / name, create=True))
    ledger = Ledger(folder / f"{name}.calls")
    stack.callback(ledger.close)
    words = STYLES["short"]
    solver = Asker(policy, SamplingParams(temperature=0.0), ledger, "solver", pause=0.0)
    writer = replace(solver, role="supervisor")
    supervisor: Any = PolicySupervisor(policy.name, words, writer.ask)
    if sabotage:
        supervisor = Sabotaged(supervisor, sabotage, seed=1)
    train, pool = changes.pop("train", problems(0, 48)), changes.pop("pool", problems(300, 30))
    assert not changes
    shelf = Shelf(notebook, Lexical(), config.retrieval, words)
    return Parts(config, notebook, shelf, solver, words, supervisor, train, pool, writer, lambda line: None)


def state(made: Parts) -> dict[str, Any]:
    """What must not depend on how often a run was killed."""
    history = History.read(made.notebook, made.run)
    return {
        "notes": {name: note.revision for name, note in made.notebook.notes().items()},
        "decided": history.decided,
        "closed": history.closed,
        "edits": {step: [e.key for e in edits] for step, edits in history.edits.items()},
        "refusals": sorted(made.notebook.refusals()),
        "exposures": sorted(json.dumps(e.data, sort_keys=True) for e in made.notebook.events("retrieved")),
        "decisions": sum(1 for kind in ("accepted", "refused") for _ in made.notebook.events(kind)),
    }
