"""The model that is reinforced: an R3VModule that outlives its fits, its optimiser, and both on disk.

Every iteration is one short Lightning fit of the same module, so losses, tries, precision and gradient clipping are
those of every other training here. Between fits the module stays where it is and samples; the optimiser goes on with
its moments, and the learning rate is set by iteration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor

from r3v.curriculum.reinforce.config import ReinforceConfig, loss_options, train_config
from r3v.curriculum.reinforce.drift import settle, watched
from r3v.errors import RunError
from r3v.grading import grader_named
from r3v.io import atomic_path
from r3v.losses import make_loss
from r3v.policies.model.adapters.files import with_adapter
from r3v.policies.model.adapters.taught import Usage
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.room import no_further
from r3v.policies.sampling.hf import HFPolicy
from r3v.records import Example
from r3v.run import signals
from r3v.training.fit import OnePass, quiet_trainer
from r3v.training.forward import token_logprobs
from r3v.training.layout.batching import Batch
from r3v.training.layout.trie import TrieStats, group_examples
from r3v.training.loader import StepLoader, accumulation
from r3v.training.module import R3VModule
from r3v.training.optimiser import lr_factor

STATE_SCHEMA = 1
METRICS = ("ratio", "clipped", "kl", "drift")
"""Token means of the loss that are kept for every optimiser step."""


@dataclass
class Updated:
    """What the optimiser steps of one iteration did. `steps`: one row each. `dropped`: branches too long, by kind."""

    steps: list[dict[str, float]] = field(default_factory=list)
    drift: dict[str, Any] = field(default_factory=dict)
    old: str = "none"
    dropped: dict[str, int] = field(default_factory=dict)
    branches: int = 0
    tokens: int = 0
    tokens_target: int = 0
    fused: bool = True


class ReinforceModule(R3VModule):
    """An R3VModule with a policy-gradient loss, the frozen base as reference, and an optimiser of its own life.

    `rate` is the learning rate of the fits to come. The reference is the model with its adapter off.
    """

    def __init__(self, loaded: Loaded, config: ReinforceConfig) -> None:
        loss = watched(make_loss(config.train.loss, **loss_options(config)))
        super().__init__(
            loaded, train_config(config), config=config.model, loss=loss, reference=False, seed=config.run.seed
        )
        self.beta = config.train.beta
        self.rate = config.train.lr
        self.kept_optimizer: torch.optim.Optimizer | None = None
        self._restored: dict[str, Any] | None = None

    def setup(self, stage: str) -> None:
        # The parity self-test is for the first batch of a process, not of every iteration.
        tested = self._tested
        super().setup(stage)
        self._tested = tested

    def configure_optimizers(self) -> Any:
        """The optimiser of the last fit with its moments, at this iteration's learning rate."""
        if self.kept_optimizer is None:
            made: torch.optim.Optimizer = super().configure_optimizers()["optimizer"]
            self.kept_optimizer = made
        if self._restored is not None:
            self.kept_optimizer.load_state_dict(self._restored)
            self._restored = None
        for group in self.kept_optimizer.param_groups:
            group["lr"] = self.rate
        return self.kept_optimizer

    def _reference_logprobs(self, batch: Batch) -> Tensor | None:
        if not self.beta:
            return None
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), self.model.disable_adapter():
                return token_logprobs(self.model, batch, self.path)
        finally:
            self.model.train(training)

    def weights(self) -> dict[str, Tensor]:
        """The trained tensors by name, on the CPU."""
        return {name: p.detach().cpu() for name, p in self._trainable().items()}

    def optimizer_state(self) -> dict[str, Any] | None:
        """State of the optimiser, None before the first update."""
        return self._restored if self.kept_optimizer is None else self.kept_optimizer.state_dict()

    def restore(self, weights: dict[str, Tensor], optimizer: dict[str, Any] | None) -> None:
        """Weights now, the optimiser's state with the next fit. Raises RunError where the weights are others."""
        own = self._trainable()
        if own.keys() != weights.keys():
            raise RunError(
                f"found a checkpoint with {len(weights)} trained tensors, expected the {len(own)} of this model; "
                "use another --run.dir"
            )
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)
        self._restored = optimizer


class Resident(SingleDeviceStrategy):
    """One device, and the model stays on it after the fit: it samples next."""

    def teardown(self) -> None:
        self.precision_plugin.teardown()
        self.checkpoint_io.teardown()


