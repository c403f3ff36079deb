"""From the recipe's `train.strategy` to a Lightning strategy, and what sharded weights and several devices need.

| name | what | processes |
|---|---|---|
| auto | one device, or ddp on several | own (`workers`) |
| ddp, ddp_find_unused_parameters_true, ... | whole model on each device | own |
| fsdp, fsdp2 | every parameter sharded (PyTorch's `fully_shard` in Lightning's ModelParallelStrategy) | own |
| deepspeed, deepspeed_stage_2, ..., deepspeed:FILE.json | DeepSpeed with its preset or its own config file | own |
| ddp_fork, ddp_spawn, ddp_notebook, ... | as ddp, forked by Lightning | Lightning's |

Both `fsdp` names mean the same: the older FullyShardedDataParallel lays frozen and trained weights into one flat
tensor, so that a checkpoint of a LoRA would have to gather the whole model.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, ModelParallelStrategy, StrategyRegistry
from torch import Tensor, nn

from r3v.errors import ConfigError, ModelError
from r3v.policies.model.structure import base_model
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training.layout.trie import TrieStats

FSDP = ("fsdp", "fsdp2")
IN_PARTS = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy")
"""Classes whose parameters' gradients are not whole on one device; a user's Trainer may bring any of them."""
BY_LIGHTNING = ("ddp_fork", "ddp_spawn", "ddp_notebook")
"""Beginnings of the names whose processes Lightning forks or spawns itself."""


def sharded(name: str) -> bool:
    """Whether weights are spread over the devices under this `train.strategy`."""
    return name in FSDP or name.startswith("deepspeed")


def in_parts(strategy: Any) -> bool:
    """Whether a parameter's gradient is not whole on one device under this strategy of a Trainer."""
    return any(kind.__name__ in IN_PARTS for kind in type(strategy).__mro__)


def everywhere(trainer: Any, value: float, how: str) -> float:
    """A number of each device, reduced over all of them (`min`, `max`, `sum`)."""
    if trainer.world_size == 1:
        return value
    return float(trainer.strategy.reduce(torch.tensor(value, device=trainer.strategy.root_device), reduce_op=how))


def wants_workers(train: TrainConfig) -> bool:
    """Whether a fit runs in processes of its own (see `workers`): several devices, or weights that get sharded in
    place; not inside such a process, nor under torchrun, nor where Lightning forks."""
    if launched() or train.strategy.startswith(BY_LIGHTNING):
        return False
    return train.devices > 1 or sharded(train.strategy)


def launched() -> bool:
    """Whether this process is one rank of a group that somebody else started (torchrun, or `workers`)."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def world_size(train: TrainConfig) -> int:
    """Ranks of a fit: the launched group's, or `train.devices`."""
    return int(os.environ["WORLD_SIZE"]) if launched() else train.devices


def check_strategy(train: TrainConfig, model: ModelConfig) -> None:
    """Raises ConfigError for a strategy that is unknown, lacks its package, or does not go with the model or loss."""
    name = train.strategy
    if train.devices < 1:
        raise ConfigError(f"train.devices: found {train.devices}, expected at least 1")
    if name.startswith("deepspeed"):
        _deepspeed(name)
    elif name not in (*FSDP, "auto"):
        known = [n for n in StrategyRegistry.available_strategies() if n.startswith("ddp")]
        if name not in known:
            names = ", ".join(["auto", *FSDP, *sorted(known), "deepspeed", "deepspeed_stage_N", "deepspeed:FILE.json"])
            raise ConfigError(f"train.strategy: found {name!r}, expected one of {names}")
    if sharded(name) and model.quantization != "none":
        raise ConfigError(
            f"train.strategy {name!r} cannot shard quantised weights (model.quantization {model.quantization!r}); "
            "use ddp, or quantization none"
        )
    if sharded(name) and train.loss == "dpo":
        raise ConfigError(
            f"train.strategy {name!r} does not go with train.loss 'dpo', which swaps whole reference weights "
            "in; use ddp"
        )


def lightning_strategy(name: str, world: int) -> Any:
    """The strategy for `pl.Trainer`: an object, or a name that Lightning knows."""
    if name in FSDP:
        return ShardedStrategy(world)
    if name.startswith("deepspeed"):
        return _deepspeed(name)
    return "ddp" if name == "auto" and world > 1 else name


