"""The formulas against slices of true width: two layers, the whole vocabulary, two vision blocks, nf4 by bitsandbytes.

None of these widths was used to make the formulas; they were derived on layers of 256 and 384 values. Some 5 GB of
memory and minutes of one core, so `pytest -m slow`. R3V_PLAN_REPORT=FILE writes what was found as a table.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from allocator import allocator
from slices import decoded, looked_at, saved, slice_of
from torch import nn
from transformers.cache_utils import DynamicCache

from r3v.losses.logprobs import from_hidden
from r3v.plan.activations import Arithmetic, head_bytes, key_value_bytes, layer_bytes
from r3v.plan.known import KNOWN
from r3v.plan.shape import Shape, shape_of
from r3v.plan.stages import Precision, weight_bytes
from r3v.policies.model.calls import past_of
from r3v.policies.model.loading import add_lora
from r3v.policies.model.quantised import kept_whole
from r3v.settings.config import ModelConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),  # bitsandbytes, on import
]
R, DROPOUT, TOKENS = 64, 0.05, 96
GRID = (16, 8)
TEN_PERCENT = 0.1


@pytest.fixture(scope="module", params=sorted(KNOWN))
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any, Shape]]:
    """A slice of a model in nf4 with an adapter on all its linear layers, in training mode, and its shape."""
    kind, fields = KNOWN[request.param]
    vision = {**fields["vision_config"], "depth": 2}
    vision |= {"fullatt_block_indexes": [0, 1]} if kind == "qwen2_5_vl" else {}
    vision |= {"deepstack_visual_indexes": []} if kind == "qwen3_vl" else {}
    model = slice_of(kind, text={**fields["text_config"], "num_hidden_layers": 2}, vision=vision)
    in_nf4(model)
    config = ModelConfig(lora_r=R, lora_alpha=2 * R, lora_dropout=DROPOUT, lora_targets="all")
    model = add_lora(model, config, 0).train()
    yield request.param, model, shape_of(model)
    del model
    gc.collect()


def in_nf4(model: nn.Module) -> None:
    """Put bitsandbytes' layers in the places that loading would quantise."""
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    whole = kept_whole(model)
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, nn.Linear) or any(name == k or name.startswith(f"{k}.") for k in whole):
            continue
        made = Linear4bit(layer.in_features, layer.out_features, layer.bias is not None, torch.bfloat16, True, "nf4")
        made.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")  # pyright: ignore[reportCallIssue]
        made.bias = layer.bias
        made.requires_grad_(False)
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, made.to("cpu"))
        del layer


def told(name: str, what: str, formula: float, found: float) -> None:
    """A line of the report, where one is asked for."""
    if path := os.environ.get("R3V_PLAN_REPORT"):
        with Path(path).open("a") as file:
            file.write(f"| {name.split('/')[-1]} | {what} | {formula:,.0f} | {found:,.0f} | {formula / found:.3f} |\n")


def check(name: str, what: str, formula: float, found: float) -> None:
    told(name, what, formula, found)
    assert formula == pytest.approx(found, rel=TEN_PERCENT), what


def test_weights_in_nf4(taken: tuple[str, Any, Shape]) -> None:
    """Packed weights, their scales and the scales of those, beside the parts in 16 bit."""
    name, model, shape = taken
    found = 0
    for key, p in model.named_parameters():
        if ".lora_" in key:
            continue
        found += p.nbytes
        state = getattr(p, "quant_state", None)
        if state is not None:
            found += state.absmax.nbytes + state.state2.absmax.nbytes
    check(name, "bytes of weights in nf4", sum(weight_bytes(shape, Precision("nf4", "bfloat16", R)).values()), found)


def test_saved_for_backward(taken: tuple[str, Any, Shape]) -> None:
    name, model, shape = taken
    a = Arithmetic(2, True, R, DROPOUT, "cpu")
    found = {}
    for tokens in (TOKENS // 2, TOKENS):
        with saved(model) as count:
            decoded(model, tokens, True)
        found[tokens] = count()
    layers = 2 * layer_bytes(shape.decoder, a) + 4 * shape.hidden + 4
    one = (found[TOKENS] - found[TOKENS // 2]) / (TOKENS // 2)
    check(name, "bytes saved a token, two layers", layers, one)
    assert shape.vision is not None
    tower = model.get_base_model().model.visual
    blocks, seen = tower.blocks, []
    for some in (blocks, nn.ModuleList()):
        tower.blocks = some
        with saved(model) as count:
            looked_at(model, GRID, True)
        seen.append(count())
    tower.blocks = blocks
    copies = 2 * 2 * R * sum(p.ins + p.outs for p in shape.vision.products)
    one = (seen[0] - seen[1] - copies) / (GRID[0] * GRID[1])
    check(name, "bytes saved a patch, two vision blocks", 2 * layer_bytes(shape.vision, a), one)


def test_keys_and_values(taken: tuple[str, Any, Shape]) -> None:
    name, model, shape = taken
    text, cache = model.get_base_model().model.language_model, DynamicCache()
    with torch.no_grad():
        text(inputs_embeds=torch.zeros(1, 8, shape.hidden, dtype=torch.bfloat16), **past_of(text, cache))
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)  # type: ignore[union-attr]
    check(name, "bytes of keys and values a token, two layers", key_value_bytes(shape, 2), held / 8)


def test_loss_head(taken: tuple[str, Any, Shape]) -> None:
    """Further targets of a head over the whole vocabulary, within its first chunk."""
    name, model, shape = taken
    head = model.get_base_model().get_output_embeddings()
    weight = getattr(head, "base_layer", head).weight
    most = []
    for targets in (32, 128):
        hidden = torch.zeros(targets, shape.hidden, dtype=torch.bfloat16).requires_grad_(True)
        with allocator() as count:
            from_hidden(hidden, weight, torch.arange(targets)).sum()
        most.append(count.most)
    a = Arithmetic(2, True, R, 0.0, "cpu")
    formula = head_bytes(shape, 128, a) - head_bytes(shape, 32, a)
    check(name, "bytes of the loss head, 96 targets more", formula, most[1] - most[0])


def test_the_slice_is_of_true_width(taken: tuple[str, Any, Shape]) -> None:
    name, _, shape = taken
    whole = KNOWN[name][1]["text_config"]
    assert (shape.hidden, shape.vocabulary) == (whole["hidden_size"], whole["vocab_size"])
    assert shape.decoder.inner == whole["intermediate_size"]
    assert (shape.layers, shape.vision_layers) == (2, 2)
    assert replace(shape, layers=whole["num_hidden_layers"]).key_value_numbers == (
        2 * whole["num_hidden_layers"] * whole["num_key_value_heads"] * 128
    )
