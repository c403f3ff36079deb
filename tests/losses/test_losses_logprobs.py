"""The two log-probability back ends: equal to each other, and the chunked one never builds the logits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from r3v.losses import entropy, from_hidden, from_logits

OPTIONS = [{}, {"temperature": 0.7}, {"softcap": 3.0}, {"softcap": 3.0, "temperature": 1.6}]


def example(n: int = 13, width: int = 6, vocabulary: int = 11, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(3)
    hidden_TH = torch.randn(n, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    weight_VH = torch.randn(vocabulary, width, generator=generator, dtype=torch.float64).to(dtype)
    bias_V = torch.randn(vocabulary, generator=generator, dtype=torch.float64).to(dtype)
    target_T = torch.randint(vocabulary, (n,), generator=generator)
    upstream_T = torch.randn(n, generator=generator, dtype=torch.float64)
    return hidden_TH, weight_VH.requires_grad_(), bias_V.requires_grad_(), target_T, upstream_T


def test_from_logits_by_hand() -> None:
    """Logits ln 1, ln 2, ln 1: probabilities 1/4, 1/2, 1/4. At temperature 1/2: squares, 1/6, 4/6, 1/6.

    Soft cap 1 turns logits (0, x) into (0, tanh x).
    """
    logits_TV = torch.tensor([[0.0, math.log(2), 0.0]] * 2)
    torch.testing.assert_close(from_logits(logits_TV, torch.tensor([1, 2])), torch.tensor([0.5, 0.25]).log())
    sharp = from_logits(logits_TV, torch.tensor([1, 2]), temperature=0.5)
    torch.testing.assert_close(sharp, torch.tensor([4 / 6, 1 / 6]).log())
    capped = from_logits(torch.tensor([[0.0, 5.0]]), torch.tensor([1]), softcap=1.0)
    expected = math.tanh(5) - math.log(1 + math.exp(math.tanh(5)))
    assert float(capped) == pytest.approx(expected)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("chunk", [1, 5, 13, 1024])
@pytest.mark.parametrize("with_bias", [False, True])
def test_from_hidden_equals_from_logits(options: dict[str, float], chunk: int, with_bias: bool) -> None:
    """Values and the gradients of hidden states, weight and bias, for an arbitrary gradient per token."""
    hidden, weight, bias, target, upstream = example()
    used = [hidden, weight, bias] if with_bias else [hidden, weight]
    plain = from_logits(torch.nn.functional.linear(*used), target, **options)
    chunked = from_hidden(hidden, weight, target, bias if with_bias else None, chunk, **options)
    torch.testing.assert_close(chunked, plain)
    expected = torch.autograd.grad((plain * upstream).sum(), used)
    found = torch.autograd.grad((chunked * upstream).sum(), used)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("chunk", [1, 5, None])
@pytest.mark.parametrize("with_bias", [False, True])
def test_frozen_head_computes_its_gradient_in_forward(
    options: dict[str, float], chunk: int | None, with_bias: bool
) -> None:
    """Values and the gradient of hidden states for an arbitrary gradient per token; none without gradients."""
    hidden, weight, bias, target, upstream = example()
    used = [weight.detach(), bias.detach() if with_bias else None]
    plain = from_logits(torch.nn.functional.linear(hidden, *used), target, **options)
    frozen = from_hidden(hidden, used[0], target, used[1], chunk, **options)
    torch.testing.assert_close(frozen, plain)
    (expected,) = torch.autograd.grad((plain * upstream).sum(), hidden)
    (found,) = torch.autograd.grad((frozen * upstream).sum(), hidden)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(from_hidden(hidden, used[0], target, used[1], chunk, **options), plain)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_frozen_head_in_lower_precisions(dtype: torch.dtype, tolerance: float) -> None:
    hidden, weight, _, target, upstream = example(n=50, width=16, vocabulary=40, dtype=dtype)
    plain = from_logits(hidden @ weight.detach().T, target)
    frozen = from_hidden(hidden, weight.detach(), target, chunk=7)
    torch.testing.assert_close(frozen, plain, atol=tolerance, rtol=tolerance)
    (expected,) = torch.autograd.grad((plain * upstream).sum(), hidden)
    (found,) = torch.autograd.grad((frozen * upstream).sum(), hidden)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, atol=tolerance * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("options", OPTIONS)
def test_gradcheck(options: dict[str, float]) -> None:
    hidden, weight, bias, target, _ = example(n=4, width=3, vocabulary=5)
    assert torch.autograd.gradcheck(lambda h, w, b: from_hidden(h, w, target, b, 2, **options), (hidden, weight, bias))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_lower_precisions(dtype: torch.dtype, tolerance: float) -> None:
    """float32 to 1e-5. bfloat16 (8 bits, so 1/256 relative per rounding) to 2 % of the largest gradient."""
    hidden, weight, _, target, upstream = example(n=50, width=16, vocabulary=40, dtype=dtype)
    plain = from_logits(hidden @ weight.T, target)
    chunked = from_hidden(hidden, weight, target, chunk=7)
    assert plain.dtype == chunked.dtype == torch.float32
    torch.testing.assert_close(chunked, plain, atol=tolerance, rtol=tolerance)
    expected = torch.autograd.grad((plain * upstream).sum(), [hidden, weight])
    found = torch.autograd.grad((chunked * upstream).sum(), [hidden, weight])
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        scale = float(b.abs().max())
        torch.testing.assert_close(a, b, atol=tolerance * scale, rtol=0)


def test_autocast_runs_the_head_in_the_autocast_dtype() -> None:
    """Under bfloat16 autocast the plain head multiplies in bfloat16; the chunked one must give the same
    numbers.
    """
    hidden, weight, _, target, upstream = example(n=20, width=16, vocabulary=30, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = from_logits(torch.nn.functional.linear(hidden, weight), target)
        chunked = from_hidden(hidden, weight, target, chunk=6)
    torch.testing.assert_close(chunked, plain)
    full = from_hidden(hidden, weight, target, chunk=6)
    assert not torch.equal(chunked, full), "autocast made no difference"
    expected = torch.autograd.grad((plain * upstream).sum(), [hidden, weight])
    found = torch.autograd.grad((chunked * upstream).sum(), [hidden, weight])
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, atol=2e-2 * float(b.abs().max()), rtol=0)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation returned in memory of its own (not a view of an
    argument).
    """

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        old = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor) and value.untyped_storage().data_ptr() not in old:
                self.largest = max(self.largest, value.numel())
        return result


