"""Frozen linear layers by the faster products: the model's own numbers and gradients, and what goes its own way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from r3v.losses.products import has_onednn, using
from tiny_models import tiny
from torch import nn

from r3v.policies.model import linears
from r3v.policies.model.exchange import own_layers
from r3v.policies.model.linears import is_quick, quick_linears, quicken, restore
from r3v.policies.sampling.decoder import why_no_decoder
from r3v.policies.sampling.hf import HFPolicy

pytestmark = pytest.mark.skipif(not has_onednn(), reason="this build of torch has no products by oneDNN")


@pytest.fixture(autouse=True)
def by_onednn() -> Iterator[None]:
    with using("onednn"):
        yield


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what was computed here."""
    seen: list[tuple[int, ...]] = []
    product = linears.product

    def noting(x: torch.Tensor, *args: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.shape))
        return product(x, *args)

    monkeypatch.setattr(linears, "product", noting)
    return seen


def frozen(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 4, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradient_are_the_layer_s_own(bias: bool, calls: list[tuple[int, ...]]) -> None:
    layer = frozen(bias)
    x = torch.randn(2, 3, 6, requires_grad=True)
    weights = torch.randn(2, 3, 4)
    expected = layer(x)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), x)
    quicken(layer)
    found = layer(x)
    (grad,) = torch.autograd.grad((found * weights).sum(), x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grad, wanted)
    assert calls == [(6, 6), (6, 4)]
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
    assert len(calls) == 3
    restore(layer)
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("what", ["trained", "autocast", "bfloat16", "a vector", "as its own"])
def test_what_is_not_plain_goes_its_own_way(what: str, calls: list[tuple[int, ...]]) -> None:
    layer, x = frozen(), torch.randn(6) if what == "a vector" else torch.randn(3, 6)
    if what == "trained":
        layer.bias.requires_grad_(True)
    if what == "bfloat16":
        layer, x = layer.to(torch.bfloat16), x.to(torch.bfloat16)
    quicken(layer)
    assert is_quick(layer) == (what != "bfloat16")
    with torch.autocast("cpu", enabled=what == "autocast"):
        if what == "as its own":
            with own_layers():
                found = layer(x)
        else:
            found = layer(x)
    assert calls == []
    if what == "trained":
        found.sum().backward()
        assert layer.bias.grad is not None
        assert layer.bias.grad.tolist() == [3.0] * 4


def test_no_tokens() -> None:
    layer = frozen()
    with quick_linears(layer):
        assert layer(torch.zeros(2, 0, 6)).shape == (2, 0, 4)


def test_nothing_is_exchanged_where_torch_is_as_fast() -> None:
    layer = frozen()
    with using("torch"), quick_linears(layer):
        assert not is_quick(layer)


def test_the_outermost_puts_back() -> None:
    layer = frozen()
    with quick_linears(layer):
        with quick_linears(layer):
            assert is_quick(layer)
        assert is_quick(layer)
    assert not is_quick(layer)


def test_hooks_of_others_are_left_alone() -> None:
    layer = frozen()
    layer.forward = lambda input: input
    with quick_linears(layer):
        assert not is_quick(layer)
    assert "forward" in vars(layer)


def test_a_policy_samples_by_them_and_puts_them_back(calls: list[tuple[int, ...]]) -> None:
    """The vision tower by these, the language model by the decoder, which does not take them for hooks."""
    from some_prompts import some_prompts

    from r3v.policies.base import SamplingParams

    policy = HFPolicy(tiny("idefics3"), slots=2)
    policy.generate(some_prompts()[:1], 1, SamplingParams(max_new_tokens=2))
    assert policy._decoder is not None
    assert calls
    assert not any("forward" in vars(m) for m in policy.model.modules())
    quicken(policy.model)
    assert why_no_decoder(policy.model.eval()) is None
