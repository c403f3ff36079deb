"""Does the fast path compute what the model itself computes? Asked on the first batch of every fit.

The reference is the model's own complete forward, one branch at a time (little memory, no padding, no tree
mask, its own positions). Compared are every target token's log-probability, the mean negative log-likelihood
and its gradient. A loss is a function of these log-probabilities alone, so what holds for this one holds for
all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from r3v.training.forward import Path, token_logprobs
from r3v.training.layout.batching import Batch
from r3v.training.layout.trie import Trie

Collate = Callable[[Sequence[Trie], bool], Batch]

TOLERANCE = {"full": (1e-4, 1e-3), "half": (2e-2, 2.5e-1)}
"""Relative difference allowed in loss and in gradient, for float32 and for 16-bit (or quantised) arithmetic,
whose rounding alone moves a gradient by several per cent. A missing mask moves both by far more."""

ROUNDING = 2e-6
"""Nats by which a mean log-probability may differ besides: logits of ten to twenty are rounded to 1e-6, which is more
than TOLERANCE allows once the targets are nearly certain."""


class ParityWarning(UserWarning):
    """The fast path disagrees with the model's own forward; a slower one is used."""


@dataclass(frozen=True)
class Parity:
    """Relative differences between a fast path and the model's own forward, and whether they are
    tolerable."""

    loss: float
    reference: float
    token: float
    gradient: float
    norm: float
    reference_norm: float
    ok: bool

    def describe(self) -> str:
        return (
            f"loss {self.loss:.6f} against {self.reference:.6f}, gradient norm {self.norm:.4g} against "
            f"{self.reference_norm:.4g}, gradient differs by {self.gradient:.1e}, tokens by up to "
            f"{self.token:.1e} nats"
        )


def check_parity(
    model: nn.Module,
    tries: Sequence[Trie],
    collate: Collate,
    path: Path,
    *,
    half: bool,
    gradients: bool = True,
) -> Parity:
    """Compare `path` with the model's own forward on these tries, with dropout off. Gradients of parameters
    are not touched. `half`: 16-bit or quantised arithmetic. `gradients`: False where parameters are
    sharded."""
    parameters = [p for p in model.parameters() if p.requires_grad] if gradients else []
    training = [m for m in model.modules() if m.training]
    model.eval()
    try:
        fast = _evaluate(model, [collate(tries, path == "fused")], path, parameters)
        single = [collate([_only(t, b)], False) for t in tries for b in range(t.n_branches)]
        plain = _evaluate(model, single, "plain", parameters)
    finally:
        for m in training:
            m.training = True
    return _judge(fast, plain, half, bool(parameters))


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


def _judge(fast: tuple[Tensor, Tensor], plain: tuple[Tensor, Tensor], half: bool, gradients: bool) -> Parity:
    loss, reference = float(-fast[0].mean()), float(-plain[0].mean())
    norm, reference_norm = float(fast[1].norm()), float(plain[1].norm())
    token = float((fast[0] - plain[0]).abs().max())
    gradient = float((fast[1] - plain[1]).norm()) / max(reference_norm, 1e-12) if gradients else 0.0
    for_loss, for_gradient = TOLERANCE["half" if half else "full"]
    ok = abs(loss - reference) <= for_loss * abs(reference) + ROUNDING and gradient <= for_gradient
    # In full precision tokens must agree one by one, so that errors of opposite sign cannot hide in the mean.
    ok = ok and (half or token <= 1e-3 * max(1.0, float(plain[0].abs().max())))
    return Parity(loss, reference, token, gradient, norm, reference_norm, ok)


def _only(trie: Trie, branch: int) -> Trie:
    """The trie with one branch alone."""
    path = trie.path_BL[branch]
    n, prompt = int(path.shape[0]), trie.prompt_B[branch]
    of_branch = trie.branch_T == branch
    return replace(
        trie,
        ids_L=trie.ids_L[path],
        positions=trie.positions[..., path],
        exit_L=torch.full((n,), n),
        source_T=torch.arange(prompt - 1, n - 1),
        target_T=trie.target_T[of_branch],
        branch_T=torch.zeros(n - prompt, dtype=torch.long),
        kind_B=trie.kind_B[branch : branch + 1],
        weight_B=trie.weight_B[branch : branch + 1],
        advantage_B=trie.advantage_B[branch : branch + 1],
        pair_P2=trie.pair_P2[:0],
        path_BL=(torch.arange(n),),
        prompt_B=(prompt,),
    )


def half_precision(model: Any) -> bool:
    """Whether arithmetic is 16-bit or quantised here and now (autocast included)."""
    device = next(model.parameters()).device.type
    if torch.is_autocast_enabled(device):
        return True
    return any(p.dtype not in (torch.float32, torch.float64) for p in model.parameters())
