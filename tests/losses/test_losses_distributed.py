"""Two CPU processes with half of the rows each take the same steps as one process with all of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_losses_adapters import ROW_LOSSES, assert_same_weights, plain_run, random_model

WORKER = Path(__file__).with_name("losses_worker.py")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_two_processes(tmp_path: Path) -> None:
    """Accelerate, transformers and Lightning, each with half of the rows in each process.

    The halves hold different kinds in different numbers, so local denominators would give another loss.
    """
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "test",
        "GROUP_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(tmp_path)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(outputs)
    results = torch.load(tmp_path / "results.pt")
    assert list(results) == ["accelerate", "trainer", "lightning"]
    expected, weights = plain_run(random_model(), ROW_LOSSES["kind"])
    for losses, trained in results.values():
        assert losses == pytest.approx(expected, rel=1e-4), "the trainer logs rounded losses"
        assert_same_weights(trained, weights)
