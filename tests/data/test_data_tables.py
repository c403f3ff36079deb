"""Pictures in tables as pandas and pyarrow write them, and rows that can be read in two ways."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import png, write

from r3v.data import load
from r3v.data.images import decode
from r3v.data.shown import shown
from r3v.errors import DataError, ImageError

TWO = {"question": ["q1", "q2"], "answer": ["4", "5"]}
CELLS: dict[str, list[Any]] = {
    "struct": [{"bytes": png(1), "path": None}, {"bytes": png(2), "path": "b.png"}],
    "binary": [png(1), png(2)],
    "list of structs": [[{"bytes": png(1), "path": None}], [{"bytes": png(2), "path": None}] * 2],
    "list of binaries": [[png(1)], [png(2), png(3)]],
    "struct of paths": [{"bytes": None, "path": "1.png"}, {"bytes": None, "path": "2.png"}],
    "path": ["1.png", "2.png"],
}


def table(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return f"hub:{path}"


@pytest.mark.parametrize("kind", CELLS)
def test_pictures_without_the_type_image(kind: str, tmp_path: Path) -> None:
    for i in (1, 2):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    name = "images" if "list" in kind else "image"
    problems = load(table(tmp_path / "d.parquet", **TWO, **{name: pa.array(CELLS[kind])}))
    assert [decode(p.images[0]).getpixel((0, 0)) for p in problems] == [(1, 0, 0), (2, 0, 0)]
    assert [len(p.images) for p in problems] == ([1, 2] if "list" in kind else [1, 1])
    assert len({p.id for p in problems}) == 2


def test_large_binary_and_a_name_of_the_column(tmp_path: Path) -> None:
    spec = table(tmp_path / "d.parquet", **TWO, pic=pa.array([png(1), png(2)], type=pa.large_binary()))
    assert decode(load(f"{spec}?image=pic")[1].images[0]).getpixel((0, 0)) == (2, 0, 0)


def test_pictures_that_no_option_names_are_told(tmp_path: Path) -> None:
    problems = load(table(tmp_path / "d.parquet", **TWO, image_1=pa.array([png(1), png(2)])))
    with pytest.warns(UserWarning, match=r"row train 1: holds pictures in image_1, .* show one with image=image_1"):
        assert problems[0].images == ()


def test_bad_cells_name_their_row_and_never_their_bytes(tmp_path: Path) -> None:
    """The second picture is cut off, the third empty, the fourth a struct of nulls, the fifth no picture at all."""
    picture = png() + b"x" * 2_000_000
    cells = [picture, png()[:45], b"", None, b"no picture" * 1000]
    structs = [None if cell is None else {"bytes": cell, "path": None} for cell in cells]
    column = pa.array(structs, type=pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    rows = {"question": ["q1", "q2", "q3", "q4", "q5"], "answer": [b"ab" * 40_000, b"1", b"1", b"1", b"1"]}
    spec = table(tmp_path / "d.parquet", **rows, image=column)
    with pytest.warns(UserWarning, match="row train 4: has no picture"):
        problems = load(spec, skip_bad=True)
    assert len(problems) == 0
    assert all("PNG" not in str(error) and len(str(error)) < 400 for error in problems.bad)
    spec = table(tmp_path / "e.parquet", question=rows["question"], answer=["1"] * 5, image=column)
    with pytest.warns(UserWarning, match="row train 4: has no picture"):
        problems = load(spec, skip_bad=True)
    assert [p.images != () for p in problems] == [True, False]
    assert [(error.row, type(error)) for error in problems.bad] == [(f"train {i}", ImageError) for i in (2, 3, 5)]
    assert [word in str(error) for word, error in zip(("cut off", "0 bytes", "broken"), problems.bad, strict=True)] == [
        True
    ] * 3


def test_a_value_as_an_error_tells_it() -> None:
    assert shown(b"12345") == "5 bytes"
    assert shown({"bytes": b"x" * 3_000_000, "path": None}) == "{'bytes': 3,000,000 bytes, 'path': None}"
    assert shown([b"ab", "c" * 100]) == "[2 bytes, 'cccccccccccccccccccc'... (100 characters)]"
    assert shown(list(range(20))) == "[0, 1, 2, 3, 4, 5, 6, 7, 12 more]"
    assert (shown(3), shown(None), shown({1})) == ("3", "None", "a set")


def lines(folder: Path, *rows: dict[str, Any]) -> str:
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png(i))
    return f"jsonl:{write(folder / 'd.jsonl', list(rows))}"


def row(i: int, **fields: Any) -> dict[str, Any]:
    return {"id": str(i), "question": f"q{i}", "answer": "4", **fields}


def test_image_beside_images(tmp_path: Path) -> None:
    """The same picture twice is no choice to make; another one is, and is told once."""
    first = row(1, image="0.png", images=["0.png"])
    spec = lines(tmp_path, first, row(2, image="0.png", images=["1.png"]), row(3, image="0.png", images=["1.png"]))
    problems = load(spec)
    assert len(problems[0].images) == 1
    with pytest.warns(UserWarning, match="row 2: image and images differ; image is shown") as told:
        assert [Path(p.images[0].describe()).name for p in problems] == ["0.png"] * 3
    assert len(told) == 1
    assert [Path(p.images[0].describe()).name for p in load(f"{spec}?image=images")] == ["0.png", "1.png", "1.png"]


def test_rows_with_and_without_pictures(tmp_path: Path) -> None:
    several = row(1, images=["0.png", "1.png"])
    problems = load(lines(tmp_path, several, row(2), row(3), row(4, images=[]), row(5, image="1.png")))
    with pytest.warns(UserWarning, match="row 2: has no picture and row 1 has one; rows without are") as told:
        assert [len(p.images) for p in problems] == [2, 0, 0, 0, 1]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "pictures", "wanted"),
    [
        ("<image>Find x.", 1, "Find x."),
        ("<image>\n<image> Which differ?", 2, "Which differ?"),
        ("Find x. <image>", 1, "Find x."),
        ("No mark.", 1, "No mark."),
        ("<image 1>Find x.", 1, "Find x."),
    ],
)
def test_image_marks_at_the_ends_are_taken_out(text: str, pictures: int, wanted: str, tmp_path: Path) -> None:
    problems = load(lines(tmp_path, row(1, question=text, images=["0.png", "1.png"][:pictures])))
    assert problems[0].question == wanted


@pytest.mark.parametrize(
    ("text", "pictures", "wanted"),
    [
        ("In <image> find x.", 1, "In find x."),
        ("Is <image> or <image> larger?", 2, "Is (picture 1) or (picture 2) larger?"),
        ("<image> Is it like <image> ?", 2, "Is it like (picture 2) ?"),
        ("Compare <image 2> to <image_1>, then <image 2>.", 2, "Compare (picture 2) to (picture 1), then (picture 2)."),
    ],
)
def test_image_marks_inside_are_told_once(text: str, pictures: int, wanted: str, tmp_path: Path) -> None:
    images = ["0.png", "1.png"][:pictures]
    rows = [row(i, question=text, images=images) for i in (1, 2)]
    problems = load(lines(tmp_path, *rows))
    with pytest.warns(UserWarning, match="row 1: <image> inside the text") as told:
        assert [p.question for p in problems] == [wanted] * 2
    assert len(told) == 1


def test_more_marks_than_pictures_is_a_bad_row(tmp_path: Path) -> None:
    spec = lines(tmp_path, row(1, question="<image><image> Same?", image="0.png"), row(2, question="<image>x"))
    problems = load(spec)
    with pytest.raises(DataError, match="row 1, field question: found 2 <image> in the text and 1 pictures"):
        problems[0]
    with (
        pytest.warns(UserWarning, match="has no picture"),
        pytest.raises(DataError, match="row 2, field question: found 1 <image> in the text and 0 pictures"),
    ):
        problems[1]


def test_keys_that_stand_twice(tmp_path: Path) -> None:
    """Two values are a bad row, wherever they stand; one value twice is read and told once; a text looks like one."""
    path = tmp_path / "d.jsonl"
    path.write_text(
        '{"question": "q1", "answer": "4", "answer": "5"}\n'
        '{"question": "q2", "answer": "4", "answer": "4"}\n'
        '{"question": "q3", "answer" : "4", "answer" : "4"}\n'
        '{"question": "the \\"key\\": \\"x\\"", "answer": "4"}\n'
        '{"question": "q5", "answer": "4", "meta": {"a": 1, "a": 2}}\n'
    )
    with pytest.warns(UserWarning, match="row 2: a key stands twice in one object, with one value") as told:
        problems = load(f"jsonl:{path}", skip_bad=True)
    assert len(told) == 1
    assert [p.question for p in problems] == ["q2", "q3", 'the "key": "x"']
    assert [(error.row, error.field) for error in problems.bad] == [("1", "answer"), ("5", "a")]
    assert "stands twice in one object, with different values" in str(problems.bad[0])
    whole = tmp_path / "d.json"
    whole.write_text('{"a": {"question": "q", "answer": "1", "answer": "2"}, "b": {"question": "q", "answer": "1"}}')
    assert [error.row for error in load(f"jsonl:{whole}", skip_bad=True).bad] == ["1"]


def test_a_plain_file_warns_of_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(load(lines(tmp_path, *(row(i, image="0.png") for i in range(3)))))) == 3
    assert json.loads((tmp_path / "d.jsonl").read_text().splitlines()[0])["image"] == "0.png"
