"""The check: what counts as bad, repeated or leaked, and how it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from r3v.data import load
from r3v.data.check import check, render
from r3v.errors import ConfigError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven rows: two bad, one a repeat under another id, one image in two splits, one id in two splits."""
    for name, width in (("a", 10), ("b", 20), ("c", 40)):
        Image.new("RGB", (width, 8), (width, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    rows = [
        {"id": "1", "question": "Q1", "answer": "4", "image": "a.png", "split": "train"},
        {"id": "2", "question": "Q1", "answer": "4", "image": "a.png", "split": "train"},
        {"id": "3", "question": "Q3", "answer": "x", "image": "b.png", "split": "train"},
        {
            "id": "4",
            "question": "Q4",
            "answer": "A",
            "choices": ["5", "5"],
            "image": "c.png",
            "split": "train",
        },
        {"id": "5", "question": "Q5", "answer": "1", "image": "bad.png", "split": "train"},
        {"id": "1", "question": "Q6", "answer": "1", "image": "b.png", "split": "train"},
        {"id": "3", "question": "Q7", "answer": "1", "image": "a.png", "split": "test"},
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("chosen", ["", "?split=train"])
def test_findings(data: Path, chosen: str) -> None:
    result = check(f"jsonl:{data}{chosen}", tokens_for=lambda problem: 10 * int(problem.id))
    assert not result.ok
    assert [(error.row, error.field) for error in result.bad] == [("5", "image"), ("6", "id")]
    assert result.good == (4 if chosen else 5)
    assert result.rows == result.good + 2
    assert result.repeated == [("1", "2")]
    assert {(leak.what, leak.ids) for leak in result.leaks} == {("id", ("3", "3")), ("image", ("1", "3"))}
    assert {leak.splits for leak in result.leaks} == {("train", "test")}
    assert result.warnings == ["4: the same option stands twice: 5, 5"]
    assert result.kinds == ({"number": 2, "text": 1, "choice": 1} if chosen else {"number": 3, "text": 1, "choice": 1})
    assert result.width is not None
    assert (result.width.least, result.width.most) == (10, 40)
    assert result.tokens is not None
    assert (result.tokens.least, result.tokens.most) == (10, 40)
    assert result.distinct_images == 3


@pytest.mark.parametrize(
    ("options", "told", "bad"),
    [
        ("?answer_is=index", "3 by position from 0", 1),
        ("", "1 by letter, 1 by text", 2),
    ],
)
def test_how_golds_of_choices_were_read_is_told(tmp_path: Path, options: str, told: str, bad: int) -> None:
    """Positions as ScienceQA has them, and a letter. Without a word of it the 0 is none of its options and the 1 could
    be either; the 2 of two options is the second by its text and can be no other by its position."""
    three = ["1", "2", "0"] if options else ["1", "2"]
    golds = [(0, ["3", "4"]), (1, ["1", "2"]), (2, three), ("B", ["5", "6"])]
    rows = [{"id": str(i), "question": f"q{i}", "answer": g, "choices": c} for i, (g, c) in enumerate(golds)]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    result = check(f"jsonl:{path}{options}")
    assert len(result.bad) == bad
    line = next(line for line in render(result).splitlines() if "golds of choices" in line)
    assert line.split("golds of choices")[1].strip() == told


def test_text_names_every_bad_row(data: Path) -> None:
    text = render(check(f"jsonl:{data}"))
    assert text.splitlines()[0].endswith("7 rows, 5 good, 2 bad")
    assert f"file {data}, row 5, field image: " in text
    assert "id '1' was used by an earlier row" in text
    assert "2 repeats 1" in text
    assert "image of 1 (train) also in 3 (test)" in text


def test_one_line_for_each_kind_with_its_count_and_first_case(tmp_path: Path) -> None:
    """5 absent pictures of different names, 3 broken ones and one row without a question are three kinds."""
    (tmp_path / "b.png").write_bytes(b"no image")
    rows = [{"id": str(i), "question": "q", "answer": "1", "image": f"none{i}.png"} for i in range(5)]
    rows += [{"id": f"b{i}", "question": "q", "answer": "1", "image": "b.png"} for i in range(3)]
    rows += [{"id": "c", "answer": "1"}]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    result = check(f"jsonl:{path}")
    text = render(result)
    lines = text.split("bad rows")[1].splitlines()
    assert lines[0].split() == ["9"]
    assert [line.split(": file")[0].strip() for line in lines[1:3]] == ["5 like this", "3 like this"]
    assert "row 1, field image: image 'none0.png' cannot be found" in lines[1]
    assert "row 6, field image: " in lines[2]
    assert lines[3].strip().startswith(f"file {path}, row 9, field question: is missing")
    assert len(lines) == 4
    assert len(render(result, every=True).split("bad rows")[1].splitlines()) == 10


@pytest.mark.parametrize("limit", [None, 1])
def test_a_file_without_splits_is_of_the_split_asked_for(tmp_path: Path, limit: int | None) -> None:
    """Nothing in it is in another split, so nothing leaks."""
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    rows = [{"id": str(i), "question": f"q{i}", "answer": "1", "image": "a.png"} for i in range(3)]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    result = check(f"jsonl:{path}?split=test", limit=limit)
    assert (result.leaks, dict(result.splits)) == ([], {"test": limit or 3})


def test_skip_bad_leaves_out_what_the_check_calls_bad(data: Path) -> None:
    problems = load(f"jsonl:{data}", skip_bad=True)
    assert [str(error) for error in problems.bad] == [str(error) for error in check(f"jsonl:{data}").bad]
    assert len(problems) == 5


def test_limit_open_and_wrong_specs(data: Path) -> None:
    assert check(f"jsonl:{data}?limit=2").rows == 2
    assert check(f"jsonl:{data}", limit=1).ok
    assert check(f"jsonl:{data}?open=1").kinds == {"number": 4, "text": 1}
    with pytest.raises(ConfigError):
        check("nothing:here")
    with pytest.raises(ConfigError, match="found limit -1"):
        check(f"jsonl:{data}", limit=-1)


def test_geoworld_is_clean() -> None:
    result = check("geoworld:test?n=40")
    assert result.ok
    assert result.good == 40
    assert result.without_image == 0
    assert not result.leaks
