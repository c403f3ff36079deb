"""A notebook in a file of its own, notes, and commits, for the tests of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook


@pytest.fixture
def nb(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "a.notebook", create=True) as notebook:
        yield notebook


def note(name: str = "a", guidance: str = "look twice", **more: Any) -> Note:
    return Note(id=name, subject="angles", guidance=guidance, **more)


def put(nb: Notebook, *notes: Note, **more: Any) -> str:
    return nb.commit(notes, message="test", author="me", **more)
