"""Every operation of the store, in random order, against plain dictionaries."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from notebook_parts import note

from r3v.errors import DataError, RunError
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
IDS = st.sampled_from(["a", "b", "c", "d"])
WORDS = st.sampled_from(["x", "y", "z"])
STATES = st.sampled_from(["active", "retired"])
NAMES = st.sampled_from(["head", "left", "right", "v1"])


class Model(RuleBasedStateMachine):
    """The notebook beside dictionaries: `tips` name -> commit, `held` commit -> {id: note}, `parents`, `kinds`."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=FAST)
        self.path = Path(self.folder.name) / "m"
        self.nb = Notebook.open(self.path, create=True)
        root = self.nb.head()
        self.tips = {"head": root}
        self.kinds = {"head": "branch"}
        self.held: dict[str, dict[str, Note]] = {root: {}}
        self.parents: dict[str, str | None] = {root: None}
        self.happened: list[tuple[str, str]] = []
        self.standing: dict[str, dict[str, Any]] = {}

    def teardown(self) -> None:
        assert verify(self.nb) == []
        self.nb.close()
        self.folder.cleanup()

    @rule(ref=NAMES, put=st.dictionaries(IDS, st.tuples(WORDS, STATES), max_size=3), drop=st.sets(IDS, max_size=1))
    def commit(self, ref: str, put: dict[str, tuple[str, Any]], drop: set[str]) -> None:
        notes = [note(name, words, state=state) for name, (words, state) in put.items()]
        tip = self.tips.get(ref)
        before = self.held.get(tip or "", {})
        after = {name: n for name, n in before.items() if name not in drop} | {n.id: n for n in notes}
        wrong = drop & put.keys() or drop - before.keys() or after == before or self.kinds.get(ref) != "branch"
        if wrong:
            with pytest.raises((DataError, RunError)):
                self.nb.commit(notes, sorted(drop), message="m", author="me", ref=ref)
            return
        new = self.nb.commit(notes, sorted(drop), message="m", author="me", ref=ref, expected=tip)
        self.held[new], self.parents[new], self.tips[ref] = after, tip, new

    @rule(name=NAMES, kind=st.sampled_from(["branch", "tag"]), at=NAMES)
    def new_ref(self, name: str, kind: str, at: str) -> None:
        make = self.nb.branch if kind == "branch" else self.nb.tag
        if name in self.tips or at not in self.tips:
            with pytest.raises(RunError):
                make(name, at)
            return
        make(name, at)
        self.tips[name], self.kinds[name] = self.tips[at], kind

    @rule(ref=NAMES, pick=st.integers(0, 50))
    def rollback(self, ref: str, pick: int) -> None:
        to = sorted(self.held)[pick % len(self.held)]
        if self.kinds.get(ref) != "branch":
            with pytest.raises(RunError):
                self.nb.rollback(to, ref=ref)
            return
        assert self.nb.rollback(to, ref=ref) == to
        self.tips[ref] = to

    @precondition(lambda self: len(self.tips) > 1)
    @rule(pick=st.integers(0, 3))
    def drop_ref(self, pick: int) -> None:
        names = sorted(self.tips.keys() - {"head"})
        name = names[pick % len(names)]
        assert self.nb.drop(name) == self.tips.pop(name)
        del self.kinds[name]

    @rule(kind=st.sampled_from(["helped", "hurt"]), name=IDS)
    def event(self, kind: str, name: str) -> None:
        self.nb.record(kind, note=name)
        self.happened.append((kind, name))

    @rule(lesson=WORDS, number=st.integers(0, 3), lift=st.booleans())
    def refuse(self, lesson: str, number: int, lift: bool) -> None:
        if lift:
            self.nb.allow(lesson)
            self.standing.pop(lesson, None)
        else:
            self.nb.refuse(lesson, {"n": number})
            self.standing[lesson] = {"n": number}

    @rule(word=WORDS)
    def rolled_back(self, word: str) -> None:
        def fail() -> None:
            with self.nb.transaction():
                self.nb.commit([note("e", word)], message="m", author="me")
                self.nb.record("hurt", note="e")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()

    @rule()
    def reopen(self) -> None:
        self.nb.close()
        self.nb = Notebook.open(self.path)

    @invariant()
    def same(self) -> None:
        assert self.nb.refs() == self.tips
        assert self.nb.tags() == {name for name, kind in self.kinds.items() if kind == "tag"}
        for name, tip in self.tips.items():
            assert self.nb.notes(name, retired=True) == self.held[tip]
            assert list(self.nb.notes(name)) == sorted(i for i, n in self.held[tip].items() if n.state == "active")
        chain: list[str] = []
        at: str | None = self.tips["head"]
        while at is not None:
            chain.append(at)
            at = self.parents[at]
        assert [c.hash for c in self.nb.log()] == chain
        assert [(e.kind, e.data["note"]) for e in self.nb.events()] == self.happened
        assert self.nb.refusals() == self.standing
        assert {c.hash for c in self.nb.all_commits()} == self.held.keys()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=12,
    stateful_step_count=15,
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
)
