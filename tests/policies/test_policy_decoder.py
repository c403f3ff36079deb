"""The language model in few kernels: logits of every family that has it, and where it steps aside."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from some_prompts import some_prompts
from tiny_models import FAMILIES, NAMES, need_torchvision
from torch import nn

from r3v.policies.base import SamplingParams
from r3v.policies.model.loading import Loaded, add_lora, load
from r3v.policies.sampling import decoder, decoder_fit
from r3v.policies.sampling.decoder import Decoder, Packed, why_no_decoder
from r3v.policies.sampling.hf import HFPolicy
from r3v.settings.config import ModelConfig

LLAMA_LIKE = tuple(family for family in FAMILIES if family != "gemma3")


def fresh(family: str) -> Loaded:
    """A tiny model of its own with norms and biases that are not those of a new model."""
    if family.startswith("qwen"):
        need_torchvision()
    loaded = load(ModelConfig(path=NAMES[family]), dry_run=True)
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if parameter.dim() == 1 and "vision" not in name and "visual" not in name:
                parameter.uniform_(0.5, 1.5)
    return loaded


@pytest.mark.parametrize("family", LLAMA_LIKE)
def test_logits_are_the_models_own(family: str) -> None:
    assert why_no_decoder(fresh(family).model) is None


@pytest.mark.parametrize("family", ["idefics3", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("part", ["silu", "plus", "_folded", "swapped"])
def test_a_wrong_kernel_is_found_out(family: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another activation, no residual, norms left out of the products, halves that are not exchanged."""
    wrong = {
        "silu": lambda packed, x: torch.relu(packed(x)),
        "plus": lambda packed, x, other: packed(x),
        "_folded": lambda weight, norm: weight,
        "swapped": lambda heads: heads,
    }
    monkeypatch.setattr(Packed if part in ("silu", "plus") else decoder, part, wrong[part])
    assert "other logits" in str(why_no_decoder(fresh(family).model))


def first_logits(model: Any, policy: HFPolicy) -> torch.Tensor:
    from r3v.policies.model.forward import prefill

    encoded = [policy.encoder.prompt(p) for p in some_prompts()]
    return prefill(model, policy.encoder, encoded, policy.decoder()).logits


@pytest.mark.parametrize("counted", [True, False])
def test_weights_that_are_written_to_are_copied_again(counted: bool) -> None:
    """A frozen weight, too: the logits follow. Nothing is copied while nothing changes, unless weights were made in
    inference mode, which do not count writes."""
    with torch.inference_mode(not counted):
        policy = HFPolicy(fresh("idefics3"))
    with torch.inference_mode():
        before = first_logits(policy.model, policy)
    made = policy.decoder()
    assert made is not None
    layers = made._layers
    assert policy.decoder() is made
    assert (made._layers is layers) == counted
    with torch.inference_mode(not counted), torch.no_grad():
        made._text.layers[1].mlp.up_proj.weight.mul_(3.0)
    with torch.inference_mode():
        after = first_logits(policy.model, policy)
        policy._decoder = None
        expected = first_logits(policy.model, policy)
    assert float((after - before).abs().max()) > 1e-3
    torch.testing.assert_close(after, expected, atol=1e-4, rtol=1e-4)


def test_a_folded_adapter_is_part_of_the_weights() -> None:
    """Scores with an adapter, by the decoder and by the model's own forward; then without it, as at first."""
    loaded = fresh("qwen2_5_vl")
    plain = HFPolicy(loaded).score(some_prompts(1), [["Answer: 3"]])[0][0].total
    model = add_lora(loaded.model, ModelConfig(lora_r=4), seed=1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    fast, slow = (HFPolicy(Loaded(model, loaded.processor, loaded.encoder, n, loaded.config)) for n in "ab")
    slow._shared = False
    found, expected = (p.score(some_prompts(1), [["Answer: 3"]])[0][0].total for p in (fast, slow))
    assert fast._decoder is not None
    assert found == pytest.approx(expected, abs=1e-4)
    assert abs(found - plain) > 1e-2
    base = Loaded(model.unload(), loaded.processor, loaded.encoder, "c", loaded.config)
    assert HFPolicy(base).score(some_prompts(1), [["Answer: 3"]])[0][0].total == pytest.approx(plain, abs=1e-5)


def test_where_it_steps_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh("idefics3").model
    layer = model.model.text_model.layers[1]
    hook = layer.mlp.register_forward_hook(lambda *_: None)
    assert "hooks on LlamaMLP" in str(why_no_decoder(model))
    hook.remove()
    model.model.text_model.rotary_emb.rope_type = "dynamic"
    assert "type dynamic" in str(why_no_decoder(model))
    model.model.text_model.rotary_emb.rope_type = "default"
    layer.mlp.act_fn = nn.GELU()
    assert "GELU" in str(why_no_decoder(model))
    layer.mlp.act_fn = nn.SiLU()
    assert why_no_decoder(model) is None
    monkeypatch.setattr(decoder_fit, "MOST_BYTES", 1000)
    assert "MB of weights" in str(why_no_decoder(model))
    monkeypatch.undo()
    assert "rotary positions of type {" in str(why_no_decoder(fresh("gemma3").model))
    assert "float32" in str(why_no_decoder(model.to(torch.bfloat16)))


def test_a_model_that_has_none_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Same texts by the model's own forward."""
    loaded = fresh("idefics3")
    params = SamplingParams(temperature=0.8, max_new_tokens=6)
    expected = HFPolicy(loaded).generate(some_prompts(2), 2, params)
    for layer in loaded.model.model.text_model.layers:
        layer.register_forward_hook(lambda *_: None)
    policy = HFPolicy(loaded)
    with caplog.at_level(logging.INFO, logger="r3v.policies.sampling.hf"):
        found = [policy.generate(some_prompts(2), 2, params) for _ in range(2)]
    assert [r.getMessage().count("hooks on") for r in caplog.records] == [1]
    for row in found:
        assert [c.token_ids for some in row for c in some] == [c.token_ids for some in expected for c in some]


def test_positions_beyond_the_table_are_made() -> None:
    made = Decoder(fresh("idefics3").model)
    made.refresh()
    far = torch.tensor([3, 3 * decoder._TABLE + 1])
    cos, sin = made._turns(far)
    own_cos, own_sin = made._text.rotary_emb(torch.zeros(1), far[None])
    torch.testing.assert_close(cos[:, 0], own_cos[0])
    torch.testing.assert_close(sin[:, 0].abs(), own_sin[0].abs())
