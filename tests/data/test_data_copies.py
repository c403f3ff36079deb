"""Named data sets as they stand on the hub, on rows of the same form that are made here; and copies of them nearby."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import png, write
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value

from r3v.data import load
from r3v.data.check import check, leaks_between, render
from r3v.data.hub import commit_of
from r3v.errors import ConfigError, DataError
from r3v.settings.config import Config
from r3v.settings.tree import read_tree
from r3v.spec import at

TEXT = Value("string")


def picture(i: int) -> dict[str, Any]:
    return {"bytes": png(i), "path": None}


def parquet(path: Path, features: dict[str, Any], **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=Features(features)).to_parquet(str(path))
    return path


@pytest.fixture
def geoqa(tmp_path: Path) -> Path:
    """hz2475/geoQA: one table, the official splits in a column, questions in Chinese, an id that each split counts."""
    features = {
        "id": Value("int64"), "subject": TEXT, "choices": List(TEXT), "label": Value("int64"), "answer": TEXT,
        "comment": TEXT, "original_split": TEXT, "image": Image(), "question": TEXT,
    }  # fmt: skip
    return parquet(
        tmp_path / "geoqa" / "data" / "train-00000-of-00001.parquet",
        features,
        id=[1, 2, 1, 1],
        subject=["如图,∠1=50°,则∠2等于()", "如图,求AB", "如图,求x", "如图,求y"],
        choices=[
            ["50°", "60°", "140°", "160°"],
            ["3.0", "4.0", "5.0", "6.0"],
            ["1", "2", "3", "4"],
            ["1", "2", "3", "4"],
        ],
        label=[2, 0, 3, 1],
        answer=["解:..."] * 4,
        comment=[""] * 4,
        original_split=["train", "train", "val", "test"],
        image=[picture(i) for i in range(4)],
        question=["..."] * 4,
    )


def test_geoqa_with_its_splits_letters_and_choices(geoqa: Path) -> None:
    problems = load(f"geoqa:{geoqa.parents[1]}?split=train")
    assert [(p.id, p.answer, p.kind, p.split) for p in problems] == [
        ("geoqa-train-1", "C", "choice", "train"),
        ("geoqa-train-2", "A", "choice", "train"),
    ]
    assert problems[0].question == "如图,∠1=50°,则∠2等于()"
    assert problems[0].gold_text == "140°"
    assert problems[1].choices == ("3", "4", "5", "6")
    for name in ("val", "validation", "dev"):
        assert [p.id for p in load(f"geoqa:{geoqa}?split={name}")] == ["geoqa-val-1"]
    assert [p.split for p in load(f"geoqa:{geoqa}")] == ["train", "train", "val", "test"]
    with pytest.raises(DataError, match="no split 'gate', found train, val, test"):
        load(f"geoqa:{geoqa}?split=gate")


def test_geoqa_choices_written_out_and_a_row_number_that_stays(tmp_path: Path) -> None:
    """Rows are numbered in the file, not in the split."""
    columns = {"subject": ["q1", "q2", "q3"], "choices": ["['1', '2']", "[1, 2.0]", "['1'"], "label": ["1", "0", "0"]}
    path = tmp_path / "g.parquet"
    pq.write_table(pa.table({**columns, "id": [1, 2, 3], "original_split": ["test", "train", "train"],
                             "image": pa.array([png(i) for i in range(3)])}), path)  # fmt: skip
    problems = load(f"geoqa:{path}?split=train", skip_bad=True)
    assert [(p.choices, p.answer) for p in problems] == [(("1", "2"), "A")]
    assert [(error.row, error.field) for error in problems.bad] == [("train 3", "choices")]


def test_geoqa_r1v_answer_tags_and_units(tmp_path: Path) -> None:
    """leonardPKU/GEOQA_R1V_Train_8K: the value in tags, often with a unit; no tag reaches a problem."""
    good = ["<answer> 145° </answer>", "<answer> 3 </answer>", "<answer> 2√{3} </answer>", "<answer>12cm</answer>"]
    good += ["<answer>\n5\n</answer>", "7"]
    solutions = [*good, "<answer>1</answer> or <answer>2</answer>", "<answer>4", "<answer> </answer>"]
    n = len(solutions)
    path = parquet(
        tmp_path / "r1v.parquet",
        {"image": Image(), "problem": TEXT, "solution": TEXT},
        image=[picture(i) for i in range(n)],
        problem=[f"Find angle {i}." for i in range(n)],
        solution=solutions,
    )
    problems = load(f"geoqa:{path}", skip_bad=True)
    assert [(p.answer, p.unit, p.kind) for p in problems] == [
        ("145", "°", "number"),
        ("3", None, "number"),
        ("2√{3}", None, "expression"),
        ("12", "cm", "number"),
        ("5", None, "number"),
        ("7", None, "number"),
    ]
    assert [(error.row, error.field) for error in problems.bad] == [(f"train {i}", "solution") for i in (7, 8, 9)]
    assert len({p.id for p in problems}) == 6


def test_geometry3k(tmp_path: Path) -> None:
    """hiyouga/geometry3k: several pictures are allowed, the question begins with their marks."""
    features = {"images": List(Image()), "problem": TEXT, "answer": TEXT}
    rows = {"images": [[picture(1)]], "problem": ["<image>Find x."], "answer": ["2 \\sqrt { 221 }"]}
    for split in ("train", "validation", "test"):
        parquet(tmp_path / "g3k" / "data" / f"{split}-00000-of-00001.parquet", features, **rows)
    (problem,) = load(f"geometry3k:{tmp_path / 'g3k'}?split=val")
    assert (problem.question, problem.answer, problem.kind) == ("Find x.", "2 \\sqrt { 221 }", "expression")
    assert problem.split == "validation"
    assert len(problem.images) == 1


def test_chartqa_of_people_alone(tmp_path: Path) -> None:
    kinds = ClassLabel(names=["human", "machine"])
    features = {"image": Image(), "query": TEXT, "label": List(TEXT), "human_or_machine": kinds}
    path = parquet(tmp_path / "c.parquet", features, image=[picture(i) for i in range(3)], query=["a?", "b?", "c?"],
                   label=[["1"], ["2"], ["3"]], human_or_machine=[0, 1, 0])  # fmt: skip
    assert [p.question for p in load(f"chartqa:{path}?part=human")] == ["a?", "c?"]
    assert [p.question for p in load(f"chartqa:{path}?part=augmented")] == ["b?"]
    assert [p.question for p in load(f"hub:{path}?question=query&answer=label&where=human_or_machine:machine")] == [
        "b?"
    ]
    assert len(load(f"chartqa:{path}?part=all")) == 3
    with pytest.raises(ConfigError, match="part and where"):
        load(f"chartqa:{path}?part=human&where=query:a")
    with pytest.raises(ConfigError, match="expected COLUMN:VALUE with one of"):
        load(f"chartqa:{path}?where=nothing:1")
    with pytest.raises(DataError, match="no row where query:z"):
        load(f"chartqa:{path}?where=query:z")


def test_m3cot(tmp_path: Path) -> None:
    """LightChen2333/M3CoT: the picture is null in some rows, which are bad ones; the context is often empty."""
    same = dict.fromkeys(("category", "image_id", "rationale", "domain", "topic"), ["x"] * 2)
    texts = {
        "question": ["Which?"] * 2,
        "context": ["", "Given."],
        "answer": ["B", "A"],
        "split": ["train"] * 2,
        **same,
    }
    path = parquet(
        tmp_path / "m.parquet",
        {**dict.fromkeys(texts, TEXT), "id": TEXT, "choices": List(TEXT), "image": Image()},
        **texts,
        id=["p-1", "p-2"],
        choices=[["a", "b"]] * 2,
        image=[picture(1), None],
    )
    problems = load(f"m3cot:{path}", skip_bad=True)
    assert [(p.id, p.answer, p.skills, p.question) for p in problems] == [("m3cot-p-1", "B", ("x",), "Which?")]
    assert [error.field for error in problems.bad] == ["image"]


def test_tabmwp_as_a_table(tmp_path: Path) -> None:
    """zyhang1998/tabmwp: pictures as plain bytes, an empty list for no choices."""
    path = tmp_path / "problems_test.parquet"
    columns = {"id": ["8", "9"], "Prompt": ["How many?", "Is it?"], "Answer": ["1,000", "yes"]}
    pq.write_table(pa.table({**columns, "Choices": pa.array([[], ["yes", "no"]], type=pa.list_(pa.string())),
                             "Image bytes": pa.array([png(1), png(2)])}), path)  # fmt: skip
    assert [(p.id, p.answer, p.kind) for p in load(f"tabmwp:{path}")] == [
        ("tabmwp-8", "1,000", "number"),
        ("tabmwp-9", "A", "choice"),
    ]


def test_a_table_of_another_form_says_what_was_expected(tmp_path: Path) -> None:
    path = parquet(tmp_path / "d.parquet", {"q": TEXT}, q=["?"])
    with pytest.raises(DataError, match="found the columns q, expected choices, label, original_split, subject or "):
        load(f"geoqa:{path}")


def test_names_that_can_be_none_on_the_hub(tmp_path: Path) -> None:
    for name in ("nothing", "./a/b", "a/b/c", "a/b.parquet"):
        with pytest.raises(DataError, match=r"no such file or folder, and names on the hub are OWNER/NAME"):
            load(f"hub:{name}")
    with pytest.raises(ConfigError, match="leave it out"):
        load(f"hub:{tmp_path}?revision=main")


def test_a_name_on_the_hub_while_it_is_switched_off() -> None:
    """The tests run with HF_HUB_OFFLINE=1: nothing is asked, and the error says what to do."""
    with pytest.raises(DataError, match=r"no such file or folder here, and as a name .*HF_HUB_OFFLINE=0"):
        load("geoqa:hz2475/not-fetched?split=train")


class FakeTable:
    cache_files = ({"filename": f"/c/hiyouga___geometry3k/default/0.0.0/{'ab' * 20}/geometry3k-test.arrow"},)


def test_the_state_of_what_was_fetched(geoqa: Path) -> None:
    """`datasets` keeps a table of the hub in a folder named by version and commit."""
    assert commit_of(FakeTable()) == "ab" * 20
    result = check(f"geoqa:{geoqa}")
    assert result.commit is None
    assert "commit" not in render(result)
    result.commit = "ab" * 20
    assert f"pin it with revision={'ab' * 20}" in render(result)


def test_a_local_copy_takes_the_place_of_the_hub(geoqa: Path, tmp_path: Path) -> None:
    """`--data.train DIR` keeps the recipe's reader and options, but for the commit."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "data:\n  train: geoqa:hz2475/geoQA?split=train&revision=abc\n  gate: geoqa:hz2475/geoQA?split=val\n"
    )
    folder = geoqa.parents[1]
    config, _ = read_tree(Config, recipe, ["--data.train", str(folder), "--data.eval", "geoworld:test"])
    assert config.data.train == f"geoqa:{folder}?split=train"
    assert config.data.gate == "geoqa:hz2475/geoQA?split=val"
    assert config.data.eval == "geoworld:test"
    assert len(load(config.data.train)) == 2
    with pytest.raises(ConfigError, match=r"--data.train nowhere: found neither a data spec .* nor a file or folder"):
        read_tree(Config, recipe, ["--data.train", "nowhere"])
    odd = "a?b=c&d"
    assert load_path(at("jsonl:x?question=q%26", odd)) == (odd, {"question": "q&"})


