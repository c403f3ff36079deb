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

from r3v.rollout.shards import read_shards
from r3v.run.evaluation import read_rows

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
    return [sys.executable, "-m", "r3v.app.cli", "train", "geoworld_tiny", "--no-report", f"--run.dir={folder}", *SMALL]


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


def killed_soon_after_progress(folder: Path, rng: random.Random) -> bool:
    """Start the run, wait until it has written something new, kill it up to half a second later; False if it ended."""
    before = set(folder.rglob("*"))
    with subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None and set(folder.rglob("*")) <= before:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.5))
        if run.poll() is not None:
            return False
        run.kill()
        return True


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    kills = int(os.environ.get("R3V_KILLS", "3"))
    subprocess.run(command(tmp_path / "a"), check=True, capture_output=True)
    rng = random.Random(0)
    killed = [killed_soon_after_progress(tmp_path / "b", rng) for _ in range(kills)]
    assert sum(killed) == kills, f"the run was finished after {sum(killed)} kills; R3V_KILLS asks for more than it has"
    done = subprocess.run(command(tmp_path / "b"), check=True, capture_output=True, text=True)
    a, b = outcome(tmp_path / "a"), outcome(tmp_path / "b")
    assert a.keys() == b.keys()
    assert len(a) == 2 * 2 + 3 * 2 + 1
    assert [name for name in a if a[name] != b[name]] == [], done.stderr[-2000:]
