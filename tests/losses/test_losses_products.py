"""Products by either library of torch: the same numbers, whatever lies how in memory, and which one is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from r3v.losses import products
from r3v.losses.products import Packed, has_onednn, library, ordered, product, product_plus, using


@pytest.fixture(params=products.LIBRARIES)
def chosen(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "onednn" and not has_onednn():
        pytest.skip("this build of torch has no products by oneDNN")
    with using(request.param):
        yield request.param


def test_two_by_two_by_hand(chosen: str) -> None:
    """[1 2] times [3 4; 5 6] transposed: 1*3 + 2*4 = 11, 1*5 + 2*6 = 17."""
    x, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    bias, other = torch.tensor([100.0, 200.0]), torch.tensor([[0.5, -0.5]])
    assert product(x, weight).tolist() == [[11.0, 17.0]]
    assert product(x, weight, bias).tolist() == [[111.0, 217.0]]
    assert product(x, ordered(weight)).tolist() == [[11.0, 17.0]]
    assert product_plus(x, weight, other).tolist() == [[11.5, 16.5]]
    packed = Packed(weight, bias)
    assert packed(x).tolist() == [[111.0, 217.0]]
    assert packed.times(x, other.clone()).tolist() == [[55.5, -108.5]]
    assert packed.plus(x, other.clone()).tolist() == [[111.5, 216.5]]
    torch.testing.assert_close(packed.silu(-x / 100), torch.nn.functional.silu(torch.tensor([[99.89, 199.83]])))
    assert (packed.inputs, packed.outputs) == (2, 2)


@pytest.mark.parametrize("rows", [1, 5, 64, 300])
@pytest.mark.parametrize("layout", ["plain", "columns", "gaps", "every other row"])
def test_as_in_double_precision(chosen: str, rows: int, layout: str) -> None:
    generator = torch.Generator().manual_seed(rows)

    def laid_out(n: int, k: int) -> torch.Tensor:
        whole = torch.randn(n, k, generator=generator)
        if layout == "columns":
            return whole.t().contiguous().t()
        if layout == "gaps":
            return torch.cat([whole, whole], 1)[:, :k]
        return whole.repeat_interleave(2, 0)[::2] if layout == "every other row" else whole

    x, weight, other = laid_out(rows, 48), laid_out(33, 48), laid_out(rows, 33)
    bias = torch.randn(33, generator=generator)
    expected = x.double() @ weight.double().t()
    for found, wanted in (
        (product(x, weight), expected),
        (product(x, weight, bias), expected + bias),
        (product_plus(x, weight, other), expected + other),
        (product(x, ordered(weight), bias), expected + bias),
        (Packed(weight, bias)(x), expected + bias),
        (Packed(weight).times(x, other), expected * other),
    ):
        torch.testing.assert_close(found.double(), wanted, atol=2e-5, rtol=2e-5)
        assert found.is_contiguous()


def test_no_rows(chosen: str) -> None:
    weight = torch.ones(3, 2)
    assert product(torch.zeros(0, 2), weight, torch.ones(3)).shape == (0, 3)
    assert product_plus(torch.zeros(0, 2), weight, torch.zeros(0, 3)).shape == (0, 3)


def test_other_precisions_are_torch_s_own(chosen: str) -> None:
    x, weight = torch.ones(2, 4, dtype=torch.bfloat16), torch.ones(3, 4, dtype=torch.bfloat16)
    assert torch.equal(ordered(weight), weight)
    assert product(x, weight).dtype == torch.bfloat16
    assert product(x.double(), weight.double()).tolist() == [[4.0] * 3] * 2


def test_a_packed_weight_is_a_copy(chosen: str) -> None:
    weight, bias = torch.ones(2, 3), torch.ones(2)
    packed = Packed(weight, bias)
    weight.zero_()
    bias.zero_()
    assert packed(torch.ones(1, 3)).tolist() == [[4.0, 4.0]]


@pytest.mark.parametrize(
    ("processor", "mkl", "has", "expected"),
    [
        ("vendor_id : AuthenticAMD", True, True, "onednn"),
        ("vendor_id : GenuineIntel", True, True, "torch"),
        ("vendor_id : AuthenticAMD", False, True, "torch"),
        ("vendor_id : AuthenticAMD", True, False, "torch"),
    ],
)
def test_which_library(processor: str, mkl: bool, has: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(products.VARIABLE, raising=False)
    monkeypatch.setattr(products, "_processor", lambda: processor)
    monkeypatch.setattr(products, "has_onednn", lambda: has)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    assert products._default.__wrapped__() == expected


def test_a_library_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(products.VARIABLE, "torch")
    assert products._default.__wrapped__() == "torch"
    monkeypatch.setattr(products, "has_onednn", lambda: False)
    monkeypatch.setenv(products.VARIABLE, "onednn")
    with pytest.raises(ValueError, match="found R3V_PRODUCTS=onednn, expected auto or torch"):
        products._default.__wrapped__()
    monkeypatch.setenv(products.VARIABLE, "mkl")
    with pytest.raises(ValueError, match="found R3V_PRODUCTS=mkl, expected auto, torch or onednn"):
        products._default.__wrapped__()
    with pytest.raises(ValueError, match="found products by 'mkl'"), using("mkl"):
        pass
    with using("torch"):
        assert library() == "torch"


def test_a_library_that_computes_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_binary", lambda x, weight, other, after: x.mm(weight.t()))
    assert not has_onednn.__wrapped__()


def test_the_variable_is_read_where_the_process_starts() -> None:
    code = "from r3v.losses.products import library; print(library())"
    env = {**os.environ, products.VARIABLE: "torch"}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "torch"
