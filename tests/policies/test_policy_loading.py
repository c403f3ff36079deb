"""Loading, quantisation, LoRA, adapters on disk, and the errors people meet."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from some_prompts import some_prompts
from tiny_models import FAMILIES, NAMES, need_torchvision

from r3v.errors import ModelError
from r3v.policies.base import SamplingParams
from r3v.policies.model.adapters.files import load_adapter, save_adapter, weights_hash, with_adapter
from r3v.policies.model.adapters.taught import Taught, taught_with
from r3v.policies.model.forward import inputs_of, sampling_mode
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import add_lora, load, lora_targets
from r3v.policies.model.tiny import family_of, random_tiny
from r3v.policies.sampling.defaults import tell_defaults
from r3v.policies.sampling.hf import HFPolicy
from r3v.settings.config import ModelConfig

IDEFICS = ModelConfig(path=NAMES["idefics3"], lora_r=4, lora_alpha=8)


def fresh(config: ModelConfig = IDEFICS) -> Loaded:
    return load(config, dry_run=True)


def logits(loaded: Loaded, model: torch.nn.Module | None = None) -> torch.Tensor:
    inputs, _ = inputs_of(model or loaded.model, loaded.encoder, [loaded.encoder.prompt(some_prompts(1)[0])])
    with torch.no_grad():
        return (model or loaded.model)(**inputs).logits


def shake(model: torch.nn.Module) -> None:
    """LoRA starts as no change at all (B is zero); give it something to say."""
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.1


def test_families_are_told_by_name() -> None:
    for family, name in NAMES.items():
        assert family_of(name) == family
    assert family_of("somebody/unknown") is None


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_goes_on_the_language_model_alone(family: str) -> None:
    if family.startswith("qwen"):
        need_torchvision()
    model = load(ModelConfig(path=NAMES[family]), dry_run=True).model
    names = lora_targets(model, "language")
    assert len(names) == 3 * 7
    assert not [n for n in names if "vis" in n or "connector" in n or "projector" in n or "lm_head" in n]
    assert len(lora_targets(model, "all")) > len(names)
    wrapped = add_lora(model, ModelConfig(lora_r=4), seed=0)
    trained = [n for n, p in wrapped.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 3 * 7
    assert all("lora_" in n for n in trained)


def test_lora_depends_on_its_seed_alone() -> None:
    def first(seed: int, noise: int) -> torch.Tensor:
        torch.manual_seed(noise)
        model = add_lora(fresh().model, IDEFICS, seed)
        return next(p for n, p in model.named_parameters() if "lora_A" in n).detach()

    assert torch.equal(first(3, 0), first(3, 1))
    assert not torch.equal(first(3, 0), first(4, 0))


def test_adapter_reload_gives_identical_logits(tmp_path: Path) -> None:
    loaded = fresh()
    before = logits(loaded)
    model = add_lora(loaded.model, IDEFICS, 0)
    shake(model)
    after = logits(loaded, model)
    assert not torch.equal(before, after)
    digest = save_adapter(model, tmp_path / "adapter", taught_with(loaded))
    assert digest == weights_hash(tmp_path / "adapter")
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        *("adapter_config.json", "adapter_model.safetensors", "r3v_adapter.json"),
    ]
    again = load_adapter(fresh().model, tmp_path / "adapter")
    assert torch.equal(logits(loaded, again), after)
    swapped = with_adapter(fresh(), tmp_path / "adapter")
    assert swapped.name == f"dry-run:idefics3+{digest}"
    assert torch.equal(logits(swapped), after)


def test_sampling_folds_the_adapter_and_puts_every_bit_back() -> None:
    loaded = fresh()
    model = add_lora(loaded.model, IDEFICS, 0)
    shake(model)
    model.train()
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    model.eval()
    plain = logits(loaded, model)
    model.train()
    with sampling_mode(model):
        torch.testing.assert_close(logits(loaded, model), plain, atol=2e-5, rtol=1e-4)
        assert any(getattr(m, "merged", False) for m in model.modules())
    assert model.training
    for name, weight in model.named_parameters():
        assert torch.equal(weight, weights[name])


def test_nf4_loads_trains_and_samples() -> None:
    pytest.importorskip("bitsandbytes")
    config = ModelConfig(path=NAMES["idefics3"], quantization="nf4", lora_r=4)
    loaded = fresh(config)
    layers = [m for m in loaded.model.modules() if type(m).__name__ == "Linear4bit"]
    assert layers
    assert layers[0].weight.quant_state.nested
    model = add_lora(loaded.model, config, 0)
    policy = HFPolicy(Loaded(model, loaded.processor, loaded.encoder, "x", config), slots=2)
    params = SamplingParams(max_new_tokens=4)
    before = policy.generate(some_prompts(1), 2, params)
    inputs, _ = inputs_of(model, loaded.encoder, [loaded.encoder.prompt(some_prompts(1)[0])])
    model.train()
    model(**inputs).logits.float().logsumexp(-1).sum().backward()
    gradients = [p.grad for n, p in model.named_parameters() if "lora_B" in n]
    assert all(g is not None and bool(g.abs().sum() > 0) for g in gradients)
    after = policy.generate(some_prompts(1), 2, params)
    assert [c.token_ids for c in after[0]] == [c.token_ids for c in before[0]]
    assert all(0 < len(c.token_ids) <= 4 for c in after[0])


def test_missing_things_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found no folder"):
        load(ModelConfig(path=str(tmp_path / "nothing")))
    with pytest.raises(ModelError, match="cannot tell the family"):
        load(ModelConfig(path="somebody/unknown"), dry_run=True)
    with pytest.raises(ModelError, match=r"found no adapter_config\.json"):
        load(ModelConfig(path=NAMES["idefics3"], adapter=str(tmp_path)), dry_run=True)
    with pytest.raises(ModelError, match="expected auto, cpu, cuda"):
        load(ModelConfig(path=NAMES["idefics3"], device="elsewhere"), dry_run=True)
    with pytest.raises(ModelError, match="add_lora"):
        save_adapter(fresh().model, tmp_path / "a", Taught())


def test_the_built_in_model_loads_and_answers() -> None:
    policy = HFPolicy.from_config(ModelConfig(), slots=4)
    assert policy.name.startswith("geoworld-tiny@")
    rows = policy.generate(some_prompts(2), 2, SamplingParams(max_new_tokens=6))
    assert [len(row) for row in rows] == [2, 2]
    assert rows[0][0].prompt_hash == some_prompts(1)[0].hash


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ValueError(
                'Old does not support an attention implementation through sdpa. Use attn_implementation="eager"'
            ),
            r"has no attention of the kind sdpa \(Old does not .*\)\. Set model\.attention eager",
        ),
        (
            ImportError("Package `num2words` is required to run SmolVLM processor."),
            r"num2words.*\. Install what it names",
        ),
        (ImportError("Qwen2VLImageProcessor requires the Torchvision library"), r"pip install 'r3v\[gpu\]'"),
    ],
)
def test_what_a_model_lacks_is_named_with_what_to_do(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error as transformers raises it, out of the load of a folder that is otherwise sound."""
    model, processor = random_tiny("idefics3")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)

    def raises(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", raises)
    with pytest.raises(ModelError, match=said):
        load(ModelConfig(path=str(tmp_path), device="cpu"))


def test_defaults_of_a_checkpoint_that_are_not_taken_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A penalty of 1 and a temperature, which a recipe sets, are no such defaults."""
    model = SimpleNamespace(generation_config=SimpleNamespace(repetition_penalty=1.05, temperature=1e-6, typical_p=1.0))
    assert tell_defaults(model, "OWNER/some-model") == {"repetition_penalty": 1.05}
    tell_defaults(model, "OWNER/some-model")
    assert caplog.text.count("asks for repetition_penalty 1.05 in its generation_config.json") == 1
    assert tell_defaults(SimpleNamespace(generation_config=SimpleNamespace(repetition_penalty=1.0)), "other") == {}
