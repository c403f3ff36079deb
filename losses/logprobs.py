"""Two back ends for the log-probability of each target token, equal in value and gradient.

`from_logits` takes the logits. `from_hidden` takes the last hidden states and the head's weight and works
through the tokens in chunks, forward and backward, so that the T x V logits never exist: for 4,096 target
tokens and a vocabulary of 152,000 that is 2.5 GB in float32 that need not be kept.

The gradient that arrives in backward is different for every token, but it is one number per token, and with
d log p_t / d hidden_t = weight[target_t] - softmax_t @ weight it only scales a vector of width H. A frozen head
therefore computes that vector in the forward pass, while the chunk's logits are there, and nothing is computed
twice (Liger's kernels do so for one scalar for all tokens, which fits a mean of losses alone). A head that is
trained needs the logits again, so they are recomputed chunk by chunk in backward.

Shape suffixes: T target tokens, V vocabulary, H hidden width, C tokens of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from .pieces import widen

CHUNK_LOGITS = {"cpu": 2**26, "cuda": 2**27}
"""Logits of one chunk by device: few enough to be small beside all of them, enough for an efficient product."""


def from_logits(
    logits_TV: Tensor, target_T: Tensor, *, temperature: float = 1.0, softcap: float | None = None
) -> Tensor:
    """log softmax(logits)[target], shape T, in float32 or wider.

    `softcap` c replaces each logit z by c tanh(z / c) first (for heads whose model leaves that to the loss),
    `temperature` divides afterwards. Raises ValueError when shapes do not fit.
    """
    if logits_TV.ndim != 2 or target_T.shape != logits_TV.shape[:1]:
        raise ValueError(
            f"from_logits: found logits {tuple(logits_TV.shape)} and targets {tuple(target_T.shape)}, "
            "expected (T, V) and (T,)"
        )
    adjusted_TV = _adjust(widen(logits_TV), temperature, softcap)
    return adjusted_TV.gather(1, target_T[:, None])[:, 0] - adjusted_TV.logsumexp(dim=1)


def from_hidden(
    hidden_TH: Tensor,
    head_weight_VH: Tensor,
    target_T: Tensor,
    bias: Tensor | None = None,
    chunk: int | None = None,
    *,
    temperature: float = 1.0,
    softcap: float | None = None,
) -> Tensor:
    """The same from hidden states: logits = hidden @ weight.T + bias, `chunk` tokens at a time. Shape T.

    Without `chunk` it is as many tokens as make `CHUNK_LOGITS` logits.

    The product runs in the dtype of `hidden_TH`, or in autocast's where it is on, as the model's own head
    would. Gradients flow to the hidden states, and to weight and bias only where they require one (a frozen
    head costs no V x H buffer). First derivatives only. Raises ValueError when shapes do not fit or `chunk`
    < 1.
    """
    if hidden_TH.ndim != 2 or target_T.shape != hidden_TH.shape[:1]:
        raise ValueError(
            f"from_hidden: found hidden {tuple(hidden_TH.shape)} and targets {tuple(target_T.shape)}, "
            "expected (T, H) and (T,)"
        )
    if head_weight_VH.ndim != 2 or head_weight_VH.shape[1] != hidden_TH.shape[1]:
        raise ValueError(
            f"from_hidden: found head weight {tuple(head_weight_VH.shape)}, expected (V, {hidden_TH.shape[1]})"
        )
    kind = hidden_TH.device.type
    if chunk is None:
        chunk = max(1, CHUNK_LOGITS.get(kind, CHUNK_LOGITS["cuda"]) // max(1, head_weight_VH.shape[0]))
    if chunk < 1:
        raise ValueError(f"from_hidden: found chunk={chunk}, expected at least 1")
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_TH.dtype
    trained = head_weight_VH.requires_grad or (bias is not None and bias.requires_grad)
    if not trained:
        want = torch.is_grad_enabled() and hidden_TH.requires_grad
        settings = (chunk, temperature, softcap, dtype, want)
        result = _FrozenHeadLogprobs.apply(hidden_TH, head_weight_VH, bias, target_T, *settings)
        assert isinstance(result, Tensor)
        return result
    result = _ChunkedLogprobs.apply(hidden_TH, head_weight_VH, bias, target_T, chunk, temperature, softcap, dtype)
    assert isinstance(result, Tensor)
    return result


def entropy(logits_TV: Tensor, chunk: int = 1024) -> Tensor:
    """Entropy of softmax(logits) in nats, shape T, without gradient: a metric, not a loss."""
    with torch.no_grad():
        parts = []
        for logits_CV in logits_TV.detach().split(chunk):
            logp_CV = torch.log_softmax(widen(logits_CV), dim=1)
            parts.append(torch.special.entr(logp_CV.exp()).sum(dim=1))
        return torch.cat(parts) if parts else widen(logits_TV.new_zeros(0))


def _adjust(logits: Tensor, temperature: float, softcap: float | None) -> Tensor:
    if temperature <= 0 or (softcap is not None and softcap <= 0):
        raise ValueError(f"found temperature={temperature}, softcap={softcap}, expected both above 0")
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return logits if temperature == 1.0 else logits / temperature


class _FrozenHeadLogprobs(torch.autograd.Function):
    """Forward keeps d log p / d hidden, shape T H; backward scales its rows."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_TH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        target_T: Tensor,
        chunk: int,
        temperature: float,
        softcap: float | None,
        dtype: torch.dtype,
        want_gradient: bool,
    ) -> Tensor:
        out_T = widen(hidden_TH.new_empty(hidden_TH.shape[0]))
        slope_TH = torch.empty_like(hidden_TH, dtype=dtype) if want_gradient else None
        with torch.autocast(hidden_TH.device.type, enabled=False):
            weight = weight_VH.to(dtype)
            bias = None if bias_V is None else bias_V.to(dtype)
            for start in range(0, hidden_TH.shape[0], chunk):
                rows = slice(start, start + chunk)
                raw_CV = _head(hidden_TH[rows].to(dtype), weight, bias, 1.0, None)
                logits_CV = _adjust(raw_CV, temperature, softcap)
                picked_C1 = logits_CV.gather(1, target_T[rows, None])
                # In place, and each exponential once: the chunk is far larger than any cache.
                most_C1 = logits_CV.amax(dim=1, keepdim=True)
                keeps_raw = softcap is not None or logits_CV is not raw_CV
                powers_CV = (logits_CV.sub(most_C1) if keeps_raw else logits_CV.sub_(most_C1)).exp_()
                sum_C1 = powers_CV.sum(dim=1, keepdim=True)
                out_T[rows] = (picked_C1 - most_C1 - sum_C1.log())[:, 0]
                if slope_TH is not None:
                    slope_TH[rows] = _slope(powers_CV, sum_C1, raw_CV, target_T[rows], weight, temperature, softcap)
                del raw_CV, logits_CV, powers_CV  # or the next chunk would be made beside this one
        ctx.save_for_backward(slope_TH)
        ctx.dtype = hidden_TH.dtype
        return out_T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_T: Tensor) -> tuple[Tensor | None, ...]:
        (slope_TH,) = ctx.saved_tensors
        return (slope_TH * grad_T[:, None]).to(ctx.dtype), *(None,) * 8


