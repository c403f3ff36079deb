"""Attention over keys and values that several rows share: the prompt is stored and read once, not once per sample.

A transformers model is called with its attention function exchanged for `attend`. Each row then sees its own keys
(those it was called with, and those of its memory), and before them its ancestors: blocks of keys and values that
belong to a whole group of rows. The rows of a group are one batched product with the block; the parts are merged
by their log-sum-exps, which is exact (Juravsky et al. 2024, arXiv 2402.05099; cascade inference in FlashInfer).

A model can take this way when its attention goes through transformers' table of attention functions and is the
plain scaled product over everything before a token. `why_not_shared` finds out by asking the model both ways; sums
over scores are taken in float32 (`attention_math`).

Suffixes: N layers, R rows, G blocks, K rows of a block, H key-value heads, J query heads of one of them, P block
length, T new tokens, C own columns, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from r3v.errors import EngineError
from r3v.policies.model.calls import bias_of
from r3v.policies.sampling.attention_math import attention

FEW = 8
"""On a CPU batched products are faster than torch's attention kernel for up to so many queries of a head and block:
0.24 against 0.35 ms for one query each of 48 blocks of 120 columns, 0.5 against 0.9 for three, no difference from
sixteen on."""
NAME = "r3v_shared"
"""The name of `attend` in transformers' table."""
# Arguments that change what attention computes; plain models pass None.
_UNKNOWN = ("softcap", "s_aux", "sliding_window", "position_bias", "head_mask")


@dataclass(frozen=True)
class Blocks:
    """Blocks of keys and values of about one length (N G H P D), and the rows that see them.

    bias_GP is 0 at a block's columns and very negative elsewhere (None: all count). rows_GK lists the rows of each
    block, filled up with any row.
    """

    keys: Tensor
    values: Tensor
    bias_GP: Tensor | None
    rows_GK: Tensor


@dataclass(frozen=True)
class Ancestor:
    """What each row sees one block of. at_R is the place of each row in the rows_GK of all parts, counted part
    first, then G.
    """

    parts: tuple[Blocks, ...]
    at_R: Tensor


Spans = Sequence[tuple[int, int, int]]
"""(a, b, c): rows [a, b) need none of the first c own columns. All rows in order; empty: they may need all."""


@dataclass(frozen=True)
class _Call:
    ancestors: Sequence[Ancestor]
    bias_R1TC: Tensor | None
    spans: Spans = ()


_CALL: ContextVar[_Call | None] = ContextVar("r3v_shared_call", default=None)


def ancestor(
    parts: Sequence[tuple[Tensor, Tensor, Sequence[tuple[int, int]]]], block_R: Sequence[int | None]
) -> Ancestor:
    """An `Ancestor` of parts (keys, values, for each block the columns from a to before b that are valid), with the
    block that each row sees, counted through the parts. Rows without one (None) see what another row asked for.
    """
    rows_G: list[list[int]] = [[] for _, _, spans in parts for _ in spans]
    for row, block in enumerate(block_R):
        if block is not None:
            rows_G[block].append(row)
    made: list[Blocks] = []
    at_R = [0] * len(block_R)
    first = begin = 0
    for keys, values, spans in parts:
        some = rows_G[first : first + len(spans)]
        first += len(spans)
        most = max(map(len, some))
        if not most:  # nobody here asks for it, and kernels divide by the number of rows
            continue
        for g, rows in enumerate(some):
            for k, row in enumerate(rows):
                at_R[row] = begin + g * most + k
        rows_GK = torch.tensor([rows + [0] * (most - len(rows)) for rows in some], device=keys.device)
        made.append(Blocks(keys, values, _span_bias(spans, keys), rows_GK))
        begin += len(spans) * most
    return Ancestor(tuple(made), torch.tensor(at_R, device=parts[0][0].device))


