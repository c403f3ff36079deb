"""A small GeoQA of our own whose training problems name their theorems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_files import folder, png, write

ANGLE_SUM, VERTICAL, MIDLINE = (
    "triangle_property_angle_sum",
    "vertical_angle",
    "midsegment_of_triangle_property_length",
)
THEOREMS = (ANGLE_SUM, VERTICAL, "unheard_of")


def row(key: int, split: str, picture: str) -> dict[str, Any]:
    user = f"<image>Calculation: angle {key} is ()\nChoices:\n(A) 10.0\n(B) 20.0\n(C) 30.0\n(D) 40.0"
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": "Answer: \nB"}]
    named = {"split": split, "geoqa_id": key, "problem_id": key + 1000, "image": f"images/{picture}.png"}
    return {**named, "record": {"messages": turns}}


def theorem_folder(path: Path, count: int = 200) -> Path:
    """`count` training problems, each with a picture of its own colour, one theorem in turn and ANGLE_SUM on every
    second; a test problem whose record nobody can parse."""
    base = folder(path, 0)
    for i in range(count + 1):
        (base / "images" / f"{i}.png").write_bytes(png(i))
    rows = [row(i, "train", str(i)) for i in range(count)]
    write(base / "join_multiple_choice.jsonl", [*rows, row(count, "test", str(count))])
    lines = []
    for i in range(count):
        steps = [f"{THEOREMS[i % 3]}(ABC)", *([f"{ANGLE_SUM}(ABC)", f"{ANGLE_SUM}(BCD)"] if i % 2 else [])]
        lines.append(json.dumps({"problem_id": i + 1000, "theorem_seqs": steps}))
    lines.append(f'{{"problem_id": {count + 1000}, not json')
    (base / "formalgeo_raw_text.jsonl").write_text("\n".join(lines) + "\n")
    return base
