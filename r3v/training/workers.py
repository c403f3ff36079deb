"""The processes of one fit on several devices of this machine.

`fit` writes what it was given to `out/.fit/job.pickle` and starts one process per device; each loads the model and
calls `fit` again as one rank of the group (the same happens under torchrun). Lightning's own launcher would run the
user's whole command again in every process, sampling and evaluation included.

A rank that ends with an error or is killed ends them all within seconds, and the fit with one RunError that names
the rank and the reason. Checkpoints stay, and the same call goes on. Workers also end when their starter is gone.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from r3v import errors
from r3v.errors import ConfigError, ModelError, RunError
from r3v.io import atomic_path, make_folder
from r3v.policies.model.adapters.taught import Usage
from r3v.records import Example
from r3v.run import signals
from r3v.settings.config import ModelConfig, TrainConfig

GRACE = 30.0
"""Seconds that a rank may take to end by itself before it is killed."""


@dataclass(frozen=True)
class Job:
    """The arguments of one `fit`."""

    examples: Sequence[Example]
    train: TrainConfig
    model: ModelConfig
    out: Path
    seed: int
    adapter: str | None
    checkpoint_every: int
    progress: bool
    callbacks: Sequence[Any]
    logger: Any
    dry_run: bool
    usage: Usage | None = None


def run_workers(job: Job) -> None:
    """Run the fit in `job.train.devices` processes and wait for them. Raises RunError (or the ConfigError or
    ModelError of a rank) when one of them fails, after all have ended."""
    folder = make_folder(job.out / ".fit")
    for old in folder.glob("rank_*"):
        old.unlink()
    try:
        data = pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(f"callbacks and logger of a fit on several devices must be picklable: {error}") from error
    with atomic_path(folder / "job.pickle") as path:
        path.write_bytes(data)
    workers: list[subprocess.Popen[bytes]] = []
    try:
        port = _free_port()
        for rank in range(job.train.devices):
            workers.append(_start(folder, rank, job.train.devices, port))
        failed = _wait(workers)
    except BaseException:  # a signal to this process: the others write their checkpoint
        _end(workers)
        raise
    for worker in workers:
        worker.kill()
    _end(workers)
    (folder / "job.pickle").unlink(missing_ok=True)
    if any(worker.returncode in (signals.REQUEUE, signals.INTERRUPTED) for worker in workers):
        signals.stop()
    if failed:
        raise _reason(job.out, workers, failed)


def _start(folder: Path, rank: int, world: int, port: int) -> subprocess.Popen[bytes]:
    group = {
        "TORCHELASTIC_RUN_ID": f"r3v-{os.getpid()}",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": world,
        "LOCAL_WORLD_SIZE": world,
        "RANK": rank,
        "LOCAL_RANK": rank,
        "GROUP_RANK": 0,
        # What the starter can import, its workers can.
        "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // world),
    }
    # Rank 0 speaks to the user (warnings, progress); the others to a file.
    log: IO[bytes] | None = None if rank == 0 else (folder / f"rank_{rank}.log").open("wb")
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "r3v.training.rank", str(folder)],
            env=os.environ | {name: str(value) for name, value in group.items()},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    finally:
        if log is not None:
            log.close()


def _wait(workers: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Ranks that failed; empty when all ended well. Returns soon after the first failure."""
    while True:
        codes = [worker.poll() for worker in workers]
        if any(codes):
            # Its neighbours fail of the broken connection; the one to blame has ended by then.
            time.sleep(0.5)
            return [rank for rank, worker in enumerate(workers) if worker.poll()]
        if all(code == 0 for code in codes):
            return []
        time.sleep(0.1)


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    end = time.monotonic() + GRACE
    for worker in workers:
        try:
            worker.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def _reason(out: Path, workers: Sequence[subprocess.Popen[bytes]], failed: Sequence[int]) -> Exception:
    """One error for the user: a rank that was killed explains the others, then one with an error of this library."""

    def blame(rank: int) -> tuple[bool, bool, int]:
        return workers[rank].returncode > 0, "r3v" not in _error(out, rank), rank

    rank = min(failed, key=blame)
    code, found = workers[rank].returncode, _error(out, rank)
    if found.get("r3v"):
        kind = getattr(errors, found["type"])
        return kind(found["message"]) if kind in (ConfigError, ModelError) else RunError(found["message"])
    if code < 0:
        what = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        what += "; on SIGKILL, look for a lack of memory" if code == -signal.SIGKILL else ""
    elif found:
        what = f"ended with {found['type']}: {found['message']}"
    else:
        what = f"ended with exit code {code}"
    checkpoint = (
        "the last checkpoint is kept" if (out / ".fit" / "last.ckpt").exists() else "there is no checkpoint yet"
    )
    log = f"; see {out / '.fit' / f'rank_{rank}.log'}" if rank else ""
    return RunError(
        f"{out}: rank {rank} of {len(workers)} {what}{log}. The others were stopped and {checkpoint}; "
        "run the same command again to go on"
    )


def _error(out: Path, rank: int) -> dict[str, Any]:
    path = out / ".fit" / f"rank_{rank}.error"
    return json.loads(path.read_text()) if path.exists() else {}


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
