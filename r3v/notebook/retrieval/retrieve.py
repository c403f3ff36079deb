"""Which notes fit a problem: search over unit vectors in memory, exact by default, and silence when nothing fits.

A note is written from failed problems, so its key vectors are those problems (question and picture), stored when it
was committed; a note without known sources is found by its own words. A note is never retrieved for a problem it
was learnt from, nor for a copy of one under another id (`r3v.notebook.store.identity`).

Suffixes: P problems, R rows of the key matrix (one per key), M notes, D width.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from r3v.embedding.protocol import Embedder, Part, Vectors, identity
from r3v.errors import ConfigError
from r3v.notebook.retrieval.index import Exact, Index, folder_of, make_index
from r3v.notebook.retrieval.scoring import KEYS, Calibration, Fusion, Keys, RetrievalConfig, Scores, fuse_late, parts
from r3v.notebook.store.identity import normal_text, problem_hashes
from r3v.notebook.store.note import Note
from r3v.records import Problem

KeyKind = Literal["source", "note"]
_CHUNK = 64
"""Problems searched at once: 64 x 10,000 keys are 2.5 MB of scores."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A note that fits. `score` is in the retriever's units (a cosine when not calibrated), `margin` how far it is
    above the threshold, `key` what matched: a source problem of the note, or its words."""

    note: Note
    score: float
    margin: float
    key: KeyKind


@dataclass(frozen=True)
class Stored:
    """Vectors of a notebook, by part: of source problems by `source:` hash, of notes by revision."""

    sources: Mapping[Part, Mapping[str, Vectors]] = field(default_factory=dict)
    notes: Mapping[Part, Mapping[str, Vectors]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Keys:
    """The key matrix. Rows of one note stand together; `starts_M` is its first row, `words_R` marks rows of words."""

    rows: dict[Part, Vectors]
    starts_M: Any
    words_R: Any


class Retriever:
    """Finds the notes of one snapshot that fit a problem.

    `threshold` is a number in cosine units, or a Calibration, which brings its own scales and thresholds. `keys`
    says what of a note is compared (see `RetrievalConfig.keys`). `stored` holds vectors made earlier; words of
    notes it lacks are embedded here, source problems it lacks are not known. `subjects` maps a problem to the
    subjects whose notes it may be given (compared without case and punctuation); without it every note may match.
    `index` makes the search over the keys of the leading part (`r3v.notebook.retrieval.index.make_index`); None is
    exact.

    Raises ConfigError for settings that contradict each other.
    """

    def __init__(
        self,
        notes: Mapping[str, Note],
        embedder: Embedder,
        threshold: float | Calibration,
        top_k: int = 1,
        fusion: Fusion = "text",
        *,
        keys: Keys = "source",
        image_weight: float = 0.5,
        stored: Stored | None = None,
        subjects: Callable[[Problem], Collection[str]] | None = None,
        index: Callable[[Vectors], Index] | None = None,
    ) -> None:
        if top_k < 1 or keys not in KEYS or not 0.0 <= image_weight <= 1.0:
            raise ConfigError(
                f"found top_k {top_k}, keys {keys!r}, image_weight {image_weight}; expected at least 1, one of "
                f"{', '.join(KEYS)}, and a share from 0 to 1"
            )
        if index is not None and fusion == "late":
            raise ConfigError("found an index with late fusion, which scores every picture; take fusion text or mixed")
        self.embedder, self.threshold, self.top_k, self.fusion = embedder, threshold, top_k, fusion
        self.keys, self.image_weight, self.subjects = keys, image_weight, subjects
        self.parts = parts(embedder, fusion)
        if isinstance(threshold, Calibration):
            threshold.check(embedder, fusion, image_weight)
        elif fusion == "late":
            raise ConfigError("late fusion averages normalised scores, so it needs a calibration: run r3v notebook "
                              "calibrate, or take fusion text or mixed")  # fmt: skip
        elif not np.isfinite(threshold):
            raise ConfigError(f"found threshold {threshold}, expected a finite number")
        self.notes = [notes[name] for name in sorted(notes) if notes[name].state == "active"]
        self._keys = self._build(stored or Stored())
        self._search: dict[Part, Index] = {part: Exact(rows) for part, rows in self._keys.rows.items()}
        self._exact = index is None
        if index is not None:
            self._search[self.parts[0]] = index(self._keys.rows[self.parts[0]])
        self._sources = _by_source(self.notes)
        self._hashed = any(note.source_hashes for note in self.notes)
        self._subject_M = np.array([normal_text(note.subject) for note in self.notes], dtype=object)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything the hits depend on beside the problem, as JSON values."""
        fixed = self.threshold
        approximate = {} if self._exact else {"index": type(self._search[self.parts[0]]).__name__.lower()}
        return approximate | {
            "notes": sorted(note.revision for note in self.notes),
            "identities": [identity(self.embedder, part) for part in self.parts],
            "fusion": self.fusion,
            "keys": self.keys,
            "image_weight": self.image_weight,
            "top_k": self.top_k,
            "threshold": fixed.to_dict() if isinstance(fixed, Calibration) else fixed,
            "subjects": getattr(self.subjects, "__qualname__", None) if self.subjects else None,
        }

    def retrieve(self, problems: Sequence[Problem], *, exclude_sources: bool = True) -> list[list[Hit]]:
        """At most `top_k` hits per problem, best first, none where nothing reaches the threshold.

        `exclude_sources=False` lets a note be found for the very problems it was learnt from, as the paper's gate
        does on its batch; never in an evaluation. Raises ImageError, EngineError.
        """
        if not self.notes or not problems:
            return [[] for _ in problems]
        queries: dict[Part, Vectors] = {part: self.embedder.embed_problems(problems, part) for part in self.parts}
        found: list[list[Hit]] = []
        for start in range(0, len(problems), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            score_PR = self._scores({part: rows[chunk] for part, rows in queries.items()})
            for problem, score_R in zip(problems[chunk], score_PR, strict=True):
                found.append(self._hits(problem, score_R, exclude_sources))
        return found

    # ---- inside ----------------------------------------------------------------------------------

    def _build(self, stored: Stored) -> _Keys:
        lead = self.parts[0]
        known = stored.sources.get(lead, {})
        own = [[value for value in note.source_hashes if value in known] for note in self.notes]
        by_words = [i for i, sources in enumerate(own) if self.keys != "source" or not sources]
        words = {part: self._words([self.notes[i] for i in by_words], part, stored) for part in self.parts}
        place = {note: row for row, note in enumerate(by_words)}
        rows: dict[Part, list[Vectors]] = {part: [] for part in self.parts}
        starts, is_words = [], []
        for i, sources in enumerate(own):
            starts.append(len(is_words))
            shown = () if self.keys == "note" else sources
            for part in self.parts:
                rows[part] += [stored.sources.get(part, {})[value] for value in shown]
                rows[part] += [words[part][place[i]]] if i in place else []
            is_words += [False] * len(shown) + [True] * (i in place)
        self._warn_words(by_words)
        width = self.embedder.dim
        matrices: dict[Part, Vectors] = {p: np.asarray(r, np.float32).reshape(-1, width) for p, r in rows.items()}
        return _Keys(matrices, np.array(starts, dtype=np.intp), np.array(is_words, dtype=bool))

    def _words(self, notes: Sequence[Note], part: Part, stored: Stored) -> list[Vectors]:
        """A row for each note's words: the stored one, or made now. In `late` they have no image."""
        if part == "image":
            return [np.zeros(self.embedder.dim, np.float32)] * len(notes)
        known = stored.notes.get(part, {})
        new = [note for note in notes if note.revision not in known]
        made = self.embedder.embed_notes(new, part) if new else np.zeros((0, self.embedder.dim), np.float32)
        fresh = dict(zip((note.revision for note in new), made, strict=True))
        return [known[n.revision] if n.revision in known else fresh[n.revision] for n in notes]

    def _warn_words(self, by_words: Sequence[int]) -> None:
        if by_words and isinstance(self.threshold, Calibration) and self.threshold.note is None:
            warnings.warn(
                f"{len(by_words)} notes are found by their words, such as {self.notes[by_words[0]].id!r}, but the "
                "calibration was measured without notes: they must pass the threshold of questions, so most will "
                "not be found. Run r3v notebook calibrate with this notebook",
                stacklevel=4,
            )

    def _scores(self, queries: Mapping[Part, Vectors]) -> Any:
        """P R scores of problems against keys."""
        lead = self.parts[0]
        cosine = {part: self._search[part].cosines(rows) for part, rows in queries.items()}
        cal = self.threshold if isinstance(self.threshold, Calibration) else None
        if cal is None:
            return cosine[lead]
        score = cal.source[lead](cosine[lead])
        if self.fusion == "late":
            has_P = np.asarray(queries["image"].any(axis=1), dtype=bool)
            has_R = np.asarray(self._keys.rows["image"].any(axis=1), dtype=bool)
            image = cal.source["image"](cosine["image"])
            score = fuse_late(score, image, has_P[:, None] & has_R[None, :], self.image_weight)
        words_R = self._keys.words_R
        if cal.note is not None and words_R.any():
            score[:, words_R] = cal.note(cosine[lead][:, words_R])
        return score

    def _limits(self) -> tuple[float, float]:
        """Thresholds of source keys and of words."""
        if not isinstance(self.threshold, Calibration):
            return self.threshold, self.threshold
        own = self.threshold.note_threshold
        return self.threshold.threshold, self.threshold.threshold if own is None else own

    def _hits(self, problem: Problem, score_R: Scores, exclude_sources: bool) -> list[Hit]:
        source, words = self._limits()
        words_R = self._keys.words_R
        margin_R = score_R - np.where(words_R, np.float32(words), np.float32(source))
        margin_M = np.maximum.reduceat(margin_R, self._keys.starts_M)
        if not (margin_M >= 0).any():
            return []
        for i in self._hidden(problem, exclude_sources):
            margin_M[i] = -np.inf
        passed = np.flatnonzero(margin_M >= 0)
        if len(passed) > self.top_k:
            least = np.partition(margin_M[passed], -self.top_k)[-self.top_k]
            passed = passed[margin_M[passed] >= least]
        # Ties go to the note whose id comes first.
        order = sorted(passed.tolist(), key=lambda i: (-margin_M[i], i))[: self.top_k]
        ends = np.append(self._keys.starts_M[1:], len(score_R))
        hits = []
        for i in order:
            best = int(self._keys.starts_M[i] + np.argmax(margin_R[self._keys.starts_M[i] : ends[i]]))
            key: KeyKind = "note" if words_R[best] else "source"
            hits.append(Hit(self.notes[i], float(score_R[best]), float(margin_R[best]), key))
        return hits

    def _hidden(self, problem: Problem, exclude_sources: bool) -> set[int]:
        """Notes this problem may not be given."""
        hidden: set[int] = set()
        if exclude_sources:
            hidden.update(self._sources.get(f"id:{problem.id}", ()))
            if self._hashed:
                for value in problem_hashes(problem):
                    hidden.update(self._sources.get(value, ()))
        if self.subjects is not None:
            allowed = {normal_text(subject) for subject in self.subjects(problem)}
            hidden.update(i for i, subject in enumerate(self._subject_M) if subject not in allowed)
        return hidden


def index_of(
    cfg: RetrievalConfig, path: str | Path, say: Callable[[str], None] = print
) -> Callable[[Vectors], Index] | None:
    """What `Retriever` takes as `index` under these settings; `path` is the notebook."""
    if cfg.index == "exact":
        return None
    return lambda rows: make_index(cfg.index, rows, folder_of(path), say)


def _by_source(notes: Sequence[Note]) -> dict[str, list[int]]:
    """`id:` of a source or one of its hashes -> positions of the notes learnt from it."""
    found: dict[str, list[int]] = {}
    for i, note in enumerate(notes):
        for value in dict.fromkeys((*(f"id:{name}" for name in note.sources), *note.source_hashes)):
            found.setdefault(value, []).append(i)
    return found
