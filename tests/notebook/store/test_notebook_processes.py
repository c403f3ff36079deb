"""A notebook shared by threads and processes, some of them killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from notebook_parts import nb, note, put
from places import FAKES

from r3v.errors import RunError
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

__all__ = ["nb"]


WRITER = FAKES / "notes" / "notebook_writer.py"


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
