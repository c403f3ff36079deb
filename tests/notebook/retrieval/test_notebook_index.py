"""Search through an index gives what exact search gives, and the index is only ever a copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from r3v.embedding.lexical import Lexical
from r3v.embedding.protocol import Vectors, unit_rows
from r3v.errors import ConfigError, ModelError
from r3v.notebook.retrieval import index
from r3v.notebook.retrieval.index import Exact, make_index
from r3v.notebook.retrieval.retrieve import Retriever
from r3v.notebook.store.note import Note
from r3v.records import Problem


def rows(count: int, seed: int = 0) -> Vectors:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, 32)))


def test_exact_is_the_product() -> None:
    keys, asked = rows(5), rows(3, 1)
    assert Exact(keys).cosines(asked) == pytest.approx(asked @ keys.T)
    assert Exact(keys).cosines(asked[:1])[0] == pytest.approx(keys @ asked[0])
    assert isinstance(make_index("faiss", rows(0)), Exact), "nothing to index"


def test_an_unknown_index_and_a_missing_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="found index 'tree', expected one of exact, faiss"):
        make_index("tree", rows(2))  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ModelError, match="pip install faiss-cpu"):
        make_index("faiss", rows(2))


def test_late_fusion_has_no_index() -> None:
    with pytest.raises(ConfigError, match="found an index with late fusion"):
        Retriever({}, Lexical(), 0.1, fusion="late", index=lambda keys: Exact(keys))


def test_what_an_index_leaves_out_is_not_found() -> None:
    class Half(Exact):
        """Proposes the first key alone."""

        def cosines(self, query_PD: Vectors) -> Vectors:
            found = super().cosines(query_PD).copy()
            found[:, 1:] = -np.inf
            return found

    notes = {name: Note(name, "triangle", "Angles of a triangle.") for name in ("a", "b")}
    asked = Problem("p", "The angles of a triangle?", "1", "number")
    whole, half = (Retriever(notes, Lexical(), 0.1, 2, index=kind) for kind in (None, Half))
    assert [hit.note.id for hit in whole.retrieve([asked])[0]] == ["a", "b"]
    assert [hit.note.id for hit in half.retrieve([asked])[0]] == ["a"]
    assert half.settings["index"] == "half"
    assert "index" not in whole.settings


def test_faiss_finds_what_exact_search_finds_and_is_rebuilt_at_will(tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    said: list[str] = []
    keys, asked = rows(3000), rows(40, 1)
    exact = Exact(keys).cosines(asked)

    def made() -> Vectors:
        return make_index("faiss", keys, tmp_path / "i", said.append).cosines(asked)

    found = made()
    best = exact.argmax(axis=1)
    assert (found.argmax(axis=1) == best).mean() >= 0.95
    kept = np.isfinite(found)
    assert (kept.sum(axis=1) == index.NEAR).all()
    assert found[kept] == pytest.approx(exact[kept], abs=1e-6), "proposed by the graph, scored exactly"
    assert (made() == found).all()
    assert len(said) == 1, "the second time it is read"
    [file] = (tmp_path / "i").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert (np.isfinite(made()) == kept).mean() > 0.99
    make_index("faiss", keys[:100], tmp_path / "i", said.append)
    assert len(said) == 3
    assert [f.name for f in (tmp_path / "i").iterdir()] != [file.name], "the index of older keys is gone"
    assert len(list((tmp_path / "i").iterdir())) == 1