class _Recorder(pl.Callback):
    """One row per optimiser step: loss, learning rate, gradient norm before clipping, and token means of the loss."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.loss, self.tokens, self.norm = 0.0, 0, 0.0
        self.sums: dict[str, float] = {}

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self.norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        signals.rewatch()  # Lightning's own handler would end the update in its middle

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, ReinforceModule)
        assert pl_module.step_loss is not None
        tokens = int(batch.target_T.shape[0])
        self.loss += float(pl_module.step_loss)
        self.tokens += tokens
        for name in METRICS:
            value = trainer.callback_metrics.get(f"train/{name}")
            if value is not None and tokens:
                self.sums[name] = self.sums.get(name, 0.0) + float(value) * tokens
        if (batch_idx + 1) % trainer.accumulate_grad_batches and batch_idx + 1 < trainer.num_training_batches:
            return
        if not math.isfinite(self.loss) or not math.isfinite(self.norm):
            raise RunError(
                f"found loss {self.loss} and gradient norm {self.norm}, expected finite numbers. Lower train.lr, or "
                "use precision 32-true; the last checkpoint is whole"
            )
        means = {name: total / self.tokens for name, total in self.sums.items()}
        self.rows.append({"loss": self.loss, "lr": pl_module.rate, "grad_norm": self.norm, **means})
        self.loss, self.tokens, self.norm, self.sums = 0.0, 0, 0.0, {}


class Learner:
    """Module, optimiser and checkpoints of one run. `loaded` is a base model, `config.model.adapter` an adapter to go
    on with. Raises ModelError for a model that cannot be trained."""

    def __init__(self, config: ReinforceConfig, loaded: Loaded) -> None:
        self.config = config
        loaded = replace(loaded, usage=Usage(grader=grader_named(config.data.grader)))
        if config.model.adapter is not None and not hasattr(loaded.model, "peft_config"):
            loaded = replace(loaded, model=with_adapter(loaded, config.model.adapter, trainable=True).model)
        self.module = ReinforceModule(loaded, config)
        self.device = next(self.module.model.parameters()).device

    def policy(self) -> HFPolicy:
        """The sampler: the live weights themselves, so it is in step by construction."""
        policy = self.module.policy()
        policy.slots = self.config.group.slots
        return policy

    def update(self, examples: Sequence[Example], iteration: int) -> Updated:
        """The optimiser steps of one iteration (counted from 0) on its examples."""
        u, train = self.config.train, train_config(self.config)
        module = self.module
        groups = group_examples(examples)
        built = [module.maker().trie(group) for group in groups]
        dropped = sum((stats for _, stats in built), TrieStats()).dropped
        kept = [(g, t, s) for g, (t, s) in zip(groups, built, strict=True) if t is not None]
        if not kept:
            return Updated(dropped=dict(dropped))
        settled = settle(module, [t for _, t, _ in kept], self.config.drift, train.problems_per_batch)
        made = {_key(g): (t, s) for (g, _, s), t in zip(kept, settled.tries, strict=True)}
        module.rate = u.lr * lr_factor(
            iteration, float(self.config.run.iterations), replace(train, warmup=u.warmup, schedule=u.schedule)
        )
        loader = StepLoader(
            groups=[g for g, _, _ in kept],
            maker=replace(module.maker(), trie=lambda group: made[_key(group)]),
            per_step=u.problems_per_step,
            seed=self.config.run.seed * 1_000_003 + iteration,
            accumulate=accumulation(train, 1),
            epochs=u.epochs,
            cache_bytes=0,
        )
        recorder = _Recorder()
        self._fit(loader, recorder)
        stats, fused = module.progress, module.path == "fused"
        return Updated(
            steps=recorder.rows,
            drift=settled.drift.to_dict(),
            old=settled.source,
            dropped=dict(dropped),
            branches=sum(t.n_branches for t in settled.tries),
            tokens=stats.tokens if fused else stats.tokens_unfused,
            tokens_target=stats.tokens_target,
            fused=fused,
        )

    def _fit(self, loader: StepLoader, recorder: pl.Callback) -> None:
        on_gpu = self.device.type == "cuda"
        fix = (
            f"Lower train.problems_per_batch (it is {self.config.train.problems_per_batch}) or group.n, or set "
            "train.gradient_checkpointing true, in another --run.dir: the settings of this one are fixed"
        )
        rng = torch.random.fork_rng(devices=[self.device] if on_gpu else [])
        with no_further(fix), quiet_trainer(), rng:
            trainer = pl.Trainer(
                accelerator="gpu" if on_gpu else "cpu",
                devices=[self.device.index or 0] if on_gpu else 1,
                strategy=Resident(device=self.device),
                precision=self.config.train.precision,
                max_epochs=1,
                accumulate_grad_batches=loader.accumulate,
                callbacks=[recorder],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
            trainer.fit(self.module, datamodule=OnePass(loader))

    def save(self, path: Path, value: dict[str, Any]) -> None:
        """One file with the trained weights, the optimiser and `value` (plain Python values), whole or not at all."""
        state = {
            "schema": STATE_SCHEMA,
            "weights": self.module.weights(),
            "optimizer": self.module.optimizer_state(),
            "value": value,
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> dict[str, Any]:
        """The `value` of a saved state, after its weights and optimiser have been put back. Raises RunError."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises what pickle, zip and the disk raise
            raise RunError(
                f"{path}: cannot be read ({type(error).__name__}: {error}); delete it to begin the run anew, or put "
                "back a copy"
            ) from error
        if state.get("schema") != STATE_SCHEMA:
            raise RunError(f"{path}: found schema {state.get('schema')}, expected {STATE_SCHEMA}; use another folder")
        self.module.restore(state["weights"], state["optimizer"])
        return state["value"]


def _key(group: Sequence[Example]) -> tuple[str, ...]:
    """What tells the groups of an iteration apart: a problem makes two where it shows other images."""
    return tuple(source for example in group for source in example.sources)