def _span_bias(spans: Sequence[tuple[int, int]], keys: Tensor) -> Tensor | None:
    """G P: `bias_of` the columns inside the spans; None where they are all columns."""
    columns = int(keys.shape[3])
    if all(span == (0, columns) for span in spans):
        return None
    bounds = torch.tensor(list(spans), device=keys.device)
    column_P = torch.arange(columns, device=keys.device)
    return bias_of((column_P >= bounds[:, :1]) & (column_P < bounds[:, 1:]), keys.dtype)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query R (H J) T D, own keys R H C D -> R T (H J) D."""
    call = _CALL.get()
    odd = [name for name in _UNKNOWN if kwargs.get(name) is not None]
    if call is None or attention_mask is not None or odd:
        raise EngineError(f"{type(module).__name__} attends in a way that shared keys cannot express {odd}")
    rows, heads, new, width = query.shape
    scale = width**-0.5 if scaling is None else scaling
    if new == 1:
        groups = int(key.shape[1])
        joined = query.reshape(rows, groups, heads // groups, width)
        out = attend_step(joined, key, value, call.ancestors, call.bias_R1TC, call.spans, module.layer_idx, scale)
        return out.view(rows, 1, heads, width), None
    if key.shape[2] != new or call.bias_R1TC is not None:
        raise EngineError(
            f"found {new} new tokens on {key.shape[2]} own columns, expected rows without a past of their own"
        )
    out = attend_rows(query, key, value, call.ancestors, module.layer_idx, scale)
    return out.transpose(1, 2).contiguous(), None


def attend_step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    ancestors: Sequence[Ancestor],
    bias_R1TC: Tensor | None,
    spans: Spans,
    layer: int,
    scale: float,
) -> Tensor:
    """Attention of one new token of each row, query R H J D, to its own columns R H C D and before them its
    ancestors; R H J D.
    """
    out, lse = _own_columns(query, key, value, bias_R1TC, scale, spans)
    return _merged(query, out, lse, ancestors, layer, scale)


def attend_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    ancestors: Sequence[Ancestor],
    layer: int,
    scale: float,
    bias: Tensor | None = None,
) -> Tensor:
    """Attention of several new tokens of each row, query R (H J) T D, to themselves in causal order (and under a
    bias that broadcasts to R (H J) T T) and before them to the ancestors; R (H J) T D.
    """
    rows, heads, new, width = query.shape
    groups = int(key.shape[1])
    joined = (rows, groups, (heads // groups) * new, width)
    if heads != groups:
        key, value = (t.repeat_interleave(heads // groups, dim=1) for t in (key, value))
    out, lse = attention(query, key, value, bias, scale, causal=True)
    if not ancestors:
        return out
    # The query heads of one key head are further rows of its product with an ancestor.
    merged = _merged(query.reshape(joined), out.reshape(joined), lse.reshape(joined[:-1]), ancestors, layer, scale)
    return merged.view(rows, heads, new, width)


def _merged(
    query_RHXD: Tensor, out: Tensor, lse: Tensor, ancestors: Sequence[Ancestor], layer: int, scale: float
) -> Tensor:
    """Attention to a row's own columns (`out`, with its log-sum-exps) and to all ancestors."""
    for left, block in enumerate(ancestors, 1 - len(ancestors)):
        more, more_lse = _ancestor(query_RHXD, block, layer, scale)
        weight = torch.sigmoid(more_lse - lse).unsqueeze(-1)
        # In float32: a weight near 1 has but eight bits in bfloat16.
        out = torch.lerp(out.float(), more.float(), weight.float())
        if left:
            lse = torch.logaddexp(lse, more_lse)
    return out.to(query_RHXD.dtype)


def _own_columns(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, spans: Spans
) -> tuple[Tensor, Tensor]:
    """Attention of rows that began at different columns, without what lies before them."""
    if query.device.type == "cpu" and query.dtype == torch.float32:
        return _few(query, key, value, bias, scale, spans)
    return attention(query, key, value, bias, scale)