def _slope(
    powers_CV: Tensor,
    sum_C1: Tensor,
    raw_CV: Tensor,
    target_C: Tensor,
    weight_VH: Tensor,
    temperature: float,
    softcap: float | None,
) -> Tensor:
    """d log p / d hidden of one chunk, shape C H, from exp(logits - max) and its sums. Writes into `powers_CV`."""
    dtype = weight_VH.dtype
    if softcap is None:
        mean_CH = powers_CV.to(dtype) @ weight_VH / sum_C1.to(dtype)
        return (weight_VH[target_C] - mean_CH) / temperature
    delta_CV = powers_CV.div_(sum_C1).neg_()
    delta_CV.scatter_add_(1, target_C[:, None], torch.ones_like(sum_C1))
    delta_CV *= (1 - torch.tanh(raw_CV / softcap) ** 2) / temperature
    return delta_CV.to(dtype) @ weight_VH


class _ChunkedLogprobs(torch.autograd.Function):
    """Forward keeps no logits; backward rebuilds one chunk of them at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_TH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        target_T: Tensor,
        chunk: int,
        temperature: float,
        softcap: float | None,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.settings = (chunk, temperature, softcap, dtype)
        ctx.save_for_backward(hidden_TH, weight_VH, bias_V, target_T)
        out_T = widen(hidden_TH.new_empty(hidden_TH.shape[0]))
        with torch.autocast(hidden_TH.device.type, enabled=False):
            weight = weight_VH.to(dtype)
            bias = None if bias_V is None else bias_V.to(dtype)
            for start in range(0, hidden_TH.shape[0], chunk):
                rows = slice(start, start + chunk)
                logits_CV = _head(hidden_TH[rows].to(dtype), weight, bias, temperature, softcap)
                picked_C = logits_CV.gather(1, target_T[rows, None])[:, 0]
                out_T[rows] = picked_C - logits_CV.logsumexp(dim=1)
                del logits_CV
        return out_T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_T: Tensor) -> tuple[Tensor | None, ...]:
        hidden_TH, weight_VH, bias_V, target_T = ctx.saved_tensors
        chunk, temperature, softcap, dtype = ctx.settings
        want_hidden, want_weight, want_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden_TH) if want_hidden else None
        # Sums over all chunks, so wider than the 16-bit parameters they end up in.
        grad_weight = widen(weight_VH.new_zeros((), dtype=dtype)).new_zeros(weight_VH.shape) if want_weight else None
        grad_bias = widen(bias_V.new_zeros((), dtype=dtype)).new_zeros(bias_V.shape) if want_bias else None
        with torch.autocast(hidden_TH.device.type, enabled=False):
            weight = weight_VH.to(dtype)
            bias = None if bias_V is None else bias_V.to(dtype)
            for start in range(0, hidden_TH.shape[0], chunk):
                rows = slice(start, start + chunk)
                hidden_CH = hidden_TH[rows].to(dtype)
                raw_CV = _head(hidden_CH, weight, bias, 1.0, None)
                delta_CV = _adjust(raw_CV, temperature, softcap).softmax(dim=1).neg_()
                delta_CV.scatter_add_(1, target_T[rows, None], torch.ones_like(delta_CV[:, :1]))
                delta_CV *= grad_T[rows, None] / temperature
                if softcap is not None:
                    delta_CV *= 1 - torch.tanh(raw_CV / softcap) ** 2
                if grad_bias is not None:
                    grad_bias += delta_CV.sum(dim=0)
                delta_CV = delta_CV.to(dtype)
                if grad_hidden is not None:
                    grad_hidden[rows] = (delta_CV @ weight).to(grad_hidden.dtype)
                if grad_weight is not None:
                    grad_weight += delta_CV.T @ hidden_CH
                del raw_CV, delta_CV
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight_VH.dtype),
            None if grad_bias is None or bias_V is None else grad_bias.to(bias_V.dtype),
            *(None,) * 5,
        )


def _head(
    hidden_CH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, temperature: float, softcap: float | None
) -> Tensor:
    return _adjust(widen(linear(hidden_CH, weight_VH, bias_V)), temperature, softcap)
