"""A process that writes to a notebook until it is killed: `notebook_writer.py FILE SEED`.

Every commit holds two notes with the same number, a blob and two events, so that a torn one can be told.
It prints each commit once it is done.
"""

from __future__ import annotations

import sys

from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook


def main(path: str, seed: str) -> None:
    with Notebook.open(path, create=True, wait=30) as notebook:
        number = 0
        while True:
            name = f"{seed}.{number}"
            pair = [Note(id=f"{half}-{number % 3}", subject=name, guidance=name) for half in ("left", "right")]
            events = [("edited", {"note": note.id, "name": name}) for note in pair]
            with notebook.transaction():
                notebook.put_blob(name.encode() * 3000)
                new = notebook.commit(pair, message=name, author="writer", events=events)
            print(new, flush=True)
            number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
