"""Two back ends for the log-probability of each target token, equal in value and gradient.

`from_logits` takes the logits. `from_hidden` takes the last hidden states and the head's weight and works
through the tokens in chunks, forward and backward, so that the T x V logits never exist: for 4,096 target
tokens and a vocabulary of 152,000 that is 2.5 GB in float32 that need not be kept. It recomputes each
chunk's logits in backward, because the gradient that arrives is different for every token (fused kernels
that compute gradients in the forward pass, Liger's among them, need one scalar for all tokens, so they fit
a mean of losses and not log-probabilities).

Shape suffixes: T target tokens, V vocabulary, H hidden width, C tokens of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .pieces import widen


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
    chunk: int = 1024,
    *,
    temperature: float = 1.0,
    softcap: float | None = None,
) -> Tensor:
    """The same from hidden states: logits = hidden @ weight.T + bias, `chunk` tokens at a time. Shape T.

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
    if chunk < 1:
        raise ValueError(f"from_hidden: found chunk={chunk}, expected at least 1")
    kind = hidden_TH.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_TH.dtype
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
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight_VH.dtype),
            None if grad_bias is None or bias_V is None else grad_bias.to(bias_V.dtype),
            *(None,) * 5,
        )


def _head(
    hidden_CH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, temperature: float, softcap: float | None
) -> Tensor:
    return _adjust(widen(torch.nn.functional.linear(hidden_CH, weight_VH, bias_V)), temperature, softcap)
