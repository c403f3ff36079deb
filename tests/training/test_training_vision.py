"""Kept image features: same numbers as pixels, new ones for new weights, bounded memory, and when they are not kept."""

from __future__ import annotations

import logging

import pytest
import torch
from tiny_models import FAMILIES, need_torchvision, tiny
from training_examples import examples_of

from r3v.policies.model.loading import add_lora, load
from r3v.settings.config import ModelConfig
from r3v.training import forward
from r3v.training.forward import token_logprobs, why_not_fusable
from r3v.training.layout.batching import collate
from r3v.training.layout.trie import build_trie
from r3v.training.layout.vision import FeatureCache, Features, cache_of, tower_parameters, why_not_cached
from r3v.training.parity import check_parity


def fresh(family: str):
    """(Loaded, PeftModel with a LoRA that does something); not shared with other tests."""
    if family.startswith("qwen"):
        need_torchvision()
    loaded = load(ModelConfig(path=tiny(family).config.path), dry_run=True)
    model = add_lora(loaded.model, ModelConfig(), 0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    return loaded, model


def inner_of(model):
    return model.get_base_model().base_model


def tries_of(loaded, model, *numbers: int, images: int = 1):
    tries = [build_trie(examples_of(n, images), loaded.encoder, model=model)[0] for n in numbers]
    return [t for t in tries if t is not None]


def batch_of(loaded, tries, fused=True):
    return collate(tries, fused=fused, collate_images=loaded.encoder.collate_images)


@pytest.mark.parametrize("family", FAMILIES)
def test_fast_paths_equal_the_plain_forward(family: str, monkeypatch) -> None:
    """Attention in runs and kept features, cold and warm: log-probabilities, loss and gradients of one and two
    images a problem, on every family.
    """
    monkeypatch.setattr("r3v.training.layout.attention.SPLIT_ABOVE", 0)
    loaded, model = fresh(family)
    tries = tries_of(loaded, model, 1) + tries_of(loaded, model, 2, images=2)
    path = "rows" if why_not_fusable(model) else "fused"
    for _ in ("cold", "warm"):
        found = check_parity(model, tries, lambda t, f: batch_of(loaded, t, f), path, half=False)
        assert found.ok, found.describe()
    cache = cache_of(inner_of(model))
    assert cache.misses == 2, "each problem's images are computed once"
    assert cache.hits >= 2


def test_features_are_of_the_weights_that_made_them() -> None:
    """Writing to a weight of the tower gives new features; the same weights give the kept ones."""
    loaded, model = fresh("idefics3")
    batch, cache = batch_of(loaded, tries_of(loaded, model, 1)), cache_of(inner_of(model))
    with torch.no_grad():
        before = token_logprobs(model, batch, "fused")
        torch.testing.assert_close(token_logprobs(model, batch, "fused"), before, rtol=0, atol=0)
        assert (cache.hits, cache.misses) == (1, 1)
        for weight in tower_parameters(inner_of(model)):
            weight.mul_(1.1)
        after = token_logprobs(model, batch, "fused")
        plain = token_logprobs(model, batch_of(loaded, batch.tries, fused=False), "plain")
    assert (cache.hits, cache.misses) == (1, 2)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, plain, rtol=1e-4, atol=1e-4)


def test_features_kept_under_inference_mode_serve_training() -> None:
    loaded, model = fresh("idefics3")
    batch = batch_of(loaded, tries_of(loaded, model, 1))
    with torch.inference_mode():
        before = token_logprobs(model, batch, "fused").clone()
    after = token_logprobs(model, batch, "fused")
    after.sum().backward()
    assert cache_of(inner_of(model)).hits == 1
    torch.testing.assert_close(after.detach(), before)


def test_a_trained_tower_computes_its_features_and_has_gradients(caplog) -> None:
    loaded = load(ModelConfig(path=tiny("idefics3").config.path), dry_run=True)
    model = add_lora(loaded.model, ModelConfig(lora_targets="all"), 0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    assert why_not_cached(inner_of(model)) == "the vision tower is trained"
    batch = batch_of(loaded, tries_of(loaded, model, 1))
    with caplog.at_level(logging.INFO, logger=forward.__name__):
        token_logprobs(model, batch, "fused").sum().backward()
        token_logprobs(model, batch, "fused")
    said = [r.message for r in caplog.records if "vision tower is trained" in r.message]
    assert len(said) == 1, "it is said once"
    trained = [p for p in tower_parameters(inner_of(model)) if p.requires_grad]
    assert any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in trained)
    assert cache_of(inner_of(model)).misses == 0


def test_a_tower_with_dropout_is_not_kept_in_training() -> None:
    _, model = fresh("idefics3")
    inner = inner_of(model)
    assert why_not_cached(inner) is None
    inner.vision_model.encoder.layers[0].self_attn.dropout = 0.1
    assert why_not_cached(inner) is None
    inner.train()
    assert why_not_cached(inner) == "the vision tower has dropout"


def test_cache_keeps_what_was_used_last_within_its_limit() -> None:
    """Features of 40 bytes in a cache of 100: the third puts out the one not asked for since."""
    cache = FeatureCache(limit=100)
    for name in "ab":
        cache.put(name, Features(object, (torch.zeros(10),), False, None))
    assert cache.get("a") is not None
    cache.put("c", Features(object, (torch.zeros(5),), False, ((torch.zeros(5),),)))
    assert (cache.get("b"), cache.bytes) == (None, 80)
    assert cache.get("a") is not None
    assert cache.get("c") is not None
    cache.put("huge", Features(object, (torch.zeros(1000),), False, None))
    assert (cache.bytes, cache.get("huge") is not None, cache.get("c")) == (4000, True, None)
