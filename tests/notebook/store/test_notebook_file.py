"""The file of a notebook: foreign ones, newer ones, and a past that no program can change."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from notebook_parts import nb, note, put

from r3v.errors import RunError
from r3v.notebook.store import schema
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

__all__ = ["nb"]


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
