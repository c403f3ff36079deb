"""What an adapter on a 16-bit base computes while sampling is what it computes in training, bit by bit."""

from __future__ import annotations

import pytest
import torch
from tiny_models import NAMES

from r3v.policies.model.forward import sampling_mode
from r3v.policies.model.loading import add_lora, load
from r3v.settings.config import ModelConfig


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_adapters_compute_as_under_autocast(quantization: str) -> None:
    config = ModelConfig(path=NAMES["llava"], dtype="bfloat16", quantization=quantization, device="cpu", lora_r=8)  # pyright: ignore[reportArgumentType]
    model = add_lora(load(config, dry_run=True).model, config, 0)
    layer = next(m for m in model.modules() if hasattr(m, "lora_A"))
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
    before = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}
    assert {p.dtype for p in before.values()} == {torch.float32}
    x = torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        trained = layer(x)
    with torch.no_grad():
        apart = layer(x)
    with sampling_mode(model):
        assert torch.equal(layer(x), trained)
    assert not torch.equal(apart, trained)
    with pytest.raises(RuntimeError, match="stop"), sampling_mode(model):
        raise RuntimeError("stop")
    for name, weight in model.named_parameters():
        if name in before:
            assert weight.dtype == torch.float32
            assert torch.equal(weight, before[name])
