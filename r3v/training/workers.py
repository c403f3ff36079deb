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
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from r3v import errors
from r3v.config import ModelConfig, TrainConfig
from r3v.errors import ConfigError, ModelError, RunError
from r3v.io import atomic_path, atomic_write, make_folder
from r3v.records import Example
from r3v.training.strategies import sharded

GRACE = 5.0
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
    finally:
        _end(workers)
    (folder / "job.pickle").unlink(missing_ok=True)
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
            [sys.executable, "-m", "r3v.training.workers", str(folder)],
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


# ---- inside a worker -----------------------------------------------------------------------------


def main(folder: Path) -> None:
    """One rank. Ends the process at once on failure: leaving a broken process group in good order can hang."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        with (folder / "job.pickle").open("rb") as file:
            job: Job = pickle.load(file)
        _work(job, int(os.environ["LOCAL_RANK"]))
    except BaseException as error:
        ours = isinstance(error, errors.R3VError)
        found = {"type": type(error).__name__, "message": str(error)} | ({"r3v": True} if ours else {})
        atomic_write(folder / f"rank_{os.environ['RANK']}.error", json.dumps(found))
        if not ours:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _end_with_starter() -> None:
    """The starter holds the other end of stdin and never writes; end of file means that it is gone."""
    # os.read, because a thread inside sys.stdin's own lock breaks the interpreter's end.
    while os.read(0, 1):
        pass
    os._exit(1)


def _work(job: Job, local_rank: int) -> None:
    import torch

    from r3v.policies.loading import device_of, load
    from r3v.training.fit import fit

    device = device_of(job.model)
    if device.type == "cuda":
        torch.cuda.set_device(local_rank)
        # A model to be sharded may be too large for one device.
        place = "cpu" if sharded(job.train.strategy) else f"cuda:{local_rank}"
    else:
        place = str(device)
    loaded = load(replace(job.model, adapter=None, device=place), dry_run=job.dry_run)
    fit(
        loaded, job.examples, train=job.train, model=job.model, out=job.out, seed=job.seed, adapter=job.adapter,
        checkpoint_every=job.checkpoint_every, progress=job.progress, callbacks=job.callbacks, logger=job.logger,
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
