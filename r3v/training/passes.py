"""A batch in as many forward and backward passes as memory holds, with the gradient of the batch in one.

The gradient of each pass is found beside the parameters, so a pass that runs out of memory half way has changed
nothing: what it made is let go, its tries are halved (`layout.cut`), and it is done again. From then on passes are no
larger. Losses of the passes add up, because all are divided by the counts of the whole step; only dropout draws other
masks. On one device: several would have to cut alike.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from r3v.errors import EngineError
from r3v.policies.model.room import no_room, tried
from r3v.training.layout.batching import Batch
from r3v.training.layout.cut import halved, in_batches
from r3v.training.layout.trie import Trie

log = logging.getLogger(__name__)
FIELDS = ("train.max_tokens", "model.max_pixels", "model.lora_r")
Share = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]


def out_of_memory(checkpointing: bool) -> EngineError:
    """The error for when a single branch is too much."""
    more = () if checkpointing else ("set train.gradient_checkpointing true",)
    return no_room("in the fit, on one branch of a problem", *FIELDS, also=more)


@dataclass
class Passes:
    """most: padded tokens of a pass, None is no limit; lowered where memory runs out. gradients: those of the batch
    run last, in the order of its parameters."""

    most: int | None = None
    gradients: list[Tensor | None] = field(default_factory=list)

    def run(
        self,
        batch: Batch,
        share: Share,
        remade: Callable[[Sequence[Trie]], Batch],
        parameters: Sequence[nn.Parameter],
        scaled: Callable[[Tensor], Tensor],
        checkpointing: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and metrics of a batch that has tries; its gradients stay in `gradients`. share: (batch) -> its part of
        the loss, with gradient. remade: tries -> a batch with the counts of the same step. scaled: what the loss is
        multiplied with before the backward pass. Raises EngineError where one branch is too much.
        """
        self.gradients = [None] * len(parameters)
        found: list[tuple[int, Tensor, dict[str, Tensor]]] = []
        waiting: deque[Batch | list[Trie]] = deque(self._cut(batch))
        while waiting:
            part = waiting.popleft()
            fine, done = tried(lambda part=part: self._pass(part, share, remade, parameters, scaled))
            if fine and done is not None:
                found.append(done)
                continue
            tries = part.tries if isinstance(part, Batch) else part
            halves = halved(tries)
            if halves is None:
                raise out_of_memory(checkpointing)
            size = int(part.ids_RL.numel()) if isinstance(part, Batch) else max(t.tokens for t in part) * len(part)
            self.most = min(self.most or size, size) // 2
            log.warning(
                "the device ran out of memory in a pass of %d tokens: going on with %d (train.max_batch_tokens)",
                size, self.most,
            )  # fmt: skip
            waiting.extendleft(reversed(halves))
        return sum_of(found)

    def limit(self, most: int | None) -> None:
        """No pass of more than `most` padded tokens from now on; what memory taught before stays."""
        self.most = min((m for m in (self.most, most) if m is not None), default=None)

    def _cut(self, batch: Batch) -> list[Batch | list[Trie]]:
        """The batch as it is, or its tries in passes of at most `most` padded tokens. A trie is never cut here: that
        costs its common part again, so it is tried whole first."""
        if self.most is None or int(batch.ids_RL.numel()) <= self.most or len(batch.tries) == 1:
            return [batch]
        return list(in_batches(batch.tries, self.most))

    def _pass(
        self,
        part: Batch | list[Trie],
        share: Share,
        remade: Callable[[Sequence[Trie]], Batch],
        parameters: Sequence[nn.Parameter],
        scaled: Callable[[Tensor], Tensor],
    ) -> tuple[int, Tensor, dict[str, Tensor]]:
        batch = part if isinstance(part, Batch) else remade(part)
        loss, metrics = share(batch)
        # Out of autocast, as a backward pass is by itself.
        with torch.autocast(loss.device.type, enabled=False):
            grads = torch.autograd.grad(scaled(loss), parameters, allow_unused=True)
            summed = [
                old if new is None else new if old is None else old.add_(new)
                for old, new in zip(self.gradients, grads, strict=True)
            ]
        self.gradients = summed
        told = {name: value.detach() for name, value in metrics.items()}
        return int(batch.target_T.shape[0]), loss.detach(), told

    def give(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradients of the batch to those that the parameters have."""
        with torch.no_grad():
            for p, new in zip(parameters, self.gradients, strict=True):
                if new is not None:
                    p.grad = new if p.grad is None else p.grad.add_(new)
        self.gradients = []


def sum_of(found: Sequence[tuple[int, Tensor, Mapping[str, Tensor]]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and metrics of passes (target tokens, loss, metrics): losses and counts add up, means are weighed by target
    tokens."""
    loss = sum((one for _, one, _ in found), torch.zeros_like(found[0][1]))
    metrics: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for _, _, some in found for name in some):
        having = [(n, some[name]) for n, _, some in found if name in some]
        if name.startswith(("loss", "count")):
            metrics[name] = sum((v for _, v in having), torch.zeros_like(having[0][1]))
        else:
            tokens = sum(n for n, _ in having)
            metrics[name] = sum((v * n for n, v in having), torch.zeros_like(having[0][1])) / max(1, tokens)
    return loss, metrics
