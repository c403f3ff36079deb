"""One rank of a fit on several devices: the program that `r3v.training.workers` starts once for each.

`python -m r3v.training.rank FOLDER` loads the model, and calls `fit` as one process of the group.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path

from r3v import errors
from r3v.io import atomic_write
from r3v.policies.model.loading import device_of, load
from r3v.run import signals
from r3v.training.fit import fit
from r3v.training.strategies import sharded
from r3v.training.workers import Job


def main(folder: Path) -> None:
    """One rank. Ends the process at once on failure: leaving a broken process group in good order can hang."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        with (folder / "job.pickle").open("rb") as file:
            job: Job = pickle.load(file)
        with signals.watched(patient=True):
            _work(job, int(os.environ["LOCAL_RANK"]))
    except signals.Stopped as stopped:
        os._exit(stopped.exit_code)
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
    # After the job is read: unpickling its callbacks may set up what these imports need.
    import torch

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
        usage=job.usage,
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
