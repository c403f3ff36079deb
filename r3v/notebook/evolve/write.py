"""From failures to edits of the notebook: a supervisor writes one lesson per failure, `propose` turns them into edits.

A lesson about a new subject becomes a new note; one about a subject that has a note becomes a new revision of that
note (same id, the old revision as parent); a failure that was shown the note of another subject splits it: the new
note has that revision as parent. Notes that say the same are merged into the oldest, and the others are retired.
Lessons that are already there, that were refused before, or whose text cannot be used are left out and counted.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from r3v.errors import ConfigError
from r3v.notebook.evolve.supervisors import Failure, Lesson, Supervisor, lesson_hash, unusable
from r3v.notebook.gate.gate import subject_of
from r3v.notebook.store.identity import hashes_of, normal_text
from r3v.notebook.store.note import Note, canonical
from r3v.records import Problem, image_hash

NO_LESSON = "no lesson given"
EditKind = Literal["add", "edit", "split", "merge", "retire"]


@dataclass(frozen=True)
class Edit:
    """A change of the notebook to be judged as a whole. `quoted`: problems it was written from."""

    kind: EditKind
    put: tuple[Note, ...]
    quoted: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """16 hexadecimal digits over the revisions: the same edit has the same key after a restart."""
        return hashlib.sha256(canonical(sorted(note.revision for note in self.put))).hexdigest()[:16]

    @property
    def lesson(self) -> Note:
        """The note that the edit is about."""
        return self.put[0]


@dataclass
class Proposals:
    """Edits in the order of their subjects, the problems each was written from, and what was left out, by reason."""

    edits: list[Edit] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def propose(
    failures: Sequence[Failure],
    supervisor: Supervisor,
    notes: Mapping[str, Note],
    *,
    refused: Callable[[str], Any] = lambda _: None,
    per_subject: int = 4,
) -> Proposals:
    """Lessons for the failures (at most `per_subject` of a subject are shown to the supervisor) as edits of `notes`.

    `refused(lesson hash)` is anything but None for a tombstone.
    """
    chosen = _first_of_each(failures, per_subject)
    found, groups = Proposals(), {}
    found.left_out["beyond per_subject"] += len(failures) - len(chosen)
    for failure, lesson in zip(chosen, supervisor.lessons(chosen), strict=True):
        why = NO_LESSON if lesson is None else unusable(lesson, failure.problem)
        if lesson is None or why:
            found.left_out[why or NO_LESSON] += 1
            continue
        groups.setdefault(normal_text(lesson.subject), []).append((failure, lesson))
    for subject in sorted(groups):
        lesson, members = _common(groups[subject])
        if refused(lesson_hash(lesson.subject, lesson.guidance)) is not None:
            found.left_out["refused before"] += len(members)
            continue
        edit = _edit(lesson, members, notes, supervisor.name)
        if edit is None:
            found.left_out["known already"] += len(members)
        else:
            found.edits.append(edit)
    return found


def _first_of_each(failures: Sequence[Failure], most: int) -> list[Failure]:
    count: Counter[str] = Counter()
    kept = []
    for failure in failures:
        subject = subject_of(failure.problem)
        count[subject] += 1
        if count[subject] <= most:
            kept.append(failure)
    return kept


def _common(group: Sequence[tuple[Failure, Lesson]]) -> tuple[Lesson, list[Failure]]:
    """The lesson most failures of a subject agree on (the first of equals), and all failures of the subject: they
    were all read when it was chosen."""
    votes = Counter(normal_text(lesson.guidance) for _, lesson in group)
    best = max(votes, key=lambda text: votes[text])
    lesson = next(lesson for _, lesson in group if normal_text(lesson.guidance) == best)
    return lesson, [failure for failure, _ in group]


def _edit(lesson: Lesson, failures: Sequence[Failure], notes: Mapping[str, Note], author: str) -> Edit | None:
    """The edit that brings this lesson in; None where the notebook holds it, and every failure was shown it or is a
    source of it already."""
    active = [note for note in notes.values() if note.state == "active"]
    same = [note for note in active if normal_text(note.subject) == normal_text(lesson.subject)]
    same.sort(key=lambda note: (normal_text(note.guidance) != normal_text(lesson.guidance), note.id))
    sources = [failure.problem for failure in failures]
    quoted = tuple(problem.id for problem in sources)
    if same:
        old = same[0]
        told = normal_text(old.guidance) == normal_text(lesson.guidance)
        missed = [f for f in failures if all(note.id != old.id for note in f.shown)]
        if told and all(f.problem.id in old.sources for f in missed):
            return None
        new = _with_sources(old if told else _said(old, lesson, author), sources, parents=(old.revision,))
        return Edit("edit", (new,), quoted)
    shown = {note.id: note for failure in failures for note in failure.shown}
    wide = next((note for _, note in sorted(shown.items())), None)
    name = re.sub(r"[^a-z0-9]+", "-", lesson.subject.lower()).strip("-")[:40] or "note"
    name = f"{name}-{lesson_hash(lesson.subject, lesson.guidance)[:8]}"
    blank = _said(Note(id=name, subject=lesson.subject, guidance=lesson.guidance), lesson, author)
    parents = (wide.revision,) if wide else ()
    return Edit("split" if wide else "add", (_with_sources(blank, sources, parents=parents),), quoted)


def _said(note: Note, lesson: Lesson, author: str) -> Note:
    return replace(
        note,
        guidance=lesson.guidance,
        example=lesson.example,
        anti_pattern=lesson.anti_pattern,
        applicability=lesson.applicability,
        author=author,
        prompt_hash=lesson.prompt_hash,
    )


def _with_sources(note: Note, problems: Sequence[Problem], parents: tuple[str, ...]) -> Note:
    images = note.images or tuple(image_hash(image) for problem in problems[:1] for image in problem.images)
    return replace(
        note,
        sources=tuple(dict.fromkeys((*note.sources, *(p.id for p in problems)))),
        source_hashes=tuple(dict.fromkeys((*note.source_hashes, *hashes_of(problems)))),
        images=images,
        parents=parents,
        state="active",
    )


def merge(notes: Sequence[Note]) -> Edit:
    """One note for several that say the same: the first keeps its id and words and gets all sources, the others are
    retired. Raises ConfigError for fewer than two."""
    if len(notes) < 2:
        raise ConfigError(f"found {len(notes)} notes to merge, expected at least two")
    first, *others = notes
    joined = replace(
        first,
        sources=tuple(dict.fromkeys(name for note in notes for name in note.sources)),
        source_hashes=tuple(dict.fromkeys(value for note in notes for value in note.source_hashes)),
        images=tuple(dict.fromkeys(digest for note in notes for digest in note.images)),
        parents=tuple(note.revision for note in notes),
    )
    return Edit("merge", (joined, *(retired(note) for note in others)))


def retired(note: Note) -> Note:
    """The next revision of a note, retired: kept, and never retrieved."""
    return replace(note, state="retired", parents=(note.revision,))


def duplicates(notes: Mapping[str, Note]) -> list[Edit]:
    """A merge for every group of active notes with the same words of guidance."""
    groups: dict[str, list[Note]] = {}
    for name in sorted(notes):
        if notes[name].state == "active":
            groups.setdefault(normal_text(notes[name].guidance), []).append(notes[name])
    return [merge(group) for group in groups.values() if len(group) > 1]
