"""What a run of `evolve` has done so far, as the notebook's own events and commits tell it; and, over all runs, how
often each lesson was tried.

Events of kind `proposed` without a note mark the stages of a step: `begin` (with the commit it starts from), `edits`
(the edits, whose notes stand in a commit on the branch `candidate`), `closed`. Decisions are `accepted`, written in
the commit's own transaction, and `refused`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r3v.notebook.evolve.solving import Solved
from r3v.notebook.evolve.supervisors import lesson_hash
from r3v.notebook.evolve.write import Edit
from r3v.notebook.gate.receipt import Receipt
from r3v.notebook.retrieval.inject import Recall
from r3v.notebook.store.store import Notebook

CANDIDATE = "candidate"
Record = tuple[str, Mapping[str, Any]]


@dataclass
class History:
    """Stages and decisions of one run, by step number and edit key.

    `trials` counts, over all runs on the notebook, how often a lesson (by its hash) was refused after paired solves
    since it was last accepted.
    """

    run: str
    base: dict[int, str] = field(default_factory=dict)
    edits: dict[int, list[Edit]] = field(default_factory=dict)
    decided: dict[tuple[int, str], bool] = field(default_factory=dict)
    closed: dict[int, dict[str, Any]] = field(default_factory=dict)
    trials: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, notebook: Notebook, run: str) -> History:
        """The state of a run, empty for a new one."""
        own = cls(run)
        for event in notebook.events("proposed"):
            data = event.data
            if data.get("run") != run or "stage" not in data:
                continue
            step = data["step"]
            if data["stage"] == "begin":
                own.base[step] = data["base"]
            elif data["stage"] == "edits":
                own.edits[step] = [_edit(notebook, row, data["commit"]) for row in data["edits"]]
            elif data["stage"] == "closed":
                own.closed[step] = {"step": step, **data["report"]}
        decisions = [event for kind in ("accepted", "refused") for event in notebook.events(kind)]
        for event in sorted(decisions, key=lambda event: event.id):
            if "key" not in event.data:
                continue
            own._count(event.data.get("lessons", ()), event.kind == "accepted", event.data.get("pairs", 0))
            if event.data["run"] == run:
                own.decided[event.data["step"], event.data["key"]] = event.kind == "accepted"
        return own

    def trial(self, edit: Edit) -> int:
        """Which trial of its lessons this edit is: 1 for new ones, the highest of several."""
        return 1 + max(self.trials[lesson] for lesson in lessons_of(edit))

    def _count(self, lessons: Sequence[str], accepted: bool, pairs: int) -> None:
        for lesson in lessons:
            self.trials[lesson] = 0 if accepted else self.trials[lesson] + (pairs > 0)

    def _mark(self, step: int, stage: str, **data: Any) -> Record:
        return "proposed", {"run": self.run, "step": step, "stage": stage, **data}

    def begin(self, notebook: Notebook, step: int) -> None:
        self.base[step] = notebook.head()
        notebook.record_many([self._mark(step, "begin", base=self.base[step])])

    def propose(
        self,
        notebook: Notebook,
        step: int,
        edits: Sequence[Edit],
        rows: Sequence[Mapping[str, Any]],
        left_out: Mapping[str, int],
        author: str,
    ) -> None:
        """Put the edits on the branch `candidate`, which starts at the step's base; with the batch's exposures."""
        listed = [
            {"key": e.key, "kind": e.kind, "put": [note.id for note in e.put], "quoted": list(e.quoted)} for e in edits
        ]
        mark = self._mark(step, "edits", edits=listed, left_out={k: v for k, v in left_out.items() if v}, commit="")
        events: list[Record] = [("retrieved", row) for row in rows]
        events += [("proposed", {"note": e.lesson.id, "kind": e.kind, "run": self.run, "step": step}) for e in edits]
        if not edits:
            notebook.record_many([*events, mark])
        else:
            if CANDIDATE in notebook.refs():
                notebook.move(CANDIDATE, self.base[step], reason=f"step {step} of run {self.run}")
            else:
                notebook.branch(CANDIDATE, self.base[step])
            notebook.commit(
                [note for edit in edits for note in edit.put],
                message=f"candidate of step {step}: {len(edits)} edits",
                author=author,
                ref=CANDIDATE,
                events=[*events, mark],
            )
        self.edits[step] = list(edits)

    def accept(self, notebook: Notebook, step: int, edit: Edit, receipt: Receipt, head: str, author: str) -> None:
        """Commit the edit to head with its receipt. Raises RunError where head has moved."""
        notebook.commit(
            edit.put,
            message=f"{edit.kind} {edit.lesson.id}: {edit.lesson.subject}",
            author=author,
            receipt=receipt.to_dict(),
            expected=head,
            events=[("accepted", self._decision(step, edit, receipt)), *self._flips(step, edit, receipt)],
        )
        self._count(lessons_of(edit), True, len(receipt.pairs))
        self.decided[step, edit.key] = True

    def refuse(self, notebook: Notebook, step: int, edit: Edit, receipt: Receipt) -> None:
        """Record the refusal; lessons refused on evidence get a tombstone."""
        if receipt.judged:
            for lesson in lessons_of(edit):
                notebook.refuse(lesson, receipt.to_dict())
        data = {**self._decision(step, edit, receipt), "receipt": receipt.to_dict()}
        notebook.record_many([("refused", data), *self._flips(step, edit, receipt)])
        self._count(lessons_of(edit), False, len(receipt.pairs))
        self.decided[step, edit.key] = False

    def _decision(self, step: int, edit: Edit, receipt: Receipt) -> dict[str, Any]:
        return {
            "note": edit.lesson.id, "revision": edit.lesson.revision, "run": self.run, "step": step, "key": edit.key,
            "kind": edit.kind, "gate": receipt.gate, "reason": receipt.reason, "lessons": lessons_of(edit),
            "trial": receipt.trial, "alpha": receipt.alpha, "pairs": len(receipt.pairs),
        }  # fmt: skip

    def _flips(self, step: int, edit: Edit, receipt: Receipt) -> list[Record]:
        """`helped` and `hurt` of the gate's first solves, where the edit is one note."""
        if len(edit.put) != 1:
            return []
        own = {"note": edit.lesson.id, "revision": edit.lesson.revision, "run": self.run, "step": step}
        return [
            ("helped" if pair.difference == 1 else "hurt", {**own, "problem": pair.problem})
            for pair in receipt.pairs
            if pair.repeat == 0 and pair.difference
        ]

    def close(self, notebook: Notebook, step: int, report: Mapping[str, Any]) -> None:
        self.closed[step] = {"step": step, **report}
        notebook.record_many([self._mark(step, "closed", report=dict(report))])


def lessons_of(edit: Edit) -> list[str]:
    """The lesson hash of each note the edit puts, once each."""
    return list(dict.fromkeys(lesson_hash(note.subject, note.guidance) for note in edit.put))


def _edit(notebook: Notebook, row: Mapping[str, Any], commit: str) -> Edit:
    notes = notebook.notes(commit, retired=True)
    return Edit(row["kind"], tuple(notes[name] for name in row["put"]), tuple(row["quoted"]))


def exposures(recall: Recall, solved: Solved, tags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Data of `retrieved` events: every note that fitted this problem, whether it was shown, and the outcome.

    A problem with several notes counts for each of those shown; a withheld one counts only where nothing was shown.
    """
    problem, shown = solved.problem, recall.shown(solved.problem)
    withheld = [] if shown else recall.withheld(problem)
    return [
        {
            "note": hit.note.id,
            "revision": hit.note.revision,
            "problem": problem.id,
            "score": hit.score,
            "withheld": kept,
            "outcome": solved.verdict.outcome.value,
            **tags,
        }
        for hits, kept in ((shown, False), (withheld, True))
        for hit in hits
    ]
