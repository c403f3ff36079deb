"""One of two processes that train with the losses adapters; started by test_losses_distributed.py.

    python losses_worker.py FOLDER      with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT set, as by torchrun

Each process takes half of the rows of every step; rank 0 writes losses and weights of each host to FOLDER.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from test_losses_adapters import (
    NO_TRL,
    ROW_LOSSES,
    ROWS,
    lightning_trainer,
    random_model,
    run_trainer,
    run_trl,
    steps_of,
    trainer_arguments,
)

from r3v.losses.adapters import KindCounts, accelerate_step, lightning_module, run_step

HALF = ROWS // 2
ROW_LOSS = ROW_LOSSES["kind"]


def with_torch(folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """DistributedDataParallel as it is: gradients are averaged, so the loss is scaled by the number of processes."""
    import torch.distributed as dist

    def total(counts: torch.Tensor) -> torch.Tensor:
        counts = counts.clone()
        dist.all_reduce(counts)
        return counts

    if not dist.is_initialized():
        dist.init_process_group("gloo")
    trained = random_model()
    parallel = torch.nn.parallel.DistributedDataParallel(trained)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    losses = []
    for rows in steps_of(1):
        mine = rows[dist.get_rank() * HALF :][:HALF]
        optimizer.zero_grad()
        step = run_step(parallel, mine, ROW_LOSS, total=total, scale=2.0, no_sync=parallel.no_sync)
        losses.append(step["loss"])
        optimizer.step()
    return losses, dict(trained.state_dict())


def with_accelerate(folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Micro-batches of one row, so that gradients are accumulated and averaged over processes."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=HALF)
    trained = random_model()
    prepared, optimizer = accelerator.prepare(trained, torch.optim.SGD(trained.parameters(), lr=0.1))
    losses = []
    for rows in steps_of(1):
        mine = rows[accelerator.process_index * HALF :][:HALF]
        optimizer.zero_grad()
        losses.append(accelerate_step(accelerator, prepared, mine, ROW_LOSS)["loss"])
        optimizer.step()
    return losses, dict(trained.state_dict())


def with_transformers(folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    from transformers import Trainer, TrainingArguments

    class Mixed(KindCounts, Trainer):
        pass

    arguments = trainer_arguments(TrainingArguments, folder, 1, accumulate=HALF)
    return run_trainer(Mixed, arguments, random_model(), ROW_LOSS)


def with_trl(folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    return run_trl(random_model(), folder, ROW_LOSS, 1, accumulate=HALF)


def with_lightning(folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    trained = random_model()
    module = lightning_module(trained, ROW_LOSS, lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    rank = int(os.environ["RANK"])
    mine: Any = [rows[rank * HALF :][:HALF] for rows in steps_of(1)]
    losses: list[float] = []
    trainer = lightning_trainer(folder, losses, strategy="ddp", devices=2, use_distributed_sampler=False)
    trainer.fit(module, torch.utils.data.DataLoader(mine, batch_size=None))
    return losses, dict(trained.state_dict())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    target = Path(sys.argv[1])
    # One start of two processes for all of them: imports cost more than the steps.
    hosts = {"torch": with_torch, "accelerate": with_accelerate, "transformers": with_transformers}
    hosts |= {"lightning": with_lightning} if NO_TRL else {"trl": with_trl, "lightning": with_lightning}
    results = {host: run(target) for host, run in hosts.items()}
    if os.environ["RANK"] == "0":
        torch.save(results, target / "results.pt")
