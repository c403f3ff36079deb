"""LoRA layers of a fit compute what peft's do, with the same gradients, and step aside where they are not plain."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from r3v.training.lora import TOKENS_PER_RANK, quicken, restore

RANK = 2


def lora_layer(dtype: torch.dtype = torch.float32, **options: Any) -> tuple[nn.Module, Any]:
    """A peft model of one linear layer 5 -> 3 whose adapter is not zero, and the layer."""
    torch.manual_seed(3)
    model: Any = get_peft_model(
        nn.Sequential(nn.Linear(5, 3)), LoraConfig(r=RANK, lora_alpha=6, target_modules=["0"], **options)
    )
    layer = model.base_model.model[0]
    nn.init.normal_(layer.lora_B["default"].weight)
    return model.to(dtype), layer


def outcome(model: nn.Module, layer: Any, tokens: int) -> list[torch.Tensor]:
    """Output, and gradients of the input and of both halves of the adapter."""
    torch.manual_seed(4)
    x = torch.randn(2, tokens, 5, dtype=layer.lora_A["default"].weight.dtype, requires_grad=True)
    out = layer(x)
    weights = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
    return [out.detach(), *torch.autograd.grad((out * torch.arange(3.0).to(out)).sum(), [x, *weights])]


@pytest.mark.parametrize("tokens", [1, TOKENS_PER_RANK * RANK])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_output_and_gradients_are_pefts(tokens: int, dtype: torch.dtype, within: float) -> None:
    """Few tokens take the added product, many in float32 the merged weight."""
    model, layer = lora_layer(dtype)
    expected = outcome(model, layer, tokens)
    quicken(model)
    found = outcome(model, layer, tokens)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=within, atol=within * float(b.abs().max()))


def test_by_hand() -> None:
    """W = 1, B A = 2 * 3 and scale 6 / 2 = 3: (1 + 18) x + b; the gradient of A is scale * B * x."""
    model, layer = lora_layer()
    with torch.no_grad():
        layer.base_layer.weight.zero_()[0, 0] = 1.0
        layer.base_layer.bias.fill_(0.5)
        layer.lora_A["default"].weight.zero_()[0, 0] = 3.0
        layer.lora_B["default"].weight.zero_()[0, 0] = 2.0
    quicken(model)
    x = torch.tensor([[1.0, 0, 0, 0, 0]]).expand(TOKENS_PER_RANK * RANK, 5)
    out = layer(x)
    assert out[0].tolist() == [19.5, 0.5, 0.5]
    (down,) = torch.autograd.grad(out[0, 0], [layer.lora_A["default"].weight])
    assert down[0].tolist() == [6.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("what", ["dropout", "dora", "disabled", "merged", "autocast"])
def test_what_is_not_plain_goes_pefts_way(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"dropout": {"lora_dropout": 0.5}, "dora": {"use_dora": True}}.get(what, {})
    model, layer = lora_layer(**options)
    if what == "merged":
        model.merge_adapter()  # pyright: ignore[reportCallIssue]
    asked = []
    plain = type(layer).forward
    monkeypatch.setattr(type(layer), "forward", lambda self, x: asked.append(x) or plain(self, x))
    quicken(model.train())
    x = torch.randn(TOKENS_PER_RANK * RANK, 5)
    if what == "disabled":
        with model.disable_adapter():  # pyright: ignore[reportCallIssue]
            assert torch.equal(layer(x), layer.base_layer(x))
    else:
        with torch.autocast("cpu", enabled=what == "autocast"):
            layer(x)
    assert len(asked) == 1


def test_restored_layers_are_pefts_and_hooks_of_others_stay() -> None:
    model, layer = lora_layer()
    quicken(model)
    restore(model)
    assert "forward" not in vars(layer)
    layer.forward = others = type(layer).forward.__get__(layer)
    quicken(model)
    restore(model)
    assert layer.forward is others
