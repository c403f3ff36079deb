"""The notebook file: commits, refs, events, blobs, vectors; killed and shared by processes."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from r3v.errors import DataError, RunError
from r3v.notebook import schema
from r3v.notebook.note import Note, canonical
from r3v.notebook.store import Notebook
from r3v.notebook.verify import verify

WRITER = Path(__file__).with_name("notebook_writer.py")
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def nb(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "a.notebook", create=True) as notebook:
        yield notebook


def note(name: str = "a", guidance: str = "look twice", **more: Any) -> Note:
    return Note(id=name, subject="angles", guidance=guidance, **more)


def put(nb: Notebook, *notes: Note, **more: Any) -> str:
    return nb.commit(notes, message="test", author="me", **more)


# ---- commits and refs


def test_a_new_notebook_has_one_empty_commit(nb: Notebook) -> None:
    (root,) = nb.log()
    assert nb.refs() == {"head": root.hash}
    assert root.parent is None
    assert nb.notes() == {}
    assert verify(nb) == []


def test_a_commit_hash_is_the_sha256_of_what_it_says(nb: Notebook) -> None:
    root = nb.head()
    new = put(nb, note(), receipt={"wins": 3})
    commit = nb.get_commit(new)
    said = {
        "schema": 1,
        "parent": root,
        "change": {"a": note().revision},
        "message": "test",
        "author": "me",
        "time": commit.time,
        "receipt": {"wins": 3},
    }
    assert new == hashlib.sha256(canonical(said)).hexdigest()
    assert commit.receipt == {"wins": 3}
    assert nb.head() == new
    assert nb.changes(new) == {"a": note().revision}


def test_snapshots_are_by_id_and_old_ones_stay(nb: Notebook) -> None:
    first = put(nb, note("b"), note("a"))
    second = put(nb, replace(note("a"), guidance="look thrice"), note("c", state="retired"))
    third = nb.commit(remove=["b"], message="drop b", author="me")
    assert list(nb.notes(first)) == ["a", "b"]
    assert list(nb.notes(second)) == ["a", "b"]
    assert list(nb.notes(second, retired=True)) == ["a", "b", "c"]
    assert nb.notes(third, retired=True).keys() == {"a", "c"}
    assert nb.notes(first)["a"].guidance == "look twice"
    assert nb.notes()["a"].guidance == "look thrice"
    assert [c.hash for c in nb.log()][:3] == [third, second, first]


def test_only_what_differs_is_committed(nb: Notebook) -> None:
    put(nb, note("a"), note("b"))
    new = put(nb, note("a"), note("b", "other"))
    assert list(nb.changes(new)) == ["b"]
    with pytest.raises(DataError, match="nothing to commit"):
        put(nb, note("a"))
    with pytest.raises(DataError, match="nothing to commit"):
        put(nb)
    assert nb.head() == new


@pytest.mark.parametrize(
    ("notes", "remove", "said"),
    [
        ([note("a"), note("a", "x")], [], "twice"),
        ([note("a")], ["a"], "twice"),
        ([], ["b"], "no note 'b' to remove; did you mean 'bb'"),
        ([note("x" * 201)], [], "at most 200"),
        ([note("a\nb")], [], "printable"),
        ([note("a", sources=["list"])], [], "list of strings"),
        ([note("a", sources=(1,))], [], "list of strings"),
        ([note("a", example=None)], [], "expected a string"),
        ([note("a", "lone \ud800")], [], "not valid Unicode"),
        ([note("a", images=("0" * 64,))], [], "put_blob"),
    ],
)
def test_what_cannot_be_committed_changes_nothing(
    nb: Notebook, notes: list[Note], remove: list[str], said: str
) -> None:
    before = put(nb, note("bb"))
    with pytest.raises(DataError, match=said):
        nb.commit(notes, remove, message="m", author="me")
    assert nb.head() == before
    assert len(nb.all_commits()) == 2
    assert verify(nb) == []


@pytest.mark.parametrize(("field", "value"), [("message", " "), ("author", ""), ("receipt", {"p": float("nan")})])
def test_a_commit_needs_words_and_plain_json(nb: Notebook, field: str, value: Any) -> None:
    given = {"message": "m", "author": "me", field: value}
    with pytest.raises(DataError, match=field):
        nb.commit([note()], **given)
    assert nb.notes() == {}


def test_expected_is_compare_and_swap(nb: Notebook) -> None:
    base = nb.head()
    put(nb, note("a"), expected=base)
    with pytest.raises(RunError, match="somebody committed meanwhile"):
        put(nb, note("b"), expected=base)
    assert list(nb.notes()) == ["a"]
    with pytest.raises(RunError, match="somebody committed meanwhile"):
        nb.move("head", base, expected=base)


def test_branches_tags_rollback(nb: Notebook) -> None:
    first = put(nb, note("a"))
    nb.tag("v1")
    nb.branch("candidate")
    second = put(nb, note("b"), ref="candidate")
    assert list(nb.notes()) == ["a"]
    assert list(nb.notes("candidate")) == ["a", "b"]
    assert nb.move("head", "candidate", expected=first) == second
    assert nb.rollback("v1") == first
    assert list(nb.notes()) == ["a"]
    assert nb.rollback(second[:12]) == second
    assert [(m.before, m.after) for m in nb.moves("head")][-3:] == [(first, second), (second, first), (first, second)]
    assert nb.tags() == {"v1"}
    assert nb.drop("candidate") == second
    assert set(nb.refs()) == {"head", "v1"}
    assert verify(nb) == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda nb: nb.head("haed"), "did you mean 'head'"),
        (lambda nb: nb.resolve("head~9"), "before the first commit"),
        (lambda nb: nb.resolve("head~x"), "a name and a number"),
        (lambda nb: nb.resolve("f" * 64), "no ref or commit"),
        (lambda nb: nb.branch("head"), "already"),
        (lambda nb: nb.branch("cafe"), "not like a hash"),
        (lambda nb: nb.tag("-x"), "expected a name"),
        (lambda nb: nb.move("v1", "head"), "is a tag"),
        (lambda nb: put(nb, note("z"), ref="v1"), "is a tag"),
        (lambda nb: put(nb, note("z"), ref="nope"), "no ref 'nope'"),
        (lambda nb: nb.drop("head"), "never dropped"),
        (lambda nb: nb.drop("nope"), "no ref"),
        (lambda nb: nb.revision("00"), "no revision"),
        (lambda nb: nb.get_commit("00"), "no commit"),
    ],
)
def test_names_that_do_not_fit_are_told(nb: Notebook, call: Any, said: str) -> None:
    put(nb, note())
    nb.tag("v1")
    with pytest.raises(RunError, match=said):
        call(nb)


def test_a_transaction_keeps_all_or_nothing(nb: Notebook) -> None:
    before = nb.head()

    def half() -> None:
        with nb.transaction():
            put(nb, note("a"))
            nb.refuse("lesson", {"p": 0.4})
            assert list(nb.notes()) == ["a"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert nb.head() == before
    assert nb.notes() == {}
    assert nb.refused("lesson") is None
    assert put(nb, note("b"))
    assert verify(nb) == []


def test_a_block_that_fails_inside_another_leaves_nothing_of_itself(nb: Notebook) -> None:
    with nb.transaction():
        first = put(nb, note("a"))
        with pytest.raises(DataError, match="liked"):
            put(nb, note("b"), events=[("liked", {})])
        assert nb.head() == first
    assert list(nb.notes()) == ["a"]
    assert len(nb.all_commits()) == 2
    assert verify(nb) == []


# ---- events, refusals, blobs, vectors


def test_events_are_kept_in_order_and_filtered(nb: Notebook) -> None:
    ids = nb.record_many([("retrieved", {"note": "a", "score": 0.5}), ("helped", {"note": "a"}), ("helped", {})])
    new = put(nb, note("b"), events=[("accepted", {"note": "b"})])
    assert ids == [1, 2, 3]
    assert [e.kind for e in nb.events()] == ["retrieved", "helped", "helped", "accepted"]
    assert [e.id for e in nb.events("helped")] == [2, 3]
    assert [e.id for e in nb.events(note="a")] == [1, 2]
    assert next(nb.events("accepted")).data == {"note": "b", "commit": new}
    assert nb.event_counts() == {"": {"helped": 1}, "a": {"helped": 1, "retrieved": 1}, "b": {"accepted": 1}}
    with pytest.raises(DataError, match="expected one of proposed"):
        nb.record("liked")
    with pytest.raises(DataError, match="JSON"):
        nb.record("helped", note="a", what=object())


def test_events_are_read_across_pages_while_written(nb: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r3v.notebook.attachments._PAGE", 2)
    nb.record_many([("helped", {"n": n}) for n in range(5)])
    found = []
    for event in nb.events():
        if len(found) < 3:
            nb.record("hurt")
        found.append(event.kind)
    assert found == ["helped"] * 5 + ["hurt"] * 3


def test_refusals_stand_until_lifted(nb: Notebook) -> None:
    nb.refuse("x", {"reason": "no gain"})
    nb.refuse("y", {"reason": "harm"})
    nb.refuse("x", {"reason": "still none"})
    assert nb.refused("x") == {"reason": "still none"}
    nb.allow("y")
    assert nb.refused("y") is None
    assert nb.refusals() == {"x": {"reason": "still none"}}
    with pytest.raises(DataError, match="hash of a lesson"):
        nb.refuse("", {})


def test_blobs_are_named_by_their_hash(nb: Notebook) -> None:
    sha = nb.put_blob(b"abc")
    assert sha == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert nb.put_blob(b"abc") == sha
    assert nb.blob(sha) == b"abc"
    with pytest.raises(DataError, match="no such blob"):
        nb.blob("0" * 64)


def test_vectors_are_kept_per_embedder_and_role(nb: Notebook) -> None:
    np = pytest.importorskip("numpy")
    nb.put_vectors("lexical@1", "note", {"a": np.array([1.0, 2.0]), "b": [0.5, 0.25]})
    nb.put_vectors("lexical@1", "query", {"a": np.zeros(3)})
    nb.put_vectors("lexical@1", "note", {"a": np.array([3.0, 4.0])})
    found = nb.vectors("lexical@1", "note")
    assert {k: v.tolist() for k, v in found.items()} == {"a": [3.0, 4.0], "b": [0.5, 0.25]}
    assert found["a"].dtype == np.float32
    assert nb.vectors("other", "note") == {}
    assert nb.embedders() == {"lexical@1"}
    with pytest.raises(DataError, match=r"lengths \[2, 3\]"):
        nb.put_vectors("lexical@1", "note", {"c": np.zeros(3)})
    with pytest.raises(DataError, match="finite"):
        nb.put_vectors("lexical@1", "note", {"c": np.array([1.0, np.nan])})
    with pytest.raises(DataError, match="role"):
        nb.vectors("lexical@1", "notes")  # type: ignore[arg-type]
    assert nb.drop_vectors("lexical@1") == 3
    assert nb.embedders() == set()


# ---- the file


def test_files_that_are_no_notebook_are_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such notebook"):
        Notebook.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "text").write_text("not SQLite " * 100)
    with pytest.raises(RunError, match="not a notebook"):
        Notebook.open(tmp_path / "text", create=True)
    assert (tmp_path / "text").read_text() == "not SQLite " * 100
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(RunError, match="but not a notebook"):
        Notebook.open(tmp_path / "other.db", create=True)
    (tmp_path / "empty").touch()
    with pytest.raises(RunError, match="not a notebook"):
        Notebook.open(tmp_path / "empty")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    Notebook.open(tmp_path / "a", create=True).close()
    raw = sqlite3.connect(tmp_path / "a")
    raw.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    raw.close()
    with pytest.raises(RunError, match=f"found notebook format {schema.VERSION + 1}, expected {schema.VERSION}"):
        Notebook.open(tmp_path / "a")


def test_reopening_finds_everything(tmp_path: Path) -> None:
    with Notebook.open(tmp_path / "a", create=True) as nb:
        new = put(nb, note(images=(nb.put_blob(b"png"),)))
    with Notebook.open(tmp_path / "a", create=True) as nb:
        assert nb.head() == new
        assert nb.blob(nb.notes()["a"].images[0]) == b"png"
        assert verify(nb) == []


def test_a_notebook_is_not_used_across_a_fork(nb: Notebook) -> None:
    nb._pid += 1
    with pytest.raises(RunError, match="another process"):
        nb.head()


@pytest.mark.parametrize("table", sorted(schema.IMMUTABLE))
def test_rows_of_the_past_cannot_be_changed_by_any_program(nb: Notebook, table: str) -> None:
    put(nb, note())
    nb.record("helped", note="a")
    nb.refuse("x", {})
    nb.put_blob(b"abc")
    raw = sqlite3.connect(nb.path, isolation_level=None)
    try:
        column = raw.execute(f"SELECT name FROM pragma_table_info('{table}') ORDER BY cid DESC LIMIT 1").fetchone()[0]
        before = raw.execute(f"SELECT * FROM {table}").fetchall()
        assert before
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            raw.execute(f"UPDATE {table} SET {column} = 'x'")
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            raw.execute(f"DELETE FROM {table}")
        marks = ",".join("?" * len(before[0]))
        raw.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", (*before[0][:-1], "forged"))
        assert raw.execute(f"SELECT * FROM {table}").fetchall() == before
    finally:
        raw.close()


# ---- several processes


def test_a_second_writer_gets_a_clear_error_and_then_its_turn(tmp_path: Path) -> None:
    with Notebook.open(tmp_path / "a", create=True) as one, Notebook.open(tmp_path / "a", wait=0.05) as two:
        with one.transaction():
            put(one, note("a"))
            with pytest.raises(RunError, match="another process has been writing"):
                put(two, note("b"))
        put(two, note("b"))
        assert list(one.notes()) == ["a", "b"]


def test_threads_share_one_notebook(nb: Notebook) -> None:
    def work(seed: int) -> None:
        for n in range(5):
            put(nb, note(f"{seed}.{n}"))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(nb.notes()) == 20
    assert len(nb.log()) == 21
    assert verify(nb) == []


def start(path: Path, seed: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(WRITER), str(path), seed], stdout=subprocess.PIPE, text=True)


def check_pairs(nb: Notebook) -> None:
    """Each commit of the writer is whole: two notes, their blob, their events."""
    assert verify(nb) == []
    commits = [c for c in nb.all_commits() if c.author == "writer"]
    events: dict[str, int] = {}
    for event in nb.events("edited"):
        events[event.data["commit"]] = events.get(event.data["commit"], 0) + 1
    assert events == {c.hash: 2 for c in commits}
    for commit in commits:
        pair = [nb.revision(r) for r in nb.changes(commit.hash).values() if r]
        assert [n.guidance for n in pair] == [commit.message] * 2
        assert nb.has_blob(hashlib.sha256(commit.message.encode() * 3000).hexdigest())


def kill_writers(folder: Path, kills: int) -> int:
    """Kill a writer after 0, 1, 2 ... commits, each time a little later; returns how many commits it said it made."""
    path, said = folder / "a.notebook", 0
    for turn in range(kills):
        with start(path, str(turn)) as process:
            assert process.stdout is not None
            done = [process.stdout.readline().strip() for _ in range(turn % 4)]
            if turn % 2:
                threading.Event().wait(0.0007 * turn)  # somewhere inside the next commit
            os.kill(process.pid, signal.SIGKILL)
            done.extend(process.stdout.read().split())
        if not path.exists():
            continue
        with Notebook.open(path, create=True) as nb:
            check_pairs(nb)
            there = {c.hash for c in nb.log()}
            whole = [name for name in done if len(name) == 64]
            assert there.issuperset(whole)
            said += len(whole)
    return said


def test_killed_writers_leave_whole_commits(tmp_path: Path) -> None:
    assert kill_writers(tmp_path, 20) > 20


@pytest.mark.slow
def test_two_hundred_killed_writers_leave_whole_commits(tmp_path: Path) -> None:
    assert kill_writers(tmp_path, 200) > 200


def test_two_writing_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.notebook"
    with start(path, "one") as one, start(path, "two") as two:
        assert one.stdout is not None
        assert two.stdout is not None
        said = [p.stdout.readline().strip() for _ in range(4) for p in (one, two) if p.stdout]
        one.kill()
        two.kill()
    with Notebook.open(path) as nb:
        check_pairs(nb)
        assert {c.hash for c in nb.log()}.issuperset(said)
        assert len(set(said)) == 8


# ---- every operation against a plain model

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
    deadline=None,
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
)
