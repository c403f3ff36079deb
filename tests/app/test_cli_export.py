"""Exporting geoworld-tiny with a random adapter: loads with plain transformers, says the same, and refuses to lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from r3v.errors import ModelError
from r3v.policies.model.adapters.files import save_adapter
from r3v.policies.model.adapters.taught import taught_with
from r3v.policies.model.loading import add_lora, load, lora_targets
from r3v.settings.config import Config, ModelConfig
from r3v.training import export as exporting
from r3v.training.export import export

TINY = ModelConfig(prompt_style="short", lora_r=4)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """An adapter whose B matrices are not zero, so that merging changes something."""
    loaded = load(TINY)
    model = add_lora(loaded.model, TINY, seed=0)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.02 * torch.randn(weight.shape, generator=generator))
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    save_adapter(model, folder, taught_with(loaded))
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


def test_a_merge_that_says_something_else_is_not_written(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(exporting.TOLERANCE, "float32", -1.0)
    with pytest.raises(ModelError, match="nothing was written"):
        export(config, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", [float("nan"), float("-inf")])
def test_a_merge_that_overflowed_is_no_agreement(broken: float) -> None:
    """nan compares with nothing, so the largest difference would not see it."""
    good = torch.log_softmax(torch.tensor([[1.0, 2.0], [0.0, 3.0]]), dim=-1)
    bad = good.clone()
    bad[1, 1] = broken
    assert exporting._compare(Path("out"), "float16", [good], [good]).difference == 0.0
    assert exporting._compare(Path("out"), "float16", [good], [bad]).difference == float("inf")
    assert exporting._compare(Path("out"), "float16", [torch.full_like(good, broken)], [good]).difference == float(
        "inf"
    )


def test_no_adapter_and_foreign_folders_are_errors(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter to merge"):
        export(Config(model=TINY), tmp_path / "merged")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ModelError, match="found other files"):
        export(config, tmp_path)
