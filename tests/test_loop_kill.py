"""Kill -9 at random moments of a real run with geoworld-tiny: pool, adapters and numbers equal an undisturbed run's.

R3V_KILLS (default 3) says how often; run with `pytest -m slow tests/test_loop_kill.py`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r3v.evaluation import read_rows
from r3v.reflection.store import read_shards

SMALL = [
    "--run.rounds=2",
    "--data.n_train=24",
    "--data.n_gate=8",
    "--data.n_eval=12",
    "--sample.k=2",
    "--sample.shard_size=6",
    "--sample.max_new_tokens=48",
    "--select.max_new_tokens=48",
    "--select.selectors=greedy,majority,fused",
    "--build.qa=1.0",
    "--train.problems_per_step=4",
    "--train.problems_per_batch=4",
]


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "r3v.cli", "train", "geoworld_tiny", "--no-report", f"--run.dir={folder}", *SMALL]


def outcome(folder: Path) -> dict:
    """Everything a run ends with except times."""
    found: dict = {}
    for path in sorted(folder.glob("round_*/candidates")):
        found[f"{path.parent.name} pool"] = [(g.candidate, g.verdict) for g in read_shards(path)]
    for path in sorted(folder.glob("round_*/adapter/adapter_model.safetensors")):
        found[f"{path.parent.parent.name} adapter"] = path.read_bytes()
    for path in sorted(folder.glob("round_*/*.parquet")):
        if path.name in ("eval.parquet", "gate.parquet"):
            found[f"{path.parent.name} {path.name}"] = read_rows(path)
    run = json.loads((folder / "run.json").read_text())
    found["run"] = [{k: v for k, v in entry.items() if k != "seconds"} for entry in run["rounds"]]
    return found


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    kills = int(os.environ.get("R3V_KILLS", "3"))
    start = time.monotonic()
    subprocess.run(command(tmp_path / "a"), check=True, capture_output=True)
    whole, rng = time.monotonic() - start, random.Random(0)
    for _ in range(kills):
        with subprocess.Popen(command(tmp_path / "b"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            try:
                run.wait(rng.uniform(0.1, 0.9) * whole)
            except subprocess.TimeoutExpired:
                run.kill()
    done = subprocess.run(command(tmp_path / "b"), check=True, capture_output=True, text=True)
    a, b = outcome(tmp_path / "a"), outcome(tmp_path / "b")
    assert a.keys() == b.keys()
    assert len(a) == 2 * 2 + 3 * 2 + 1
    assert [name for name in a if a[name] != b[name]] == [], done.stderr[-2000:]
