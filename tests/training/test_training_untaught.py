"""Adapters that learn nothing are named; trained ones that change nothing are refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import CONFIG, TRAIN, fresh, train

from r3v.errors import ModelError
from r3v.policies.model.adapters.files import load_adapter, save_adapter
from r3v.policies.model.adapters.speaks import check_speaks
from r3v.policies.model.adapters.taught import Taught
from r3v.policies.model.loading import add_lora
from r3v.training.module import R3VModule

# Lightning's loader asks torch's pytree in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")


def test_layers_without_a_gradient_are_named_after_two_steps(caplog: pytest.LogCaptureFixture) -> None:
    """One projection is cut off the graph: it alone is named, once."""
    module: Any = R3VModule(fresh(), TRAIN, config=CONFIG)
    cut = next(m for n, m in module.model.named_modules() if n.endswith("text_model.layers.1.self_attn.v_proj"))
    cut.lora_dropout["default"] = Cut()
    with caplog.at_level(logging.WARNING, logger="r3v.training.selftest.untaught"):
        train(module)
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1
    assert "1 adapted layers have no gradient after two steps" in told[0]
    assert "layers.1.self_attn.v_proj." in told[0]


class Cut(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0


def test_nothing_is_said_where_all_learn(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="r3v.training.selftest.untaught"):
        train(R3VModule(fresh(), TRAIN, config=CONFIG))
    assert not caplog.records


def test_a_trained_adapter_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    """Fresh: may change nothing. Taught: is loaded. Taught, but its layers are not those that answer: refused."""
    model: Any = add_lora(fresh().model, CONFIG, 0)
    save_adapter(model, tmp_path / "fresh", Taught())
    load_adapter(fresh().model, tmp_path / "fresh")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    save_adapter(model, tmp_path / "taught", Taught())
    loaded = load_adapter(fresh().model, tmp_path / "taught")
    for layer in loaded.modules():
        if hasattr(layer, "lora_A"):
            layer.scaling["default"] = 0.0
    with pytest.raises(ModelError, match="no log-probability of 6 tokens changes"):
        check_speaks(loaded, "x")
