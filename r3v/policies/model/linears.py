"""Frozen linear layers of any model by `products`, where those are faster than torch's own.

T tokens, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from r3v.losses.products import library, product
from r3v.policies.model.exchange import as_own, exchange, put_back, stands_in


def quicken(model: Any) -> None:
    """Exchange the forward of the model's linear layers, until `restore`; nothing where torch's own is as fast."""
    if library() != "torch":
        exchange(model, _is_linear, _forward)


def restore(model: Any) -> None:
    """Put the layers' own forward back."""
    put_back(model, _forward)


@contextmanager
def quick_linears(model: Any) -> Iterator[None]:
    """`quicken` for a while; nested ones count as the outermost."""
    if any(is_quick(module) for module in model.modules()):
        yield
        return
    quicken(model)
    try:
        yield
    finally:
        restore(model)


def is_quick(module: Any) -> bool:
    """Whether the forward of this module was exchanged here."""
    return stands_in(module, _forward)


def _is_linear(module: Any) -> bool:
    return type(module) is nn.Linear and module.weight.device.type == "cpu" and module.weight.dtype == torch.float32


def _forward(layer: Any, x: Tensor) -> Tensor:
    weight, bias = layer.weight, layer.bias
    plain = x.dtype == weight.dtype == torch.float32 and x.device.type == weight.device.type == "cpu"
    if as_own() or not plain or torch.is_autocast_enabled("cpu") or x.ndim < 2:
        return type(layer).forward(layer, x)
    if torch.is_grad_enabled():
        if weight.requires_grad or (bias is not None and bias.requires_grad):
            return type(layer).forward(layer, x)
        if x.requires_grad:
            return _Frozen.apply(x, weight, bias)  # pyright: ignore[reportReturnType]
    return product(x.flatten(0, -2), weight, bias).view(*x.shape[:-1], len(weight))


class _Frozen(torch.autograd.Function):
    """x -> W x + b, with a gradient for x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight_OI)
        return product(x.flatten(0, -2), weight_OI, bias).view(*x.shape[:-1], len(weight_OI))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weight_OI,) = ctx.saved_tensors
        (grad,) = grads
        return product(grad.flatten(0, -2), weight_OI.t()).view(*grad.shape[:-1], weight_OI.shape[1]), None, None
