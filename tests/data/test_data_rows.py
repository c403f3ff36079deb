"""Generic JSON through a field mapping: what a row may say, and how a bad one is named and skipped."""

from __future__ import annotations

import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from data_files import folder, good, write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from r3v.data import load
from r3v.data.rows import JsonFile
from r3v.errors import DataError


def test_jsonl_with_a_mapping(tmp_path: Path) -> None:
    rows = [
        {"q": "Which?", "gold": "c2", "opts": ["c1", "c2"], "img": "0.png", "w": {"s": "test"}, "tag": ["t"]},
        {"q": "How long?", "gold": 2.5, "opts": None, "img": "1.png", "w": {"s": "train"}, "tag": "u"},
    ]
    path = write(folder(tmp_path) / "d.jsonl", rows)
    mapping = "question=q&answer=gold&choices=opts&image=img&split_field=w.s&skills=tag&name=mine"
    spec = f"jsonl:{path}?{mapping}&root={tmp_path}/images"
    first, second = load(spec)
    assert (first.kind, first.answer, first.choices) == ("choice", "B", ("c1", "c2"))
    assert (second.kind, second.answer, second.choices) == ("number", "2.5", None)
    assert (first.split, second.split) == ("test", "train")
    assert first.skills == ("t",)
    assert re.fullmatch(r"mine-[0-9a-f]{12}", first.id)
    assert first.source == "mine"
    assert [p.answer for p in load(spec, split="train")] == ["2.5"]
    assert [p.answer for p in load(spec + "&split=test")] == ["B"]
    assert [p.answer for p in load(spec + "&split=test", open=True)] == ["c2"]
    with pytest.raises(DataError, match="no row of split 'val', found test, train"):
        load(spec, split="val")


def test_ids_do_not_depend_on_row_order(tmp_path: Path) -> None:
    rows = [{**good(i), "id": None} for i in range(4)]
    one = [p.id for p in load(f"jsonl:{write(folder(tmp_path / 'a') / 'd.jsonl', rows)}")]
    other = [p.id for p in load(f"jsonl:{write(folder(tmp_path / 'b') / 'd.jsonl', rows[::-1])}")]
    assert one == other[::-1]
    assert len(set(one)) == 4


@pytest.mark.parametrize(
    ("options", "gold", "choices", "letter"),
    [
        ("", "B", ["x", "y"], "B"),
        ("", "(b)", ["x", "y"], "B"),
        ("", "y", ["x", "y"], "B"),
        ("", 40, [30, 40], "B"),
        ("answer_is=index", 0, ["x", "y"], "A"),
        ("answer_is=index1", 2, ["x", "y"], "B"),
        ("answer_is=text", "B", ["B", "A"], "A"),
        ("answer_is=letter", "B", ["B", "A"], "B"),
        ("", "B", {"A": "x", "B": "y"}, "B"),
        ("choices=a,b&", "y", None, "B"),
        ("answer_is=index", 1.0, ["x", "y"], "B"),
        ("answer_is=index", 1, ["1", "2"], "B"),
        ("answer_is=text", 1, ["1", "2"], "A"),
        ("", "1", ["1", "2"], "A"),  # text
        ("", 2, [1, 2], "B"),  # the second, however it is counted: 2 is no position from 0
        ("", 40.0, ["30", "40"], "B"),
        ("", 40.0, [30.0, 40.0], "B"),
    ],
)
def test_gold_letters(tmp_path: Path, options: str, gold: Any, choices: Any, letter: str) -> None:
    row = {"question": "?!", "answer": gold, "choices": choices, "a": "x", "b": "y"}
    (problem,) = load(f"jsonl:{write(tmp_path / 'd.jsonl', [row])}?name=n&{options}".rstrip("&"))
    assert problem.answer == letter


