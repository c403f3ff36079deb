"""The LightningModule: any loss of `r3v.losses` on any vision-language model, in a plain
`pytorch_lightning.Trainer`.

    module = R3VModule(ModelConfig(), TrainConfig())
    trainer = pl.Trainer(max_epochs=1)
    trainer.fit(module, R3VDataModule(problems=problems, dir="run"))     # bootstraps, then optimises
    module.select(problem, n=8)

The trainer does not know which loss it runs, and the loss does not know that there is a trainer:
denominators of a whole optimiser step come with the batch and are summed over devices, so accumulation and
DDP give the number of one big batch.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from r3v.errors import ConfigError, ModelError
from r3v.losses import make_loss, reduce
from r3v.losses.contract import Loss
from r3v.plan.free import pass_tokens
from r3v.policies.model.room import no_room, tried
from r3v.policies.model.structure import base_model
from r3v.prompts import style
from r3v.records import Example, Problem
from r3v.settings.config import ModelConfig, SelectConfig, TrainConfig
from r3v.training.checkpointing import checkpoint_activations
from r3v.training.enough import nothing_fits
from r3v.training.forward import Path, text_config, token_logprobs, why_not_fusable
from r3v.training.layout.batching import Batch, collate, counts
from r3v.training.layout.trie import Trie, TrieStats, build_trie
from r3v.training.loader import BatchMaker, StepLoader
from r3v.training.optimiser import optimiser
from r3v.training.passes import Passes
from r3v.training.selftest.choose import sound_path
from r3v.training.selftest.parity import ParityWarning, half_precision
from r3v.training.selftest.pictures import check_pictures
from r3v.training.selftest.tries import ENOUGH, MOST_TRIES, chosen
from r3v.training.selftest.untaught import tell_untaught
from r3v.training.strategies import count_in_steps, everywhere, in_parts, outer_parameters, over_devices, shard

if TYPE_CHECKING:
    from r3v.policies.sampling.hf import HFPolicy
    from r3v.selection.methods import Selection


class R3VModule(pl.LightningModule):
    """Trains an adapter with a loss of `r3v.losses`.

    model: a `Loaded` of r3v.policies, or the ModelConfig to load. A model without an adapter gets the LoRA of
    `config`; one that has an adapter goes on with it. loss: a callable of the contract, default `train.loss`.
    reference: the loss wants log-probabilities under the weights the fit began with (default: only dpo does).
    Raises ConfigError for contradicting settings and ModelError for a model that cannot be trained so.
    """

    def __init__(
        self,
        model: Any,
        train: TrainConfig | None = None,
        *,
        config: ModelConfig | None = None,
        loss: Loss | None = None,
        reference: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        from r3v.policies.model.loaded import Loaded
        from r3v.policies.model.loading import add_lora, load

        if isinstance(model, ModelConfig):
            config, model = model, load(model)
        self.config = config or ModelConfig()
        self.loaded: Loaded = model
        self.train_config = train = train or TrainConfig()
        self.seed = seed
        self.model: Any = self.loaded.model
        if not hasattr(self.model, "peft_config"):
            self.model = add_lora(self.model, self.config, seed)
        self.encoder = self.loaded.encoder
        betas = {"dpo": train.dpo_beta, "simpo": train.simpo_beta}
        options = {"beta": betas[train.loss]} if train.loss in betas else {}
        self.loss: Loss = loss or make_loss(train.loss, **options)
        self.reference = reference if reference is not None else (loss is None and train.loss == "dpo")
        self.path: Path = self._planned_path()
        self.progress = TrieStats()
        self.step_loss: Tensor | None = None
        self.strict_loading = False
        self._start: dict[str, Tensor] = {}
        self._tested = False
        self.sharded = False
        self._rng: dict[str, Tensor] | None = None
        self.passes = Passes()
        self._policy: tuple[Any, HFPolicy] | None = None
        if train.gradient_checkpointing:
            checkpoint_activations(self.model)

    def _planned_path(self) -> Path:
        if not self.train_config.fuse:
            return "rows"
        reason = why_not_fusable(self.model)
        if reason:
            warnings.warn(
                f"branches are trained one per row, with the same loss, because {reason}",
                ParityWarning,
                stacklevel=3,
            )
        return "rows" if reason else "fused"

    # --- data
    # -------------------------------------------------------------------------------------------------

    @property
    def max_tokens(self) -> int:
        """Longest branch: the setting, or the model's own context where that is shorter."""
        context = getattr(text_config(self.model), "max_position_embeddings", None)
        return min(self.train_config.max_tokens, context or self.train_config.max_tokens)

    def maker(self) -> BatchMaker:
        """How examples become batches for this model, tokenizer and loss."""
        return BatchMaker(trie=self._trie, collate=self._collate, counts=lambda batch: counts(self.loss, batch))

    def _trie(self, examples: Sequence[Example]) -> tuple[Trie | None, TrieStats]:
        return build_trie(examples, self.encoder, model=self.model, max_tokens=self.max_tokens)

    def _collate(self, tries: Sequence[Trie], fused: bool | None = None) -> Batch:
        fused = self.path == "fused" if fused is None else fused
        pad_id = self.encoder.tokenizer.pad_token_id or 0
        return collate(tries, fused=fused, pad_id=pad_id, collate_images=self.encoder.collate_images)

    # --- one step
    # ---------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The batch's share of the loss of its optimiser step, scaled for Lightning's averaging."""
        if not self._tested:
            self._begin(batch)
        scale = self.trainer.world_size * self.trainer.accumulate_grad_batches
        loss, metrics = self._in_passes(batch) if self._alone() and batch.tries else self._at_once(batch)
        self.step_loss = loss.detach() * self.trainer.world_size
        self.progress = self.progress + batch.stats
        for name, value in metrics.items():
            scaled = value * scale if name.startswith("loss") else value
            self.log(f"train/{name}", scaled, on_step=True, batch_size=max(1, batch.n_branches))
        return loss * scale

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Gradients that `training_step` found in passes, or those of its loss."""
        if self.passes.gradients:
            self.passes.give(list(self._trainable().values()))
        elif not tried(lambda: loss.backward(*args, **kwargs) or True)[0]:
            raise self._several()

    def _alone(self) -> bool:
        """Whether gradients are this device's own: others would have to cut their batches alike."""
        return self.trainer.world_size == 1 and not in_parts(self.trainer.strategy)

    def _in_passes(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, whose gradients wait in `passes`; Lightning clears old ones before it asks for them."""
        total_K = batch.step_denominators_K if batch.step_denominators_K is not None else counts(self.loss, batch)
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return self.passes.run(
            batch,
            self._share,
            lambda tries: replace(self._moved(tries, self.path == "fused"), step_denominators_K=total_K),
            list(self._trainable().values()),
            (lambda loss: loss) if scaler is None else scaler.scale,
            self.train_config.gradient_checkpointing,
        )

    def _at_once(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        fine, found = tried(lambda: self._share(batch))
        if not fine or found is None:
            raise self._several()
        return found

    def _several(self) -> Exception:
        ways = () if self.train_config.gradient_checkpointing else ("set train.gradient_checkpointing true",)
        fields = ("train.problems_per_batch", "train.max_tokens", "model.max_pixels")
        return no_room("in a fit on several devices, which cannot cut their batches alike", *fields, also=ways)

    def _share(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        total_K = batch.step_denominators_K
        if total_K is not None and self.trainer.world_size > 1:
            total_K = self.trainer.strategy.reduce(total_K.clone(), reduce_op="sum")
        if not batch.tries:
            # Every branch of this share was too long, or there are more devices than problems: the other devices
            # still wait for gradients.
            return self._zero(), {"loss": torch.zeros((), device=self.device)}
        if batch.fused != (self.path == "fused"):
            batch = self._recollate(batch)
        logprobs_T = token_logprobs(self.model, batch, self.path)
        output = self.loss(batch.loss_inputs(logprobs_T, reference_T=self._reference_logprobs(batch)))
        config = self.train_config
        loss, metrics = reduce(output, total_K, config.loss_reduction, config.kind_weights)
        return loss + self._outer_zero() if self.sharded else loss, metrics

    def _zero(self) -> Tensor:
        """A loss of zero with a gradient for every trained parameter."""
        if not in_parts(self.trainer.strategy):
            return sum((p.sum() * 0.0 for p in self._trainable().values()), torch.zeros((), device=self.device))
        return self._idle() + self._outer_zero()

    def _outer_zero(self) -> Tensor:
        """Zero, with a gradient for trained parameters outside the sharded layers: all ranks reduce the same ones,
        though one of them may have seen no picture."""
        return sum((p.sum() * 0.0 for p in outer_parameters(self)), torch.zeros((), device=self.device))

    def _idle(self) -> Tensor:
        """A forward pass of two tokens, times zero. Where weights are spread over devices, each layer gathers them,
        so every device must run the layers equally often."""
        base = base_model(self.model)
        ids_RL = torch.full((1, 2), self.encoder.tokenizer.pad_token_id or 0, device=self.device)
        inputs = {"input_ids": ids_RL, "attention_mask": torch.ones_like(ids_RL), "use_cache": False}
        return base.base_model(**inputs).last_hidden_state.float().sum() * 0.0

    def _recollate(self, batch: Batch) -> Batch:
        other = self._collate(batch.tries).to(batch.ids_RL.device)
        return replace(other, step_denominators_K=batch.step_denominators_K, stats=batch.stats)

    def _reference_logprobs(self, batch: Batch) -> Tensor | None:
        """Log-probabilities under the weights the fit began with, swapped in for one forward pass."""
        if not self.reference:
            return None
        trainable = self._trainable()
        if not self._start:
            raise ModelError("the reference weights are taken in setup('fit'), which has not run; use a Trainer")
        now = {name: p.data for name, p in trainable.items()}
        training = self.model.training
        self.model.eval()
        try:
            for name, p in trainable.items():
                p.data = self._start[name].to(p.device)
            with torch.no_grad():
                return token_logprobs(self.model, batch, self.path)
        finally:
            for name, p in trainable.items():
                p.data = now[name]
            self.model.train(training)

    # --- self-test
    # --------------------------------------------------------------------------------------------

    def _begin(self, batch: Batch) -> None:
        """Before the first step: is there anything to train on, and the self-test, once all devices have a batch."""
        if self._alone():
            self.passes.limit(pass_tokens(self.model, self.train_config, self.config, self.device))
        largest = min(int(batch.ids_RL.numel()), self.passes.most or sys.maxsize)
        half, cap = half_precision(self.model), int(everywhere(self.trainer, float(largest), "min"))
        loader = getattr(self.trainer, "train_dataloader", None)
        groups = loader.groups if isinstance(loader, StepLoader) else ()
        tries = chosen(batch.tries, groups, self._trie, cap=cap, enough=ENOUGH["half" if half else "full"])
        if groups and not tries and not batch.tries:
            raise nothing_fits(self.max_tokens, min(len(groups), MOST_TRIES))
        # The self-test is the devices' together.
        if not everywhere(self.trainer, float(bool(batch.tries)), "min"):
            return
        self._tested, tested = True, tries or batch.tries[:1]
        if not self.config.blank:
            tried(lambda: check_pictures(self.model, tested, self._moved, self.path))
        self.path = sound_path(
            self.model, self.path, tested, self._moved, half=half, cap=cap, trainer=self.trainer,
            catch_up=self._catch_up,
        )  # fmt: skip

    def _moved(self, tries: Sequence[Trie], fused: bool) -> Batch:
        return self._collate(tries, fused).to(self.device)

    def _catch_up(self, passes: int) -> None:
        """Idle forward passes until this device has done as many as the busiest."""
        most = everywhere(self.trainer, float(passes), "max")
        with torch.no_grad():
            for _ in range(int(most) - passes):
                self._idle()

    # --- optimiser
    # --------------------------------------------------------------------------------------------

    def _trainable(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def configure_optimizers(self) -> Any:
        """AdamW on what is trainable; linear warm-up, then the schedule, stepped with the optimiser."""
        total = float(self.trainer.estimated_stepping_batches)
        mixed = "mixed" in str(self.trainer.precision)
        return optimiser(list(self._trainable().values()), self.train_config, total=total, mixed=mixed)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.trainer.global_step == 1 and not in_parts(self.trainer.strategy):
            tell_untaught(self.model)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """The Trainer's setting, or `train.grad_clip` where the Trainer has none (0 is off)."""
        value = gradient_clip_val if gradient_clip_val is not None else self.train_config.grad_clip
        self.clip_gradients(optimizer, value or None, gradient_clip_algorithm or "norm")

    # --- life of a fit
    # ----------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self._tested = False
            self._policy = None
            self.progress = TrieStats()
            self.model.train()
            if self.reference:
                # Before a checkpoint is restored: a resumed fit keeps the reference it began with.
                self._start = {name: p.detach().clone() for name, p in self._trainable().items()}

    def configure_model(self) -> None:
        """Shard the weights where the strategy is FSDP2; Lightning calls this after `setup`."""
        mesh = getattr(self, "_device_mesh", None)
        if mesh is None or self.sharded:
            return
        if self.reference:
            raise ConfigError(
                "this loss wants whole reference weights swapped in, which sharded weights cannot do; use "
                "train.strategy ddp"
            )
        shard(self, self.model, mesh["data_parallel"])
        self.sharded = True

    def on_train_start(self) -> None:
        if self.global_rank:
            # Dropout differs between devices.
            torch.manual_seed(hash((self.seed, self.global_rank, self.global_step)))
        elif self._rng is not None:
            torch.set_rng_state(self._rng["cpu"])
            if "cuda" in self._rng:
                torch.cuda.set_rng_state(self._rng["cuda"], self.device)
        self._rng = None

    def on_fit_end(self) -> None:
        self.model.eval()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What is trained; the base model is frozen and comes from its own files."""
        names = self._trainable().keys()
        return {k: v for k, v in super().state_dict(*args, **kwargs).items() if k in names}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        p = over_devices(self.progress, self.trainer.world_size)
        checkpoint["r3v"] = {
            "path": self.path,
            "tested": self._tested,
            "rng": {"cpu": torch.get_rng_state()}
            | ({"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {}),
            "progress": [p.kept, dict(p.dropped), p.tokens, p.tokens_unfused, p.tokens_target],
            "accumulate": self.trainer.accumulate_grad_batches,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint["r3v"]
        self.path, self._tested, self._rng = kept["path"], kept["tested"], kept["rng"]
        # Sums over devices, which will be summed again.
        self.progress = TrieStats(*kept["progress"]) if self.global_rank == 0 else TrieStats()
        before, now = kept.get("accumulate"), self.trainer.accumulate_grad_batches
        if before is not None and before != now:
            count_in_steps(checkpoint, before, now)

    # --- use
    # --------------------------------------------------------------------------------------------------

    def policy(self) -> HFPolicy:
        """An HFPolicy on the live weights, named after their content, because caches key on the name."""
        from r3v.policies.sampling.hf import HFPolicy

        loaded = replace(self.loaded, model=self.model)
        return HFPolicy(loaded, name=f"{loaded.name}+live{self._name_of_weights()}")

    def _current_policy(self) -> HFPolicy:
        """The policy of the call before, while no trained weight has been written to since."""
        from r3v.policies.sampling.scoring import weights_state

        state = (id(self.model), *weights_state(self.model, self.loaded.name))
        if self._policy is None or self._policy[0] != state:
            self._policy = state, self.policy()
        return self._policy[1]

    def _name_of_weights(self) -> str:
        digest = hashlib.sha256()
        for p in self._trainable().values():
            digest.update(p.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:12]

    def select(
        self, problem: Problem, n: int = 8, method: str = "fused", *, seed: int = 0, cfg: SelectConfig | None = None
    ) -> Selection:
        """Sample n candidates of a problem with the live weights and choose one; methods:
        `reflection.selector`."""
        from r3v.selection.selector import Selector

        selector = Selector(
            self._current_policy(), style(self.config.prompt_style), cfg or SelectConfig(), self.config.letters
        )
        return selector.select(problem, n, method, seed)
