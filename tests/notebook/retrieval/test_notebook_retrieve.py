"""Retrieval: what is found, what never is, and how stored vectors are refused. Vectors are written by hand."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from r3v.embedding.lexical import Lexical
from r3v.embedding.protocol import Part, Vectors, Worded, unit_rows
from r3v.errors import ConfigError, RunError
from r3v.notebook.retrieval.keys import reembed, remember, sources_of, stored_vectors
from r3v.notebook.retrieval.retrieve import Retriever, Stored
from r3v.notebook.retrieval.scoring import Calibration, Measured, RetrievalConfig, Scale, with_preset
from r3v.notebook.store.identity import (
    hashes_of,
    identifies,
    look_hash,
    normal_text,
    problem_hashes,
    rebuild,
    source_hash,
    source_record,
    text_hash,
)
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.records import BytesImage, Problem


def picture(shade: int = 0, kind: str = "PNG") -> BytesImage:
    """A 32 x 32 ramp from dark to bright (or back for odd shades) whose bytes depend on shade and kind."""
    image = Image.new("L", (32, 32))
    image.putdata([(x if shade % 2 == 0 else 31 - x) * 7 + shade // 2 for _ in range(32) for x in range(32)])
    data = io.BytesIO()
    image.convert("RGB").save(data, kind)
    return BytesImage(data.getvalue())


def problem(name: str, question: str = "", images: tuple[BytesImage, ...] = ()) -> Problem:
    return Problem(id=name, question=question or f"Question 1 of {name}", answer="5", kind="number", images=images)


class Table:
    """An embedder whose vectors are told: problems by id, notes by id."""

    id, revision, dim = "table", "1", 2
    modalities: tuple[Part, ...] = ("text", "image", "mixed")

    def __init__(self, **angles: float) -> None:
        """Angles in degrees: the cosine of two items is the cosine of their difference. `NAME_image` for pictures."""
        self.angles, self.calls = angles, 0

    def _rows(self, names: Sequence[str], part: Part) -> Vectors:
        self.calls += 1
        keys = [f"{name}_image" if part == "image" else name for name in names]
        found = [np.deg2rad(self.angles[key]) if key in self.angles else None for key in keys]
        return np.array([[0, 0] if a is None else [np.cos(a), np.sin(a)] for a in found], np.float32).reshape(-1, 2)

    def embed_problems(self, problems: Sequence[Any], part: Part = "text") -> Vectors:
        return self._rows([p.id for p in problems], part)

    def embed_notes(self, notes: Sequence[Worded], part: Part = "text") -> Vectors:
        return self._rows([n.id for n in notes], part)


def notes_of(*notes: Note) -> dict[str, Note]:
    return {note.id: note for note in notes}


A, B = Note("a", "angles", "Add them."), Note("b", "circles", "Halve it.")


def test_the_nearest_note_above_the_threshold_is_found() -> None:
    """Query at 0 degrees: a at 60 has cosine 0.5, b at 75 has 0.259."""
    retriever = Retriever(notes_of(A, B), Table(q=0, a=60, b=75), 0.4)
    [[hit]] = retriever.retrieve([problem("q")])
    assert (hit.note.id, hit.key) == ("a", "note")
    assert hit.score == pytest.approx(0.5, abs=1e-6)
    assert hit.margin == pytest.approx(0.1, abs=1e-6)
    assert Retriever(notes_of(A, B), Table(q=0, a=60, b=75), 0.51).retrieve([problem("q")]) == [[]]


def test_top_k_best_first_and_ties_by_id() -> None:
    third = Note("c", "lines", "Draw.")
    retriever = Retriever(notes_of(third, B, A), Table(q=0, a=30, b=10, c=-30), 0.1, top_k=3)
    assert [hit.note.id for hit in retriever.retrieve([problem("q")])[0]] == ["b", "a", "c"]
    two = Retriever(notes_of(third, B, A), Table(q=0, a=30, b=50, c=30), 0.1, top_k=2)
    assert [hit.note.id for hit in two.retrieve([problem("q")])[0]] == ["a", "c"]


def test_no_notes_no_problems_and_retired_notes() -> None:
    table = Table(q=0, a=0)
    assert Retriever({}, table, 0.1).retrieve([problem("q"), problem("r")]) == [[], []]
    assert Retriever(notes_of(A), table, 0.1).retrieve([]) == []
    retired = replace(A, state="retired")
    assert Retriever(notes_of(retired), table, 0.1).retrieve([problem("q")]) == [[]]


def sourced(note: Note, *problems: Problem) -> Note:
    return replace(note, sources=tuple(p.id for p in problems), source_hashes=hashes_of(problems))


def test_a_note_is_found_by_the_problems_it_was_learnt_from() -> None:
    """The note's own words are at 90 degrees from the query; its second source is at 10."""
    s, t = problem("s"), problem("t")
    note = sourced(A, s, t)
    table = Table(q=0, a=90, s=80, t=10)
    rows = table.embed_problems([s, t])
    stored = Stored({"text": {source_hash(s): rows[0], source_hash(t): rows[1]}}, {})
    [[hit]] = Retriever(notes_of(note), table, 0.4, stored=stored).retrieve([problem("q")])
    assert hit.key == "source"
    assert hit.score == pytest.approx(np.cos(np.deg2rad(10)), abs=1e-6)
    assert Retriever(notes_of(note), table, 0.4, stored=stored, keys="note").retrieve([problem("q")]) == [[]]
    both = Retriever(notes_of(note), Table(q=0, a=5), 0.4, stored=stored, keys="both")
    assert both.retrieve([problem("q")])[0][0].key == "note"