BAD = [
    ({"question": ""}, "field question", "found an empty value"),
    ({"question": None}, "field question", "found NoneType"),
    ({"question": ["a"]}, "field question", "found list"),
    ({"answer": ""}, "field answer", "found an empty value"),
    ({"answer": "  "}, "field answer", "found an empty value"),
    ({"answer": True}, "field answer", "found bool"),
    ({"answer": float("nan")}, "field answer", "expected a finite number"),
    ({"answer": {"a": 1}}, "field answer", "found dict"),
    ({"choices": ["1", "2"], "answer": "3"}, "field answer", "is not among the choices"),
    ({"choices": ["1", "2"], "answer": "C"}, "field answer", "is not among the choices"),
    ({"choices": ["B", "A"], "answer": "B"}, "field answer", "answer_is=text or answer_is=letter"),
    ({"choices": ["3", "4"], "answer": 0}, "field answer", "for positions use answer_is=index"),
    (
        {"choices": ["1", "2", "3"], "answer": 1},
        "field answer",
        "gold 1, a whole number, is option (A) by its text, (B) by its position from 0. Say which is meant",
    ),
    (
        {"choices": ["9", "2", "1", "0"], "answer": 2},
        "field answer",
        "option (B) by its text, (C) by its position from 0. Say",
    ),
    (
        {"choices": ["2", "7", "1", "0"], "answer": 2},
        "field answer",
        "option (A) by its text, (C) by its position from 0 and (B) by its position from 1. Say",
    ),
    ({"choices": ["1"], "answer": "A"}, "field choices", "found 1 options"),
    ({"choices": "1 2", "answer": "A"}, "field choices", "found str"),
    ({"choices": ["1", ""], "answer": "A"}, "field choices[1]", "found an empty value"),
    ({"choices": ["1", None], "answer": "A"}, "field choices[1]", "found NoneType"),
    ({"choices": {"A": 1, "C": 2}, "answer": "A"}, "field choices", "expected ['A', 'B']"),
    ({"image": "images/none.png"}, "field image", "cannot be found"),
    ({"image": "../../etc/passwd"}, "field image", "leaves the data folder"),
    ({"image": "/etc/passwd"}, "field image", "leaves the data folder"),
    ({"image": 5}, "field image", "expected the name of an image file"),
    ({"image": "images/broken.png"}, "field image", "broken"),
    ({"id": ""}, None, None),
    ({"id": ["x"]}, "field id", "found list"),
    ({"id": "p0"}, "field id", "was used by an earlier row"),
    ({"skills": 5}, "field skills", "found int"),
    ({"unit": 5.5, "tolerance": "much"}, "field tolerance", "found 'much'"),
    ({"image": "images/\ud83d.png"}, "field image", "no file can be called"),
    ({"question": "half \ud83d"}, "field question", "half of a surrogate pair"),
    ({"answer": "1/0"}, "field answer", "found '1/0', expected a number"),
    ({"answer": "sin 30°"}, "field answer", "found 'sin 30°', expected an expression"),
    ({"answer": "a slice of π"}, "field answer", "expected an expression"),
    ({"answer": "red", "kind": "number"}, "field answer", "found 'red', expected a number"),
    ({"answer": ["1", "2"]}, "field answer", "found list"),
    ({"split": ["a"]}, "field split", "found list"),
]


@pytest.mark.parametrize(("change", "field", "what"), BAD)
def test_bad_rows_are_named_and_skipped(tmp_path: Path, change: dict[str, Any], field: str | None, what: str) -> None:
    """A bad row between two good ones: its error names file, row and field; skip_bad goes on without it."""
    path = write(folder(tmp_path) / "d.jsonl", [good(0), {**good(1), **change}, good(2)])
    noise = io.BytesIO()
    Image.effect_noise((40, 40), 90).save(noise, "PNG")
    (tmp_path / "images" / "broken.png").write_bytes(noise.getvalue()[:200])
    problems = load(f"jsonl:{path}", skip_bad=True)
    if field is None or what is None:  # an empty id is an absent one
        assert len(problems) == 3
        return
    assert [p.id for p in problems] == ["p0", "p2"]
    assert problems.skipped == 1
    text = str(problems.bad[0])
    assert text.startswith(f"file {path}, row 2, {field}: ")
    assert what in text
    if what not in ("broken", "was used by an earlier row"):  # these two show only when everything is read
        with pytest.raises(DataError, match=r"row 2, field"):
            load(f"jsonl:{path}")[1]


@pytest.mark.parametrize("line", ["{", "[1]", "7", '"text"', "{'a': 1}", '{"a": "\\ud83d"', "\x00", "[" * 100_000])
def test_broken_lines_are_rows(tmp_path: Path, line: str) -> None:
    path = folder(tmp_path) / "d.jsonl"
    path.write_text(json.dumps(good(0)) + "\n\n" + line + "\n" + json.dumps(good(1)) + "\n")
    problems = load(f"jsonl:{path}", skip_bad=True)
    assert [p.id for p in problems] == ["p0", "p1"]
    assert str(problems.bad[0]).startswith(f"file {path}, row 2")


