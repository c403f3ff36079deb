"""Noise and draws: one uniform number per (seed, problem, sample, position), one inverse-CDF step per token.

The number comes from a counter-based generator, so a candidate never depends on what else is in the batch, on
how many slots there are, or on what was sampled before. With one number per token the cost does not grow with
the vocabulary.

Suffixes: S rows, V vocabulary, T positions.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from r3v.policies.base import SamplingParams

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


def noise_key(seed: int, problem_id: str, index: int) -> int:
    """64 bits that stand for one sample of one problem."""
    digest = hashlib.sha256(f"{seed}\0{problem_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def uniforms(key: int, n: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for positions 0 .. n - 1, float64, shape T.

    SplitMix64 (Steele, Lea and Flood 2014) evaluated at counter key + (position + 1) * golden ratio; 53 bits
    are kept.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (np.arange(1, n + 1, dtype=np.uint64)) * _GOLDEN
        for shift, factor in _MIX:
            z = (z ^ (z >> shift)) * factor
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw(logits_SV: Tensor, uniform_S: Tensor, params: SamplingParams, banned_V: Tensor) -> tuple[Tensor, Tensor]:
    """One token per row and its log-probability: (token_S long, logprob_S float32).

    Banned tokens are never drawn. The log-probability is the model's own: over its whole vocabulary at
    temperature 1, before bans, temperature and filters, so that it equals `score` and what training computes
    for the same token. At temperature 0 the likeliest token is taken, the lowest id among equals.
    """
    raw_SV = logits_SV.float()
    allowed_SV = raw_SV.masked_fill(banned_V, -torch.inf)
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
    logprob_S = raw_SV.gather(-1, token_S[:, None])[:, 0] - raw_SV.logsumexp(-1)
    return token_S, logprob_S


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
