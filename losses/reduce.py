"""The only place that divides a loss.

Each kind is summed and divided by its own denominator, then weighted and added up. The denominators are
passed in: count them over everything that makes one optimiser step (all micro-batches, all devices, all
packed rows), and the sum of the parts' losses is the loss of one big batch, to the last bit of rounding:

    d_K = sum(denominators(loss(part)) for part in parts)       # and summed over devices
    for part in parts: reduce(loss(part), d_K)[0].backward()

Distributed trainers that average gradients over W devices want each device's loss times W.
Shape suffixes: U units, K kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from .contract import KINDS, LossOutput
from .pieces import kind_table

MODES = ("kind", "tokens")


def denominators(output: LossOutput) -> Tensor:
    """Counted units of each kind, shape K, float32 (exact up to 16.7 million units of a kind)."""
    return _count(output)


def reduce(
    output: LossOutput,
    denominators: Tensor | None = None,
    mode: Literal["kind", "tokens"] = "kind",
    kind_weights: Mapping[str, float] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Unreduced values to a scalar.

    mode "kind": sum over kinds of weight_k * (sum of the kind's values) / (the kind's denominator).
    mode "tokens": one mean over all units, weight_k only multiplying the values.
    `denominators` has shape K (as made by the function of that name, added up over the parts of a step); None
    means that this output is the whole step. A kind nobody counted contributes zero.

    Returns the scalar with gradient and detached metrics: "loss"; "loss/<kind>" (unweighted share, adds up
    over parts that share denominators) and "count/<kind>" for the kinds present; and the mean of each of
    the loss's own metrics over this output. Raises ValueError for an unknown mode or kind, a wrong shape,
    or denominators smaller than what this output alone counts.
    """
    if mode not in MODES:
        raise ValueError(f"reduce: found mode {mode!r}, expected one of {', '.join(MODES)}")
    own_K = _count(output)
    divisor_K = own_K if denominators is None else _checked(denominators, own_K)
    values_U = output.values_U if output.divide_U is None else output.values_U / output.divide_U
    sums_K = values_U.new_zeros(len(KINDS)).index_add(0, output.kind_U, values_U)
    weights_K = kind_table(dict(kind_weights or {}), 1.0, sums_K)
    if mode == "kind":
        shares_K = sums_K / _or_one(divisor_K)
    else:
        shares_K = sums_K / _or_one(divisor_K.sum())
    loss = (shares_K * weights_K).sum()

    metrics = {"loss": loss.detach()}
    for k, count in enumerate(own_K.tolist()):
        if count:
            metrics[f"loss/{KINDS[k]}"] = shares_K[k].detach()
            metrics[f"count/{KINDS[k]}"] = own_K[k]
    metrics |= {name: total / _or_one(count) for name, (total, count) in output.metrics.items()}
    return loss, metrics


def _count(output: LossOutput) -> Tensor:
    counts_U = output.count_U.detach().float()
    return torch.zeros(len(KINDS), device=counts_U.device).index_add(0, output.kind_U, counts_U)


def _or_one(count: Tensor) -> Tensor:
    return torch.where(count > 0, count, torch.ones_like(count))


def _checked(denominators_K: Tensor, own_K: Tensor) -> Tensor:
    if tuple(denominators_K.shape) != (len(KINDS),):
        raise ValueError(
            f"reduce: found denominators of shape {tuple(denominators_K.shape)}, expected ({len(KINDS)},), "
            f"one for each of {', '.join(KINDS)}"
        )
    denominators_K = denominators_K.detach().to(own_K)
    if bool((denominators_K < own_K).any()):
        raise ValueError(
            f"reduce: found denominators {denominators_K.tolist()} smaller than this output's own counts "
            f"{own_K.tolist()} (order {', '.join(KINDS)}); add the counts of all parts of the step"
        )
    return denominators_K
