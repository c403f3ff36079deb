"""Named data sets, each in the layouts people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_files import folder, png, write

from r3v.data import load
from r3v.errors import DataError


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
    assert (one.kind, one.answer) == ("number", "3")
    assert one.id != "clevr_math-c1", "published ids are names of images, which several questions share"
    assert (other.id, other.question, other.gold_text) == ("m3cot-m1", "Look.\nWhich?", "x")


def clevr_row(split: str, image: str, question: str, answer: int) -> dict[str, Any]:
    """A row as in the published file, program and all."""
    program = [{"inputs": [], "function": "scene", "value_inputs": ["questions"]}]
    row = {"image_index": 7, "image_filename": image, "split": split, "question": question, "answer": answer}
    return {**row, "template_filename": "subtraction-multihop.json", "program": program}


@pytest.mark.parametrize("block", [5, 1 << 20])
def test_clevr_math_as_published(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """clevr-math-SPLIT.json holds {"info": ..., "questions": [...]}; several questions share one image."""
    monkeypatch.setattr("r3v.data.rows._BLOCK", block)
    for split in ("train", "test"):
        images = tmp_path / "CLEVR_v1.0" / "images" / split
        images.mkdir(parents=True)
        (images / "CLEVR_000001.png").write_bytes(png())
        rows = [clevr_row(split, "CLEVR_000001.png", f"Remove {i} cubes. How many are left?", i) for i in range(3)]
        value = {"info": {"split": split, "questions": ["none"]}, "questions": rows, "note": [1]}
        (tmp_path / f"clevr-math-{split}.json").write_text(json.dumps(value))
    problems = load(f"clevr_math:{tmp_path}", skip_bad=True)
    assert (len(problems), problems.skipped) == (6, 0)
    assert [p.answer for p in load(f"clevr_math:{tmp_path}?split=test")] == ["0", "1", "2"]
    first = problems[0]
    assert (first.split, first.kind, first.skills) == ("train", "number", ("subtraction-multihop",))
    assert first.images[0].describe().endswith("images/train/CLEVR_000001.png")
    with pytest.raises(DataError, match=r"found none of clevr-math-val\.json"):
        load(f"clevr_math:{tmp_path}?split=val")
    (tmp_path / "clevr-math-val.json").write_text('{"questions": 5}')
    with pytest.raises(DataError, match="found no list 'questions' in it"):
        load(f"clevr_math:{tmp_path}?split=val")


def test_m3cot_as_published(tmp_path: Path) -> None:
    """Images under images/, named from another folder or not at all; an empty context; six options."""
    folder(tmp_path)
    row = {"id": "physical-commonsense-1", "category": "x", "question": "Which?", "context": "", "split": "train",
           "choices": list("uvwxyz"), "answer": "F", "domain": "commonsense", "topic": "physical"}  # fmt: skip
    (tmp_path / "images" / "physical-commonsense-1.png").write_bytes(png())
    rows = [
        row,
        {**row, "id": "2", "image": "data/images/1.png", "context": "Look."},
        {**row, "id": "3", "answer": "G"},
    ]
    write(tmp_path / "train.jsonl", rows)
    write(tmp_path / "dev.jsonl", [{**row, "id": "4", "image": "../../etc/passwd"}])
    problems = load(f"m3cot:{tmp_path}?split=train", skip_bad=True)
    assert [(p.id, p.question, p.gold_text) for p in problems] == [
        ("m3cot-physical-commonsense-1", "Which?", "z"),
        ("m3cot-2", "Look.\nWhich?", "z"),
    ]
    assert [Path(p.images[0].describe()).name for p in problems] == ["physical-commonsense-1.png", "1.png"]
    assert problems[0].skills == ("commonsense", "physical")
    assert "'G' is not among the choices" in problems.bad[0].what
    assert len(load(f"m3cot:{tmp_path}/train.jsonl")) == 3
    assert [p.split for p in load(f"m3cot:{tmp_path}/train.jsonl", limit=1)] == ["train"]
    with pytest.raises(DataError, match="leaves the data folder"):
        load(f"m3cot:{tmp_path}?split=dev")[0]
    with pytest.raises(DataError, match="found train"):
        load(f"m3cot:{tmp_path}/train.jsonl?split=dev")


def test_chartqa_years_and_ratios(tmp_path: Path) -> None:
    """Labels of the real test_human.json: a year is exact, a long ratio is not, a list is text."""
    from r3v.grading import grade

    labels = {"2014": ("2013", "2014"), "1.216666667": ("1.5", "1.22"), "[Men, Women]": ("Men", "Men, Women")}
    rows = [{"imgname": "a.png", "query": f"Q{i}?", "label": label} for i, label in enumerate(labels)]
    write(tmp_path / "test" / "test_human.json", rows)
    (tmp_path / "test" / "png").mkdir()
    (tmp_path / "test" / "png" / "a.png").write_bytes(png())
    for problem, (wrong, right) in zip(load(f"chartqa:{tmp_path}"), labels.values(), strict=True):
        assert grade(problem, f"Answer: {wrong}").wrong
        assert grade(problem, f"Answer: {right}").correct
