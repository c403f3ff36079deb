"""Attention with its log-sum-exps, scores and softmax in float32 whatever the model computes in.

Sixteen-bit scores are not good enough: Qwen2 and Qwen2.5 have key biases of norm 600 to 900, so scores reach
thousands, where bfloat16 counts in steps of 8 or 16, and a softmax of such scores is another model. Products of 16-bit
numbers are exact in float32, so only their sum is rounded, as in the fused kernels. On a CPU torch's own kernel does
all of it; elsewhere the products are taken some queries at a time, so that memory grows with the number of keys and
not with its square.

Suffixes: B batch, H heads, Q queries, K keys, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCORES_BYTES = 256 << 20
"""Most bytes of float32 scores held at once (at least those of one query of every head)."""


def attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, *, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """Query B H Q D, key and value B H K D -> output B H Q D in the query's type, log-sum-exps B H Q in float32.

    `bias` broadcasts to B H Q K and is added to the scores. `causal`: query i sees the first i + 1 keys (Q = K).
    """
    if has_kernel(query):
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, attn_mask=bias, scale=scale
        )
        return out, lse
    return by_products(query, key, value, bias, scale, causal=causal)


def has_kernel(query: Tensor) -> bool:
    """Whether torch has a kernel here that returns log-sum-exps and takes any bias."""
    return query.device.type == "cpu"


def by_products(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, *, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """`attention` by batched products on any device, within SCORES_BYTES of scores."""
    batch, heads, queries, width = query.shape
    keys = int(key.shape[2])
    joined = (batch * heads, -1, width)
    turned = key.reshape(joined).transpose(1, 2)
    values = value.reshape((*joined[:2], value.shape[3]))
    asked = query.reshape(joined)
    step = max(1, SCORES_BYTES // (4 * batch * heads * keys))
    out, lse = [], []
    for begin in range(0, queries, step):
        end = min(begin + step, queries)
        seen = end if causal else keys
        scores = product(asked[:, begin:end], turned[..., :seen]).mul_(scale)
        if bias is not None:
            some = bias.expand(batch, heads, -1, -1)
            some = some[:, :, begin:end] if some.shape[2] > 1 else some
            scores = scores.view(batch, heads, end - begin, seen).add_(some[..., :seen]).view(scores.shape)
        if causal:
            later = torch.ones(end - begin, seen, dtype=torch.bool, device=scores.device).triu(begin + 1)
            scores.masked_fill_(later, -torch.inf)
        total = scores.logsumexp(-1)
        weights = scores.sub_(total.unsqueeze(-1)).exp_()
        out.append(product(weights.to(value.dtype), values[:, :seen]).to(query.dtype))
        lse.append(total)
    return (
        torch.cat(out, 1).view(batch, heads, queries, value.shape[3]),
        torch.cat(lse, 1).view(batch, heads, queries),
    )


def product(a: Tensor, b: Tensor) -> Tensor:
    """Batched matrix product in float32 of factors of any floating type."""
    if a.dtype == torch.float32:
        return torch.bmm(a, b)
    if a.device.type == "cuda":
        return torch.bmm(a, b, out_dtype=torch.float32)
    return torch.bmm(a.float(), b.float())
