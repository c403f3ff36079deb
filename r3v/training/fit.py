"""One fit: a model and examples in, an adapter folder out. The function the self-training loop calls.

`out/` gets `adapter/` (peft format), `losses.csv` (step, loss, learning rate) and, last, `fit.json`. While
the fit runs, `out/.fit/last.ckpt` is replaced every few steps; the same call after a kill goes on from there
and ends, in float32 on the same machine, with the same adapter as an undisturbed fit. A finished fit returns
its result at once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from r3v.config import ModelConfig, TrainConfig
from r3v.errors import DataError, RunError
from r3v.io import atomic_write, write_json
from r3v.policies.loading import Loaded, load_adapter, save_adapter
from r3v.records import Example
from r3v.training.data import accumulation
from r3v.training.loader import StepLoader
from r3v.training.module import R3VModule
from r3v.training.trie import TrieStats, group_examples


@dataclass(frozen=True)
class FitResult:
    """What a fit did. `losses`: one per optimiser step. `dropped`: branches too long, by kind. `tokens`:
    tokens that went through the model; `tokens_target`: those that were supervised. `fused`: prefix tries
    were used to the end."""

    adapter: Path
    steps: int
    losses: tuple[float, ...]
    seconds: float
    dropped: dict[str, int]
    tokens: int
    tokens_target: int
    fused: bool


def fit(
    loaded: Loaded,
    examples: Sequence[Example],
    *,
    train: TrainConfig,
    model: ModelConfig,
    out: str | Path,
    seed: int,
    adapter: str | Path | None = None,
    checkpoint_every: int = 50,
    progress: bool = False,
    callbacks: Sequence[pl.Callback] = (),
    logger: Any = False,
) -> FitResult:
    """Train a fresh LoRA adapter (or go on with `adapter`) on `examples` and save it in `out/adapter`.

    `loaded` is a base model; it is the base model again afterwards. `checkpoint_every`: optimiser steps
    between checkpoints, 0 for none. Raises DataError without examples, RunError for a folder of another fit
    or a loss that is not finite.
    """
    out = Path(out)
    if not examples:
        raise DataError("found no training example, expected at least one", file=out)
    fingerprint = _fingerprint(examples, train, model, seed, adapter)
    done = _finished(out, fingerprint)
    if done is not None:
        return done
    network = load_adapter(loaded.model, adapter, trainable=True) if adapter is not None else loaded.model
    module = R3VModule(replace(loaded, model=network), train, config=model, seed=seed)
    device = next(network.parameters()).device
    try:
        keeper = _Keeper(out, fingerprint, checkpoint_every)
        loader = StepLoader(
            groups=group_examples(examples),
            maker=module.maker(),
            per_step=train.problems_per_step,
            seed=seed,
            accumulate=accumulation(train, train.devices),
            epochs=train.epochs,
            max_steps=train.max_steps,
            cache_bytes=StepLoader.cache_bytes if train.epochs > 1 else 0,
        )
        with quiet_trainer(), torch.random.fork_rng():
            torch.manual_seed(seed)
            trainer = _trainer(module, train, loader.accumulate, keeper, callbacks, logger, progress)
            trainer.fit(module, datamodule=OnePass(loader), ckpt_path=keeper.resume(), weights_only=True)
    finally:
        _restore(module, device)
    result = _finished(out, fingerprint)
    if result is None:
        raise RunError(f"{out}: the fit was stopped before its end; run the same command again to go on")
    shutil.rmtree(out / ".fit", ignore_errors=True)
    return result


def _trainer(
    module: R3VModule,
    train: TrainConfig,
    accumulate: int,
    keeper: pl.Callback,
    callbacks: Sequence[pl.Callback],
    logger: Any,
    progress: bool,
) -> pl.Trainer:
    device = next(module.model.parameters()).device
    one_gpu = device.type == "cuda" and train.devices == 1
    return pl.Trainer(
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=[device.index or 0] if one_gpu else train.devices,
        strategy=train.strategy,
        precision=train.precision,  # pyright: ignore[reportArgumentType]
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        callbacks=[*callbacks, keeper],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=None,
    )


class OnePass(pl.LightningDataModule):
    """The whole fit as one Lightning epoch, so that resuming has one case: go on at batch number n."""

    def __init__(self, loader: StepLoader) -> None:
        super().__init__()
        self.loader = loader

    def train_dataloader(self) -> StepLoader:
        trainer: Any = self.trainer
        self.loader.world, self.loader.rank = trainer.world_size, trainer.global_rank
        self.loader.place = lambda: (0, trainer.fit_loop.epoch_loop.batch_progress.current.ready)
        return self.loader


class _Keeper(pl.Callback):
    """Losses, checkpoints every few steps, and at the end the adapter and `fit.json`."""

    def __init__(self, out: Path, fingerprint: str, every: int) -> None:
        self.out, self.fingerprint, self.every = out, fingerprint, every
        self.rows: list[tuple[float, float]] = []
        self.pending: list[tuple[Tensor, float]] = []
        self.share: Tensor | None = None
        self.seconds, self.since = 0.0, time.monotonic()

    @property
    def checkpoint(self) -> Path:
        return self.out / ".fit" / "last.ckpt"

    def resume(self) -> str | None:
        """The checkpoint to go on from. Raises RunError when it belongs to other examples or settings."""
        if not self.checkpoint.exists():
            return None
        note = self.out / ".fit" / "fingerprint"
        found = note.read_text() if note.exists() else "none"
        if found != self.fingerprint:
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
        if self.every and trainer.global_step % self.every == 0 and batch_idx + 1 < trainer.num_training_batches:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, R3VModule)
        self._settle()
        stats = _over_devices(pl_module.progress, trainer.world_size)
        if trainer.should_stop and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            logging.getLogger(__name__).warning("the fit was stopped early after %d steps", len(self.rows))
        if not trainer.is_global_zero:
            return
        save_adapter(pl_module.model, self.out / "adapter")
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
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(self.checkpoint)
            self._write_losses()

    def _write_losses(self) -> None:
        lines = [f"{i + 1},{loss!r},{lr!r}" for i, (loss, lr) in enumerate(self.rows)]
        atomic_write(self.out / "losses.csv", "\n".join(["step,loss,lr", *lines]) + "\n")


def _over_devices(stats: TrieStats, world: int) -> TrieStats:
    if world == 1:
        return stats
    gathered: list[Any] = [None] * world
    torch.distributed.all_gather_object(gathered, stats)
    return sum(gathered, TrieStats())


def _finished(out: Path, fingerprint: str) -> FitResult | None:
    path = out / "fit.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    if kept["fingerprint"] != fingerprint:
        raise RunError(
            f"{path}: found a finished fit of other examples or settings, expected none or the same. "
            "Use another folder, or delete this one"
        )
    return FitResult(
        out / "adapter",
        kept["steps"],
        tuple(kept["losses"]),
        kept["seconds"],
        kept["dropped"],
        kept["tokens"],
        kept["tokens_target"],
        kept["fused"],
    )


def _fingerprint(
    examples: Sequence[Example], train: TrainConfig, model: ModelConfig, seed: int, adapter: object
) -> str:
    """16 hexadecimal digits over everything the adapter depends on."""
    digest = hashlib.sha256(json.dumps([asdict(train), asdict(model), seed, str(adapter)], sort_keys=True).encode())
    for e in examples:
        texts = [m.text for m in e.prompt.messages]
        row = [e.kind, e.problem_id, texts, e.target, e.weight, e.advantage, e.pair, e.rejected]
        row += [e.token_ids, e.logprobs] if e.token_ids else []
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]


def _restore(module: R3VModule, device: torch.device) -> None:
    """Take the adapter off and leave the base model as it was found (Lightning moves it to the CPU at the
    end)."""
    if module.train_config.gradient_checkpointing:
        module.model.gradient_checkpointing_disable()
    module.model.unload()
    module.to(device)
    module.loaded.model.eval()


@contextmanager
def quiet_trainer() -> Iterator[None]:
    """Lightning's own announcements (devices, tips) are of no use inside a loop; its warnings stay, save
    one."""
    loggers = [logging.getLogger(n) for n in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning")]
    levels = [log.level for log in loggers]
    try:
        for log in loggers:
            log.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            # A model on the CPU of a machine with a GPU was put there on purpose.
            warnings.filterwarnings("ignore", message="GPU available but not used")
            # Lightning's loader asks torch's pytree in a deprecated way.
            warnings.filterwarnings("ignore", message=".isinstance.treespec, LeafSpec", category=FutureWarning)
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