def test_never_for_its_own_source_nor_a_copy_of_it() -> None:
    image, other = picture(0), picture(1)
    source = problem("s", "Angle A is 35. Find B.", (image,))
    note = sourced(A, source)
    retriever = Retriever(notes_of(note), Table(s=0, u=0, v=0, w=0, x=0, a=0), 0.4)

    def finds(asked: Problem) -> bool:
        return bool(retriever.retrieve([asked])[0])

    assert not finds(source)
    assert not finds(problem("s", "Something else with 7")), "same id"
    assert not finds(problem("u", "Another question 9", (image,))), "same picture"
    assert not finds(problem("v", "angle a is 35 - find b".replace("- ", ""), (other,))), "same words"
    assert finds(problem("w", "Angle A is 36. Find B.", (other,)))
    assert retriever.retrieve([source], exclude_sources=False)[0], "the paper's gate asks for it"


def test_the_best_other_note_takes_the_place_of_an_excluded_one() -> None:
    asked = problem("q")
    retriever = Retriever(notes_of(sourced(A, asked), B), Table(q=0, a=0, b=30), 0.4)
    assert [hit.note.id for hit in retriever.retrieve([asked])[0]] == ["b"]


def test_generic_questions_differ_by_their_pictures_and_survive_reencoding() -> None:
    """`Find the area.` leaves the numbers to the picture: other pictures are other problems, the same picture saved
    as BMP is the same problem."""
    first = problem("s", "Find the area.", (picture(0),))
    assert not identifies(first)
    retriever = Retriever(notes_of(sourced(A, first)), Table(s=0, u=0, v=0, a=0), 0.4)
    assert retriever.retrieve([problem("u", "Find the area.", (picture(1),))])[0]
    assert not retriever.retrieve([problem("v", "Find the area", (picture(0, "BMP"),))])[0]
    assert look_hash(first) == look_hash(problem("v", "find the  AREA", (picture(0, "BMP"),)))


def test_normal_text_and_hashes() -> None:
    assert normal_text("In  triangle ABC, angle A = 35.5°!") == "in triangle abc angle a = 35.5 °"
    closed = Problem(id="c", question="What is 1 + 1?", answer="A", kind="choice", choices=("2", "3"))
    assert text_hash(closed) == text_hash(closed.open())
    assert source_hash(closed) != source_hash(closed.open())
    assert source_hash(closed) == source_hash(replace(closed, answer="B", id="other")), "never the answer"
    kinds = [value.partition(":")[0] for value in problem_hashes(problem("s", "Find 5", (picture(),)))]
    assert kinds == ["source", "image", "text", "look"]


