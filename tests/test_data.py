"""Readers: every format on small files written here, specs, laziness, bad rows."""

from __future__ import annotations

import io
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from r3v.data import READERS, load
from r3v.data.hub import TableImage
from r3v.data.images import decode
from r3v.data.rows import JsonFile
from r3v.data.spec import parse_spec
from r3v.errors import ConfigError, DataError, ImageError
from r3v.records import Problem


def png(colour: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (colour % 256, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def folder(path: Path, images: int = 4) -> Path:
    """A data folder with images/0.png, 1.png, ..."""
    (path / "images").mkdir(parents=True)
    for i in range(images):
        (path / "images" / f"{i}.png").write_bytes(png(i))
    return path


def write(path: Path, value: Any) -> Path:
    """JSON Lines for .jsonl, else one JSON value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = value if path.suffix == ".jsonl" else [value]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def good(i: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"p{i}",
        "question": f"What is {i} + 1?",
        "answer": i + 1,
        "image": f"images/{i % 4}.png",
        **changes,
    }


# Specs --------------------------------------------------------------------------------------------


def test_spec_syntax() -> None:
    spec = parse_spec("jsonl:a%3Fb/c.jsonl?question=q&choices=a,b&limit=5")
    assert (spec.reader, spec.path) == ("jsonl", "a?b/c.jsonl")
    assert spec.options == {"question": "q", "choices": "a,b", "limit": "5"}


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("geoqa", "expected READER:PATH"),
        ("geoqa:", "expected READER:PATH"),
        ("geoqua:x", "did you mean 'geoqa'"),
        ("jsonl:x?question", "expected key=value"),
        ("jsonl:x?limit=1&limit=2", "given twice"),
        ("jsonl:x?qestion=q", "did you mean 'question'"),
        ("jsonl:x?limit=-1", "expected a whole number"),
        ("jsonl:x?skip_bad=maybe", "expected one of"),
        ("jsonl:x?kind=numbr", "expected one of auto"),
        ("jsonl:x?tolerance=5", "expected a number from 0 to 1"),
        ("chartqa:x?part=robots", "expected one of all"),
        ("geoworld:test?split=train", "found split='train' as well"),
    ],
)
def test_wrong_specs_are_config_errors(spec: str, what: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(what)):
        load(spec)


def test_every_reader_says_what_is_missing(tmp_path: Path) -> None:
    assert set(READERS) == {
        "geoworld", "geoqa", "geometry3k", "tabmwp", "chartqa", "clevr_math", "m3cot", "jsonl", "hub",
    }  # fmt: skip
    for name in ("geoqa", "geometry3k", "tabmwp", "chartqa", "jsonl"):
        with pytest.raises(DataError, match=str(tmp_path)):
            load(f"{name}:{tmp_path / 'nothing'}")
        with pytest.raises(DataError, match=str(tmp_path)):
            load(f"{name}:{tmp_path}")


def test_geoworld_is_reached_through_its_spec() -> None:
    problems = load("geoworld:test?seed=3", limit=5)
    assert len(problems) == 5
    assert len({p.id for p in problems}) == 5
    assert all(decode(image).mode == "RGB" for p in problems for image in p.images)
    assert all(p.choices is None for p in load("geoworld:test", limit=3, open=True))


# Generic JSON -------------------------------------------------------------------------------------


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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


# Named data sets ----------------------------------------------------------------------------------


def sharegpt(question: str, options: list[str], answer: str, image: str) -> dict[str, Any]:
    listed = "\n".join(f"({'ABCD'[i]}) {option}" for i, option in enumerate(options))
    user = f"<image>Calculation: {question}\nChoices:\n{listed}"
    return {
        "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}],
        "images": [image],
    }


def test_geoqa_sharegpt(tmp_path: Path) -> None:
    rows = [
        sharegpt(
            "angle A B C = 80.0 , then C is ()",
            ["30.0", "40.0", "None", "60.0"],
            "Answer: \nB",
            "images/0.png",
        ),
        sharegpt("angle A B C", ["30.0", "None"], "Answer: B", "images/0.png"),
        sharegpt("angle A B C", ["30.0", "40.0"], "It is 40", "images/0.png"),
    ]
    path = write(folder(tmp_path) / "geoqa_train_base.json", rows)
    problems = load(f"geoqa:{path}", skip_bad=True)
    (problem,) = problems
    assert problem.question == "angle ABC = 80, then C is ()"
    assert problem.choices == ("30", "40", "none of these", "60")
    assert problem.answer == "B"
    assert problem.meta["question"].startswith("<image>Calculation: angle A B C = 80.0")
    assert problem.meta["choices"] == ["30.0", "40.0", "None", "60.0"]
    assert problem.split == "train"
    assert [b.what[:20] for b in problems.bad] == ["the gold option is o", "found 'It is 40', ex"]
    with pytest.raises(DataError, match="found train"):
        load(f"geoqa:{path}", split="test")


def test_geoqa_unigeo(tmp_path: Path) -> None:
    record = {
        "p_type": "angle",
        "problem": "Calculation: angle A = N_0 , B C = N_1",
        "numbers": [80.0, 2.5],
        "choice_numbers": [1.7320508075688772, 60.0, None, 140.0],
        "label": 0,
    }
    path = write(folder(tmp_path) / "unigeo_test.json", {"3": record, "2": {**record, "label": 4}})
    with pytest.raises(DataError, match=r"image=images/"):
        load(f"geoqa:{path}")[0]
    problems = load(f"geoqa:{path}?image=images/{{id}}.png", skip_bad=True)
    (problem,) = problems
    assert (problem.id, problem.split, problem.skills) == ("geoqa-test-3", "test", ("angle",))
    assert problem.question == "angle A = 80, BC = 2.5"
    assert problem.choices == ("1.732", "60", "none of these", "140")
    assert (problem.answer, problem.tolerance) == ("A", 0.005)
    assert load(f"geoqa:{path}?image=images/{{id}}.png", open=True)[0].answer == "1.732"
    assert "field label" in str(problems.bad[0])


def test_geoqa_formalgeo(tmp_path: Path) -> None:
    row = {
        "problem_id": 7,
        "source": "GeoQA-1",
        "problem_text_cn": "(3分)∠A=80°,∠B=60°",
        "problem_text_en": "∠A = N_0, ∠B = N_1",
        "problem_img": "0.png",
        "problem_answer": "2*sqrt(3)",
    }
    bad = {**row, "problem_text_en": "As shown, Div(LengthOfLine(AD)=2)."}
    path = write(folder(tmp_path) / "f.jsonl", [row, bad, {**row, "problem_text_cn": "∠A=80°"}])
    problems = load(f"geoqa:{path}", skip_bad=True)
    (problem,) = problems
    assert (problem.id, problem.kind, problem.answer) == ("formalgeo-7", "expression", "2*sqrt(3)")
    assert problem.question == "∠A = 80, ∠B = 60"
    assert "formal predicate Div(" in str(problems.bad[0])
    assert "ambiguous" in str(problems.bad[1])


def test_geometry3k_as_published(tmp_path: Path) -> None:
    data = {
        "problem_text": "In \\odot X, A B = 30. Find m \\widehat A B.",
        "compact_text": "In \\odot X, AB = 30. Find m \\widehat AB.",
        "choices": ["30", "40", "60", "80"],
        "answer": "D",
        "problem_type_goal": ["Angle"],
    }
    for split, name in (("train", "11"), ("train", "2"), ("test", "2401")):
        write(tmp_path / split / name / "data.json", data)
        (tmp_path / split / name / "img_diagram.png").write_bytes(png())
    assert [p.id for p in load(f"geometry3k:{tmp_path}")] == [
        "geometry3k-train-2",
        "geometry3k-train-11",
        "geometry3k-test-2401",
    ]
    (problem,) = load(f"geometry3k:{tmp_path}?split=test")
    assert problem.question == data["compact_text"]
    assert problem.gold_text == "80"
    assert problem.skills == ("Angle",)


def test_chartqa(tmp_path: Path) -> None:
    rows = [
        {"imgname": "a.png", "query": "How many?", "label": "45%"},
        {"imgname": "a.png", "query": "Which year?", "label": "2010"},
        {"imgname": "a.png", "query": "More?", "label": "Yes"},
    ]
    write(tmp_path / "test" / "test_human.json", rows)
    write(tmp_path / "test" / "test_augmented.json", [rows[0] | {"query": "How many now?"}, rows[0]])
    write(tmp_path / "val" / "val_human.json", rows[:1])
    for split in ("test", "val"):
        (tmp_path / split / "png").mkdir()
        (tmp_path / split / "png" / "a.png").write_bytes(png())
    human = load(f"chartqa:{tmp_path}?split=test&part=human")
    assert [(p.kind, p.answer, p.tolerance) for p in human] == [
        ("number", "45%", 0.05),
        ("number", "2010", None),
        ("text", "Yes", None),
    ]
    both = load(f"chartqa:{tmp_path}", split="test", skip_bad=True)
    assert len(both) == 4
    assert "was used by an earlier row" in both.bad[0].what
    assert [p.skills for p in both] == [("human",)] * 3 + [("augmented",)]
    assert len(load(f"chartqa:{tmp_path}")) == 6


def test_tabmwp(tmp_path: Path) -> None:
    rows = {
        "33": {
            "question": "Linear?",
            "choices": ["linear", "nonlinear"],
            "answer": "nonlinear",
            "unit": None,
        },
        "34": {
            "question": "How much?",
            "choices": None,
            "answer": "1,234.50",
            "unit": "$",
            "ans_type": "decimal_number",
        },
        "35": {"question": "Which?", "choices": ["a", "b"], "answer": "c", "unit": None},
    }
    write(tmp_path / "problems_dev.json", rows)
    write(tmp_path / "problems_dev1k.json", rows)
    write(tmp_path / "problems_test1k.json", {"36": rows["34"]})
    (tmp_path / "tables").mkdir()
    for key in ("33", "34", "35", "36"):
        (tmp_path / "tables" / f"{key}.png").write_bytes(png())
    problems = load(f"tabmwp:{tmp_path}", split="dev", skip_bad=True)
    assert [(p.id, p.kind, p.answer, p.unit) for p in problems] == [
        ("tabmwp-dev-33", "choice", "B", None),
        ("tabmwp-dev-34", "number", "1,234.50", "$"),
    ]
    assert "'c' is not among the choices" in problems.bad[0].what
    assert len(load(f"tabmwp:{tmp_path}")) == 4
    assert [p.id for p in load(f"tabmwp:{tmp_path}/problems_test1k.json")] == ["tabmwp-test-36"]
    (tmp_path / "problems_dev.json").unlink()
    write(tmp_path / "problems_dev2k.json", rows)
    with pytest.raises(DataError, match="several files"):
        load(f"tabmwp:{tmp_path}")


def test_named_mappings(tmp_path: Path) -> None:
    folder(tmp_path)
    clevr = [{"id": "c1", "question": "How many cubes are left?", "label": 3, "image": "images/0.png"}]
    m3cot = [{"id": "m1", "question": "Which?", "context": "Look.", "choices": ["B", "x"], "answer": "B"}]
    m3cot[0]["image"] = "images/1.png"
    (one,) = load(f"clevr_math:{write(tmp_path / 'c.jsonl', clevr)}")
    (other,) = load(f"m3cot:{write(tmp_path / 'm.jsonl', m3cot)}")
    assert (one.id, one.kind, one.answer) == ("clevr_math-c1", "number", "3")
    assert (other.id, other.question, other.gold_text) == ("m3cot-m1", "Look.\nWhich?", "x")


def test_hub_reads_local_parquet_lazily(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict, Features, Image, List, Value

    features = Features({"q": Value("string"), "options": List(Value("string")), "y": Value("int64"), "pic": Image()})
    rows = {
        "q": ["Which?", "And?"],
        "options": [["a", "b"]] * 2,
        "y": [1, 0],
        "pic": [{"bytes": png(i), "path": None} for i in (1, 2)],
    }
    table = Dataset.from_dict(rows, features=features)
    table.to_parquet(str(tmp_path / "d.parquet"))
    mapping = "question=q&choices=options&answer=y&answer_is=index&image=pic&name=h"
    problems = load(f"hub:{tmp_path}/d.parquet?{mapping}")
    assert [p.answer for p in problems] == ["B", "A"]
    assert [p.split for p in problems] == ["train"] * 2
    assert decode(problems[1].images[0]).getpixel((0, 0)) == (2, 0, 0)
    assert len({p.id for p in problems}) == 2
    assert not hasattr(problems[0].images[0], "data"), "the bytes stay in the table"
    features = Features({"q": Value("string"), "y": Value("int64"), "pic": List(Image())})
    two = [[{"bytes": png(5), "path": None}] * 2]
    several = Dataset.from_dict({"q": ["?"], "y": [3], "pic": two}, features=features)
    DatasetDict({"test": several, "train": several}).save_to_disk(str(tmp_path / "saved"))
    (problem,) = load(f"hub:{tmp_path}/saved?split=test&question=q&answer=y&image=pic")
    assert len(problem.images) == 2
    assert problem.answer == "3"
    assert problem.split == "test"
    with pytest.raises(DataError, match="no split 'val', found test, train"):
        load(f"hub:{tmp_path}/saved?split=val")
    with pytest.raises(DataError, match="cannot open it"):
        load(f"hub:{tmp_path}/nothing.parquet")


def test_hub_image_paths_stay_inside(tmp_path: Path) -> None:
    """A table may name image files; `datasets` would open any path, we only those in the data folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "in" / "a.png").write_bytes(png(9))
    cells = [
        {"bytes": None, "path": "a.png"},
        {"bytes": None, "path": "../secret.png"},
        {"bytes": None, "path": None},
    ]
    table = [{"image": cell} for cell in cells]
    inside, outside, nothing = (
        TableImage(table, i, "image", None, (str(tmp_path / "in"),), ("hub", f"train {i + 1}", "image"))
        for i in range(3)
    )
    assert decode(inside).getpixel((0, 0)) == (9, 0, 0)
    with pytest.raises(ImageError, match=r"^file hub, row train 2, field image: .* leaves the data folder"):
        decode(outside)
    with pytest.raises(ImageError, match=r"^file hub, row train 3, field image: "):
        decode(nothing)


def test_geoworld_folder_reads_back(tmp_path: Path) -> None:
    """What `r3v data make` writes is a `jsonl:` folder with the same problems, drawings included."""
    from r3v.data.geoworld import source, write_dataset

    write_dataset("test", 4, tmp_path / "w")
    back, made = load(f"jsonl:{tmp_path}/w"), source("test", 4)
    for one, other in zip(back, made, strict=True):
        for name in ("id", "question", "choices", "answer", "kind", "skills", "split", "meta"):
            assert getattr(one, name) == getattr(other, name), name
        assert one.images[0].read() == other.images[0].read()


# Costs --------------------------------------------------------------------------------------------


def test_data_imports_no_torch() -> None:
    heavy = ("torch", "datasets", "transformers", "PIL")
    code = f"import sys, r3v.data, r3v.data.check; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


MEASURE = """
import re, sys
from pathlib import Path
from r3v.data import load
from r3v.data.hub import TableImage
from r3v.data.images import decode
problems = load("jsonl:" + sys.argv[1])
total = 0
for i, problem in enumerate(problems):
    total += len(problem.question)
    if i % (len(problems) // 1000) == 0:
        decode(problem.images[0])
print(len(problems), re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
"""


@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path) -> None:
    """Largest resident memory of one pass over 100,000 problems is within 10 % of that over 1,000.

    Both decode 1,000 images, so that what is compared is the cost of the problems.

    VmHWM belongs to the new process alone; ru_maxrss would begin with the memory of the pytest that forked
    it.
    """
    folder(tmp_path)
    used: dict[int, int] = {}
    for n in (1_000, 100_000):
        path = tmp_path / f"{n}.jsonl"
        with path.open("w") as file:
            for i in range(n):
                row = {**good(i), "question": f"In triangle ABC, angle A = {i}. " + "What is it? " * 20}
                file.write(json.dumps(row) + "\n")
        command = [sys.executable, "-c", MEASURE, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows, used[n] = map(int, done.stdout.split())
        assert rows == n
    print(f"peak resident memory, KiB: {used}")
    assert used[100_000] <= 1.10 * used[1_000], used


def test_problem_is_what_readers_give(tmp_path: Path) -> None:
    (problem,) = load(f"jsonl:{write(folder(tmp_path) / 'd.jsonl', [good(0)])}")
    assert isinstance(problem, Problem)
    assert problem.gold_text == "1"
