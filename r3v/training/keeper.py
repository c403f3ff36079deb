"""The callback that keeps what a fit makes: losses, checkpoints every few steps, the adapter and `fit.json`."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from r3v.errors import RunError
from r3v.io import atomic_write, write_json
from r3v.policies.model.adapters.files import save_adapter
from r3v.policies.model.adapters.taught import taught_with
from r3v.run import logs, signals
from r3v.run.progress import Task, peak_memory, task
from r3v.training.enough import check_kept
from r3v.training.layout.trie import TrieStats
from r3v.training.module import R3VModule
from r3v.training.strategies import over_devices, whole

LIVE = 10.0
"""Seconds between two writings of the losses while a fit runs, for whoever watches it."""


class Keeper(pl.Callback):
    """Losses, checkpoints every few steps, and at the end the adapter and `fit.json`."""

    def __init__(self, out: Path, fingerprint: str, every: int, shown: bool = False, older: str = "") -> None:
        self.out, self.fingerprint, self.every, self.shown = out, fingerprint, every, shown
        self.older = older
        self.stack = ExitStack()
        self.task: Task | None = None
        self.rows: list[tuple[float, float]] = []
        self.pending: list[tuple[Tensor, float]] = []
        self.share: Tensor | None = None
        self.norm = 0.0
        self.seconds, self.since = 0.0, time.monotonic()
        self.written = self.since

    @property
    def checkpoint(self) -> Path:
        return self.out / ".fit" / "last.ckpt"

    def resume(self) -> str | None:
        """The checkpoint to go on from. Raises RunError when it belongs to other examples or settings."""
        old = self.checkpoint.with_suffix(".old")
        if not self.checkpoint.exists() and old.exists():
            # A kill between the two renames of a folder.
            old.rename(self.checkpoint)
        if not self.checkpoint.exists():
            return None
        note = self.out / ".fit" / "fingerprint"
        found = note.read_text() if note.exists() else "none"
        if found not in (self.fingerprint, self.older):
            raise RunError(
                f"{self.checkpoint}: found a checkpoint of another fit ({found}, expected "
                f"{self.fingerprint}): examples "
                f"or settings have changed. Delete {self.out / '.fit'} to begin anew"
            )
        return str(self.checkpoint)

    def state_dict(self) -> dict[str, Any]:
        self._settle()
        return {"rows": [list(row) for row in self.rows], "seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [(row[0], row[1]) for row in state_dict["rows"]]
        self.seconds = state_dict["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.since = time.monotonic()
        signals.rewatch()  # Lightning's own handler would end the fit before this one has written its checkpoint
        steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        shown = self.shown and trainer.is_global_zero
        self.task = self.stack.enter_context(task("fit", steps, "step", trainer.global_step, shown))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, R3VModule)
        assert pl_module.step_loss is not None
        self.share = pl_module.step_loss if self.share is None else self.share + pl_module.step_loss
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if trainer.world_size > 1:
            self.share = trainer.strategy.reduce(self.share, reduce_op="mean")
        assert isinstance(self.share, Tensor)
        self.pending.append((self.share, trainer.optimizers[0].param_groups[0]["lr"]))
        self.share = None
        self._tell(trainer, pl_module)
        self._log(trainer)
        if trainer.is_global_zero and time.monotonic() - self.written >= LIVE:
            self._settle()
            self._write_losses()
        if batch_idx + 1 == trainer.num_training_batches:
            return
        # Processes that train together leave together.
        asked = trainer.strategy.reduce_boolean_decision(signals.pending(), all=False)
        if asked or (self.every and trainer.global_step % self.every == 0):
            self._save(trainer)
        if asked:
            signals.stop()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, R3VModule)
        self._settle()
        stats = over_devices(pl_module.progress, trainer.world_size)
        check_kept(stats, pl_module.max_tokens)
        adapter = WholeAdapter(pl_module)
        if trainer.should_stop and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            logging.getLogger(__name__).warning("the fit was stopped early after %d steps", len(self.rows))
        if trainer.is_global_zero:
            self._write_result(pl_module, adapter, stats)
        # No rank looks for the result before it is there.
        trainer.strategy.barrier()
        self.stack.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.stack.close()

    def _tell(self, trainer: pl.Trainer, pl_module: R3VModule) -> None:
        """One step more; its loss, for which the device has to catch up, only where the line is shown."""
        if self.task is None:
            return
        seen = pl_module.progress
        tokens = (seen.tokens if pl_module.path == "fused" else seen.tokens_unfused) * trainer.world_size
        figures = {"loss": float(self.pending[-1][0])} if self.task.due() else {}
        self.task.reach(trainer.global_step, tokens, **figures)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if logs.on():
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0

    def _log(self, trainer: pl.Trainer) -> None:
        """The step for the logs of the run, where there are any. The norm is that before clipping."""
        if not logs.on() or self.task is None:
            return
        loss, lr = self.pending[-1]
        numbers = {"loss": float(loss), "lr": lr, "grad_norm": self.norm, "tokens_per_second": self.task.speed()}
        numbers["peak_memory_gib"] = peak_memory() / 2**30
        logs.log({f"train/{name}": value for name, value in numbers.items()}, trainer.global_step)

    def _write_result(self, pl_module: R3VModule, adapter: WholeAdapter, stats: TrieStats) -> None:
        taught = taught_with(pl_module.loaded, pl_module.train_config.precision)
        save_adapter(adapter, self.out / "adapter", taught)
        self._write_losses()
        write_json(
            self.out / "fit.json",
            {
                "schema": 1,
                "fingerprint": self.fingerprint,
                "steps": len(self.rows),
                "losses": [loss for loss, _ in self.rows],
                "seconds": self._elapsed(),
                "dropped": dict(stats.dropped),
                "tokens": stats.tokens if pl_module.path == "fused" else stats.tokens_unfused,
                "tokens_target": stats.tokens_target,
                "fused": pl_module.path == "fused",
            },
        )

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.since

    def _settle(self) -> None:
        """Pending losses to numbers; only here does the device have to catch up."""
        for loss, lr in self.pending:
            value = float(loss)
            if not math.isfinite(value):
                raise RunError(
                    f"{self.out}: found loss {value} at step {len(self.rows) + 1}, expected a finite "
                    f"number. Lower "
                    "train.lr, or use precision 32-true"
                )
            self.rows.append((value, lr))
        self.pending = []

    def _save(self, trainer: pl.Trainer) -> None:
        temporary = self.checkpoint.with_suffix(".writing")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            atomic_write(self.out / ".fit" / "fingerprint", self.fingerprint)
            take_place(temporary, self.checkpoint)
            self._write_losses()

    def _write_losses(self) -> None:
        lines = [f"{i + 1},{loss!r},{lr!r}" for i, (loss, lr) in enumerate(self.rows)]
        atomic_write(self.out / "losses.csv", "\n".join(["step,loss,lr", *lines]) + "\n")
        self.written = time.monotonic()


class WholeAdapter:
    """The module's adapter for `save_adapter`, with sharded weights gathered (every rank must make one)."""

    def __init__(self, module: R3VModule) -> None:
        self.model, self.peft_config = module.model, module.model.peft_config
        prefix = "model."
        trained = module.state_dict().items()
        self.weights = {name.removeprefix(prefix): whole(value) for name, value in trained} if module.sharded else None

    def save_pretrained(self, folder: Path, **options: Any) -> None:
        self.model.save_pretrained(folder, state_dict=self.weights, **options)


def take_place(new: Path, target: Path) -> None:
    """`new` becomes `target`: a file, or a folder as DeepSpeed writes. The old one is whole until the new one is."""
    if new.is_file():
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(target)
        return
    old = target.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
