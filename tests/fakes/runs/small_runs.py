"""Run folders written by hand: the files that a run leaves, with the least in them that is true of every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r3v.io import atomic_write, write_json
from r3v.run.evaluation import cell, write_rows
from r3v.settings.config import Config
from r3v.settings.tree import set_field, to_yaml


def measured(folder: Path, right: Mapping[str, bool], gold: str = "7") -> dict[str, Any]:
    """`eval.parquet` and `gate.parquet` of one round, greedy; the report's part about them."""
    rows = [
        {
            "problem_id": name, "selector": "greedy", "metric": "greedy", "outcome": "correct" if yes else "wrong",
            "gold": gold, "text": "Answer: 7", "index": None, "details": "{}", "skills": [],
        }
        for name, yes in right.items()
    ]  # fmt: skip
    for name in ("eval", "gate"):
        write_rows(folder / f"{name}.parquet", rows)
    found = {"greedy": cell([row["outcome"] for row in rows])}
    return {"eval": found, "gate": found}


def small_run(
    folder: Path, rounds: Sequence[Mapping[str, bool]], *, wanted: int | None = None, gold: str = "7", **fields: Any
) -> Path:
    """A run of `r3v train` with these closed rounds (problem -> right), all accepted; `wanted`: run.rounds (default: as
    many as there are); `fields`: settings, with __ for the dot."""
    config = Config()
    values = {"run.dir": str(folder), "run.rounds": len(rounds) - 1 if wanted is None else wanted, **fields}
    for name, value in values.items():
        config = set_field(config, name.replace("__", "."), value)
    folder.mkdir(parents=True)
    atomic_write(folder / ".lock", "")
    atomic_write(folder / "config.yaml", to_yaml(config))
    kept = []
    for number, right in enumerate(rounds):
        place = folder / f"round_{number:02d}"
        place.mkdir()
        report = {
            "schema": 1, "round": number, "accepted": True, "reason": "no worse", "decision": None,
            **measured(place, right, gold), "pool": {}, "examples": {}, "fit": {}, "seconds": {"evaluate": 1.0},
        }  # fmt: skip
        write_json(place / "stages.json", {"evaluate": {"seconds": 1.0}})
        write_json(place / "report.json", report)
        atomic_write(place / "DONE", "")
        kept.append({name: report[name] for name in ("round", "eval", "pool", "examples", "seconds")})
    if kept:
        write_json(
            folder / "run.json",
            {"schema": 1, "recipe": "tiny.yaml", "accepted_round": len(rounds) - 1, "rounds": kept},
        )
    return folder
