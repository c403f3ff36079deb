"""Does the fast path compute what the model itself computes? Asked before the first step of every fit.

The reference is the model's own complete forward, one branch at a time (little memory, no padding, no tree mask, its
own positions). Compared are every target token's log-probability and the gradient of their mean. A loss is a function
of these log-probabilities alone, so what holds for them holds for all. What may differ is measured: the reference is
computed a second time, several branches to a padded batch and with embeddings rounded differently (`agreement`).

The test runs with the memory of the fit: dropout is off, activations are recomputed in the backward pass where the fit
does so, no batch is larger than the fit's first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from r3v.policies.model.agreement import FACTOR, Agreement, agreement, jittered
from r3v.policies.model.products import rounded
from r3v.training.forward import FUSED, Path, token_logprobs
from r3v.training.layout.batching import Batch
from r3v.training.layout.cut import in_batches, some_of
from r3v.training.layout.trie import Trie

Collate = Callable[[Sequence[Trie], bool], Batch]

GRADIENT = {"full": 1e-3, "half": 1e-1}
"""Relative difference of the gradient that is always allowed, for float32 and for 16-bit (or quantised) arithmetic,
whose rounding alone moves a gradient by several per cent; beyond it FACTOR times the noise is."""


class ParityWarning(UserWarning):
    """The fast path disagrees with the model's own forward, or could not be compared with it."""


@dataclass(frozen=True)
class Parity:
    """How a fast path and the model's own forward agree: token by token, and the relative difference of their gradients
    (`gradient`, with what is allowed; 0 where gradients were not compared). passes: forward passes it took."""

    tokens: Agreement
    gradient: float
    gradient_allowed: float
    norm: float
    reference_norm: float
    passes: int

    @property
    def ok(self) -> bool:
        return self.tokens.ok and self.gradient <= self.gradient_allowed

    def describe(self) -> str:
        return (
            f"{self.tokens.describe()}; gradient norm {self.norm:.4g} against {self.reference_norm:.4g}, gradient "
            f"differs by {self.gradient:.1e} where noise allows {self.gradient_allowed:.1e}"
        )


def check_parity(
    model: nn.Module,
    tries: Sequence[Trie],
    collate: Collate,
    path: Path,
    *,
    half: bool,
    gradients: bool = True,
    cap: int | None = None,
) -> Parity:
    """Compare `path` with the model's own forward on these tries, with dropout off. Gradients of parameters are not
    touched. `half`: 16-bit or quantised arithmetic. `gradients`: False where parameters are sharded. `cap`: padded
    tokens in one pass, by default those of the two largest tries. Raises torch.OutOfMemoryError.
    """
    parameters = [p for p in model.parameters() if p.requires_grad] if gradients else []
    cap = cap or 2 * max(t.tokens for t in tries)
    single = [some_of(t, [b]) for t in tries for b in range(t.n_branches)]
    sizes = [len(t.target_T) for t in single]
    batches = {
        "fast": [collate(part, path in FUSED) for part in in_batches(tries, cap)],
        "plain": [collate([t], False) for t in single],
        "again": [collate(part, False) for part in in_batches(single, cap)],
    }
    with still(model):
        fast = _evaluate(model, batches["fast"], path, parameters)
        plain = _evaluate(model, batches["plain"], "plain", parameters)
        with jittered(model):
            again = _evaluate(model, batches["again"], "plain", parameters)
    return _judge(fast, plain, again, sizes, half, sum(map(len, batches.values())))


def _evaluate(
    model: nn.Module, batches: Sequence[Batch], path: Path, parameters: Sequence[nn.Parameter]
) -> tuple[Tensor, Tensor]:
    """(log-probabilities T, gradient of the mean negative log-likelihood as one vector)."""
    total = sum(int(b.target_T.shape[0]) for b in batches)
    logprobs, gradient = [], torch.zeros(sum(p.numel() for p in parameters))
    for batch in batches:
        with torch.set_grad_enabled(bool(parameters)):
            logprobs_T = token_logprobs(model, batch, path)
        if parameters:
            grads = torch.autograd.grad(-logprobs_T.sum() / total, parameters, allow_unused=True)
            pairs = zip(grads, parameters, strict=True)
            gradient += torch.cat([(torch.zeros_like(p) if g is None else g).flatten().float().cpu() for g, p in pairs])
        logprobs.append(logprobs_T.detach().float().cpu())
    return torch.cat(logprobs), gradient


def _judge(
    fast: tuple[Tensor, Tensor],
    plain: tuple[Tensor, Tensor],
    again: tuple[Tensor, Tensor],
    sizes: Sequence[int],
    half: bool,
    passes: int = 0,
) -> Parity:
    """Each way: log-probabilities T, branch by branch of these sizes, and a gradient (empty: not compared)."""
    ways = [list(way[0].split(list(sizes))) for way in (fast, plain, again)]
    norm, reference = float(fast[1].norm()), float(plain[1].norm())
    found, noise = (float((way[1] - plain[1]).norm()) / max(reference, 1e-12) for way in (fast, again))
    allowed = max(FACTOR * noise, GRADIENT["half" if half else "full"])
    return Parity(agreement(*ways, half=half), found, allowed, norm, reference, passes)


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """Dropout off, but layers that recompute their activations go on doing so: transformers' layers do it in training
    mode alone, so the layer is left in it and everything inside is not."""
    training = [m for m in model.modules() if m.training]
    model.eval()
    for module in training:
        drops = any("dropout" in n and isinstance(v, float) and v > 0 for n, v in vars(module).items())
        module.training = bool(getattr(module, "gradient_checkpointing", False)) and not drops
    try:
        yield
    finally:
        for module in training:
            module.training = True


def half_precision(model: Any) -> bool:
    """Whether arithmetic is coarser than float32 here and now: 16 bit, quantised, TF32, autocast included."""
    return torch.is_autocast_enabled(next(model.parameters()).device.type) or rounded(model)
