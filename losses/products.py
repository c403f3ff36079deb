"""Products of float32 matrices with weights on a CPU, by the faster of the two libraries that torch has for them.

torch multiplies float32 by MKL, which leaves the wide registers of processors that are not Intel's unused: an AMD EPYC
with AVX-512 does 130 GF/s at 48 rows and 210 at 500 on two cores. oneDNN, which torch takes for bfloat16 and which
`torch.compile` emits, does 440 and 500 there in the same precision when the weight has been put in its own order, 310
and 450 when not, and it adds, multiplies or gates what comes out at no further cost. So it is taken on such processors.
`R3V_PRODUCTS` may be set to `torch` or `onednn` to decide otherwise. The choice never depends on a measurement: a run
that is resumed on the same machine computes the same bits.

Nothing here has a backward pass; use it without gradients or inside functions that have their own.

Suffixes: X rows, K inputs, O outputs.
"""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

VARIABLE = "R3V_PRODUCTS"
LIBRARIES = ("torch", "onednn")

_CHOSEN: ContextVar[str | None] = ContextVar("r3v_products", default=None)


def library() -> str:
    """`torch` or `onednn`: which computes products here. Raises ValueError where the variable names no library, or
    one that this build of torch does not have."""
    return _CHOSEN.get() or _default()


@contextmanager
def using(name: str) -> Iterator[None]:
    """Products by this library; for comparisons. Weights that were packed before keep theirs."""
    if name not in LIBRARIES:
        raise ValueError(f"found products by {name!r}, expected one of {', '.join(LIBRARIES)}")
    token = _CHOSEN.set(name)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


@functools.cache
def _default() -> str:
    wanted = os.environ.get(VARIABLE, "auto")
    if wanted not in ("auto", *LIBRARIES):
        raise ValueError(f"found {VARIABLE}={wanted}, expected auto, {' or '.join(LIBRARIES)}")
    if wanted == "onednn" and not has_onednn():
        raise ValueError(f"found {VARIABLE}=onednn, expected auto or torch: this build of torch has no such products")
    if wanted == "auto":
        slow = torch.backends.mkl.is_available() and "AuthenticAMD" in _processor()
        return "onednn" if slow and has_onednn() else "torch"
    return wanted


def _processor() -> str:
    """What names the processor's maker."""
    described = Path("/proc/cpuinfo")
    return described.read_text() if described.exists() else platform.processor()


@functools.cache
@torch.inference_mode()
def has_onednn() -> bool:
    """Whether this build of torch has oneDNN's products, as they are called here, in full precision."""
    x, weight, bias, other = (torch.linspace(-1, 1, n * k).view(n, k) for n, k in ((3, 40), (24, 40), (1, 24), (3, 24)))
    expected = x.mm(weight.t())
    try:
        pairs = [
            (_pointwise(x, _reordered(weight), bias[0]), expected + bias),
            (_pointwise(x, weight.t().contiguous().t(), None, "swish"), silu(expected)),
            (_binary(x, weight, other, "add"), expected + other),
            (_binary(x, weight, other, "mul"), expected * other),
        ]
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return all(torch.allclose(found, wanted, rtol=1e-5, atol=1e-5) for found, wanted in pairs)


def _reordered(weight_OK: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight_OK)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, after: str = "none") -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(_dense(x), _dense(weight), bias, after, [], "")


def _binary(x: Tensor, weight: Tensor, other: Tensor, after: str, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.binary(_dense(x), other.contiguous(), _dense(weight), bias, after)


def _dense(matrix: Tensor) -> Tensor:
    """Without gaps, by rows or by columns: everything else is left to loops that take a hundred times as long."""
    if matrix.is_mkldnn or matrix.is_contiguous() or matrix.t().is_contiguous():
        return matrix
    return matrix.contiguous()


# ---- weights that change ----------------------------------------------------------------------------


def ordered(weight_OK: Tensor) -> Tensor:
    """The weight as products read it fastest, for several `product`s with it; of no use for anything else."""
    return _reordered(weight_OK) if _by_onednn(weight_OK, weight_OK) else weight_OK


def product(x_XK: Tensor, weight_OK: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """x W^T + b, shape X O; the weight may be `ordered`. Anything that is not float32 on a CPU is torch's."""
    if _by_onednn(x_XK, weight_OK):
        return _pointwise(x_XK, weight_OK, bias_O)
    return x_XK.mm(weight_OK.t()) if bias_O is None else torch.addmm(bias_O, x_XK, weight_OK.t())


def product_plus(x_XK: Tensor, weight_OK: Tensor, other_XO: Tensor) -> Tensor:
    """x W^T + other, shape X O; the weight may be `ordered`."""
    if _by_onednn(x_XK, weight_OK):
        return _binary(x_XK, weight_OK, other_XO, "add")
    return torch.addmm(other_XO, x_XK, weight_OK.t())


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    if weight.is_mkldnn:
        return True
    same = x.dtype == weight.dtype == torch.float32 and x.device.type == weight.device.type == "cpu"
    return same and x.numel() > 0 and library() == "onednn"


# ---- weights that stay ------------------------------------------------------------------------------


class Packed:
    """A copy of a frozen float32 weight O K, and of its bias, in the order in which products read it fastest."""

    def __init__(self, weight_OK: Tensor, bias_O: Tensor | None = None) -> None:
        self.inputs, self.outputs = int(weight_OK.shape[1]), int(weight_OK.shape[0])
        self.onednn = library() == "onednn"
        self.bias = None if bias_O is None else bias_O.clone()
        # By columns, products of few rows read it faster.
        self.weight: Any = _reordered(weight_OK) if self.onednn else weight_OK.t().contiguous()

    def __call__(self, x_XK: Tensor) -> Tensor:
        """x W^T + b, shape X O."""
        if self.onednn:
            return _pointwise(x_XK, self.weight, self.bias)
        return x_XK.mm(self.weight) if self.bias is None else torch.addmm(self.bias, x_XK, self.weight)

    def silu(self, x_XK: Tensor) -> Tensor:
        """silu(x W^T + b), shape X O."""
        if self.onednn:
            return _pointwise(x_XK, self.weight, self.bias, "swish")
        return silu(self(x_XK), inplace=True)

    def times(self, x_XK: Tensor, other_XO: Tensor) -> Tensor:
        """(x W^T + b) * other, shape X O."""
        if self.onednn:
            return _binary(x_XK, self.weight, other_XO, "mul", self.bias)
        return self(x_XK).mul_(other_XO)

    def plus(self, x_XK: Tensor, other_XO: Tensor) -> Tensor:
        """x W^T + b + other, shape X O; `other` may be overwritten."""
        if self.onednn:
            return _binary(x_XK, self.weight, other_XO, "add", self.bias)
        other_XO.addmm_(x_XK, self.weight)
        return other_XO if self.bias is None else other_XO.add_(self.bias)
