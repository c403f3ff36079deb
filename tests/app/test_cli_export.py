"""Exporting geoworld-tiny with a random adapter: loads with plain transformers, says the same, and refuses to lie."""

from __future__ import annotations

import json
import stat
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from adapter_folders import written
from peft import LoraModel

from r3v.errors import ModelError
from r3v.policies.model.adapters.taught import AdapterWarning, read_taught
from r3v.policies.model.loading import load, lora_targets
from r3v.settings.config import Config, ModelConfig
from r3v.training import export as exporting
from r3v.training.export import export

TINY = ModelConfig(prompt_style="short", lora_r=4)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """An adapter whose B matrices are not zero, so that merging changes something."""
    folder = written(load(TINY), TINY, tmp_path_factory.mktemp("adapter") / "adapter", std=0.02)
    return Config(model=replace(TINY, adapter=str(folder)))


def test_the_merged_model_loads_plainly_and_says_the_same(config: Config, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    result = export(config, tmp_path / "merged")
    assert result.difference < 1e-3
    assert result.agree == 1.0
    assert result.positions > 100
    assert "lora_r: 4" in (tmp_path / "merged.config.yaml").read_text()
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", local_files_only=True)
    AutoProcessor.from_pretrained(tmp_path / "merged", local_files_only=True)
    base = load(TINY).model
    before = base.state_dict()
    changed = {
        name for name, weight in merged.state_dict().items() if not torch.equal(weight.float(), before[name].float())
    }
    assert changed == {f"{name}.weight" for name in lora_targets(base, "language")}


def test_bfloat16_is_written_as_such(config: Config, tmp_path: Path) -> None:
    result = export(Config(model=replace(config.model, dtype="bfloat16")), tmp_path / "merged")
    stored = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert result.dtype == stored.get("dtype", stored.get("torch_dtype")) == "bfloat16"
    assert result.agree > 0.9


def lost(model: Any, layer: str) -> Any:
    """A merge that leaves the adapter of some layers out."""
    for name, module in model.named_modules():
        if layer in name and hasattr(module, "lora_B"):
            module.lora_B["default"].weight.data.zero_()
    return MERGE(model, safe_merge=True)


MERGE = LoraModel.merge_and_unload


@pytest.mark.parametrize(("dtype", "layer"), [("float32", "layers.1."), ("bfloat16", "layers.1."), ("bfloat16", "")])
def test_a_merge_that_says_something_else_is_not_written(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, layer: str
) -> None:
    """One of three layers, or all of them, merged without their adapter."""
    monkeypatch.setattr(LoraModel, "merge_and_unload", lambda self, **_: lost(self, layer))
    with pytest.raises(ModelError, match=r"says something else .*nothing was written"):
        export(Config(model=replace(config.model, dtype=cast(Any, dtype))), tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_that_rounding_swallows_is_told(tmp_path: Path) -> None:
    """In bfloat16 a weight keeps eight bits: rounding changes as much as such an update."""
    folder = written(load(TINY), TINY, tmp_path / "adapter", std=3e-5)
    with pytest.warns(AdapterWarning, match=r"merging in bfloat16 rounds by .*may be lost in rounding"):
        export(Config(model=replace(TINY, adapter=str(folder), dtype="bfloat16")), tmp_path / "merged")


def test_a_trained_adapter_that_changes_nothing_is_refused(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in load: its layers are there and are never asked."""
    monkeypatch.setattr("peft.tuners.lora.layer.Linear.forward", lambda self, x, *a, **k: self.base_layer(x))
    with pytest.raises(ModelError, match=r"has been trained .* but no log-probability"):
        export(config, tmp_path / "merged")


def test_one_model_is_in_memory_at_a_time(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the merged model is loaded, no weight of the first one is left."""
    alive: list[list[str]] = []
    first: list[weakref.ref[torch.nn.Module]] = []

    def watched(model: ModelConfig) -> Any:
        alive.append([type(ref()).__name__ for ref in first if ref() is not None])
        made = load(model)
        first.extend(weakref.ref(module) for module in made.model.modules())
        return made

    monkeypatch.setattr("r3v.policies.model.loading.load", watched)
    export(config, tmp_path / "merged")
    assert alive == [[], []]


def test_the_merged_model_says_what_its_adapter_was_taught_with(tmp_path: Path) -> None:
    """And is refused with other limits of pixels, as the adapter is."""
    limited = replace(TINY, max_pixels=50176)
    folder = written(load(limited), limited, tmp_path / "adapter", std=0.02)
    export(Config(model=replace(limited, adapter=str(folder))), tmp_path / "merged")
    assert read_taught(tmp_path / "merged") == read_taught(folder)
    load(replace(limited, path=str(tmp_path / "merged")))
    with pytest.raises(ModelError, match=r"the merged model .*found model\.max_pixels null, expected 50176"):
        load(replace(TINY, path=str(tmp_path / "merged")))
    rights = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "merged").iterdir()}
    assert rights == {stat.S_IMODE((tmp_path / "merged.config.yaml").stat().st_mode)}


@pytest.mark.parametrize("broken", [float("nan"), float("-inf")])
def test_a_merge_that_overflowed_is_no_agreement(broken: float) -> None:
    """nan compares with nothing, so the largest difference would not see it."""
    good = torch.log_softmax(torch.tensor([[1.0, 2.0], [0.0, 3.0]]), dim=-1)
    bad = good.clone()
    bad[1, 1] = broken
    assert exporting._compare([good], [good]) == (0.0, 0.0, 1.0, 2)
    assert exporting._compare([good], [bad])[:2] == (float("inf"), float("inf"))
    assert exporting._compare([torch.full_like(good, broken)], [good])[0] == float("inf")


def test_one_unlucky_token_does_not_decide() -> None:
    """Of 100 likely values one is off by 0.5 nats: the quantile does not see it, the worst does; of 10 it would be."""
    good = torch.full((50, 2), 0.5).log()
    off = good.clone()
    off[7, 1] += 0.5
    assert exporting._compare([good], [off])[:2] == (0.0, 0.5)
    assert exporting._compare([good[5:10]], [off[5:10]])[:2] == (0.5, 0.5)


def test_no_adapter_and_foreign_folders_are_errors(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter to merge"):
        export(Config(model=TINY), tmp_path / "merged")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ModelError, match="found other files"):
        export(config, tmp_path)
