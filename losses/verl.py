"""The policy-gradient losses with the signature of verl's policy-loss registry; verl itself is not imported.

from verl.trainer.ppo.core_algos import register_policy_loss
from r3v.losses.verl import verl_policy_loss
register_policy_loss("r3v_grpo")(verl_policy_loss("grpo"))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import make_loss
from .contract import KINDS, LossInputs, kind_index
from .reduce import reduce

AGGREGATION = {
    "grpo": "seq-mean-token-mean",
    "gspo": "seq-mean-token-mean",
    "dr_grpo": "seq-mean-token-sum-norm",
    "dapo": "token-mean",
    "cispo": "token-mean",
}


def verl_policy_loss(name: str, **options: Any) -> Callable[..., tuple[Tensor, dict[str, float]]]:
    """A function (old_log_prob, log_prob, advantages, response_mask, loss_agg_mode, config,
    rollout_is_weights).

    Tensors are (rows, response length); it returns (loss, metrics). Clipping comes from `config` (clip_ratio,
    clip_ratio_low, clip_ratio_high, clip_ratio_c) unless given in `options`; the denominators from
    `config.global_batch_info` (batch_num_tokens or global_batch_size, dp_size, loss_scale_factor). Raises
    ValueError for a loss that is not a policy-gradient loss, for an aggregation other than the loss's own
    (AGGREGATION), and for advantages that differ within a response.
    """
    if name not in AGGREGATION:
        raise ValueError(f"verl_policy_loss: found {name!r}, expected one of {', '.join(AGGREGATION)}")
    make_loss(name, **options)

    def policy_loss(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = AGGREGATION[name],
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        if loss_agg_mode != AGGREGATION[name]:
            raise ValueError(
                f"verl_policy_loss({name!r}): found loss_agg_mode={loss_agg_mode!r}, "
                f"expected {AGGREGATION[name]!r}, which is how this loss is defined; set actor.loss_agg_mode "
                "or choose another loss"
            )
        mask_BS = response_mask.bool()
        info = dict(getattr(config, "global_batch_info", None) or {})
        settings = _clipping(name, config) | _constant(name, info, mask_BS.shape[1]) | options
        branch_T = mask_BS.nonzero(as_tuple=True)[0]
        inputs = LossInputs(
            logprobs_T=log_prob[mask_BS],
            branch_T=branch_T,
            mask_T=torch.ones_like(branch_T, dtype=torch.bool),
            kind_B=torch.full((mask_BS.shape[0],), kind_index("reinforce"), device=log_prob.device),
            weight_B=torch.ones(mask_BS.shape[0], device=log_prob.device),
            old_T=old_log_prob[mask_BS],
            advantage_B=_per_response(advantages, mask_BS),
            importance_T=None if rollout_is_weights is None else rollout_is_weights[mask_BS],
        )
        count = info.get("batch_num_tokens" if AGGREGATION[name] == "token-mean" else "global_batch_size")
        dp_size = info.get("dp_size", 1)
        if count is None and dp_size > 1:
            raise ValueError(
                f"verl_policy_loss: found dp_size={dp_size} without the global counts in global_batch_info"
            )
        denominators_K = None
        if count is not None:
            denominators_K = torch.zeros(len(KINDS), device=log_prob.device)
            denominators_K[kind_index("reinforce")] = float(count)
        output = make_loss(name, **settings)(inputs)
        loss, metrics = reduce(output, denominators_K)
        return loss * dp_size, {f"actor/{key}": float(metrics[key]) for key in output.metrics}

    return policy_loss


def _clipping(name: str, config: Any) -> dict[str, float]:
    """verl's clip settings under our names; the dual clip (clip_ratio_c) is the ratio cap."""
    if config is None:
        return {}
    both = getattr(config, "clip_ratio", None)
    low = getattr(config, "clip_ratio_low", None)
    high = getattr(config, "clip_ratio_high", None)
    low, high = (both if low is None else low), (both if high is None else high)
    if name == "cispo":
        return {} if high is None else {"weight_max": 1 + high}
    found = {"clip_low": low, "clip_high": high}
    if name != "gspo":
        found["ratio_cap"] = getattr(config, "clip_ratio_c", None)
    return {key: value for key, value in found.items() if value is not None}


def _constant(name: str, info: dict[str, Any], width: int) -> dict[str, int]:
    if name != "dr_grpo":
        return {}
    factor = info.get("loss_scale_factor")
    return {"max_tokens": width if factor is None else factor}


def _per_response(advantages_BS: Tensor, mask_BS: Tensor) -> Tensor:
    """One advantage per row; rows without tokens get 0. Raises ValueError when a row holds several."""
    infinity = torch.finfo(advantages_BS.dtype).max
    low_B = torch.where(mask_BS, advantages_BS, infinity).amin(dim=1)
    high_B = torch.where(mask_BS, advantages_BS, -infinity).amax(dim=1)
    empty_B = ~mask_BS.any(dim=1)
    if bool(((low_B != high_B) & ~empty_B).any()):
        raise ValueError(
            "verl_policy_loss: found advantages that differ within a response, expected one per response; "
            "use a group advantage estimator (algorithm.adv_estimator=grpo)"
        )
    return torch.where(empty_B, torch.zeros_like(low_B), low_B)
