"""Two CPU processes with half of the rows each take the same steps as one process with all of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_losses_adapters import NO_TRL, ROW_LOSSES, assert_same_weights, plain_run, random_model

WORKER = Path(__file__).with_name("losses_worker.py")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


HOSTS = ("torch", "accelerate", "transformers", "trl", "lightning")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """host -> (losses, weights) of two processes."""
    tmp_path = tmp_path_factory.mktemp("two")
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
        outputs = [worker.communicate(timeout=900)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(outputs)
    return torch.load(tmp_path / "results.pt")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.host("two processes")
def test_two_processes(host: str, results: dict[str, Any]) -> None:
    """Half of the rows in each process. The halves hold different kinds in different numbers, so local denominators
    would give another loss.
    """
    if host == "trl" and NO_TRL:
        pytest.skip("trl is not installed (pip install r3v[bench])")
    losses, trained = results[host]
    expected, weights = plain_run(random_model(), ROW_LOSSES["kind"])
    assert losses == pytest.approx(expected, rel=1e-4), "the trainers log rounded losses"
    assert_same_weights(trained, weights)