def test_the_logits_never_exist() -> None:
    """T=64, V=500, H=4, chunk 8: nothing larger than 8 x 500, forward or backward; the plain way has 64 x
    500.
    """
    hidden, weight, _, target, _ = example(n=64, width=4, vocabulary=500, dtype=torch.float32)
    with LargestTensor() as chunked:
        from_hidden(hidden, weight, target, chunk=8).sum().backward()
    with LargestTensor() as plain:
        from_logits(hidden @ weight.T, target).sum().backward()
    assert chunked.largest == 8 * 500
    assert plain.largest == 64 * 500


def test_a_frozen_head_costs_no_gradient_buffer() -> None:
    """H=50 > chunk: a V x H buffer would be larger than any chunk of logits."""
    hidden, weight, _, target, _ = example(n=8, width=50, vocabulary=300, dtype=torch.float32)
    weight.requires_grad_(False)
    with LargestTensor() as frozen:
        from_hidden(hidden, weight, target, chunk=2).sum().backward()
    assert frozen.largest == 2 * 300
    assert hidden.grad is not None
    assert weight.grad is None


def test_no_tokens() -> None:
    hidden, weight, _, _, _ = example()
    empty = from_hidden(hidden[:0], weight, torch.zeros(0, dtype=torch.long))
    assert empty.shape == (0,)
    empty.sum().backward()
    assert hidden.grad is not None
    assert bool((hidden.grad == 0).all())


def test_entropy_by_hand() -> None:
    """Two equal logits: ln 2. One certain: 0. (1/4, 1/2, 1/4): 1.5 ln 2."""
    logits_TV = torch.tensor([[0.0, 0.0, -1e9], [0.0, -1e9, -1e9], [0.0, math.log(2), 0.0]])
    expected = torch.tensor([math.log(2), 0.0, 1.5 * math.log(2)])
    torch.testing.assert_close(entropy(logits_TV, chunk=2), expected)


def test_wrong_shapes_are_named() -> None:
    hidden, weight, _, target, _ = example()
    with pytest.raises(ValueError, match=r"hidden \(13, 6\) and targets \(12,\)"):
        from_hidden(hidden, weight, target[1:])
    with pytest.raises(ValueError, match=r"head weight \(6, 11\), expected \(V, 6\)"):
        from_hidden(hidden, weight.T, target)
    with pytest.raises(ValueError, match="chunk=0"):
        from_hidden(hidden, weight, target, chunk=0)
    with pytest.raises(ValueError, match=r"logits \(13, 6\) and targets \(12,\)"):
        from_logits(hidden, target[1:])
    with pytest.raises(ValueError, match="temperature=0"):
        from_logits(hidden, target, temperature=0.0)
