"""Log, diff, blame, revert and verify of a notebook."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from r3v.errors import RunError
from r3v.notebook.store import schema
from r3v.notebook.store.changes import blame, diff, diff_text, log, note_log, revert
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

A = Note(id="a", subject="angles", guidance="one\ntwo", sources=("p1",))
B = Note(id="b", subject="bars", guidance="read the axis")


@pytest.fixture
def nb(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "a.notebook", create=True) as notebook:
        yield notebook


def put(nb: Notebook, *notes: Note, message: str = "m", author: str = "me", **more: Any) -> str:
    return nb.commit(notes, message=message, author=author, **more)


def test_log_of_a_note_leaves_other_commits_out(nb: Notebook) -> None:
    one = put(nb, A)
    put(nb, B)
    three = put(nb, replace(A, state="retired"))
    nb.branch("side")
    put(nb, replace(A, guidance="elsewhere"), ref="side")
    assert [c.hash for c, _ in log(nb, note="a")] == [three, one]
    assert len(list(log(nb))) == 4
    assert [(c.hash, change.verb) for c, change in note_log(nb, "a")] == [(three, "retired"), (one, "added")]
    with pytest.raises(RunError, match="no note 'aa' in head; did you mean 'a'"):
        list(log(nb, note="aa"))


def test_diff_names_what_was_added_edited_removed(nb: Notebook) -> None:
    old = put(nb, A, B)
    edited = replace(A, guidance="one\n2", parents=(A.revision,))
    new = nb.commit([edited, replace(B, id="c")], ["b"], message="m", author="me")
    assert [(c.id, c.verb) for c in diff(nb, old, new)] == [("a", "edited"), ("b", "removed"), ("c", "added")]
    assert diff_text(diff(nb, old, new)[:1]) == (
        "edited a\n@@ -2,3 +2,3 @@\n guidance: one\n-guidance: two\n+guidance: 2\n sources: p1"
    )
    assert diff(nb, new, new) == []
    assert [c.verb for c in diff(nb, new, old)] == ["edited", "added", "removed"]


def test_blame_gives_each_line_its_commit(nb: Notebook) -> None:
    first = put(nb, A, author="ann")
    second = put(nb, replace(A, guidance="zero\none\ntwo"), author="bob")
    put(nb, B, author="cid")
    third = put(nb, replace(A, guidance="zero\none\ntwo!", subject="corners"), author="dee")
    assert [(line.field, line.text, line.commit.hash) for line in blame(nb, "a")] == [
        ("subject", "corners", third),
        ("guidance", "zero", second),
        ("guidance", "one", first),
        ("guidance", "two!", third),
        ("sources", "p1", first),
        ("state", "active", first),
    ]
    nb.commit(remove=["a"], message="m", author="me")
    with pytest.raises(RunError, match="no note 'a'"):
        blame(nb, "a")
    back = put(nb, A)
    assert {line.commit.hash for line in blame(nb, "a")} == {back}


def test_revert_takes_back_one_commit_and_keeps_later_ones(nb: Notebook) -> None:
    put(nb, A)
    wrong = nb.commit([replace(A, guidance="bad"), replace(B, id="c")], message="bad idea", author="me")
    put(nb, B)
    new = revert(nb, wrong[:10], author="ann")
    assert nb.notes() == {"a": A, "b": B}
    assert nb.get_commit(new).message == f"revert {wrong[:12]}: bad idea"
    assert [e.data["note"] for e in nb.events("edited")] == ["a", "c"]
    assert verify(nb) == []


def test_revert_refuses_what_changed_again(nb: Notebook) -> None:
    first = put(nb, A, B)
    tip = put(nb, replace(A, guidance="later"))
    with pytest.raises(RunError, match=r"a changed again since"):
        revert(nb, first, author="me")
    with pytest.raises(RunError, match="is the first commit"):
        revert(nb, "head~2", author="me")
    assert nb.head() == tip


TAMPERING = {
    "revisions": ("UPDATE revisions SET body = replace(body, 'two', 'six')", "words do not match its hash"),
    "note": ("UPDATE revisions SET note = 'z'", "its words say note 'a'"),
    "broken": ("UPDATE revisions SET body = '{}'", "missing guidance, id, subject"),
    "orphan": ("DELETE FROM changes", "belongs to no commit"),
    "message": ("UPDATE commits SET message = 'x' WHERE parent IS NOT NULL", "does not match its hash"),
    "author": ("UPDATE commits SET author = 'x'", "does not match its hash"),
    "time": ("UPDATE commits SET time = '1999'", "does not match its hash"),
    "receipt": ("UPDATE commits SET receipt = '{}' WHERE receipt IS NOT NULL", "does not match its hash"),
    "no json": ("UPDATE commits SET receipt = '{' WHERE receipt IS NOT NULL", "not JSON"),
    "removed": ("UPDATE changes SET revision = NULL", "does not match its hash"),
    "blob": ("UPDATE blobs SET data = x'00'", "do not match their hash"),
    "lost blob": ("DELETE FROM blobs", "no blob"),
    "lost commit": ("DELETE FROM commits WHERE parent IS NOT NULL", "has changes, but is not there"),
    "lost head": ("DELETE FROM refs", "head is missing"),
    "moved head": (
        'UPDATE refs SET "commit" = (SELECT hash FROM commits WHERE parent IS NULL)',
        "not where its last logged move",
    ),
    "event": ("UPDATE events SET kind = 'hurt ', data = data", "do not fit"),
    "event data": ('UPDATE events SET data = \'{"note": "a"}\'', "was rewritten"),
    "vector": ("UPDATE vectors SET data = x'0000'", "1 damaged rows"),
    "vector length": (
        "INSERT INTO vectors VALUES ('lexical', 'note', 'y', 1, x'00000000')",
        "found 2 lengths",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_verify_finds_what_was_tampered_with(nb: Notebook, name: str) -> None:
    statement, said = TAMPERING[name]
    put(nb, replace(A, images=(nb.put_blob(b"picture"),)), receipt={"p": 0.01})
    nb.record("helped", note="a")
    nb.put_vectors("lexical", "note", {"x": [1.0, 2.0]})  # type: ignore[dict-item]
    assert verify(nb) == []
    raw = sqlite3.connect(nb.path, isolation_level=None)
    for trigger in schema.triggers():
        raw.execute(f"DROP TRIGGER {trigger}")
    raw.execute(statement)
    for text in schema.triggers().values():
        raw.execute(text)
    raw.close()
    with Notebook.open(nb.path) as again:
        assert said in "\n".join(verify(again))


def test_verify_finds_a_dropped_trigger(nb: Notebook) -> None:
    raw = sqlite3.connect(nb.path, isolation_level=None)
    raw.execute("DROP TRIGGER events_no_delete")
    raw.close()
    assert verify(nb) == ["file: missing or changed: CREATE TRIGGER events_no_delete"]