def load_path(text: str) -> tuple[str, dict[str, str]]:
    from r3v.spec import parse_spec

    return parse_spec(text).path, parse_spec(text).options


def test_leaks_between_sets_by_bytes_pixels_and_text(geoqa: Path, tmp_path: Path) -> None:
    """The second picture of the test set is the first training picture encoded anew; the third problem has none and
    asks the same in other blanks."""
    from PIL import Image as Picture

    (tmp_path / "a.png").write_bytes(png(0))
    Picture.open(tmp_path / "a.png").save(tmp_path / "again.bmp")
    rows = [
        {"id": "byte", "question": "q", "answer": "1", "image": "a.png"},
        {"id": "pixel", "question": "q", "answer": "1", "image": "again.bmp"},
        {"id": "words", "question": "How  many?", "answer": "1"},
        {"id": "broken", "question": "q", "answer": "1", "image": "none.png"},
    ]
    test = f"jsonl:{write(tmp_path / 'test.jsonl', rows)}?image=image"
    plain = f"jsonl:{write(tmp_path / 'test.jsonl', rows)}"
    train = f"geoqa:{geoqa}?split=train"
    assert [(leak.what, leak.ids) for leak in leaks_between(test, train)] == [
        ("image", ("byte", "geoqa-train-1")),
        ("pixels", ("pixel", "geoqa-train-1")),
    ]
    assert leaks_between(train, f"geoqa:{geoqa}?split=test") == []
    assert [leak.ids[0] for leak in leaks_between(train, test)] == ["geoqa-train-1"]
    asked = f"jsonl:{write(tmp_path / 'asked.jsonl', [{'id': 'a', 'question': 'how many?', 'answer': '1'}])}"
    with pytest.warns(UserWarning, match="has no picture"):
        assert [(leak.what, leak.ids) for leak in leaks_between(asked, plain)] == [("question", ("a", "words"))]


def test_saved_tables_are_read_by_a_named_reader(tmp_path: Path) -> None:
    features = Features({"images": List(Image()), "problem": TEXT, "answer": TEXT})
    table = Dataset.from_dict({"images": [[picture(1)]], "problem": ["<image>x?"], "answer": ["3"]}, features=features)
    DatasetDict({"test": table}).save_to_disk(str(tmp_path / "saved"))
    assert [p.answer for p in load(f"geometry3k:{tmp_path / 'saved'}?split=test")] == ["3"]