def _few(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, spans: Spans = ()
) -> tuple[Tensor, Tensor]:
    """The same by batched products; see FEW."""
    rows, heads, x, width = query.shape
    columns = int(key.shape[2])
    asked = (query * scale).reshape(rows * heads, x, width)
    keys, values = key.flatten(0, 1), value.flatten(0, 1)
    # A bias may come for every head already, so that it is not spread out in every layer.
    masks = None if bias is None else bias.expand(rows, heads, 1, columns).reshape(rows * heads, 1, columns)
    if len(spans) < 2:
        turned = keys.transpose(1, 2)
        scores = torch.bmm(asked, turned) if masks is None else torch.baddbmm(masks, asked, turned)
    else:
        scores = asked.new_full((rows * heads, x, columns), torch.finfo(query.dtype).min / 4)
        for a, b, first in spans:
            some = slice(a * heads, b * heads)
            turned = keys[some, first:].transpose(1, 2)
            scores[some, :, first:] = (
                torch.bmm(asked[some], turned)
                if masks is None
                else torch.baddbmm(masks[some, :, first:], asked[some], turned)
            )
    most = scores.amax(-1, keepdim=True)
    weights = scores.sub_(most).exp_()
    total = weights.sum(-1, keepdim=True)
    if len(spans) < 2:
        out = torch.bmm(weights, values)
    else:
        out = torch.empty_like(asked)
        for a, b, first in spans:
            some = slice(a * heads, b * heads)
            torch.bmm(weights[some, :, first:], values[some, first:], out=out[some])
    lse = most.add_(total.log())
    return out.div_(total).view(query.shape), lse.view(query.shape[:-1])


def _ancestor(query: Tensor, block: Ancestor, layer: int, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of each row to the block it belongs to; query R H X D -> R H X D and R H X."""
    found = [_blocks(query, part, part.keys[layer], part.values[layer], scale) for part in block.parts]
    out, lse = (some[0] if len(some) == 1 else torch.cat(some) for some in zip(*found, strict=True))
    # Results lie by row, query and head, as torch's CPU kernel leaves them, so only the choice copies.
    out, lse = (t.index_select(0, block.at_R).transpose(1, 2) for t in (out, lse))
    return out, lse


def _blocks(query: Tensor, part: Blocks, keys: Tensor, values: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of the rows of a part, block by block; keys G H P D -> (G K) X H D and (G K) X H."""
    _, heads, x, width = query.shape
    g, k = part.rows_GK.shape
    asked = query.index_select(0, part.rows_GK.view(-1)).view(g, k, heads, x, width)
    bias = None if part.bias_GP is None else part.bias_GP[:, None, None, :]
    joined = asked.transpose(1, 2).reshape(g, heads, k * x, width)
    few = k * x <= FEW and query.device.type == "cpu" and query.dtype == torch.float32
    out, lse = (_few if few else attention)(joined, keys, values, bias, scale)
    return out.transpose(1, 2).reshape(g * k, x, heads, width), lse.transpose(1, 2).reshape(g * k, x, heads)


class SharedCalls:
    """Calls a model with `attend` in place of its own attention function."""

    def __init__(self, model: Any) -> None:
        self.model = model
        found = {id(m.config): m.config for m in model.modules() if hasattr(m, "layer_idx") and hasattr(m, "config")}
        self._configs = list(found.values())
        ALL_ATTENTION_FUNCTIONS.register(NAME, attend)

    def __call__(
        self,
        ancestors: Sequence[Ancestor],
        bias_R1TC: Tensor | None = None,
        spans: Spans = (),
        *,
        logits_to_keep: int | None = None,
        **inputs: Any,
    ) -> Tensor:
        """Logits R T V of rows that see `ancestors` before what `inputs` (ids, positions, memory) hold. `spans`: own
        columns that need not be read; they must be masked by the bias."""
        if logits_to_keep is not None:
            inputs["logits_to_keep"] = logits_to_keep
        with self._exchanged(_Call(ancestors, bias_R1TC, spans)):
            return self.model(**inputs, attention_mask=None).logits

    @contextmanager
    def _exchanged(self, call: _Call) -> Iterator[None]:
        before = [config._attn_implementation for config in self._configs]
        token = _CALL.set(call)
        try:
            for config in self._configs:
                config._attn_implementation = NAME
            yield
        finally:
            _CALL.reset(token)
            for config, name in zip(self._configs, before, strict=True):
                config._attn_implementation = name