def test_one_mapping_reads_lines_arrays_and_objects(tmp_path: Path) -> None:
    rows = [good(i, question=f'tricky "}}]{{[\\ \u00e9 {i}', extra={"a": [{}, []]}) for i in range(5)]
    folder(tmp_path)
    lines, array, keyed = tmp_path / "l.jsonl", tmp_path / "a.json", tmp_path / "o.json"
    write(lines, rows)
    lines.write_bytes(b"\xef\xbb\xbf" + lines.read_bytes())
    array.write_text(json.dumps(rows, indent=1))
    keyed.write_text(json.dumps({row["id"]: row for row in rows}))
    expected = [p.question for p in load(f"jsonl:{lines}")]
    assert len(set(expected)) == 5
    for path in (array, keyed):
        assert [p.question for p in load(f"jsonl:{path}")] == expected
    assert [row.key for row in JsonFile(keyed)] == [f"p{i}" for i in range(5)]


TRICKY = st.text(alphabet=list('a"\\{}[],: \né'), max_size=8)
ROWS = st.lists(st.dictionaries(TRICKY, TRICKY | st.lists(TRICKY, max_size=3), max_size=3), min_size=1, max_size=5)


@settings(max_examples=40)
@given(ROWS, st.sampled_from([None, 1]), st.integers(1, 9))
def test_index_of_json_arrays_in_small_blocks(tmp_path_factory, rows, indent, block) -> None:
    """Whatever the strings hold and wherever the blocks end, the rows come back as json reads them."""
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8", errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r3v.data.rows._BLOCK", block)
        assert [row.value for row in JsonFile(path)] == rows


@pytest.mark.parametrize("text", ['[{"a": 1}', '[{"a": 1}] x{}', '{"a": {"b": 1}', "[]", ""])
def test_damaged_json_files_are_data_errors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=str(path)):
        list(load(f"jsonl:{path}"))


def test_scalars_between_rows_do_not_vanish(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([good(0, image=None), 5, good(1, image=None)]))
    problems = load(f"jsonl:{path}", skip_bad=True)
    assert (len(problems), problems.skipped) == (1, 1)
    path.write_text(json.dumps([good(0, image=None), 5]))
    problems = load(f"jsonl:{path}", skip_bad=True)
    assert (len(problems), problems.skipped) == (1, 1)


def test_limit_slices_pickles_and_forks(tmp_path: Path) -> None:
    path = write(folder(tmp_path) / "d.jsonl", [good(i) for i in range(6)])
    problems = load(f"jsonl:{path}?limit=5")
    ids = [p.id for p in problems]
    assert ids == [f"p{i}" for i in range(5)]
    assert problems[-1].id == "p4"
    assert [p.id for p in problems[1:3]] == ["p1", "p2"]
    assert [p.id for p in load(f"jsonl:{path}?limit=5", limit=2)] == ids[:2]
    assert [p.id for p in pickle.loads(pickle.dumps(problems))] == ids
    assert list(problems) == list(problems)
    with pytest.raises(IndexError):
        problems[5]


def test_context_named_in_the_spec_must_be_there(tmp_path: Path) -> None:
    rows = [{**good(0), "hint": "Look."}, {**good(1), "hint": None}, {**good(2), "hint": ["x"]}]
    path = write(folder(tmp_path) / "d.jsonl", rows)
    problems = load(f"jsonl:{path}?context=hint", skip_bad=True)
    assert [p.question for p in problems] == ["Look.\nWhat is 0 + 1?", "What is 1 + 1?"]
    assert "field hint: found list" in str(problems.bad[0])
    with pytest.raises(DataError, match="field hnt: is missing"):
        load(f"jsonl:{path}?context=hnt")[0]


def test_a_split_named_by_later_rows_only(tmp_path: Path) -> None:
    """Rows that name no split are not of the split asked for, whatever the first row looks like."""
    path = write(folder(tmp_path) / "d.jsonl", [good(0), good(1, split="test")])
    assert [p.id for p in load(f"jsonl:{path}?split=test")] == ["p1"]
    assert [p.split for p in load(f"jsonl:{path}")] == ["train", "test"]
    plain = write(tmp_path / "plain.jsonl", [good(0), good(1)])
    assert [p.split for p in load(f"jsonl:{plain}?split=test")] == ["test", "test"]


def test_rows_of_other_systems(tmp_path: Path) -> None:
    """Windows line ends, a gold with a Unicode minus, options in a list of 26, a huge row."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    rows = [
        good(0, answer="\u22125"),
        good(1, choices=list(letters.lower()), answer="Z"),
        good(2, question="x" * 10**6),
    ]
    path = write(folder(tmp_path) / "d.jsonl", rows)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    minus, last, huge = load(f"jsonl:{path}", skip_bad=True)
    assert (minus.kind, last.gold_text, len(huge.question)) == ("number", "z", 10**6)
