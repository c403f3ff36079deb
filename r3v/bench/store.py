"""`r3v bench store`: a notebook of 10,000 notes. How long one retrieval and one commit take.

Retrieval's peer is the plain way with SQLite: read every vector, compare each with the question's. Its limit is to
embed the question and make one matrix-vector product over the same vectors. Commit's peer, and its limit, is one
INSERT of the same words into a bare SQLite file, each in a transaction of its own: the disk has to be waited for by
anybody who keeps what was written.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from r3v.bench.harness import BenchError, Case, Result, Settings, measure, timed
from r3v.embedding.lexical import Lexical
from r3v.notebook.retrieval.retrieve import Retriever
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.records import Problem

NOTES, QUESTIONS, COMMITS, ONES = 10_000, 64, 20, 51
RETRIEVAL_MS, COMMIT_MS = 2.0, 10.0
"""Goals: milliseconds for one of each."""
THRESHOLD = 0.05


def store(settings: Settings, *, notes: int = NOTES) -> dict[str, Result]:
    """Cases `retrieve` and `commit`."""
    with tempfile.TemporaryDirectory() as folder:
        rng = random.Random(settings.seed)
        book = [_note(rng, i) for i in range(notes)]
        with Notebook.open(Path(folder) / "notes.db", create=True) as notebook:
            notebook.commit(book, message="all", author="bench")
            return {
                "retrieve": _retrieve(notebook, _problems(rng, book), Path(folder), settings),
                "commit": _commit(notebook, book, Path(folder), settings),
            }


def _words(rng: random.Random, n: int) -> str:
    """Words of three to eight letters from a vocabulary of about 2,000."""
    return " ".join("".join(random.Random(rng.randrange(2_000)).choices("aeioulnrst", k=3 + n % 6)) for _ in range(n))


def _note(rng: random.Random, i: int) -> Note:
    return Note(f"n{i:05}", _words(rng, 3), _words(rng, 24), applicability=_words(rng, 8))


def _problems(rng: random.Random, book: Sequence[Note]) -> list[Problem]:
    """Questions that borrow the words of a note, so that there is something to find."""
    chosen = rng.sample(book, min(QUESTIONS, len(book)))
    return [Problem(f"q{i}", f"{n.subject} {n.guidance[:80]} ?", "1", "number") for i, n in enumerate(chosen)]


@dataclass
class _BruteForce:
    """Every vector read from SQLite for each question, and compared with it."""

    rows: sqlite3.Connection
    embedder: Lexical

    def best(self, problem: Problem) -> str | None:
        import numpy as np

        query = self.embedder.embed_problems([problem], "text")[0]
        found = [
            (float(np.frombuffer(raw, np.float32) @ query), name)
            for name, raw in self.rows.execute("SELECT name, vector FROM vectors ORDER BY name")
        ]
        score, name = max(found, key=lambda pair: pair[0])
        return name if score >= THRESHOLD else None


def _retrieve(notebook: Notebook, problems: list[Problem], folder: Path, settings: Settings) -> Result:
    import numpy as np

    embedder, notes = Lexical(), notebook.notes()
    names = sorted(notes)
    vectors_MD = np.asarray(embedder.embed_notes([notes[name] for name in names], "text"), np.float32)
    retriever = Retriever(notes, embedder, THRESHOLD, keys="note")
    rows = sqlite3.connect(folder / "vectors.db")
    rows.execute("CREATE TABLE vectors (name TEXT PRIMARY KEY, vector BLOB)")
    rows.executemany(
        "INSERT INTO vectors VALUES (?, ?)", [(n, v.tobytes()) for n, v in zip(names, vectors_MD, strict=True)]
    )
    rows.commit()
    brute = _BruteForce(rows, embedder)

    def found(problem: Problem) -> str | None:
        hits = retriever.retrieve([problem])[0]
        return hits[0].note.id if hits else None

    def check() -> str:
        different = [p.id for p in problems[:8] if found(p) != brute.best(p)]
        if different:
            raise BenchError(f"retrieval and brute force find different notes for {', '.join(different)}")
        return f"the same best note for {len(problems[:8])} questions"

    def bare() -> None:
        for problem in problems:
            (vectors_MD @ embedder.embed_problems([problem], "text")[0]).argmax()

    least = timed(bare, settings) / len(problems)
    case = Case(
        ours=lambda: float(sum(1 for problem in problems if found(problem))),
        peer=lambda: float(sum(1 for problem in problems[:4] if brute.best(problem))),
        check=check,
        peer_name="sqlite3, every vector compared",
        limit=lambda ours, peer: peer / least,
    )
    try:
        result = measure(case, settings)
    finally:
        rows.close()
    return _told(result, lambda: found(problems[0]), RETRIEVAL_MS, notes=len(notes), limit_ms=1e3 * least)


def _commit(notebook: Notebook, book: Sequence[Note], folder: Path, settings: Settings) -> Result:
    bare = sqlite3.connect(folder / "bare.db")
    bare.execute("CREATE TABLE notes (name TEXT, words TEXT)")
    bare.commit()
    count = 0

    def edited() -> Note:
        nonlocal count
        count += 1
        old = book[count % len(book)]
        return Note(old.id, old.subject, f"{old.guidance} {count}", applicability=old.applicability)

    def ours() -> float:
        for _ in range(COMMITS):
            notebook.commit([edited()], message="edit", author="bench")
        return COMMITS

    def peer() -> float:
        for _ in range(COMMITS):
            note = edited()
            bare.execute("INSERT INTO notes VALUES (?, ?)", (note.id, note.guidance))
            bare.commit()
        return COMMITS

    def check() -> str:
        note = edited()
        notebook.commit([note], message="edit", author="bench")
        if notebook.notes()[note.id].guidance != note.guidance or len(notebook.notes()) != len(book):
            raise BenchError(f"the commit of {note.id} is not what the notebook holds")
        return "a committed note is read back, the others are as before"

    case = Case(ours, peer, check, "sqlite3, one INSERT in a transaction", limit=1.0)
    try:
        result = measure(case, settings)
    finally:
        bare.close()
    one = partial(notebook.commit, message="edit", author="bench")
    return _told(result, lambda: one([edited()]), COMMIT_MS, notes=len(book))


def _told(result: Result, one: Callable[[], Any], goal_ms: float, **details: Any) -> Result:
    """The result with the milliseconds of one operation (median of 51, and CPU alone) and whether they are under the
    goal."""
    start = time.process_time()
    ms = 1e3 * timed(one, Settings(), times=ONES, warmup=1)
    cpu = 1e3 * (time.process_time() - start) / (ONES + 1)
    found = {"ms": ms, "cpu_ms": cpu, "goal_ms": goal_ms, "reached": "yes" if ms < goal_ms else "no", **details}
    return replace(result, details=found)
