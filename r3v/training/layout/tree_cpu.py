"""Tree attention of a whole batch in a few calls of torch's CPU kernel, forward and backward.

`attention` goes row by row and run by run, which is many small products, each with slices and joins around it. Here a
batch is three kinds of work, whatever its tries look like:

    first   the first run of every row, causal, all rows at once
    past    every later token against the tokens that are an ancestor of some later token of its row, under a mask
    own     every later run to itself, causal, runs of like length together

`past` and `own` are two halves of one softmax and are merged by their log-sum-exps, which is exact. Backward, each
half is the kernel's own backward pass under the merged output and log-sum-exp: its probabilities are then those of the
whole softmax (Dao et al. 2022, arXiv 2205.14135, appendix B), so no gradient has to go through the merging.

Suffixes: R rows, L row length, N heads, D head width, F longest first run, Q most later tokens of a row, U most
ancestors of a row, M runs of a bucket, S their longest, X rows of a matrix of tokens (R L of them at first).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Span(Protocol):
    """A run: tokens [start, end) of a row and its ancestors, as indices or as a number of first tokens."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def past(self) -> int | Tensor: ...


@dataclass(frozen=True, eq=False)
class Plan:
    """Where everything is. Indices count tokens over all rows (row * L + place).

    first: F. valid_RF: whether a place is in its row's first run. later_X: token of each of the R Q places, of real
    and padding ones; real_X: which of these places are real; at_X: their tokens. past_X: tokens of the R U ancestors.
    bias_R1QU: additive. buckets: tokens of the runs, M S each. own_X: where each of the R Q places is among the tokens
    of all buckets laid end to end; place_X, the other way round; asked_X: 1 at tokens of buckets that are not padding.
    """

    first: int
    valid_RF: Tensor
    later_X: Tensor
    real_X: Tensor
    at_X: Tensor
    past_X: Tensor
    bias_R1QU: Tensor
    buckets: tuple[Tensor, ...]
    own_X: Tensor
    place_X: Tensor
    asked_X: Tensor


def plan_of(rows: Sequence[Sequence[Span]], length: int, dtype: torch.dtype) -> Plan:
    """The plan of a batch of padded length `length`, for queries of `dtype`. Every row has a run."""
    later = [row[1:] for row in rows]
    ancestors = [sorted(set().union(*(_ancestors(run) for run in row))) for row in later]
    places = max(1, *(sum(run.end - run.start for run in row) for row in later))
    columns = max(1, *map(len, ancestors))
    later_RQ, past_RU = [torch.arange(len(rows))[:, None].repeat(1, n) * length for n in (places, columns)]
    own_RQ = torch.zeros(len(rows), places, dtype=torch.long)
    seen_RQU = torch.zeros(len(rows), places, columns, dtype=torch.bool)
    # A softmax over nothing is no number, so padding sees something.
    seen_RQU[:, :, 0] = True
    real: list[int] = []
    sized: dict[int, list[tuple[int, int, Span]]] = {}
    for r, row in enumerate(later):
        past_RU[r, : len(ancestors[r])] += torch.tensor(ancestors[r], dtype=torch.long)
        column = {token: i for i, token in enumerate(ancestors[r])}
        at = 0
        for run in row:
            size = run.end - run.start
            later_RQ[r, at : at + size] += torch.arange(run.start, run.end)
            seen_RQU[r, at : at + size] = False
            seen_RQU[r, at : at + size, [column[a] for a in _ancestors(run)]] = True
            real += range(r * places + at, r * places + at + size)
            sized.setdefault(max(16, 1 << (size - 1).bit_length()), []).append((r, at, run))
            at += size
    buckets, begin = [], 0
    for _, some in sorted(sized.items()):
        most = max(run.end - run.start for _, _, run in some)
        tokens_MS = torch.zeros(len(some), most, dtype=torch.long)
        for m, (r, at, run) in enumerate(some):
            size = run.end - run.start
            # What is beyond a run's end comes after it, so no token of the run sees it.
            tokens_MS[m] = r * length + torch.arange(run.start, run.start + most).clamp(max=run.end - 1)
            own_RQ[r, at : at + size] = begin + m * most + torch.arange(size)
        buckets.append(tokens_MS)
        begin += tokens_MS.numel()
    bias = torch.zeros(seen_RQU.shape, dtype=dtype).masked_fill_(~seen_RQU, torch.finfo(dtype).min / 4)
    ends = torch.tensor([row[0].end for row in rows])
    real_X = torch.tensor(real, dtype=torch.long)
    in_buckets_X = own_RQ.view(-1)[real_X]
    first = int(ends.max())
    return Plan(
        first=first,
        valid_RF=torch.arange(first) < ends[:, None],
        later_X=later_RQ.view(-1),
        real_X=real_X,
        at_X=later_RQ.view(-1)[real_X],
        past_X=past_RU.view(-1),
        bias_R1QU=bias[:, None],
        buckets=tuple(buckets),
        own_X=own_RQ.view(-1),
        place_X=torch.zeros(begin, dtype=torch.long).index_copy_(0, in_buckets_X, real_X),
        asked_X=torch.zeros(begin, dtype=dtype).index_fill_(0, in_buckets_X, 1.0),
    )


def _ancestors(run: Span) -> list[int]:
    return list(range(run.past)) if isinstance(run.past, int) else run.past.tolist()


def planned_attention(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scale: float | None) -> Tensor:
    """Attention under the tree masks, [R, N, L, D] to the same; padding gets anything finite."""
    return _Planned.apply(query, key, value, plan, scale)  # pyright: ignore[reportReturnType]