def _deepspeed(name: str) -> Any:
    if importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(
            f"train.strategy {name!r} needs DeepSpeed, which is not installed: pip install deepspeed (CUDA only), "
            "or use fsdp"
        )
    kind, _, file = name.partition(":")
    if kind != "deepspeed" or not file:
        if name not in StrategyRegistry.available_strategies():
            raise ConfigError(f"train.strategy: found {name!r}, expected deepspeed[_stage_N] or deepspeed:FILE.json")
        return name
    if not Path(file).is_file():
        raise ConfigError(f"train.strategy {name!r}: no file {file}, expected a DeepSpeed configuration in JSON")
    return DeepSpeedStrategy(config=file)


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all ranks, with checkpoints like everybody else's: the trained weights and the optimiser's state,
    whole, in one file, so that any strategy and any number of processes can go on from them."""

    def __init__(self, world: int) -> None:
        super().__init__(data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        assert self.lightning_module is not None
        return {name: whole(value) for name, value in self.lightning_module.state_dict().items()}

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        state = getattr(optimizer, "_optimizer", optimizer).state_dict()
        gathered = {i: {k: whole(v) for k, v in kept.items()} for i, kept in state["state"].items()}
        return {**state, "state": gathered}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module is not None
        parameters = dict(self.lightning_module.named_parameters())
        with torch.no_grad():
            for name, value in checkpoint["state_dict"].items():
                if name not in parameters:
                    raise ModelError(f"the checkpoint holds weights of {name}, which the model does not have")
                parameters[name].copy_(spread_like(value, parameters[name]))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            spread = {i: {k: spread_like(v, parameters[i]) for k, v in s.items()} for i, s in state["state"].items()}
            optimizer.load_state_dict({**state, "state": spread})


def whole(value: Any) -> Any:
    """A sharded tensor gathered on every rank (all ranks must ask); anything else as it is."""
    from torch.distributed.tensor import DTensor

    if not isinstance(value, DTensor):
        return value
    sharded: Any = value.detach()
    return sharded.full_tensor().cpu()


def spread_like(value: Any, parameter: Tensor) -> Any:
    """A whole tensor, equal on all ranks, sharded as `parameter` is, where that has its shape (an optimiser's step
    count has not)."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    value = value.to(parameter.device, parameter.dtype)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def shard(module: nn.Module, model: Any, mesh: Any) -> None:
    """Shard `module`, which holds `model`, in place over `mesh`: one unit for each layer of the language model, one
    for all the rest (vision, embeddings, head), gathered once for each `training_step`.

    The vision tower stays in the outer unit because a rank whose batch has no picture does not run it; layers that
    are units must be run equally often by every rank.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    decoder = base_model(model).get_decoder()
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ModelError(f"cannot shard {type(decoder).__name__}: it has no list of layers; use train.strategy ddp")
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    register_fsdp_forward_method(module, "training_step")


def outer_parameters(module: nn.Module) -> list[Tensor]:
    """Trained parameters that are gathered during `training_step`: those outside the layers."""
    from torch.distributed.tensor import DTensor

    return [p for p in module.parameters() if p.requires_grad and not isinstance(p, DTensor)]


def over_devices(stats: TrieStats, world: int) -> TrieStats:
    """The sum over all devices; every one must ask."""
    if world == 1:
        return stats
    gathered: list[Any] = [None] * world
    torch.distributed.all_gather_object(gathered, stats)
    return sum(gathered, TrieStats())


def count_in_steps(checkpoint: dict[str, Any], before: int, now: int) -> None:
    """Rewrite the batch numbers of a Lightning checkpoint made with `before` batches a step for `now` batches a
    step, so that the fit goes on at the same step. Raises ConfigError for a checkpoint inside a step."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for part in (progress["total"], progress["current"]):
        batches = part["ready"]
        if batches % before:
            raise ConfigError(
                f"found a checkpoint after {batches} batches, inside a step of {before}; expected the end of a "
                f"step, because this fit accumulates {now}. Resume with accumulate_grad_batches {before}"
            )
        # Saved while a batch ends, `completed` is one behind.
        part.update({name: batches // before * now - (batches - count) for name, count in part.items()})