def test_subjects_limit_what_may_be_given() -> None:
    table = Table(q=0, a=0, b=30)
    retriever = Retriever(notes_of(A, B), table, 0.4, subjects=lambda p: ["Circles!"])
    assert [hit.note.id for hit in retriever.retrieve([problem("q")])[0]] == ["b"]
    assert Retriever(notes_of(A, B), table, 0.4, subjects=lambda p: []).retrieve([problem("q")]) == [[]]


MEASURED = Measured(100, 1, 0.05, (0.0, 0.1), (0.0, 1.0))


def calibration(fusion: str, source: dict[Part, Scale], threshold: float, **more: object) -> Calibration:
    parts = ("text", "image") if fusion == "late" else (fusion,)
    names = tuple(f"table@1/{part}" for part in parts)
    base = Calibration(names, fusion, 0.5, 0.05, source, threshold, MEASURED)  # type: ignore[arg-type]
    return replace(base, **more)


def test_late_fusion_averages_normalised_scores() -> None:
    """Text cosine 0.5 with scale (0.3, 0.1) is 2 deviations, image cosine 0.866 with scale (0.366, 0.25) is 2; their
    mean weighted by halves over sqrt(1/2) is 2.828. Without a picture the text's 2 stands alone."""
    source = problem("s", "Find 3", (picture(0),))
    table = Table(q=0, q_image=0, s=60, s_image=30, p=0)
    rows: dict[Part, Vectors] = {part: table.embed_problems([source], part) for part in ("text", "image")}
    stored = Stored({part: {source_hash(source): row[0]} for part, row in rows.items()})
    scales: dict[Part, Scale] = {"text": Scale(0.3, 0.1), "image": Scale(float(np.cos(np.pi / 6)) - 0.5, 0.25)}
    found = calibration("late", scales, 1.9)
    retriever = Retriever(notes_of(sourced(A, source)), table, found, fusion="late", stored=stored)
    [[both], [alone]] = retriever.retrieve([problem("q"), problem("p")])
    assert both.score == pytest.approx(2 * np.sqrt(2), abs=1e-4)
    assert alone.score == pytest.approx(2.0, abs=1e-4)


def test_words_have_their_own_scale_and_threshold() -> None:
    """Cosine 0.5 of the words: (0.5 - 0.2) / 0.1 = 3 passes 2.5; by the scale of questions it would be -4."""
    questions: dict[Part, Scale] = {"text": Scale(0.9, 0.1)}
    found = calibration("text", questions, 1.0, note=Scale(0.2, 0.1), note_threshold=2.5)
    [[hit]] = Retriever(notes_of(A), Table(q=0, a=60), found).retrieve([problem("q")])
    assert (round(hit.score, 4), round(hit.margin, 4)) == (3.0, 0.5)
    with pytest.warns(UserWarning, match="by their words, such as 'a'"):
        assert Retriever(notes_of(A), Table(q=0, a=60), calibration("text", questions, 1.0)).retrieve(
            [problem("q")]
        ) == [[]]


def test_settings_that_contradict_are_refused() -> None:
    table = Table(a=0)
    with pytest.raises(ConfigError, match="late fusion"):
        Retriever(notes_of(A), table, 0.4, fusion="late")
    with pytest.raises(ConfigError, match="top_k 0"):
        Retriever(notes_of(A), table, 0.4, top_k=0)
    with pytest.raises(ConfigError, match="finite"):
        Retriever(notes_of(A), table, float("nan"))
    with pytest.raises(ConfigError, match="parts text, found 'mixed'"):
        Retriever(notes_of(A), Lexical(), 0.4, fusion="mixed")
    with pytest.raises(ConfigError, match=r"found a calibration of mixed with table@1/mixed"):
        Retriever(notes_of(A), table, calibration("mixed", {"mixed": Scale()}, 1.0))
    with pytest.raises(ConfigError, match="expected one of m2note-paper"):
        with_preset(RetrievalConfig(), "paper")
    paper = with_preset(RetrievalConfig(top_k=5), "m2note-paper")
    assert (paper.top_k, paper.threshold) == (1, 0.4)


