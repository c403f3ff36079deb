"""Attention of a trie in pieces, where one dense mask would compute every pair of tokens.

The first run of a row (its shared prefix and first branch) is plainly causal. Every further run of new tokens
attends to its ancestors and, causally, to itself. Runs follow from `exit` (see `trie`): a run ends where some
earlier token is last seen, and all tokens of a run have the same ancestors, however deep the trie. The pairs
computed are those the mask allows and the upper triangle of each later run.

The tree mask carries its runs with it as an attribute, and `scaled_dot_product_attention` of transformers is
wrapped once so that it looks for them. A mask that lost the attribute on its way is still the whole truth, so
the dense computation takes over with the same result; every other call passes through untouched.

Suffixes: R rows, L row length, S tokens of one run, A ancestors of a run, N heads, D head width.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

SPLIT_ABOVE = 256
"""Rows up to this long are computed under the dense mask: below, many small products cost more than they save."""
RUNS = "r3v_runs"
"""The attribute of a tree mask that holds its runs."""


@dataclass(frozen=True, eq=False)
class Run:
    """Tokens [start, end) of a row. past: indices of the ancestors, or their number when they are the row's first.

    mask_SK: True where token S of the run may see key K (ancestors, then the run); None for plain causal.
    """

    start: int
    end: int
    past: int | Tensor
    mask_SK: Tensor | None


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of every row of a batch of padded length `length`."""

    rows: tuple[tuple[Run, ...], ...]
    length: int
    dtype: torch.dtype


def runs_of(exit_RL: Tensor, dtype: torch.dtype) -> Runs:
    """The runs of each row; masks are additive in `dtype`, which saves their conversion in every layer."""
    rows = [_row_runs([int(e) for e in exit_L], exit_RL.device, dtype) for exit_L in exit_RL.cpu()]
    return Runs(tuple(rows), exit_RL.shape[1], dtype)


def _row_runs(exits: list[int], device: torch.device, dtype: torch.dtype) -> tuple[Run, ...]:
    ends = sorted({e for e in exits if e > 0})
    found: list[Run] = []
    start = 0
    for end in ends:
        ancestors = [j for j in range(start) if exits[j] > start]
        n, size = len(ancestors), end - start
        past: int | Tensor = n if ancestors == list(range(n)) else torch.tensor(ancestors, device=device)
        mask = None
        if n:
            mask = torch.full((size, n + size), float("-inf"), dtype=dtype, device=device).triu(n + 1)
        found.append(Run(start, end, past, mask))
        start = end
    return tuple(found)


def attach(mask: Tensor, exit_RL: Tensor, dtype: torch.dtype) -> Tensor:
    """The boolean tree mask with its runs on it, where splitting is worth it."""
    if exit_RL.shape[1] > SPLIT_ABOVE:
        _install()
        setattr(mask, RUNS, runs_of(exit_RL, dtype))
    return mask


@functools.cache
def _install() -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS["sdpa"] = functools.partial(_sdpa, ALL_ATTENTION_FUNCTIONS["sdpa"])


def _sdpa(
    dense: Any,
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' SDPA interface; [R, N, L, D] in, [R, L, N, D] out."""
    runs: Runs | None = getattr(attention_mask, RUNS, None)
    more = any(options.get(name) is not None for name in ("position_bias", "softcap", "cache"))
    if runs is None or more or not query.shape[2] == key.shape[2] == runs.length:
        return dense(module, query, key, value, attention_mask, **options)
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    dropout, scaling = options.get("dropout") or 0.0, options.get("scaling")
    out = tree_attention(query, key, value, runs, dropout, scaling)
    return out.transpose(1, 2).contiguous(), None


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, runs: Runs, dropout: float = 0.0, scaling: float | None = None
) -> Tensor:
    """Attention under the tree mask of `runs`, [R, N, L, D]; zero at padding, which nothing reads."""
    rows = zip(*(t.split(1) for t in (query, key, value)), runs.rows, strict=True)
    done = [_row_attention(q, k, v, row, dropout, scaling) for q, k, v, row in rows]
    return torch.cat([pad(out, (0, 0, 0, runs.length - out.shape[2])) for out in done])


def _row_attention(
    query: Tensor, key: Tensor, value: Tensor, row: tuple[Run, ...], dropout: float, scaling: float | None
) -> Tensor:
    sizes = [run.end - run.start for run in row]
    sizes.append(query.shape[2] - sum(sizes))
    # One split has one backward; a slice for each run would write a gradient of the whole row each time.
    parts = [t.split(sizes, 2)[: len(row)] for t in (query, key, value)]
    past: dict[int, tuple[Tensor, Tensor]] = {}
    out = []
    for run, q, k, v in zip(row, *parts, strict=True):
        if run.mask_SK is None:
            out.append(scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scaling))
            continue
        before = _past(run.past, parts[1][0], parts[2][0], key, value, past)
        k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        mask = run.mask_SK.to(q.dtype)
        out.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling))
    return torch.cat(out, 2)


def _past(
    past: int | Tensor, first_k: Tensor, first_v: Tensor, key: Tensor, value: Tensor, seen: dict[int, Any]
) -> tuple[Tensor, Tensor]:
    """Keys and values of the ancestors; the common prefix is cut out once for all its branches."""
    if isinstance(past, Tensor):
        return key.index_select(2, past), value.index_select(2, past)
    if past not in seen:
        whole = (first_k, first_v) if past <= first_k.shape[2] else (key, value)
        seen[past] = whole[0][:, :, :past], whole[1][:, :, :past]
    return seen[past]
