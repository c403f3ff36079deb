"""GeoQA's training problems divided by their pictures: the rule, pictures that are shared, and test pictures."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
from data_files import folder, png, write

from r3v.data import load
from r3v.data.check import check, render
from r3v.data.sets.by_picture import part_of
from r3v.errors import DataError


def row(key: int, split: str, picture: str, **changes: Any) -> dict[str, Any]:
    user = f"<image>Calculation: angle {key} is ()\nChoices:\n(A) 10.0\n(B) 20.0"
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": "Answer: \nB"}]
    named = {"split": split, "geoqa_id": key, "image": f"images/{picture}.png", "record": {"messages": turns}}
    return {**named, **changes}


def test_the_rule() -> None:
    """0x25119ce0 / 2**32 = 0.14480...; 0x428f5c28 / 2**32 = 0.25999999, 0x428f5c29 is the first above 0.26."""
    assert part_of("00000000" + "f" * 56) == "gate"
    assert part_of("25000000" + "0" * 56) == "gate"  # 0.14453
    assert part_of("25200000" + "0" * 56) == "dev"  # 0.14502
    assert part_of("428f5c28" + "f" * 56) == "dev"
    assert part_of("428f5c29" + "0" * 56) == "train"
    assert part_of("f" * 64) == "train"


def picture_of(part: str, after: int = 0) -> int:
    """The number of a small picture that falls into a part, counted from `after`."""
    return next(i for i in range(after, 256) if part_of(hashlib.sha256(png(i)).hexdigest()) == part)


def made(tmp_path: Path) -> Path:
    """Two training rows with one gate picture, one of dev, two of train (one of them a test picture), one test row."""
    base = folder(tmp_path, 0)
    gate, dev, train = picture_of("gate"), picture_of("dev"), picture_of("train")
    other = picture_of("train", train + 1)
    pictures = {"a": gate, "copy_of_a": gate, "b": dev, "c": train, "d": other, "t": other}
    for name, number in pictures.items():
        (base / "images" / f"{name}.png").write_bytes(png(number))
    rows = [row(1, "train", "a"), row(2, "train", "copy_of_a"), row(3, "train", "b"), row(4, "train", "c")]
    write(base / "join_multiple_choice.jsonl", [*rows, row(5, "train", "d"), row(6, "test", "t")])
    return base


def test_byte_equal_pictures_go_together_and_a_test_picture_is_left_out(tmp_path: Path) -> None:
    base = made(tmp_path)
    found = {part: [p.id for p in load(f"geoqa:{base}?split={part}")] for part in ("train", "gate", "dev", "test")}
    assert found == {
        "train": ["geoqa-train-4"],
        "gate": ["geoqa-train-1", "geoqa-train-2"],
        "dev": ["geoqa-train-3"],
        "test": ["geoqa-test-6"],
    }
    assert [p.split for p in load(f"geoqa:{base}")] == ["gate", "gate", "dev", "train", "test"]
    gate = load(f"geoqa:{base}?split=gate")
    assert list(pickle.loads(pickle.dumps(gate))) == list(gate)


def test_the_check_names_what_is_left_out_and_finds_no_leak(tmp_path: Path) -> None:
    result = check(f"geoqa:{made(tmp_path)}?split=gate")
    assert result.leaks == []
    assert result.left_out == ("geoqa-train-5 is left out: it shows the picture of geoqa-test-6",)
    assert "left out           1\n    geoqa-train-5 is left out" in render(result)


def test_no_row_changes_its_part_when_others_come_or_go(tmp_path: Path) -> None:
    base = made(tmp_path)
    path = base / "join_multiple_choice.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(reversed(lines[1:])) + "\n")
    assert [p.id for p in load(f"geoqa:{base}?split=gate")] == ["geoqa-train-2"]
    assert [p.id for p in load(f"geoqa:{base}?split=dev")] == ["geoqa-train-3"]


def test_a_row_whose_picture_is_missing_does_not_vanish(tmp_path: Path) -> None:
    base = made(tmp_path)
    (base / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png"):
        list(load(f"geoqa:{base}?split=train"))
    assert [p.id for p in load(f"geoqa:{base}?split=train", skip_bad=True)] == ["geoqa-train-4"]


def test_the_real_set(real_data) -> None:
    """The counts that the module docstring states, and no picture in two parts."""
    parts = {part: load(f"geoqa:{real_data('geoqa')}?split={part}") for part in ("train", "gate", "dev", "test")}
    assert {part: len(problems) for part, problems in parts.items()} == {
        "train": 1988, "gate": 400, "dev": 300, "test": 608,
    }  # fmt: skip
    pictures = [{p.images[0].read() for p in problems} for problems in parts.values()]
    assert len(set().union(*pictures)) == sum(map(len, pictures))
