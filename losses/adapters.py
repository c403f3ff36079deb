"""The losses in other people's training loops: plain PyTorch, transformers, TRL, Accelerate, Lightning.

All of them work on padded or packed rows (see `rows`): batches are mappings of model inputs plus `labels`, tagged
by `tag_rows`. Only Lightning is imported, and only inside its function; the others are used through the
objects handed in. What each host gets wrong if left alone is the division: a step's micro-batches and
devices must share their denominators. Shape suffixes: R rows, S positions, K kinds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .contract import KINDS
from .rows import RowLoss, packed, row_counts

Batch = Mapping[str, Any]


def run_step(
    model: Callable[..., Any],
    batches: Sequence[Batch],
    row_loss: RowLoss,
    *,
    backward: Callable[[Tensor], Any] = Tensor.backward,
    total: Callable[[Tensor], Tensor] = lambda counts: counts,
    scale: float = 1.0,
    no_sync: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> dict[str, float]:
    """Forward and backward over the micro-batches of one optimiser step: the gradient of one big batch.

    `backward` runs the backward pass of a scalar, `total` adds a tensor up over devices, `scale` undoes the
    host's own averaging, `no_sync` holds back gradient synchronisation for all but the last micro-batch.
    The caller zeroes gradients before and steps the optimiser after. Returns "loss" (over all devices) and
    this device's share of "loss/<kind>" and "count/<kind>".
    """
    if not batches:
        raise ValueError("run_step: found no micro-batches, expected at least one")
    counts_K = total(torch.stack([row_counts(batch["labels"]) for batch in batches]).sum(dim=0))
    metrics: dict[str, Tensor] = {}
    for index, batch in enumerate(batches):
        last = index == len(batches) - 1
        with contextlib.nullcontext() if last else no_sync():
            outputs = model(**{name: value for name, value in batch.items() if name != "labels"})
            loss, parts = row_loss(_logits(outputs), batch["labels"], counts_K)
            backward(loss * scale)
        for name, value in parts.items():
            if name.startswith(("loss", "count")):
                metrics[name] = metrics[name] + value if name in metrics else value
    metrics["loss"] = total(metrics["loss"])
    return {name: float(value) for name, value in metrics.items()}


def accelerate_step(accelerator: Any, model: Any, batches: Sequence[Batch], row_loss: RowLoss) -> dict[str, float]:
    """`run_step` under an `accelerate.Accelerator`, over all processes.

    Accelerate divides each loss by `gradient_accumulation_steps` and averages gradients over processes;
    both are undone, because the denominators already cover the whole step.
    """
    return run_step(
        model,
        batches,
        row_loss,
        backward=accelerator.backward,
        total=lambda counts: accelerator.reduce(counts, reduction="sum"),
        scale=float(accelerator.num_processes * accelerator.gradient_accumulation_steps),
        no_sync=lambda: accelerator.no_sync(model),
    )


def hf_compute_loss(row_loss: RowLoss) -> Callable[..., Tensor]:
    """The function for `transformers.Trainer(compute_loss_func=...)` and TRL's
    `SFTTrainer(compute_loss_func=...)`.

    `num_items_in_batch` is the number of target tokens of the whole optimiser step, over accumulation and
    devices. That is all `mode="tokens"` needs on padded rows. Packed rows need the trainer class mixed with
    `KindCounts`. `mode="kind"` needs one number per kind: it is exact with
    one micro-batch per step, and with accumulation or several devices when the trainer class is mixed with
    `KindCounts`; otherwise this raises ValueError instead of computing another loss. In the trainer's
    arguments set `remove_unused_columns=False`; for TRL also `loss_type="nll"`.
    """

    def compute_loss_func(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        return row_loss(_logits(outputs), labels, _denominators(num_items_in_batch, labels, row_loss.mode))[0]

    return compute_loss_func


class KindCounts:
    """Mixin that makes a `transformers.Trainer` count target tokens per kind.

    `class ReflectionTrainer(KindCounts, Trainer): ...` hands `compute_loss_func` a tensor of shape K as
    `num_items_in_batch`, summed over the micro-batches of the step and, as the trainer does, over devices. A
    `compute_loss_func` that has `counts(labels)` says itself what a batch counts; others count target tokens.
    """

    args: Any
    accelerator: Any
    compute_loss_func: Any

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> Tensor | None:
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        count = getattr(self.compute_loss_func, "counts", row_counts)
        counts_K = torch.stack([count(batch["labels"].to(device)) for batch in batch_samples]).sum(dim=0)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            counts_K = self.accelerator.gather(counts_K[None]).sum(dim=0)
        return counts_K


def lightning_module(
    model: torch.nn.Module,
    row_loss: RowLoss,
    optimizer: Callable[[Any], torch.optim.Optimizer],
    max_norm: float | None = None,
) -> Any:
    """A LightningModule that trains `model`; each batch of its dataloader is one batch or a list of
    micro-batches.

    The list replaces `accumulate_grad_batches`: Lightning shows a module one micro-batch at a time, too
    late to know the step's denominators. Optimisation is manual, so give `max_norm` here instead of
    `gradient_clip_val`. `optimizer` gets the trainable parameters. Logs "loss". Needs pytorch_lightning.
    """
    try:
        import pytorch_lightning as pl
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "lightning_module: found no pytorch_lightning, expected it installed: pip install 'r3v-losses[lightning]'"
        ) from error

    class RowLossModule(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.automatic_optimization = False

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer([p for p in self.model.parameters() if p.requires_grad])

        def training_step(self, batch: Batch | Sequence[Batch], batch_idx: int) -> None:
            chosen: Any = self.optimizers()
            chosen.zero_grad()
            metrics = run_step(
                self.model,
                [batch] if isinstance(batch, Mapping) else batch,
                row_loss,
                backward=self.manual_backward,
                total=self._total,
                scale=float(self.trainer.world_size),
            )
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm)
            chosen.step()
            self.log("loss", metrics["loss"], prog_bar=True)

        def _total(self, counts: Tensor) -> Tensor:
            gathered: Any = self.all_gather(counts)
            return gathered.reshape(-1, *counts.shape).sum(dim=0)

    return RowLossModule()


def _logits(outputs: Any) -> Tensor | None:
    return outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)


def _denominators(num_items: Tensor | int | None, labels_RS: Tensor, mode: str) -> Tensor | None:
    if num_items is None:
        return None
    items = torch.as_tensor(num_items, device=labels_RS.device, dtype=torch.float32)
    if items.shape == (len(KINDS),):
        return items
    own_K = row_counts(labels_RS)
    if packed(labels_RS):
        raise ValueError(
            "compute_loss_func: found packed rows and the trainer's own num_items_in_batch, which counts their tags as "
            "targets; mix KindCounts into the trainer class"
        )
    rest = items.reshape(()) - own_K.sum()
    if mode == "tokens":
        # Only the sum of the denominators is used, so any kind may take the other tokens.
        own_K[0] += rest
        return own_K
    if float(rest) != 0:
        raise ValueError(
            f"compute_loss_func: found num_items_in_batch={float(items):.0f} but "
            f"{float(own_K.sum()):.0f} target tokens in this micro-batch (gradient accumulation or several "
            "devices); the rest of the step's counts per kind are unknown: mix KindCounts into the trainer "
            "class, or use RowLoss(mode='tokens')"
        )
    return None
