"""One step of `evolve`: from a batch of problems to decisions about edits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from r3v.errors import EngineError, RunError
from r3v.notebook.evolve import write
from r3v.notebook.evolve.config import NotebookConfig
from r3v.notebook.evolve.history import History, exposures
from r3v.notebook.evolve.meter import Prices, bill
from r3v.notebook.evolve.solving import Asker, Solved, solve
from r3v.notebook.evolve.supervisors import Failure, Supervisor
from r3v.notebook.evolve.write import Edit
from r3v.notebook.gate import gate
from r3v.notebook.gate.receipt import Receipt
from r3v.notebook.retrieval.keys import remember
from r3v.notebook.retrieval.pictures import same
from r3v.notebook.retrieval.shelf import Shelf
from r3v.notebook.store.note import Note, canonical
from r3v.notebook.store.store import Notebook
from r3v.prompts import Style
from r3v.records import Outcome, Problem
from r3v.settings.server import PRICES

Say = Callable[[str], None]
_TRIES = 3
_FREE = frozenset(
    ("prices", "slots", "attempts", "pause", "device", "url", "api_key_env", "concurrency", "timeout", "retries")
) | {"max_wait", "stream", "cache"}
"""Settings that change no result, only cost and speed."""


@dataclass
class Parts:
    """What a run works with. `writer` is the asker of the supervisor, None where it asks no model."""

    config: NotebookConfig
    notebook: Notebook
    shelf: Shelf
    solver: Asker
    style: Style
    supervisor: Supervisor
    train: Sequence[Problem]
    pool: Sequence[Problem]
    writer: Asker | None = None
    say: Say = print

    @property
    def run(self) -> str:
        """12 hexadecimal digits over everything the notes depend on, the number of steps aside."""
        tree = asdict(self.config)
        for group in tree.values():
            for name in _FREE:
                group.pop(name, None)
        tree["evolve"] = {k: v for k, v in tree["evolve"].items() if k not in ("steps", "notebook")}
        value = [tree, self.solver.policy.name, self.supervisor.name, self.shelf.settings]
        return hashlib.sha256(canonical(value)).hexdigest()[:12]

    @property
    def prices(self) -> dict[str, Prices]:
        teacher = self.config.teacher if self.config.teacher.url else self.config.server
        tables = {"solver": self.config.server.prices, "supervisor": teacher.prices}
        return {role: Prices(*(t.get(name, 0.0) for name in PRICES)) for role, t in tables.items()}

    def pay(self, stage: str) -> None:
        """Calls from now on belong to this stage."""
        for asker in (self.solver, self.writer):
            if asker is not None:
                asker.stage = stage


@dataclass
class Step:
    """One batch, from its problems to its commits."""

    parts: Parts
    history: History
    number: int
    batch: list[Problem]
    pool: list[Problem]

    @property
    def stage(self) -> str:
        return f"{self.parts.run}/{self.number}/"

    @property
    def tags(self) -> dict[str, Any]:
        """What every exposure of this step carries."""
        return {"run": self.parts.run, "step": self.number, "solver": self.parts.solver.policy.name}

    def play(self) -> None:
        parts, history = self.parts, self.history
        if self.number not in history.base:
            history.begin(parts.notebook, self.number)
        notes = parts.notebook.notes(history.base[self.number])
        solved, shown, rows = self.solve_batch(notes)
        if self.number not in history.edits:
            self.propose(notes, solved, shown, rows)
        for edit in history.edits[self.number]:
            if (self.number, edit.key) not in history.decided:
                self.decide(edit)
        history.close(parts.notebook, self.number, self.report(solved))

    def solve_batch(self, notes: Mapping[str, Note]) -> tuple[list[Solved], list[tuple[Note, ...]], list[Any]]:
        """What the batch was answered, the notes each problem was shown, and the exposures as event data."""
        parts, own = self.parts, self.parts.config.evolve
        recall = parts.shelf.recall(notes, withhold=own.withhold, seed=own.seed)
        parts.pay(self.stage + "batch")
        solved = solve(parts.solver, parts.style, self.batch, recall(self.batch), seed=own.seed)
        lost = sum(s.verdict.outcome is Outcome.UNAVAILABLE for s in solved)
        if lost > (1 - parts.config.gate.coverage) * len(solved):
            raise down(self.number, lost, len(solved))
        shown = [tuple(hit.note for hit in recall.shown(p)) for p in self.batch]
        rows = [row for s in solved for row in exposures(recall, s, self.tags)]
        return solved, shown, rows

    def propose(
        self, notes: Mapping[str, Note], solved: Sequence[Solved], shown: Sequence[tuple[Note, ...]], rows: list[Any]
    ) -> None:
        """Ask the supervisor about the failures outside the reserved problems, and put its edits on `candidate`."""
        parts, config = self.parts, self.parts.config
        failures = [
            Failure(s.problem, s.text, s.verdict, held)
            for s, held in list(zip(solved, shown, strict=True))[self.reserved :]
            if s.verdict.outcome in (Outcome.WRONG, Outcome.UNPARSED)
        ]
        parts.pay(self.stage + "write")
        found = write.propose(
            failures, parts.supervisor, notes, refused=parts.notebook.refused, per_subject=config.evolve.per_subject
        )
        lost = found.left_out[write.NO_LESSON]
        if parts.writer is not None and lost > (1 - config.gate.coverage) * len(failures):
            raise down(self.number, lost, len(failures), "supervisor")
        edits = apart([*found.edits, *write.duplicates(notes)])
        if config.gate.unit == "batch" and len(edits) > 1:
            quoted = tuple(dict.fromkeys(name for edit in edits for name in edit.quoted))
            edits = [Edit("edit", tuple(note for edit in edits for note in edit.put), quoted)]
        named = {name for edit in edits for name in edit.quoted}
        remember(parts.notebook, [p for p in self.batch if p.id in named], parts.shelf.embedder, parts.shelf.fusion)
        self.history.propose(parts.notebook, self.number, edits, rows, dict(found.left_out), parts.supervisor.name)

    @property
    def reserved(self) -> int:
        """How many problems at the start of the batch the supervisor never sees."""
        return 0 if self.parts.config.gate.kind == "m2note-paper" else self.parts.config.gate.reserve

    def decide(self, edit: Edit) -> None:
        """Judge one edit against the present head; commit it there or refuse it."""
        for _ in range(_TRIES):
            head = self.parts.notebook.head()
            current = self.parts.notebook.notes(head)
            receipt = self.judge(edit, head, current)
            if not receipt.accepted:
                self.history.refuse(self.parts.notebook, self.number, edit, receipt)
                break
            try:
                author = self.parts.supervisor.name
                self.history.accept(self.parts.notebook, self.number, edit, receipt, head, author)
                break
            except RunError:
                if self.parts.notebook.head() == head:
                    raise
        else:
            path = self.parts.notebook.path
            raise RunError(f"{path}: head moved {_TRIES} times while one edit was judged; run again")
        verdict = "accepted" if receipt.accepted else "refused"
        self.parts.say(f"  step {self.number}: {edit.kind} {edit.lesson.id} {verdict}: {receipt.reason}")

    def judge(self, edit: Edit, head: str, current: Mapping[str, Note]) -> Receipt:
        """The gate's receipt. The edit's own sources are never used, nor any prompt that it does not change."""
        parts, config = self.parts, self.parts.config
        moved = [n.id for n in edit.put if n.id in current and current[n.id].revision not in n.parents]
        if moved:
            reason = f"note {moved[0]} was changed by somebody else while the edit was written"
            return Receipt("conflict", False, reason, judged=False, versions={"base": head})
        stage = f"{self.stage}{edit.key}"
        parts.pay(stage)
        paper = config.gate.kind == "m2note-paper"
        arms = {
            "without": parts.shelf.recall(current, exclude_sources=not paper),
            "with": parts.shelf.recall(edited(current, edit), exclude_sources=not paper),
        }

        def verdicts(problems: Sequence[Problem], arm: gate.Arm, repeat: int) -> list[Any]:
            texts = arms[arm](problems)
            found = solve(parts.solver, parts.style, problems, texts, seed=config.evolve.seed, repeat=repeat)
            return [s.verdict for s in found]

        receipt = gate.decide(
            config.gate,
            verdicts,
            self.batch,
            reserved=self.batch[: self.reserved],
            pool=self.pool,
            quoted=edit.quoted,
            touched=lambda problems: [not same(a, b) for a, b in zip(*(arms[x](problems) for x in arms), strict=True)],
            versions=self.versions(edit, head),
            seed=self.number,
            trial=self.history.trial(edit),
        )
        lost = sum(pair.difference is None for pair in receipt.pairs)
        if 2 * lost > len(receipt.pairs):
            raise down(self.number, lost, len(receipt.pairs))
        receipt = replace(receipt, costs={**receipt.costs, **bill(parts.solver.ledger, parts.prices, stage)})
        if edit.kind == "merge" and not receipt.pairs:
            return replace(receipt, accepted=True, reason="the notes say the same; no prompt changes")
        return receipt

    def versions(self, edit: Edit, head: str) -> dict[str, Any]:
        parts = self.parts
        return {
            "run": parts.run, "step": self.number, "edit": edit.key, "base": head,
            "revisions": [note.revision for note in edit.put], "solver": parts.solver.policy.name,
            "supervisor": parts.supervisor.name, "retrieval": parts.shelf.settings, "seed": parts.config.evolve.seed,
        }  # fmt: skip

    def report(self, solved: Sequence[Solved]) -> dict[str, Any]:
        """What a closed step leaves: how the batch went before its edits, the decisions, and the bill."""
        available = [s for s in solved if s.verdict.outcome is not Outcome.UNAVAILABLE]
        own = [accepted for (step, _), accepted in self.history.decided.items() if step == self.number]
        return {
            "n": len(available),
            "right": sum(s.verdict.correct for s in available),
            "unavailable": len(solved) - len(available),
            "accepted": sum(own),
            "refused": len(own) - sum(own),
            "costs": bill(self.parts.solver.ledger, self.parts.prices, self.stage),
        }


def down(step: int, lost: int, of: int, who: str = "solver") -> EngineError:
    return EngineError(
        f"step {step}: {lost} of {of} requests got no answer: the engine of the {who} is taken to be down. Nothing is "
        "lost; start it and run the same command again"
    )


def apart(edits: Sequence[Edit]) -> list[Edit]:
    """Edits that share no note; a later one that does is left for a later step."""
    used: set[str] = set()
    kept = []
    for edit in edits:
        own = {note.id for note in edit.put}
        if not own & used:
            used |= own
            kept.append(edit)
    return kept


def edited(notes: Mapping[str, Note], edit: Edit) -> dict[str, Note]:
    """The snapshot with the edit applied."""
    return {**notes, **{note.id: note for note in edit.put}}
