"""The vectors notes are found by, kept in the notebook: written with a note, read for retrieval, made anew.

Source problems are stored under role `query` by their `source:` hash, notes' words under role `note` by revision,
both under the embedder's identity. Whatever stands here can be made again from the notebook's own blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r3v.embedding.protocol import Embedder, Part, Vectors, identity
from r3v.errors import RunError
from r3v.notebook.retrieval.retrieve import Stored
from r3v.notebook.retrieval.scoring import Fusion, parts
from r3v.notebook.store.identity import rebuild, source_hash, source_record
from r3v.notebook.store.note import Note
from r3v.records import Problem


def remember(notebook: Any, problems: Sequence[Problem], embedder: Embedder, fusion: Fusion) -> None:
    """Keep what notes on these problems are found by: each problem's record and pictures as blobs (so that another
    embedder can embed it), and its vectors. Call it before the commit of the notes; doing it twice changes nothing.
    """
    if not problems:
        return
    for problem in problems:
        for image in problem.images:
            notebook.put_blob(image.read())
        notebook.put_blob(source_record(problem))
    names = [source_hash(problem) for problem in problems]
    for part in parts(embedder, fusion):
        rows = embedder.embed_problems(problems, part)
        notebook.put_vectors(identity(embedder, part), "query", dict(zip(names, rows, strict=True)))


def sources_of(notes: Mapping[str, Note]) -> list[str]:
    """The `source:` hashes of these notes, each once."""
    named = (value for note in notes.values() for value in note.source_hashes if value.startswith("source:"))
    return list(dict.fromkeys(named))


def stored_vectors(
    notebook: Any, notes: Mapping[str, Note], embedder: Embedder, fusion: Fusion, *, path: object, spec: str
) -> Stored:
    """The notebook's vectors for this embedder. Raises RunError, with the command to run, when those of any source
    are missing, as they are after a change of embedder. `path` and `spec` name notebook and embedder in it."""
    sources: dict[Part, Mapping[str, Vectors]] = {}
    words: dict[Part, Mapping[str, Vectors]] = {}
    active = {name: note for name, note in notes.items() if note.state == "active"}
    wanted = sources_of(active)
    for part in parts(embedder, fusion):
        name = identity(embedder, part)
        sources[part] = notebook.vectors(name, "query")
        words[part] = notebook.vectors(name, "note")
        missing = [value for value in wanted if value not in sources[part]]
        if missing:
            held = ", ".join(sorted(notebook.embedders())) or "none"
            raise RunError(
                f"{path}: {len(missing)} of {len(wanted)} source problems have no vector of {name}; the notebook "
                f"holds vectors of: {held}. Run r3v notebook reembed {path} --embedder {spec} --fusion {fusion}"
            )
    return Stored(sources, words)


def reembed(
    notebook: Any,
    notes: Mapping[str, Note],
    embedder: Embedder,
    fusion: Fusion,
    *,
    known: Mapping[str, Problem] | None = None,
    batch: int = 64,
    say: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Embed the sources and words of these notes anew and store the vectors beside those of other embedders.

    Sources are rebuilt from the blobs `remember` kept; `known` gives problems by `source:` hash for those that were
    not kept. Written batch by batch, and what is there already is not made again, so it can be interrupted.
    Returns how many source and note vectors were made. Raises DataError naming a source that cannot be rebuilt.
    """
    made = {"sources": 0, "notes": 0}
    for part in parts(embedder, fusion):
        name = identity(embedder, part)
        have = notebook.vectors(name, "query")
        missing = [value for value in sources_of(notes) if value not in have]
        for start in range(0, len(missing), batch):
            some = missing[start : start + batch]
            problems = [_source(notebook, value, known or {}) for value in some]
            notebook.put_vectors(name, "query", dict(zip(some, embedder.embed_problems(problems, part), strict=True)))
            made["sources"] += len(some)
            if say:
                say(f"{name}: {min(start + batch, len(missing))} of {len(missing)} source problems")
        if part == "image":
            continue
        done = notebook.vectors(name, "note")
        fresh = [note for note in notes.values() if note.revision not in done]
        for start in range(0, len(fresh), batch):
            rows = embedder.embed_notes(fresh[start : start + batch], part)
            revisions = [note.revision for note in fresh[start : start + batch]]
            notebook.put_vectors(name, "note", dict(zip(revisions, rows, strict=True)))
            made["notes"] += len(revisions)
    return made


def _source(notebook: Any, value: str, known: Mapping[str, Problem]) -> Problem:
    if value in known:
        return known[value]
    return rebuild(notebook.blob(value.removeprefix("source:")), notebook.blob, value)