class _Planned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: Plan, scale: float | None) -> Tensor:
        R, N, L, _ = query.shape
        whole = [_tokens(t) for t in (query, key, value)]
        first = [t[:, :, : plan.first] for t in (query, key, value)]
        out, lse = _flash(*first, 0.0, True, scale=scale)
        out_XE = out.new_zeros(R, L, N * out.shape[3])
        out_XE[:, : plan.first] = out.transpose(1, 2).flatten(2)
        out_XE = out_XE.view(R * L, -1)
        ctx.plan, ctx.scale, merged, merged_lse = plan, scale, None, None
        if plan.buckets:
            merged, merged_lse = _later(whole, plan, R, N, scale)
            out_XE.index_copy_(0, plan.at_X, merged.index_select(0, plan.real_X))
        ctx.save_for_backward(query, key, value, out, lse, merged, merged_lse)
        return out_XE.view(R, L, N, -1).transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, lse, merged, merged_lse = ctx.saved_tensors
        plan, scale, (grad,) = ctx.plan, ctx.scale, grads
        R, N, L, D = query.shape
        first = [t[:, :, : plan.first] for t in (query, key, value)]
        asked = grad[:, :, : plan.first] * plan.valid_RF[:, None, :, None]
        back = _flash_backward(asked, *first, out, lse, 0.0, True, scale=scale)
        found = [grad.new_zeros(R, L, N * D) for _ in back]
        for into, part in zip(found, back, strict=True):
            into[:, : plan.first] = part.transpose(1, 2).flatten(2)
        if plan.buckets:
            matrices = [into.view(R * L, N * D) for into in found]
            whole = [_tokens(t) for t in (query, key, value)]
            _later_backward(matrices, _tokens(grad), whole, merged, merged_lse, plan, R, N, scale)
        return *(into.view(R, L, N, D).transpose(1, 2) for into in found), None, None


def _tokens(t: Tensor) -> Tensor:
    """[R, N, L, D] as a matrix of tokens, X E with E = N D; models lay it out like that, so mostly a view."""
    return t.transpose(1, 2).reshape(t.shape[0] * t.shape[2], -1)


def _heads(matrix_XE: Tensor, index_X: Tensor, rows: int, heads: int) -> Tensor:
    """The tokens at `index_X` as [rows, N, tokens of a row, D]."""
    return _split(matrix_XE.index_select(0, index_X), rows, heads)


def _split(matrix_XE: Tensor, rows: int, heads: int) -> Tensor:
    return matrix_XE.view(rows, matrix_XE.shape[0] // rows, heads, -1).transpose(1, 2)


def _later(whole: Sequence[Tensor], plan: Plan, R: int, N: int, scale: float | None) -> tuple[Tensor, Tensor]:
    """Output (R Q) E and log-sum-exp (R Q) N of the later tokens."""
    Q = plan.later_X.numel() // R
    query = _heads(whole[0], plan.later_X, R, N)
    past, past_lse = _flash(
        query, *(_heads(t, plan.past_X, R, N) for t in whole[1:]), 0.0, False, attn_mask=plan.bias_R1QU, scale=scale
    )
    outs, lses = [], []
    for tokens_MS in plan.buckets:
        some = [_heads(t, tokens_MS.view(-1), tokens_MS.shape[0], N) for t in whole]
        own, own_lse = _flash(*some, 0.0, True, scale=scale)
        outs.append(_tokens(own))
        lses.append(_tokens(own_lse[..., None]))
    own, own_lse = (torch.cat(t).index_select(0, plan.own_X) for t in (outs, lses))
    past, past_lse = _tokens(past), _tokens(past_lse[..., None])
    weight_XN = torch.sigmoid(own_lse - past_lse).to(past.dtype)
    merged = torch.lerp(past.view(R * Q, N, -1), own.view(R * Q, N, -1), weight_XN[..., None])
    return merged.view(past.shape), torch.logaddexp(past_lse, own_lse)


def _later_backward(
    found: Sequence[Tensor],
    grad_XE: Tensor,
    whole: Sequence[Tensor],
    merged_XE: Tensor,
    lse_XN: Tensor,
    plan: Plan,
    R: int,
    N: int,
    scale: float | None,
) -> None:
    """Add the later tokens' gradients of query, key and value to `found`, matrices of all tokens."""
    grad_later = torch.zeros_like(merged_XE)
    grad_later.index_copy_(0, plan.real_X, grad_XE.index_select(0, plan.at_X))
    back = _flash_backward(
        _split(grad_later, R, N),
        _heads(whole[0], plan.later_X, R, N),
        *(_heads(t, plan.past_X, R, N) for t in whole[1:]),
        _split(merged_XE, R, N),
        _split(lse_XN, R, N)[..., 0],
        0.0,
        False,
        attn_mask=plan.bias_R1QU,
        scale=scale,
    )
    for into, part, index_X in zip(found, back, (plan.later_X, plan.past_X, plan.past_X), strict=True):
        into.index_add_(0, index_X, _tokens(part))
    sizes = [tokens.numel() for tokens in plan.buckets]
    for tokens_MS, at_X, asked_X in zip(
        plan.buckets, plan.place_X.split(sizes), plan.asked_X.split(sizes), strict=True
    ):
        runs = len(tokens_MS)
        parts = _flash_backward(
            _split(grad_later.index_select(0, at_X) * asked_X[:, None], runs, N),
            *(_heads(t, tokens_MS.view(-1), runs, N) for t in whole),
            _heads(merged_XE, at_X, runs, N),
            _heads(lse_XN, at_X, runs, N)[..., 0],
            0.0,
            True,
            scale=scale,
        )
        for into, part in zip(found, parts, strict=True):
            into.index_add_(0, tokens_MS.view(-1), _tokens(part))
