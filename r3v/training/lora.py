"""LoRA layers in fewer passes over memory, for the length of a fit.

peft computes W x, then B A x, scales that and adds the two: three passes over a tensor as wide as the output, and as
many backward. Where a pass costs more than its arithmetic (small models, long batches) that is a tenth of a fit and
more. In float32 the layer is computed here with W + s B A, made once for all tokens of the batch and once more on the
way back, so that nothing is kept for it; otherwise the low-rank product is added by the matrix product itself.

A layer that is anything but plain LoRA (several adapters, dropout, a variant, autocast, other dtypes) goes peft's way,
which is decided at each call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from r3v.losses.products import product
from r3v.policies.model.exchange import as_own, exchange, put_back

TOKENS_PER_RANK = 4
"""W + s B A is worth making from this many tokens for each rank."""


def quicken(model: Any) -> None:
    """Exchange the forward of the model's LoRA layers on linear layers, until `restore`."""
    exchange(model, _is_lora_linear, _forward)


def restore(model: Any) -> None:
    """Put peft's forward back."""
    put_back(model, _forward)


def _is_lora_linear(module: Any) -> bool:
    from peft.tuners.lora.layer import LoraLayer

    # Quantised layers have classes of their own; all of them are linear.
    return isinstance(module, LoraLayer) and type(module).__name__ in ("Linear", "Linear4bit", "Linear8bitLt")


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    name = None if args or kwargs or as_own() else plain_adapter(layer, x)
    if name is None:
        return type(layer).forward(layer, x, *args, **kwargs)
    base, down_RI, up_OR = layer.base_layer, layer.lora_A[name].weight, layer.lora_B[name].weight
    scale = float(layer.scaling[name])
    if _mergeable(base, x, down_RI.shape[0]):
        return _Merged.apply(x, base.weight, down_RI, up_OR, base.bias, scale)  # pyright: ignore[reportReturnType]
    out = base(x)
    if out.dtype != x.dtype:
        return (out + linear(linear(x, down_RI), up_OR) * scale).to(out.dtype)
    low_TR = linear(x, down_RI).flatten(0, -2)
    return torch.addmm(out.flatten(0, -2), low_TR, up_OR.t(), alpha=scale).view_as(out)


def plain_adapter(layer: Any, x: Tensor) -> str | None:
    """The one adapter of a layer that is plain LoRA at this call, else None."""
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return None
    name = layer.active_adapters[0]
    if name not in layer.lora_A or name in layer.lora_variant or torch.is_autocast_enabled(x.device.type):
        return None
    dropout, down, up = layer.lora_dropout[name], layer.lora_A[name], layer.lora_B[name]
    drops = layer.training and getattr(dropout, "p", 0.0) > 0
    if drops or down.bias is not None or up.bias is not None:
        return None
    return name if x.dtype == down.weight.dtype == up.weight.dtype else None


def _mergeable(base: Any, x: Tensor, rank: int) -> bool:
    """Whether W + s B A can stand for the layer: plain frozen float32 weights, where the sum loses nothing that
    computing apart would keep, and enough tokens."""
    if type(base) is not nn.Linear or base.weight.dtype != torch.float32 or x.dtype != torch.float32:
        return False
    frozen = not base.weight.requires_grad and (base.bias is None or not base.bias.requires_grad)
    return frozen and x.numel() // x.shape[-1] >= TOKENS_PER_RANK * rank


class _Merged(torch.autograd.Function):
    """x -> (W + s B A) x + b, with gradients for x, A and B. T tokens, I inputs, O outputs, R rank."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_OI: Tensor, down_RI: Tensor, up_OR: Tensor, bias: Tensor | None, scale: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight_OI, down_RI, up_OR)
        ctx.scale = scale
        whole_OI = torch.addmm(weight_OI, up_OR, down_RI, alpha=scale)
        return product(x.flatten(0, -2), whole_OI, bias).view(*x.shape[:-1], len(whole_OI))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_OI, down_RI, up_OR = ctx.saved_tensors
        (grad,) = grads
        grad_TO, x_TI = grad.flatten(0, -2), x.flatten(0, -2)
        back = None
        if ctx.needs_input_grad[0]:
            whole_OI = torch.addmm(weight_OI, up_OR, down_RI, alpha=ctx.scale)
            back = product(grad_TO, whole_OI.t()).view_as(x)
        down_RI, up_RO = low_rank_gradients(x_TI, grad_TO, down_RI, up_OR)
        return back, None, down_RI.mul_(ctx.scale), up_RO.mul_(ctx.scale).t(), None, None


def low_rank_gradients(x_TI: Tensor, grad_TO: Tensor, down_RI: Tensor, up_OR: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of A and of B transposed, R I and R O, without the adapter's scale."""
    asked_RT = product(grad_TO, up_OR.t()).t()
    low_RT = product(x_TI, down_RI).t()
    return product(asked_RT, x_TI.t()), product(low_RT, grad_TO.t())
