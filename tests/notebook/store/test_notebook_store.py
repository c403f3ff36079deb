"""Commits, refs and transactions of a notebook."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from notebook_parts import nb, note, put

from r3v.errors import DataError, RunError
from r3v.notebook.store.note import Note, canonical
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

__all__ = ["nb"]


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
