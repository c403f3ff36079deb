"""An adapter that does not fit is refused with the names that do not, and old names of transformers are mapped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_folders import CONFIG, WEIGHTS, changed, written
from tiny_models import NAMES, need_torchvision

from r3v.errors import ModelError
from r3v.policies.model.adapters.files import beside, load_adapter, with_adapter
from r3v.policies.model.adapters.taught import AdapterWarning
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import load
from r3v.settings.config import ModelConfig

IDEFICS = ModelConfig(path=NAMES["idefics3"], lora_r=4)
LAYERS = "model.text_model.layers"


@pytest.fixture(scope="module")
def base() -> Loaded:
    """A tiny Idefics3 of three layers, without an adapter. Whoever puts one on takes it off."""
    return load(IDEFICS, dry_run=True)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(load(IDEFICS, dry_run=True), IDEFICS, tmp_path_factory.mktemp("sound") / "adapter")


def says(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(3, 11)[None]).logits


def named(pattern: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda weights: {re.sub(pattern, new, key): value for key, value in weights.items()}


def without(part: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda weights: {key: value for key, value in weights.items() if part not in key}


OLD = {
    "qwen2_vl": ("model.language_model.", "model."),
    "qwen2_5_vl": ("model.language_model.", "model."),
    "llava": ("model.language_model.", "language_model.model."),
    "gemma3": ("model.language_model.", "language_model.model."),
}
"""What stands before `layers` now, and until transformers 4.51."""


@pytest.mark.parametrize(
    ("family", "how"), [*((family, "names") for family in OLD), ("qwen2_vl", "endings"), ("llava", "pattern")]
)
def test_names_of_transformers_until_4_51_are_mapped_and_told(family: str, how: str, tmp_path: Path) -> None:
    """The same weights under their old names say the same, however the configuration names its layers."""
    if family.startswith("qwen"):
        need_torchvision()
    config = ModelConfig(path=NAMES[family], lora_r=4)
    loaded = load(config, dry_run=True)
    plain = says(loaded.model)
    folder = written(loaded, config, tmp_path / "new")
    new, old = OLD[family]
    target_modules: Any = {
        "names": [f"{old}layers.{n}.{m}" for n in range(3) for m in MODULES],
        "endings": [m.split(".")[1] for m in MODULES],
        "pattern": rf"{re.escape(old)}layers\.\d+\.(self_attn|mlp)\.\w+_proj",
    }[how]
    before = changed(folder, tmp_path / "old", weights=named(re.escape(new), old), target_modules=target_modules)
    base = load(config, dry_run=True).model
    expected = says(load_adapter(base, folder))
    assert not torch.equal(expected, plain)
    base = load(config, dry_run=True).model
    with pytest.warns(AdapterWarning, match=rf"21 layers as another version.*{re.escape(old)}layers"):
        again = load_adapter(base, before)
    assert torch.equal(says(again), expected)


MODULES = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)


def foreign(weights: dict[str, Any]) -> dict[str, Any]:
    return named(r"model\.text_model", "model.decoder")(weights)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "half": (
        {"weights": without("lora_B")},
        r"of 42 weights 21 are missing \(such as model\.text_model\.layers\.0\.self_attn\.q_proj\.lora_B\.weight, ",
    ),
    "none in a layer": ({"weights": without("layers.1.")}, r"14 are missing \(such as model\.text_model\.layers\.1\."),
    "one lost": (
        {"weights": without("layers.2.mlp.up_proj.lora_A")},
        r"1 are missing \(model\.text_model\.layers\.2\.mlp\.up_proj\.lora_A\.weight\)",
    ),
    "other modules": (
        {"target_modules": ["v_proj"]},
        r"of 10 weights 4 are missing .*vision_model.* and 36 are unexpected",
    ),
    "another model": (
        {"weights": foreign},
        r"42 are missing .* and 42 are unexpected \(such as model\.decoder",
    ),
    "all of another model": (
        {"weights": foreign, "target_modules": [f"model.decoder.layers.0.{m}" for m in MODULES]},
        r"of 0 weights 42 are unexpected",
    ),
    "other rank": ({"r": 8}, r"42 of 42 weights have another shape, .*lora_A\.weight: found 4 x \d+, expected 8 x \d+"),
    "other width": (
        {"weights": lambda w: {k: v[:, 1:].contiguous() if "lora_A" in k else v for k, v in w.items()}},
        r"21 of 42 weights have another shape",
    ),
    "prompt tuning": ({"peft_type": "PROMPT_TUNING"}, r"found peft_type PROMPT_TUNING, expected LORA"),
    "no targets": ({"target_modules": []}, r"found no target_modules"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_adapter_that_does_not_fit_is_refused_with_the_names(
    fault: str, base: Loaded, sound: Path, tmp_path: Path
) -> None:
    """Before anything is put on the model, which goes on as it was: 3 layers of 7 modules with A and B are 42 weights,
    and two layers of the vision tower have a v_proj as well."""
    how, said = FAULTS[fault]
    folder, before = changed(sound, tmp_path / "bad", **how), says(base.model)
    for put in (with_adapter, lambda base, folder: with_adapter(base, folder, trainable=True)):
        with pytest.raises(ModelError, match=said):
            put(base, folder)
    assert torch.equal(says(base.model), before)
    assert not any("lora" in name for name, _ in base.model.named_modules())


def test_a_second_adapter_is_checked_like_the_first(sound: Path, tmp_path: Path) -> None:
    both = with_adapter(load(IDEFICS, dry_run=True), sound)
    expected = says(both.model)
    bad = changed(sound, tmp_path / "bad", weights=without("layers.1."))
    with pytest.raises(ModelError, match="14 are missing"):
        beside(both, bad, "second")
    beside(both, sound, "second")
    assert torch.equal(says(both.model), expected)
    assert both.model.active_adapters == ["default"]


def empty(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000])


def without_weights(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({}, folder / WEIGHTS)


def without_config(folder: Path) -> None:
    (folder / CONFIG).unlink()


def damaged(folder: Path) -> None:
    (folder / CONFIG).write_text("{")


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def a_model(folder: Path) -> None:
    without_config(folder)
    (folder / "config.json").write_text("{}")


def a_round(folder: Path) -> None:
    (folder / "adapter").mkdir()
    for name in (CONFIG, WEIGHTS):
        (folder / name).rename(folder / "adapter" / name)


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


def a_file(folder: Path) -> None:
    gone(folder)
    folder.write_text("x")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (empty, "found 0 bytes that are no whole safetensors file"),
        (cut, "bytes that are no whole safetensors file"),
        (without_weights, "found no weights in it"),
        (without_config, "found no adapter_config.json in"),
        (damaged, "damaged"),
        (pickled, "adapter_model.bin is a pickle, which is never opened"),
        (a_model, "is a whole model, expected an adapter; give it as the model"),
        (a_round, "did you mean .*bad/adapter"),
        (gone, "found no folder .*bad, expected an adapter's"),
        (a_file, "found the file .*bad, expected the folder of an adapter"),
    ],
)
def test_a_folder_that_is_no_adapter_is_named(
    spoil: Callable[[Path], None], said: str, base: Loaded, sound: Path, tmp_path: Path, no_network: list[str]
) -> None:
    """Before the model is loaded, which `load` shows by a model that is nowhere; and no hub is asked."""
    folder = tmp_path / "bad"
    shutil.copytree(sound, folder)
    spoil(folder)
    with pytest.raises(ModelError, match=said):
        with_adapter(base, folder)
    with pytest.raises(ModelError, match=said):
        load(replace(IDEFICS, path=str(tmp_path / "nowhere"), adapter=str(folder)))
    assert not no_network


def test_a_model_given_as_an_adapter_and_the_reverse(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is an adapter, expected a model; give it as the adapter \(--adapter"):
        load(ModelConfig(path=str(sound)))
