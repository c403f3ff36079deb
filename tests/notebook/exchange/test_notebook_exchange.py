"""Notes as Markdown and JSONL, in and out, without loss."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from r3v.errors import DataError, ImageError
from r3v.notebook.exchange.editing import from_markdown, to_markdown
from r3v.notebook.exchange.exchange import FORMATS, Format, export, file_name, import_
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)

TEXT = st.text(st.sampled_from('ab #\\-"!:\n\r\t\x00\x85\u2028é[]()'), max_size=12) | st.sampled_from(
    ["---", "# one", "\\## two", "a\n## Avoid\n\nb", " x", "- item", "![i](x)", "{}", "1", "\ufeff", "## Images"]
)
FULL = TEXT.filter(str.strip)
ITEMS = st.lists(TEXT, max_size=3).map(tuple)
NOTES = st.builds(
    Note,
    id=st.text(st.sampled_from('aBé/.- _"#'), min_size=1, max_size=8).filter(lambda s: s == s.strip()),
    subject=FULL,
    guidance=FULL,
    example=TEXT,
    anti_pattern=TEXT,
    applicability=TEXT,
    sources=ITEMS,
    source_hashes=ITEMS,
    author=TEXT,
    prompt_hash=TEXT,
    parents=ITEMS,
    state=st.sampled_from(["active", "retired"]),
)


@pytest.fixture
def nb(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "a.notebook", create=True) as notebook:
        yield notebook


def filled(nb: Notebook) -> dict[str, Note]:
    picture, record = nb.put_blob(PNG), nb.put_blob(b'{"question":"?"}')
    notes = [
        Note(id="angles", subject="Angles", guidance="Add them up.\nTwice.", example="# 90", images=(picture,)),
        Note(id="Bars/1", subject="Bars", guidance="Read.", source_hashes=(f"source:{record}", f"image:{picture}")),
        Note(id="old", subject="Old", guidance="No.", state="retired"),
    ]
    nb.commit(notes, message="m", author="me")
    nb.refuse("lesson", {"p": 0.5})
    return nb.notes(retired=True)


@given(note=NOTES)
@example(Note(id="a", subject="# x", guidance="## Guidance\n\n\\# a\n\\\\## b\n---\n# c", example="\t", sources=("",)))
@settings(max_examples=150)
def test_markdown_brings_back_every_note(note: Note) -> None:
    page = to_markdown(note)
    assert from_markdown(page) == note
    assert from_markdown(page.replace("\n", "\r\n")) == note, "saved by an editor that writes CRLF"


def test_the_page_of_a_note() -> None:
    note = Note(
        id="angle-sum",
        subject="Angles of a triangle",
        guidance="Add the known ones.\n# not a title",
        anti_pattern="Guessing",
        sources=("geoqa/1", "two words"),
        images=("ab" * 32,),
    )
    assert to_markdown(note) == (
        '---\nschema: 1\nid: angle-sum\nstate: active\nsources:\n- geoqa/1\n- "two words"\n---\n'
        "# Angles of a triangle\n\n## Guidance\n\nAdd the known ones.\n\\# not a title\n\n"
        f"## Avoid\n\nGuessing\n\n## Images\n\n![image 1](blob:{'ab' * 32})\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("---\n", "", "does not begin with a head"),
        ("state: active", "state: asleep", "expected active or retired"),
        ("state: active", "sate: active", "did you mean 'state'"),
        ("state: active", "state: active\nstate: active", "state is there twice"),
        ("state: active", "- x", "belongs to no list"),
        ("state: active", 'state: "active', "closed JSON string"),
        ("state: active", "sources: x", "one `- item` a line"),
        ("schema: 1", "schema: 2", "found note schema '?2'?, expected 1"),
        ("id: a\n", "", "missing id"),
        ("## Guidance", "## Guidence", "found section 'Guidence'"),
        ("## Guidance", "# Guidance", "a second title"),
        ("look", "look\n\n## Guidance\n\nagain", "is there twice"),
        ("look", "", "missing guidance"),
        ("# S\n", "# S\n\nstray\n", "outside of every section"),
        ("look", "look\n\n## Images\n\ntext", "expected !"),
        ("look", "look\n\n## Images\n\n![x](file.png)", "expected blob:HASH"),
    ],
)
def test_a_page_that_does_not_fit_is_told(old: str, new: str, said: str) -> None:
    page = to_markdown(Note(id="a", subject="S", guidance="look"))
    assert old in page
    with pytest.raises(DataError, match=said):
        from_markdown(page.replace(old, new), file="page.md")


@pytest.mark.parametrize("format", FORMATS)
def test_export_and_import_lose_nothing(nb: Notebook, tmp_path: Path, format: Format) -> None:
    notes = filled(nb)
    commit = export(nb, tmp_path / "out", format=format)
    assert commit == nb.head()
    with Notebook.open(tmp_path / "b.notebook", create=True) as other:
        found = import_(other, tmp_path / "out", author="me")
        assert (found.added, found.changed, found.removed, found.refusals) == (3, 0, 0, 1)
        assert other.notes(retired=True) == notes
        assert other.snapshot() == nb.snapshot()
        assert other.blob(notes["angles"].images[0]) == PNG
        assert other.blob(notes["Bars/1"].source_hashes[0].removeprefix("source:")) == b'{"question":"?"}'
        assert other.refusals() == {"lesson": {"p": 0.5}}
        assert import_(other, tmp_path / "out", author="me").commit is None
        assert verify(other) == []
        export(other, tmp_path / "again", format=format)
    first, second = (
        {p.relative_to(tmp_path / f).as_posix(): p.read_bytes() for p in (tmp_path / f).rglob("*") if p.is_file()}
        for f in ("out", "again")
    )
    assert first.pop("notebook.json") != second.pop("notebook.json")
    assert first == second


@given(notes=st.lists(NOTES, min_size=1, max_size=4, unique_by=lambda n: n.id))
@settings(max_examples=15)
def test_any_notebook_survives_both_formats(tmp_path_factory: pytest.TempPathFactory, notes: list[Note]) -> None:
    folder = tmp_path_factory.mktemp("any")
    with Notebook.open(folder / "a", create=True) as nb:
        nb.commit(notes, message="m", author="me")
        for format in FORMATS:
            export(nb, folder / format, format=format)
            with Notebook.open(folder / f"{format}.notebook", create=True) as other:
                import_(other, folder / format, author="me")
                assert other.snapshot() == nb.snapshot()


def test_a_second_export_touches_only_what_changed(nb: Notebook, tmp_path: Path) -> None:
    notes = filled(nb)
    out = tmp_path / "out"
    export(nb, out)
    (out / "README").write_text("mine")
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    changed = replace(notes["angles"], guidance="Add them up.\nThrice.")
    nb.commit([changed], ["old"], message="m", author="me")
    export(nb, out)
    same = {p for p in times if p.exists() and p.stat().st_mtime_ns == times[p]}
    assert times.keys() - same == {out / "notebook.json", out / "notes/angles.md", out / "notes/old.md"}
    assert not (out / "notes/old.md").exists()
    assert (out / "README").read_text() == "mine"


def test_an_export_never_overwrites_what_a_person_wrote(nb: Notebook, tmp_path: Path) -> None:
    filled(nb)
    out = tmp_path / "out"
    export(nb, out)
    page = out / "notes/angles.md"
    mine = page.read_text().replace("Twice", "Carefully")
    page.write_text(mine)
    with pytest.raises(DataError, match=r"edited since the export: notes/angles.md"):
        export(nb, out)
    assert page.read_text() == mine
    found = import_(nb, out, author="ann", message="by hand")
    assert (found.added, found.changed) == (0, 1)
    assert nb.notes()["angles"].guidance == "Add them up.\nCarefully."
    assert nb.get_commit(nb.head()).author == "ann"
    export(nb, out)
    (out / "refused.jsonl").write_text('{"lesson": "mine", "receipt": {}}\n')
    with pytest.raises(DataError, match=r"refused.jsonl"):
        export(nb, out)
    export(nb, out, force=True)
    assert '"lesson"' in (out / "refused.jsonl").read_text()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="not empty and no export"):
        export(nb, other)


def test_replace_removes_what_is_not_in_the_folder(nb: Notebook, tmp_path: Path) -> None:
    filled(nb)
    export(nb, tmp_path / "out", format="jsonl")
    lines = (tmp_path / "out/notes.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out/notes.jsonl").write_text("".join(lines[1:]))
    assert import_(nb, tmp_path / "out", author="me").commit is None
    assert import_(nb, tmp_path / "out", author="me", replace=True).removed == 1
    assert list(nb.snapshot()) == ["angles", "old"]


def test_mnl_rows_become_notes(nb: Notebook, tmp_path: Path) -> None:
    rows = [
        {"subject": "SQL: joins over dates", "guidance": "Correct approach: ...", "embedding": [0.1, 0.2]},
        {"subject": "几何", "guidance": "x"},
    ]
    path = tmp_path / "memory.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert import_(nb, path, author="me").added == 2
    found = {note.subject: note for note in nb.notes().values()}
    first = found["SQL: joins over dates"]
    assert (first.guidance, first.author) == ("Correct approach: ...", "MNL")
    assert first.id.startswith("mnl-sql-joins-over-dates-")
    assert found["几何"].guidance == "x"
    rows[0]["guidance"] = "better"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = import_(nb, path, author="me")
    assert (again.added, again.changed) == (0, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "row line 1: not JSON"),
        ("[]", "expected an object"),
        ('{"subject": "s"}', "subject and guidance"),
        ('{"subject": "s", "guidance": {"a": 1}}', "no text"),
        ('{"id": "a", "subject": "s", "guidance": "g", "colour": 1}', "unknown field 'colour'"),
        ('{"id": "a", "subject": "s", "guidance": "g", "sources": [1]}', "list of strings"),
        ('{"id": "a", "subject": "s", "guidance": "g"}\n{"id": "a", "subject": "s", "guidance": "h"}', "twice: a"),
        ('{"id": "a", "subject": "s", "guidance": "g", "images": ["' + "0" * 64 + '"]}', "no blob"),
    ],
)
def test_a_file_that_does_not_fit_commits_nothing(nb: Notebook, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(DataError, match=said):
        import_(nb, tmp_path / "x.jsonl", author="me")
    assert nb.snapshot() == {}


def test_an_image_with_other_bytes_is_refused(nb: Notebook, tmp_path: Path) -> None:
    filled(nb)
    export(nb, tmp_path / "out")
    (image,) = (tmp_path / "out/images").iterdir()
    image.write_bytes(PNG + b"x")
    with Notebook.open(tmp_path / "b", create=True) as other, pytest.raises(DataError, match="do not match the hash"):
        import_(other, tmp_path / "out", author="me")


def test_a_person_may_add_an_image_file(nb: Notebook, tmp_path: Path) -> None:
    page = to_markdown(Note(id="a", subject="S", guidance="g")) + "\n## Images\n\n![figure](fig 1.png)\n"
    (tmp_path / "a.md").write_text(page)
    with pytest.raises(DataError, match="no such image"):
        import_(nb, tmp_path / "a.md", author="me")
    (tmp_path / "fig 1.png").write_bytes(b"not an image")
    with pytest.raises(ImageError):
        import_(nb, tmp_path / "a.md", author="me")
    (tmp_path / "fig 1.png").write_bytes(PNG)
    import_(nb, tmp_path / "a.md", author="me")
    assert nb.blob(nb.notes()["a"].images[0]) == PNG


@pytest.mark.parametrize("what", ["none", "plain", "a.txt"])
def test_what_is_no_export_is_told(nb: Notebook, tmp_path: Path, what: str) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "a.txt").write_text("x")
    said: dict[str, Any] = {"none": "no such file", "plain": "no notebook.json", "a.txt": "found ending '.txt'"}
    with pytest.raises(DataError, match=said[what]):
        import_(nb, tmp_path / what, author="me")


def test_file_names_never_meet() -> None:
    names = ["a", "A", "a/b", "a-b", "a_b", "é", "..", "a.", "con" * 40]
    assert len({file_name(name).lower() for name in names}) == len(names)
    assert file_name("angle-sum") == "angle-sum.md"
    assert all(set(file_name(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for name in names)
