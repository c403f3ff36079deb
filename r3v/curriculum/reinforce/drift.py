"""Two engines, one set of weights: how far the sampler's log-probabilities are from the trainer's, and what to do.

A sampler that merges adapters, keeps a cache in 16 bits or runs other kernels draws from slightly other probabilities
than the trainer computes. Within a tolerance its log-probabilities serve as the old ones, which spares a forward pass.
Beyond it the trainer's are computed again for the ratio, and each token is weighted by min(p_trainer / p_sampler, cap):
truncated importance sampling (Ionides 2008; for reinforcement learning with two engines Yao et al. 2025, "Your
efficient RL framework secretly brings you off-policy RL training").

Suffixes: T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from r3v.curriculum.reinforce.config import DriftConfig
from r3v.losses.contract import KINDS, Loss, LossInputs, LossOutput
from r3v.training.forward import token_logprobs
from r3v.training.layout.trie import Trie

if TYPE_CHECKING:
    from r3v.training.module import R3VModule


@dataclass(frozen=True)
class Drift:
    """Over `tokens` sampled tokens, d = log p_trainer - log p_sampler: mean |d|, largest |d|, and the mean of
    exp(d) - 1 - d, which estimates KL(sampler || trainer). All zero where nothing could be compared."""

    mean: float = 0.0
    max: float = 0.0
    kl: float = 0.0
    tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Settled:
    """Tries with the old log-probabilities the ratio is to be taken against. `source`: whose they are."""

    tries: list[Trie]
    drift: Drift
    source: str


def measure(trainer_T: Tensor, sampler_T: Tensor) -> Drift:
    """The drift of these tokens; those whose sampler's log-probability is NaN (unknown) do not count."""
    d_T = (trainer_T.double() - sampler_T.double())[~sampler_T.isnan()]
    if not d_T.numel():
        return Drift()
    return Drift(float(d_T.abs().mean()), float(d_T.abs().max()), float((d_T.expm1() - d_T).mean()), d_T.numel())


def truncated_weights(trainer_T: Tensor, sampler_T: Tensor, cap: float) -> Tensor:
    """min(p_trainer / p_sampler, cap) per token, 1 where the sampler's is unknown."""
    weights_T = (trainer_T - sampler_T).exp().clamp(max=cap)
    return torch.where(sampler_T.isnan(), torch.ones_like(weights_T), weights_T)


def trainer_logprobs(module: R3VModule, tries: Sequence[Trie], per_batch: int) -> list[Tensor]:
    """Log-probabilities of each trie's target tokens by the path the module trains on, on the CPU, no gradient."""
    collate, device = module.maker().collate, next(module.model.parameters()).device
    mixed = module.train_config.precision == "bf16-mixed"
    training, found = module.model.training, []
    module.model.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            for start in range(0, len(tries), per_batch):
                part = tries[start : start + per_batch]
                logprobs_T = token_logprobs(module.model, collate(part).to(device), module.path).float().cpu()
                found += logprobs_T.split([int(t.target_T.shape[0]) for t in part])
    finally:
        module.model.train(training)
    return found


def settle(module: R3VModule, tries: Sequence[Trie], config: DriftConfig, per_batch: int) -> Settled:
    """Measure the drift on `config.probe` tries and choose the old log-probabilities; see the module docstring.

    Tokens whose sampler gave no log-probability always get the trainer's, with weight 1.
    """
    tries = list(tries)
    known = all(t.old_T is not None and not bool(t.old_T.isnan().any()) for t in tries)
    if config.old != "trainer" and known:
        probe = tries[: config.probe]
        drift = _compare(trainer_logprobs(module, probe, per_batch), probe)
        if config.old == "sampler" or drift.mean <= config.tolerance:
            return Settled(tries, drift, "sampler")
    trainer = trainer_logprobs(module, tries, per_batch)
    settled = []
    for trie, own_T in zip(tries, trainer, strict=True):
        sampler_T = torch.full_like(own_T, float("nan")) if trie.old_T is None else trie.old_T
        weights_T = truncated_weights(own_T, sampler_T, config.importance_cap)
        settled.append(replace(trie, old_T=own_T, importance_T=weights_T))
    return Settled(settled, _compare(trainer, tries), "trainer")


def _compare(trainer: Sequence[Tensor], tries: Sequence[Trie]) -> Drift:
    pairs = [(own_T, t.old_T) for own_T, t in zip(trainer, tries, strict=True) if t.old_T is not None]
    if not pairs:
        return Drift()
    return measure(torch.cat([own_T for own_T, _ in pairs]), torch.cat([sampler_T for _, sampler_T in pairs]))


def watched(loss: Loss) -> Loss:
    """The same loss with one more metric: `drift`, mean |log p - old log p| of its `reinforce` tokens.

    At the first step of an iteration that is what the engines differ by (0 where the trainer's own are the old ones);
    at later steps the updates since then are in it.
    """
    reinforce = KINDS.index("reinforce")

    def observed(inputs: LossInputs) -> LossOutput:
        output = loss(inputs)
        if inputs.old_T is None:
            return output
        counted_T = inputs.mask_T & (inputs.kind_B == reinforce)[inputs.branch_T]
        gap_T = (inputs.logprobs_T.detach() - inputs.old_T).abs()[counted_T]
        return replace(output, metrics={**output.metrics, "drift": (gap_T.sum(), counted_T.float().sum())})

    return observed
