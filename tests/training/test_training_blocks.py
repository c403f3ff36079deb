"""Decoder layers with a backward pass of their own: the layers' own output and gradients, and what goes its own way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from r3v.losses.products import LIBRARIES, has_onednn, library, using
from test_training import CONFIG, TRAIN, fresh, train, tries_of
from tiny_models import FAMILIES, NAMES, need_torchvision
from torch import nn
from training_examples import examples_of

from r3v.policies.model.exchange import own_layers
from r3v.policies.model.loading import add_lora, load
from r3v.settings.config import ModelConfig
from r3v.training import blocks, lora
from r3v.training.blocks import quicken, restore
from r3v.training.forward import token_logprobs
from r3v.training.layout import attention
from r3v.training.layout.batching import collate
from r3v.training.module import R3VModule
from r3v.training.parity import ParityWarning

pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
LLAMA = ("idefics3", "llava", "qwen2_vl", "qwen2_5_vl")


def adapted(loaded: Any) -> Any:
    """The model with a LoRA that is not zero and norms that are not one."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if name.endswith("layernorm.weight") and "layers" in name:
                parameter.uniform_(0.5, 1.5)
    model = add_lora(loaded.model, CONFIG, seed=1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return model


def outcome(model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the targets, and the gradient of their weighted sum with respect to the adapter."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    logprobs = token_logprobs(model, batch, "fused")
    grads = torch.autograd.grad((logprobs * torch.linspace(-1, 1, len(logprobs))).sum(), parameters)
    return logprobs.detach(), torch.cat([g.flatten() for g in grads])


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each layer that was called, whether it was computed here."""
    noted: list[bool] = []
    parts = blocks._parts

    def noting(*args: Any) -> Any:
        found = parts(*args)
        noted.append(found is not None)
        return found

    monkeypatch.setattr(blocks, "_parts", noting)
    return noted


@pytest.mark.parametrize(("rows", "split"), [(7, False), (7, True), (10**6, True)])
@pytest.mark.parametrize("family", FAMILIES)
def test_output_and_gradients_are_the_layers_own(
    family: str, rows: int, split: bool, taken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most seven tokens at a time or all at once, with the padding or, where the mask tells of it, without. Qwen3-VL
    and Gemma 3 have other layers."""
    monkeypatch.setattr(blocks, "ROWS", dict.fromkeys(LIBRARIES, rows))
    monkeypatch.setattr(attention, "SPLIT_ABOVE", 0 if split else 10**6)
    if family.startswith("qwen"):
        need_torchvision()
    loaded = load(ModelConfig(path=NAMES[family]), dry_run=True)
    few = [examples_of(3), examples_of(4)[:1]]  # of unlike length, so that there is padding
    batch = collate(tries_of(loaded, few), collate_images=loaded.encoder.collate_images)
    assert batch.length_R[0] != batch.length_R[1]
    model = adapted(loaded)
    expected = outcome(model, batch)
    quicken(model)
    found = outcome(model, batch)
    assert taken == [True] * (3 if family in LLAMA else 0)
    torch.testing.assert_close(found[0], expected[0], atol=1e-4, rtol=1e-4)
    assert float((found[1] - expected[1]).norm() / expected[1].norm()) < 1e-4
    with own_layers():
        assert torch.equal(outcome(model, batch)[0], expected[0])
    restore(model)
    assert not any("forward" in vars(m) for m in model.modules())


@pytest.mark.skipif(not has_onednn(), reason="this build of torch has no products by oneDNN")
@pytest.mark.parametrize("what", [blocks, lora])
def test_either_library_gives_the_layers_own(what: Any) -> None:
    loaded = fresh()
    batch = collate(tries_of(loaded, [examples_of(3)]), collate_images=loaded.encoder.collate_images)
    model = adapted(loaded)
    expected = outcome(model, batch)
    what.quicken(model)
    for name in LIBRARIES:
        with using(name):
            found = outcome(model, batch)
        torch.testing.assert_close(found[0], expected[0], atol=1e-4, rtol=1e-4)
        assert float((found[1] - expected[1]).norm() / expected[1].norm()) < 1e-4


def test_the_last_layer_goes_on_with_the_tokens_before_a_target_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three layers: two with every token of the batch, the third with as many as have a target after them."""
    seen: list[int] = []
    apply = blocks._Rest.apply

    def noting(hidden: torch.Tensor, *args: Any) -> Any:
        seen.append(len(hidden))
        return apply(hidden, *args)

    monkeypatch.setattr(blocks._Rest, "apply", noting)
    loaded = fresh()
    batch = collate(tries_of(loaded, [examples_of(3)]), collate_images=loaded.encoder.collate_images)
    model = adapted(loaded)
    quicken(model)
    outcome(model, batch)
    wanted = len(set(batch.source_T.tolist()))
    assert wanted < batch.ids_RL.numel() // 2
    assert seen == [batch.ids_RL.numel()] * 2 + [wanted]


@pytest.mark.parametrize("what", ["dropout", "trained norm", "whole weights", "autocast", "bfloat16", "cache"])
def test_what_is_not_plain_goes_its_own_way(what: str, taken: list[bool]) -> None:
    from transformers.cache_utils import DynamicCache

    from r3v.policies.model.calls import past_of

    loaded = fresh()
    model = adapted(loaded) if what != "whole weights" else loaded.model
    layer = next(m for m in model.modules() if hasattr(m, "input_layernorm"))
    if what == "dropout":
        for module in model.modules():
            if hasattr(module, "lora_dropout"):
                module.lora_dropout["default"] = nn.Dropout(0.5)
        model.train()
    if what == "trained norm":
        layer.input_layernorm.weight.requires_grad_(True)
    if what == "bfloat16":
        model.to(torch.bfloat16)
    quicken(model)
    past = past_of(model, DynamicCache()) if what == "cache" else {}
    ids = torch.arange(5, 45)[None]
    with torch.autocast("cpu", enabled=what == "autocast"):
        loaded_out = model(input_ids=ids, use_cache=what == "cache", **past).logits
    assert loaded_out.isfinite().all()
    expected = [False, True, True] if what == "trained norm" else [False] * 3
    assert taken == expected


def test_hooks_of_others_stay() -> None:
    model = fresh().model
    layer = next(m for m in model.modules() if hasattr(m, "input_layernorm"))
    hook = lambda *args, **kwargs: None  # noqa: E731
    layer.forward = hook
    quicken(model)
    restore(model)
    assert layer.forward is hook


def test_a_wrong_layer_trips_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves that are not exchanged: the fit says so and goes on with the model's own layers, with the same losses."""
    good, _ = train(R3VModule(fresh(), TRAIN, config=CONFIG))
    monkeypatch.setattr(blocks, "swapped", lambda heads: heads)
    module = R3VModule(fresh(), TRAIN, config=CONFIG)
    with pytest.warns(ParityWarning, match="disagrees"):
        losses, _ = train(module)
    assert module.path == "plain"
    assert losses == pytest.approx(good, rel=1e-4)


def test_chunks_by_hand() -> None:
    """Two rows of four places with four and one real tokens, three at a time: even chunks, and what is padding."""
    mask: Any = attention.attach(torch.zeros(2, 1, 4, 4), torch.tensor([[4, 4, 4, 4], [1, 0, 0, 0]]), torch.float32)
    assert not hasattr(mask, attention.RUNS)  # a short row
    found = blocks._tokens(mask, 2, 4)
    assert (found.chunks, found.padding) == ((slice(0, 8),), ())
    setattr(mask, attention.RUNS, attention.runs_of(torch.tensor([[4, 4, 4, 4], [1, 0, 0, 0]]), torch.float32))
    found = blocks._tokens(mask, 2, 4)
    assert found.chunks == (slice(0, 4), slice(4, 5))
    assert found.padding == (slice(4, 4), slice(5, 8))
    assert blocks._cut_up(2, 2) == ()
    rows = blocks.ROWS[library()]
    assert blocks._cut_up(0, rows + 2) == (slice(0, rows // 2 + 1), slice(rows // 2 + 1, rows + 2))
