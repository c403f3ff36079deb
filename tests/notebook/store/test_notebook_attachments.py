"""What a notebook keeps beside its notes: events, refusals, blobs, vectors."""

from __future__ import annotations

import pytest
from notebook_parts import nb, note, put

from r3v.errors import DataError
from r3v.notebook.store.store import Notebook

__all__ = ["nb"]


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
    monkeypatch.setattr("r3v.notebook.store.attachments._PAGE", 2)
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
