"""Notes that passed the gate for one model, in the hands of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from notebook_parts import nb, note, put

from r3v import prompts
from r3v.errors import RunError
from r3v.notebook.retrieval import qualified
from r3v.notebook.retrieval.inject import open_recall
from r3v.notebook.retrieval.scoring import RetrievalConfig
from r3v.notebook.store.store import Notebook
from r3v.policies.scripted import ScriptedPolicy

__all__ = ["nb"]

WORDS = RetrievalConfig(embedder="lexical", threshold=0.4)


def gated(nb: Notebook, name: str, guidance: str = "look twice", solver: str = "small") -> None:
    """A note as `evolve` commits it."""
    made = note(name, guidance)
    put(nb, made, receipt={"accepted": True, "versions": {"revisions": [made.revision], "solver": solver}})


def report(solver: str, verdict: str = "helps", noted: int = 9, difference: float = 0.1) -> dict[str, Any]:
    ci95 = [difference - 0.05, difference + 0.05]
    return {"solver": solver, "verdict": verdict, "n": 10, "noted": noted, "difference": difference, "ci95": ci95}


def opened(path: Path, solver: str, unqualified: Any = "refuse") -> Sequence[str]:
    """What is said when this solver opens the notes."""
    said: list[str] = []
    with open_recall(
        path, ScriptedPolicy(lambda *_: "", name=solver), prompts.style("short"), WORDS, record=False, say=said.append,
        unqualified=unqualified,
    ):  # fmt: skip
        return said


def test_notes_are_at_home_with_the_solver_of_their_gate(nb: Notebook) -> None:
    gated(nb, "a")
    put(nb, note("b", "written by a person"))
    assert opened(nb.path, "small") == []
    with pytest.raises(RunError, match=r"1 of 2 notes, such as 'a', passed the gate with small .* with large\. Run r3v "
                       r"notebook qualify .* --data SPEC .* --unqualified"):  # fmt: skip
        opened(nb.path, "large")
    assert opened(nb.path, "large", "allow") == []
    assert "never measured with large" in opened(nb.path, "large", "warn")[0]


def test_what_a_person_wrote_belongs_to_nobody(nb: Notebook) -> None:
    gated(nb, "a")
    put(nb, note("a", "put in other words by a person"))
    assert opened(nb.path, "large") == []


def test_a_qualification_holds_for_its_solver_and_its_revisions(nb: Notebook) -> None:
    gated(nb, "a")
    qualified.record(nb, nb.notes(), report("large", "unclear", difference=0.01))
    assert opened(nb.path, "large") == []
    with pytest.raises(RunError, match="never measured with other"):
        opened(nb.path, "other")
    gated(nb, "b", "a lesson learnt later")
    with pytest.raises(RunError, match="2 of 2 notes"):
        opened(nb.path, "large")


def test_notes_that_hurt_are_refused_until_measured_otherwise(nb: Notebook) -> None:
    gated(nb, "a")
    qualified.record(nb, nb.notes(), report("large", "hurts", difference=-0.25))
    with pytest.raises(
        RunError, match=r"these notes hurt large: -25\.0 points \(95 % interval -30\.0 to -20\.0, n 10\)"
    ):
        opened(nb.path, "large")
    qualified.record(nb, nb.notes(), report("large"))
    assert opened(nb.path, "large") == []


def test_a_measurement_without_a_note_qualifies_nothing(nb: Notebook) -> None:
    gated(nb, "a")
    qualified.record(nb, nb.notes(), report("large", "unclear", noted=0, difference=0.0))
    with pytest.raises(RunError, match="never measured with large"):
        opened(nb.path, "large")
