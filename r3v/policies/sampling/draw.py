"""Draws: one inverse-CDF step per token from one uniform number, so that the cost does not grow with the vocabulary.

Suffixes: S rows, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from r3v.policies.base import SamplingParams

BELOW_ONE = 1.0 - 2.0**-53
"""The largest number below 1."""


class Drawn(NamedTuple):
    """One token of each row, and where noise is arithmetic what its number has left to tell: given the token, the place
    of the number inside the token's share is again uniform in [0, 1). `share` is the share itself, under temperature,
    bans and filters. Otherwise the number as it was, and 1."""

    token_S: Tensor
    logprob_S: Tensor
    rest_S: Tensor
    share_S: Tensor


def draw(logits_SV: Tensor, uniform_S: Tensor, params: SamplingParams, banned_V: Tensor) -> Drawn:
    """One token per row (long), its log-probability (float32), the rest of its number and its share (float64).

    Banned tokens are never drawn. The log-probability is the model's own: over its whole vocabulary at
    temperature 1, before bans, temperature and filters, so that it equals `score` and what training computes
    for the same token. At temperature 0 the likeliest token is taken, the lowest id among equals.
    """
    raw_SV = logits_SV.float()
    allowed_SV = raw_SV.masked_fill(banned_V, -torch.inf)
    rest_S, share_S = uniform_S, torch.ones_like(uniform_S)
    if params.temperature == 0:
        token_S = allowed_SV.argmax(-1)
    else:
        p_SV = _filtered(allowed_SV / params.temperature, params)
        cdf_SV = p_SV.double().cumsum(-1)
        at_S = uniform_S.to(cdf_SV) * cdf_SV[:, -1]
        token_S = torch.searchsorted(cdf_SV, at_S[:, None], right=True)[:, 0]
        # Rounding may put `at` on the end of the scale; the last token with any probability is then meant.
        last_S = (cdf_SV < cdf_SV[:, -1:]).sum(-1)
        token_S = torch.minimum(token_S, last_S)
        if params.noise == "arithmetic":
            end_S = cdf_SV.gather(-1, token_S[:, None])[:, 0]
            mass_S = p_SV.gather(-1, token_S[:, None])[:, 0].double()
            rest_S = ((at_S - end_S) / mass_S + 1.0).clamp(0.0, BELOW_ONE)
            share_S = mass_S / cdf_SV[:, -1]
    logprob_S = raw_SV.gather(-1, token_S[:, None])[:, 0] - raw_SV.logsumexp(-1)
    return Drawn(token_S, logprob_S, rest_S, share_S)


def _filtered(logits_SV: Tensor, params: SamplingParams) -> Tensor:
    """Probabilities (not renormalised) in token-id order after top-k, then top-p (Holtzman et al. 2020)."""
    if 0 < params.top_k < logits_SV.shape[-1]:
        least_S1 = logits_SV.topk(params.top_k, dim=-1).values[:, -1:]
        logits_SV = logits_SV.masked_fill(logits_SV < least_S1, -torch.inf)
    p_SV = logits_SV.softmax(-1)
    if params.top_p < 1:
        sorted_SV, order_SV = p_SV.sort(dim=-1, descending=True, stable=True)
        before_SV = sorted_SV.cumsum(-1) - sorted_SV
        # The smallest set whose mass reaches top_p; the likeliest token always stays.
        out_SV = before_SV >= params.top_p
        out_SV[:, 0] = False
        p_SV = p_SV.masked_fill(torch.zeros_like(out_SV).scatter(-1, order_SV, out_SV), 0.0)
    return p_SV


def mask_of(ids: tuple[int, ...] | frozenset[int], size: int, device: torch.device) -> Tensor:
    """Boolean V, True at `ids`; ids outside the vocabulary are left out."""
    mask_V = torch.zeros(size, dtype=torch.bool)
    inside = [i for i in ids if 0 <= i < size]
    mask_V[inside] = True
    return mask_V.to(device)
