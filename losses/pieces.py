"""Small tensor pieces that several losses share: masking, sums over branches, and the check for missing
inputs.

Shape suffixes: T tokens, B branches, U units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .contract import KINDS, LossInputs, kind_index


def widen(x: Tensor) -> Tensor:
    """16-bit tensors as float32, others as they are: sums of log-probabilities do not fit in 16 bits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def kept(x: Tensor, mask: Tensor) -> Tensor:
    """`x` where the mask is True, exactly zero elsewhere, in value and gradient, whatever `x` holds there."""
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))


def branch_sums(values_T: Tensor, branch_T: Tensor, n_branches: int) -> Tensor:
    """Sum of the tokens of each branch, shape B."""
    return values_T.new_zeros(n_branches).index_add(0, branch_T, values_T)


def kind_table(weights: dict[str, float], default: float, like: Tensor) -> Tensor:
    """A weight for each of KINDS, shape K, on the device and in the dtype of `like`. Unknown names raise
    ValueError.
    """
    table = torch.full((len(KINDS),), default, dtype=like.dtype, device=like.device)
    for name, weight in weights.items():
        table[kind_index(name)] = weight
    return table


def need(value: Tensor | None, field: str, loss: str) -> Tensor:
    """`value`, or a ValueError that names the field of LossInputs this loss cannot do without."""
    if value is None:
        raise ValueError(f"loss {loss!r}: found {field}=None, expected a tensor; fill LossInputs.{field}")
    return value


def check_inputs(inputs: LossInputs) -> None:
    """Raise ValueError when per-token or per-branch tensors disagree in length."""
    n_tokens, n_branches = inputs.logprobs_T.shape[0], inputs.n_branches
    for field, expected in (
        ("branch_T", n_tokens),
        ("mask_T", n_tokens),
        ("reference_T", n_tokens),
        ("old_T", n_tokens),
        ("importance_T", n_tokens),
        ("weight_B", n_branches),
        ("group_B", n_branches),
        ("advantage_B", n_branches),
    ):
        value: Tensor | None = getattr(inputs, field)
        if value is not None and tuple(value.shape) != (expected,):
            raise ValueError(f"LossInputs.{field}: found shape {tuple(value.shape)}, expected ({expected},)")
    if inputs.mask_T.dtype != torch.bool:
        raise ValueError(f"LossInputs.mask_T: found dtype {inputs.mask_T.dtype}, expected torch.bool")
