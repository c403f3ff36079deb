"""Formulas against what torch keeps and holds, on slices of three families at small widths."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from allocator import allocator
from slices import decoded, looked_at, saved, slice_of, text_sizes, vision_sizes
from transformers.cache_utils import DynamicCache

from r3v.losses.logprobs import from_hidden
from r3v.plan.activations import (
    CHUNK_LOGITS,
    Arithmetic,
    adapter_copies,
    fit_bytes_per_token,
    head_bytes,
    key_value_bytes,
    layer_bytes,
)
from r3v.plan.shape import shape_of
from r3v.policies.model.calls import past_of
from r3v.policies.model.loading import add_lora
from r3v.settings.config import ModelConfig
from r3v.training.checkpointing import checkpoint_activations

KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
WIDTHS, SEEING = (192, 416, 6, 2, 32), (64, 192, 2)
R = 8


def taught(kind: str, layers: int, *, casts: bool, dropout: float = 0.0, targets: str = "language"):
    """A slice with a fresh adapter, in training mode."""
    model = slice_of(
        kind,
        text=text_sizes(kind, layers=layers, vocabulary=500, widths=WIDTHS),
        vision=vision_sizes(kind, blocks=layers, out=WIDTHS[0], widths=SEEING),
        dtype=torch.bfloat16 if casts else torch.float32,
    )
    config = ModelConfig(lora_r=R, lora_alpha=R, lora_dropout=dropout, lora_targets=targets)  # type: ignore[arg-type]
    return add_lora(model, config, 0).train()


@pytest.mark.parametrize(("kind", "casts", "dropout"), list(itertools.product(KINDS, (True, False), (0.0, 0.1))))
def test_a_layer_keeps_what_the_formula_says(kind: str, casts: bool, dropout: float) -> None:
    """What a second layer adds to the first, text and vision, to one part in a hundred."""
    found = {}
    for layers in (1, 2):
        model = taught(kind, layers, casts=casts, dropout=dropout, targets="all")
        with saved(model) as text:
            decoded(model, 96, casts)
        with saved(model) as seen:
            looked_at(model, (12, 8), casts)
        found[layers] = text(), seen()
    shape, a = shape_of(model), Arithmetic(2 if casts else 4, casts, R, dropout, "cpu")
    assert shape.vision is not None
    for number, layer in enumerate((shape.decoder, shape.vision)):
        copies = 2 * R * sum(p.ins + p.outs for p in layer.products) if casts else 0
        one = (found[2][number] - found[1][number] - copies) / 96
        assert layer_bytes(layer, a) == pytest.approx(one, rel=0.01)


@pytest.mark.parametrize(("casts", "dropout"), [(True, 0.0), (True, 0.1), (False, 0.0)])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_the_peak_of_a_backward_pass(casts: bool, dropout: float, checkpointing: bool) -> None:
    """Bytes alive at the peak, for each of 128 tokens more, to one part in ten."""
    model = taught("qwen3_vl", 3, casts=casts, dropout=dropout)
    if checkpointing:
        checkpoint_activations(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    most = []
    for tokens in (128, 256):
        with allocator() as count:
            torch.autograd.grad(decoded(model, tokens, casts).float().sum(), parameters)
        most.append(count.most)
    a = Arithmetic(2 if casts else 4, casts, R, dropout, "cpu")
    formula = fit_bytes_per_token(shape_of(model), a, checkpointing=checkpointing, fused=False)
    assert formula == pytest.approx((most[1] - most[0]) / 128, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_and_values(kind: str) -> None:
    """Two layers of two key heads of 32, keys and values: 2 * 2 * 2 * 32 numbers of two bytes are 512 bytes a token."""
    model = slice_of(
        kind,
        text=text_sizes(kind, layers=2, vocabulary=500, widths=WIDTHS),
        vision=vision_sizes(kind, blocks=1, out=WIDTHS[0], widths=SEEING),
    )
    cache = DynamicCache()
    with torch.no_grad():
        text = model.model.language_model
        text(inputs_embeds=torch.zeros(1, 10, 192, dtype=torch.bfloat16), **past_of(text, cache))
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)  # type: ignore[union-attr]
    assert held == 10 * key_value_bytes(shape_of(model, "language"), 2) == 10 * 512


@pytest.mark.parametrize(("fewer", "more"), [(20, 80), (150, 300)])
def test_the_loss_head(fewer: int, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What further targets of a head of 5,000 words take, within a chunk of 100 and beyond it, to one part in ten."""
    for module in ("r3v.losses.logprobs", "r3v.plan.activations"):
        monkeypatch.setitem(__import__(module, fromlist=["CHUNK_LOGITS"]).CHUNK_LOGITS, "cpu", 100 * 5000)
    weight, most = torch.randn(5000, 192, dtype=torch.bfloat16), []
    for targets in (fewer, more):
        hidden = torch.randn(targets, 192, dtype=torch.bfloat16).requires_grad_(True)
        with allocator() as count:
            from_hidden(hidden, weight, torch.arange(targets)).sum()
        most.append(count.most)
    shape = replace(shape_of(taught("qwen2_vl", 1, casts=True)), vocabulary=5000)
    one, two = (head_bytes(shape, targets, Arithmetic(2, True, R, 0.0, "cpu")) for targets in (fewer, more))
    assert two - one == pytest.approx(most[1] - most[0], rel=0.1)
    assert CHUNK_LOGITS["cuda"] == 2**27


def test_the_copies_of_an_adapter_are_of_16_bit() -> None:
    """Rank 8 on q, o (192 + 192), k, v (192 + 64), gate, up, down (192 + 416): 8 * 3,104 numbers in one layer."""
    shape = shape_of(taught("qwen2_5_vl", 1, casts=True))
    assert shape.adapter(8) == 8 * (2 * 384 + 2 * 256 + 3 * 608)
    assert adapter_copies(shape, Arithmetic(r=8)) == 2 * shape.adapter(8)
    assert adapter_copies(shape, Arithmetic(4, False, 8)) == 0
