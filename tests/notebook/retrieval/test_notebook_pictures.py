"""Pictures of notes: who is shown them, which are fit, and what says so."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from r3v.embedding.lexical import Lexical
from r3v.errors import ConfigError
from r3v.notebook.retrieval.inject import Recall, open_recall
from r3v.notebook.retrieval.keys import remember
from r3v.notebook.retrieval.pictures import Pictured, Pictures, same, shows_pictures
from r3v.notebook.retrieval.scoring import RetrievalConfig
from r3v.notebook.store.identity import hashes_of
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.prompts import STYLES
from r3v.records import BytesImage, Problem

FULL, SHORT = STYLES["full"], STYLES["short"]
CONFIG = RetrievalConfig(embedder="lexical", threshold=0.4)


def png(colour: str, size: tuple[int, int] = (8, 8)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def angle(name: str, colour: str) -> Problem:
    question = f"Two angles on a line: one is {len(name)}, find the other."
    return Problem(name, question, "140", "number", images=(BytesImage(png(colour), colour),))


def solver(kind: str | None) -> Any:
    model = None if kind is None else SimpleNamespace(config=SimpleNamespace(model_type=kind))
    return SimpleNamespace(name="m", model=model)


def learnt(path: Path, *pictures: bytes) -> Note:
    """A notebook with one note, learnt from a red problem, that shows these pictures."""
    source = angle("s", "red")
    with Notebook.open(path, create=True) as notebook:
        remember(notebook, [source], Lexical(), "text")
        images = tuple(notebook.put_blob(data) for data in pictures)
        note = Note("line", "angles", "They sum to 180.", source_hashes=hashes_of([source]), images=images)
        notebook.commit([note], message="learn", author="test")
    return note


def opened(path: Path, policy: Any, say: Callable[[str], None] = print, **more: Any) -> tuple[tuple[str, ...], Recall]:
    cfg = replace(CONFIG, images=more.pop("images", "auto"))
    with open_recall(path, policy, more.pop("style", FULL), cfg, record=False, say=say) as recall:
        return recall([angle("asked", "blue")])[0], recall


@pytest.mark.parametrize(
    ("kind", "mode", "style", "shown", "why"),
    [
        ("qwen2_5_vl", "auto", FULL, True, ""),
        ("qwen2_5_vl", "never", FULL, False, ""),
        ("qwen2_5_vl", "auto", SHORT, False, "the prompt style short"),
        ("llava", "auto", FULL, False, "trained on one picture"),
        (None, "auto", FULL, False, "not known"),
        (None, "always", FULL, True, ""),
        ("idefics3", "always", SHORT, True, ""),
    ],
)
def test_who_is_shown_pictures(kind: str | None, mode: Any, style: Any, shown: bool, why: str) -> None:
    said: list[str] = []
    assert shows_pictures(solver(kind), mode, style, said.append) is shown
    assert len(said) == bool(why)
    assert why in "".join(said)


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ConfigError, match="found note images 'yes'"):
        shows_pictures(solver(None), "yes", FULL, print)  # type: ignore[arg-type]


def test_a_solver_of_several_pictures_gets_the_notes_picture(tmp_path: Path) -> None:
    learnt(tmp_path / "n.db", png("green"), png("white"))
    (text,), with_picture = opened(tmp_path / "n.db", solver("gemma3"))
    assert isinstance(text, Pictured)
    assert [image.read() for image in text.images] == [png("green")], "the first one alone"
    (plain,), words = opened(tmp_path / "n.db", solver("gemma3"), images="never")
    assert (plain, type(plain)) == (str(text), str)
    assert with_picture.name != words.name, "results with and without pictures are kept apart"


def test_a_solver_of_one_picture_gets_words_and_one_line_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    learnt(tmp_path / "n.db", png("green"))
    (text,), recall = opened(tmp_path / "n.db", solver("llava"), said.append)
    recall([angle("again", "black")])
    assert type(text) is str
    assert len(said) == 1
    assert said[0].startswith("notes are shown to m without their pictures")


def test_nothing_is_said_where_no_note_has_a_picture(tmp_path: Path) -> None:
    said: list[str] = []
    learnt(tmp_path / "n.db")
    opened(tmp_path / "n.db", solver("llava"), said.append)
    assert said == []


def test_a_picture_that_is_too_large_is_left_out_and_told_once() -> None:
    blobs = {"big": png("red", (3000, 2000)), "ok": png("red")}
    said: list[str] = []
    names = {hashlib.sha256(data).hexdigest(): data for data in blobs.values()}
    pictures = Pictures(names.__getitem__, said.append)
    note = Note("n", "s", "g", images=tuple(names))
    for _ in range(2):
        assert [image.read() for image in pictures(note)] == [blobs["ok"]]
    assert len(said) == 1
    assert "6,000,000 pixels, more than the limit" in said[0]


def test_the_same_words_with_another_picture_are_another_prompt() -> None:
    red, blue = (Pictured("w", (BytesImage(png(colour)),)) for colour in ("red", "blue"))
    assert same((red,), (red,))
    assert not same((red,), (blue,))
    assert not same((red,), ("w",))
    assert same(("w",), (Pictured("w"),))