def test_search_agrees_with_brute_force_on_ten_thousand_keys() -> None:
    """Random vectors, two sources a note: for every query the best note by a plain double loop over cosines."""
    rng = np.random.default_rng(0)
    dim, count = 24, 5000
    keys = unit_rows(rng.standard_normal((2 * count, dim)))
    queries = unit_rows(rng.standard_normal((5, dim)))
    names = [f"source:{i:05d}" for i in range(2 * count)]
    notes = notes_of(
        *(Note(f"n{i:04d}", "s", "g", source_hashes=(names[2 * i], names[2 * i + 1])) for i in range(count))
    )

    class Given(Lexical):
        def embed_problems(self, problems: Sequence[Any], part: Part = "text") -> Vectors:
            return queries[[int(p.id) for p in problems]]

    stored = Stored({"text": dict(zip(names, keys, strict=True))})
    retriever = Retriever(notes, Given(dim), 0.0, top_k=3, stored=stored)
    for i, hits in enumerate(retriever.retrieve([problem(str(i)) for i in range(5)])):
        best = np.maximum(*(keys @ queries[i]).reshape(count, 2).T)
        assert [hit.note.id for hit in hits] == [f"n{m:04d}" for m in np.argsort(-best)[:3]]
        assert [hit.score for hit in hits] == pytest.approx(sorted(best, reverse=True)[:3], abs=1e-5)


# ---- with a real store ---------------------------------------------------------------------------------


def filled(path: Path) -> tuple[Notebook, Problem, Note]:
    source = problem("s", "Find angle 30 at the centre of the circle.", (picture(0),))
    note = sourced(A, source)
    notebook = Notebook.open(path, create=True)
    remember(notebook, [source], Lexical(64), "text")
    notebook.commit([note], message="learn", author="test")
    return notebook, source, note


def test_remembered_vectors_are_used_and_other_embedders_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.sqlite"
    notebook, _, _ = filled(path)
    with notebook:
        notes = notebook.notes()
        stored = stored_vectors(notebook, notes, Lexical(64), "text", path=path, spec="lexical:64")
        asked = problem("q", "Find angle 70 at the centre of the circle.")
        [[hit]] = Retriever(notes, Lexical(64), 0.9, stored=stored).retrieve([asked])
        assert hit.key == "source"
        with pytest.raises(RunError, match=r"1 of 1 source problems have no vector of lexical@1\.128/text") as error:
            stored_vectors(notebook, notes, Lexical(128), "text", path=path, spec="lexical:128")
        assert f"r3v notebook reembed {path} --embedder lexical:128 --fusion text" in str(error.value)
        assert "lexical@1.64/text" in str(error.value)


def test_reembedding_needs_nothing_but_the_notebook(tmp_path: Path) -> None:
    """The source is rebuilt from blobs, answer unknown, and gets the vector the problem itself would get."""
    path = tmp_path / "n.sqlite"
    notebook, source, _ = filled(path)
    with notebook:
        notes = notebook.notes()
        assert reembed(notebook, notes, Lexical(128), "text") == {"sources": 1, "notes": 1}
        assert reembed(notebook, notes, Lexical(128), "text") == {"sources": 0, "notes": 0}
        stored = stored_vectors(notebook, notes, Lexical(128), "text", path=path, spec="lexical:128")
        again = rebuild(notebook.blob(source_hash(source).removeprefix("source:")), notebook.blob)
    expected = Lexical(128).embed_problems([source])[0]
    assert stored.sources["text"][source_hash(source)].tolist() == expected.tolist()
    assert source_record(again) == source_record(source)
    assert sources_of(notes) == [source_hash(source)]
