"""Attention in float32 whatever the model computes in: by hand, within a bound of memory, and on a model whose keys are
as large as Qwen2.5-7B's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.cache_utils import DynamicCache

from r3v.policies.model.calls import past_of, stacked
from r3v.policies.model.tiny import FAMILIES
from r3v.policies.sampling import attention_math, shared
from r3v.policies.sampling.sharing_check import why_not_shared

IDS = {"<|image_pad|>": 5, "<|video_pad|>": 6, "<|vision_start|>": 3, "<|vision_end|>": 4, "vocab": 400, "eos": 2}


def exact(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, causal: bool) -> tuple[Tensor, Tensor]:
    """Attention in float64."""
    scores = query.double() @ key.double().transpose(-1, -2) * 0.3
    if bias is not None:
        scores = scores + bias.double()
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    return scores.softmax(-1) @ value.double(), scores.logsumexp(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bytes_", [attention_math.SCORES_BYTES, 4 * 2 * 3 * 9 * 2, 1])
@pytest.mark.parametrize("kind", ["plain", "bias of all queries", "bias of each query", "causal"])
def test_products_are_attention(dtype: torch.dtype, bytes_: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All queries at once, two at a time, and one at a time, against float64. The output is rounded once to its type
    (and the weights before it): an error of 2 ** -8 for bfloat16. Log-sum-exps are float32 throughout."""
    monkeypatch.setattr(attention_math, "SCORES_BYTES", bytes_)
    generator = torch.Generator().manual_seed(1)
    queries = 9 if kind == "causal" else 5
    query, key, value = (torch.randn(2, 3, n, 8, generator=generator).to(dtype) for n in (queries, 9, 9))
    bias = None
    if kind.startswith("bias"):
        bias = torch.randn(2, 1, 1 if "all" in kind else queries, 9, generator=generator)
    out, lse = attention_math.by_products(query, key, value, bias, 0.3, causal=kind == "causal")
    expected, expected_lse = exact(query, key, value, bias, kind == "causal")
    assert out.dtype == dtype
    torch.testing.assert_close(lse.double(), expected_lse, atol=1e-5, rtol=1e-5)
    near = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    torch.testing.assert_close(out.double(), expected, atol=near, rtol=near)


def test_scores_are_held_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """512 queries and keys of 2 heads have 2 MB of float32 scores; with a bound of 64 KB no tensor of more than twice
    that is made (scores and the mask of a chunk), the keys and values themselves being 64 KB each."""
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest = max(largest, out.untyped_storage().nbytes())
            return out

    monkeypatch.setattr(attention_math, "SCORES_BYTES", 64 << 10)
    query, key, value = (torch.randn(1, 2, 512, 16) for _ in range(3))
    with Watch():
        attention_math.by_products(query, key, value, None, 0.3, causal=True)
    assert largest <= 128 << 10


def biased(norm_first: float, norm_last: float, seed: int) -> Any:
    """A tiny Qwen2.5-VL in bfloat16 with key biases of these norms in its first and last layer, in the dimensions that
    turn slowest, and queries that ask for them."""
    from transformers import AutoModelForImageTextToText

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(FAMILIES["qwen2_5_vl"].config(IDS), dtype=torch.bfloat16).eval()
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "visual" not in name:
                torch.nn.init.normal_(weight, std=0.12)
    for layer, norm in ((0, norm_first), (2, norm_last)):
        attention = model.model.language_model.layers[layer].self_attn
        bias = torch.zeros(attention.k_proj.out_features)
        bias[[6, 7, 14, 15, 22, 23, 30, 31]] = norm / 8**0.5
        asks = torch.zeros(attention.q_proj.out_features).view(-1, 16)
        asks[:, [6, 7, 14, 15]] = 10.0
        attention.k_proj.bias.data = bias.bfloat16()
        attention.q_proj.bias.data = asks.flatten().bfloat16()
    return model


@torch.inference_mode()
def divergence(model: Any) -> float:
    """KL from the model's own forward to the one with shared keys, nats a token, over the second half of 200."""
    row = torch.randint(10, 400, (1, 200), generator=torch.Generator().manual_seed(4))
    places = torch.arange(200)[None].expand(3, 1, -1)
    own = model(input_ids=row, position_ids=places, use_cache=False).logits[0, 100:].float().log_softmax(-1)
    cache = DynamicCache()
    model(input_ids=row[:, :100], position_ids=places[..., :100], **past_of(model, cache), use_cache=True)
    block = shared.ancestor([(*stacked(cache), [(0, 100)])], [0])
    rest = {"input_ids": row[:, 100:], "position_ids": places[..., 100:], "use_cache": True}
    found = shared.SharedCalls(model)([block], **rest, **past_of(model, DynamicCache()))[0].float().log_softmax(-1)
    return float((own.exp() * (own - found)).sum(-1).mean())


def rounded(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, *, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """What is wrong: scores in the model's own type."""
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if bias is not None:
        scores = scores + bias.float()
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    total = scores.logsumexp(-1)
    return (scores - total.unsqueeze(-1)).exp().to(value.dtype) @ value, total


@pytest.mark.parametrize("way", ["kernel", "products"])
def test_large_key_biases_leave_the_model_what_it_is(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key biases of norm 600 and 921, those of Qwen2.5-7B's first and last layer: sharing stays on, and over three
    models the mean KL to the model itself is below 1e-3. Scores rounded to bfloat16 are off by more than 0.1 and are
    refused."""
    if way == "products":
        monkeypatch.setattr(attention_math, "has_kernel", lambda query: False)
    models = [biased(600.0, 921.0, seed) for seed in range(3)]
    assert sum(map(divergence, models)) / 3 < 1e-3
    assert why_not_shared(models[0]) is None
    monkeypatch.setattr(shared, "attention", rounded)
    assert sum(map(divergence, models)) / 3 > 0.1
    assert "other log-probabilities" in str(why_not_shared(biased(600.0, 921.0, 0)))
