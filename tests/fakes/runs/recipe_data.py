"""A few problems of the built-in world, written down in the file layout of each dataset that a recipe reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from r3v.data.geoworld import source
from r3v.records import Problem

N = 6


def _write(folder: Path, split: str) -> list[Problem]:
    problems = list(source("train", N * 3))
    start = {"train": 0, "gate": N, "test": 2 * N}[split]
    folder.mkdir(parents=True, exist_ok=True)
    for problem in problems[start : start + N]:
        (folder / f"{problem.id}.png").write_bytes(problem.images[0].read())
    return problems[start : start + N]


def _lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def m3cot(folder: Path, split: str) -> str:
    problems = _write(folder, split)
    rows = [
        {
            "id": p.id,
            "question": p.question,
            "choices": list(p.choices or ()),
            "answer": p.answer,
            "image": f"{p.id}.png",
        }
        for p in problems
    ]
    _lines(folder / f"{split}.jsonl", rows)
    return f"m3cot:{folder / f'{split}.jsonl'}"


def clevr_math(folder: Path, split: str) -> str:
    rows = [
        {"id": p.id, "question": p.question, "label": p.gold_text, "image": f"{p.id}.png"}
        for p in _write(folder, split)
    ]
    _lines(folder / f"{split}.jsonl", rows)
    return f"clevr_math:{folder / f'{split}.jsonl'}"


def chartqa(folder: Path, split: str) -> str:
    rows = [
        {"imgname": f"{p.id}.png", "query": p.question, "label": p.gold_text}
        for p in _write(folder / split / "png", split)
    ]
    (folder / split / f"{split}_human.json").write_text(json.dumps(rows))
    return f"chartqa:{folder}?split={split}&part=human"


def tabmwp(folder: Path, split: str) -> str:
    name = {"gate": "dev"}.get(split, split)
    rows = {
        p.id: {
            "question": p.question,
            "choices": None,
            "answer": p.gold_text,
            "unit": None,
            "ans_type": "decimal_number",
        }
        for p in _write(folder / "tables", split)
    }
    (folder / f"problems_{name}.json").write_text(json.dumps(rows))
    return f"tabmwp:{folder}?split={name}"


def plain(folder: Path, split: str) -> str:
    """Choices and letters as JSON Lines, which stands in for GeoQA (its own formats are tested with the readers)."""
    rows = [
        {"id": p.id, "question": p.question, "choices": list(p.choices or ()), "answer": p.answer,
         "image": f"images/{p.id}.png"}
        for p in _write(folder / "images", split)
    ]  # fmt: skip
    _lines(folder / f"{split}.jsonl", rows)
    return f"jsonl:{folder / f'{split}.jsonl'}"


LAYOUTS: dict[str, Callable[[Path, str], str]] = {
    "m3cot": m3cot, "clevr_math": clevr_math, "chartqa": chartqa, "tabmwp": tabmwp, "geoqa": plain,
}  # fmt: skip
