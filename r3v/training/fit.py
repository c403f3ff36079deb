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
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from r3v.errors import ConfigError, DataError, RunError
from r3v.policies.model.adapters.files import with_adapter
from r3v.policies.model.adapters.taught import Usage
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import device_of
from r3v.policies.model.room import no_further
from r3v.records import Example
from r3v.run import signals
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training.checkpointing import keep_activations
from r3v.training.enough import tell_retold
from r3v.training.keeper import Keeper
from r3v.training.layout.trie import group_examples
from r3v.training.loader import StepLoader, accumulation
from r3v.training.module import R3VModule
from r3v.training.precision import check_precision, leave_batches
from r3v.training.strategies import (
    check_strategy,
    launched,
    lightning_strategy,
    sharded,
    wants_workers,
    world_size,
)
from r3v.training.workers import Job, run_workers


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
    loaded: Loaded | None,
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
    dry_run: bool = False,
    usage: Usage | None = None,
) -> FitResult:
    """Train a fresh LoRA adapter (or go on with `adapter`) on `examples` and save it in `out/adapter`.

    `loaded` is a base model; it is the base model again afterwards, unless its weights were sharded (under
    torchrun). It may be None where `wants_workers(train)`: on several devices each process loads `model` itself (a
    random tiny one if `dry_run`), and callbacks and logger are pickled. A fit may be resumed with another
    `train.strategy` or number of devices. `progress`: show a line of it (`r3v.run.progress`). `checkpoint_every`:
    optimiser steps between checkpoints, 0 for none. `usage`: what the adapter's file says of select target and grader
    (default: as the model was loaded).
    Raises DataError without examples, ConfigError for a strategy that cannot be used, RunError for a folder of
    another fit, a loss that is not finite or a process that failed. A signal (`r3v.run.signals`) ends it with a
    checkpoint after the step at hand.
    """
    out = Path(out)
    if not examples:
        raise DataError("found no training example, expected at least one", file=out)
    check_strategy(train, model)
    check_precision(train.precision, model)
    fingerprint = _fingerprint(examples, train, model, seed, adapter)
    older = _fingerprint(examples, train, model, seed, adapter, of_0_1=True)
    done = _finished(out, fingerprint, older)
    if done is not None:
        return done
    if wants_workers(train):
        tiny = dry_run or (loaded is not None and loaded.name.startswith("dry-run:"))
        start = None if adapter is None else str(adapter)
        run_workers(
            Job(
                examples,
                train,
                model,
                out,
                seed,
                start,
                checkpoint_every,
                progress,
                tuple(callbacks),
                logger,
                tiny,
                usage,
            )
        )
        return _result(out, fingerprint, older)
    if loaded is None:
        raise ConfigError(f"found no model to train in this process (train.strategy {train.strategy!r}), expected one")
    if os.environ.get("RANK", "0") == "0":
        tell_retold(examples, loaded.encoder.fingerprint, out.parent)
    loaded = loaded if usage is None else replace(loaded, usage=usage)
    network = with_adapter(loaded, adapter, trainable=True).model if adapter is not None else loaded.model
    module = R3VModule(replace(loaded, model=network), train, config=model, seed=seed)
    world = world_size(train)
    device = next(network.parameters()).device
    try:
        keeper = Keeper(out, fingerprint, checkpoint_every, progress, older)
        loader = StepLoader(
            groups=group_examples(examples),
            maker=module.maker(),
            per_step=train.problems_per_step,
            seed=seed,
            accumulate=accumulation(train, world),
            epochs=train.epochs,
            max_steps=train.max_steps,
            cache_bytes=StepLoader.cache_bytes if train.epochs > 1 else 0,
        )
        with no_further(less_memory(train)), signals.held(), quiet_trainer(), torch.random.fork_rng():
            torch.manual_seed(seed)
            trainer = _trainer(module, train, loader.accumulate, keeper, callbacks, logger)
            leave_batches(trainer)
            trainer.fit(module, datamodule=OnePass(loader), ckpt_path=keeper.resume(), weights_only=True)
    finally:
        if not module.sharded:
            _restore(module, device)
    return _result(out, fingerprint, older)


def less_memory(train: TrainConfig) -> str:
    """What to do where a fit does not fit. The first two may change while a fit is unfinished."""
    checkpointing = "" if train.gradient_checkpointing else " or set train.gradient_checkpointing true"
    return (
        f"Lower train.problems_per_batch (it is {train.problems_per_batch}){checkpointing}, and the same command goes "
        f"on where it stopped; for a new run also train.max_tokens ({train.max_tokens}), model.max_pixels, "
        "model.quantization nf4 or train.strategy fsdp on several devices"
    )


def _result(out: Path, *fingerprints: str) -> FitResult:
    result = _finished(out, *fingerprints)
    if result is None:
        raise RunError(f"{out}: the fit was stopped before its end; run the same command again to go on")
    if os.environ.get("RANK", "0") == "0" or not launched():
        shutil.rmtree(out / ".fit", ignore_errors=True)
    return result


def _trainer(
    module: R3VModule,
    train: TrainConfig,
    accumulate: int,
    keeper: pl.Callback,
    callbacks: Sequence[pl.Callback],
    logger: Any,
) -> pl.Trainer:
    device = next(module.model.parameters()).device
    # A model to be sharded waits on the CPU for its place.
    on_cpu = device.type == "cpu" and not (sharded(train.strategy) and device_of(module.config).type == "cuda")
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if launched() else train.devices
    one_gpu = device.type == "cuda" and world_size(train) == 1
    return pl.Trainer(
        accelerator="cpu" if on_cpu else "gpu",
        devices=[device.index or 0] if one_gpu else here,
        num_nodes=world_size(train) // here,
        strategy=lightning_strategy(train.strategy, world_size(train)),
        precision=train.precision,  # pyright: ignore[reportArgumentType]
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        callbacks=[*callbacks, keeper],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
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


def _finished(out: Path, *fingerprints: str) -> FitResult | None:
    path = out / "fit.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    if kept["fingerprint"] not in fingerprints:
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
    examples: Sequence[Example],
    train: TrainConfig,
    model: ModelConfig,
    seed: int,
    adapter: object,
    of_0_1: bool = False,
) -> str:
    """16 hexadecimal digits over everything the adapter depends on. How a step is spread over devices and cut for their
    memory is not part of it, so that a fit can be resumed with other ones; in fits `of_0_1` the cut was."""
    train = replace(train, strategy="auto", devices=1)
    if not of_0_1:
        train = replace(train, problems_per_batch=1, gradient_checkpointing=False)
    settings = {k: v for k, v in asdict(train).items() if k != "max_batch_tokens"}
    # Fits of before a field existed go on being theirs.
    new = {"blank": False, "thinking": None, "force": False, "matmul": "highest"}
    told = {k: v for k, v in asdict(model).items() if v != new.get(k, ...)}
    digest = hashlib.sha256(json.dumps([settings, told, seed, str(adapter)], sort_keys=True).encode())
    for e in examples:
        texts = [m.text for m in e.prompt.messages]
        row = [e.kind, e.problem_id, texts, e.target, e.weight, e.advantage, e.pair, e.rejected]
        row += [list(e.token_ids), e.logprobs] if e.token_ids else []
        row += [e.tokenizer] if e.tokenizer else []
        row += [] if e.ended else ["cut off"]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]


def _restore(module: R3VModule, device: torch.device) -> None:
    """Take the adapter off and leave the base model as it was found (Lightning moves it to the CPU at the
    end)."""
    if module.train_config.gradient_checkpointing:
        keep_activations(module.model)
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
