"""Data sets of the `datasets` library, from local tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_files import png

from r3v.data import load
from r3v.data.hub import TableImage
from r3v.data.images import decode
from r3v.errors import DataError, ImageError


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
    with pytest.raises(DataError, match="no such file or folder, and names on the hub are OWNER/NAME"):
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


def test_chartqa_as_on_the_hub(tmp_path: Path) -> None:
    """HuggingFaceM4/ChartQA: image, query, label as a list of one, human_or_machine."""
    from datasets import Dataset, Features, Image, List, Value

    features = Features({"image": Image(), "query": Value("string"), "label": List(Value("string"))})
    picture = {"bytes": png(), "path": None}
    labels = [["45"], ["2014"], ["a", "b"]]
    rows = {"image": [picture] * 3, "query": ["How many?", "When?", "Who?"], "label": labels}
    Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "val.parquet"))
    problems = load(f"chartqa:{tmp_path}/val.parquet", skip_bad=True)
    assert [(p.question, p.answer, p.kind, p.tolerance) for p in problems] == [
        ("How many?", "45", "number", 0.05),
        ("When?", "2014", "number", 0.05),  # the grader compares years exactly, whatever the tolerance
    ]
    assert "field label" in str(problems.bad[0])


def test_clevr_math_as_on_the_hub(tmp_path: Path) -> None:
    """Parquet copies of dali-does/clevr-math: the id is the name of the image, which several questions share."""
    from datasets import Dataset, Features, Image, Value

    text = Value("string")
    features = Features({"template": text, "id": text, "question": text, "image": Image(), "label": Value("int64")})
    picture = {"bytes": png(), "path": None}
    rows = {"template": ["addition"] * 2, "id": ["a.png"] * 2, "question": ["Q1?", "Q2?"], "image": [picture] * 2}
    Dataset.from_dict({**rows, "label": [1, 2]}, features=features).to_parquet(str(tmp_path / "d.parquet"))
    problems = load(f"clevr_math:{tmp_path}/d.parquet", skip_bad=True)
    assert [(p.answer, p.skills) for p in problems] == [("1", ("addition",)), ("2", ("addition",))]
    assert len({p.id for p in problems}) == 2
