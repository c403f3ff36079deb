"""Attention of a trie in runs equals attention under its dense mask, on any trie."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r3v.training.layout import attention
from r3v.training.layout.attention import Runs, attach, runs_of, tree_attention
from r3v.training.layout.batching import tree_mask
from r3v.training.layout.trie import lay_out


def row(*sequences: list[int]) -> torch.Tensor:
    return torch.from_numpy(lay_out(list(sequences)).exit_L)


def batch(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def spans(runs: Runs, number: int = 0) -> list[tuple[int, int, int | list[int]]]:
    return [(r.start, r.end, r.past if isinstance(r.past, int) else r.past.tolist()) for r in runs.rows[number]]


def test_runs_by_hand() -> None:
    """1 2 3 5 | 4 6 | 7: prefix 1 2 with branches 3 and 4; 3 with leaves 5 and 6.

    Row 1 2 3 5 6 4: token 6 sees 1 2 3, which are the first of the row; token 4 sees 1 2.
    """
    runs = runs_of(row([1, 2, 3, 5], [1, 2, 3, 6], [1, 2, 4])[None], torch.float32)
    assert spans(runs) == [(0, 4, 0), (4, 5, 3), (5, 6, 2)]
    assert runs.rows[0][1].mask_SK is not None
    assert runs.rows[0][1].mask_SK.tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_ancestors_that_are_not_the_first_of_the_row() -> None:
    """1 2 | 3 4 5 | 6: the second branch's own leaves 5 and 6 share 1 3 4, and 2 lies between."""
    runs = runs_of(row([1, 2], [1, 3, 4, 5], [1, 3, 4, 6])[None], torch.float32)
    assert spans(runs) == [(0, 2, 0), (2, 5, 1), (5, 6, [0, 2, 3])]
    mask = runs.rows[0][1].mask_SK
    assert mask is not None
    assert mask.isfinite().int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def both_ways(exit_RL: torch.Tensor) -> list[list[torch.Tensor]]:
    """Outputs at real tokens and gradients of query, key, value: under the dense mask, and in runs."""
    generator = torch.Generator().manual_seed(5)
    R, L = exit_RL.shape
    inputs = [torch.randn(R, 2, L, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]
    weights = torch.randn(R, 2, L, 4, generator=generator, dtype=torch.float64)
    real = (exit_RL > 0)[:, None, :, None]
    query, key, value = inputs
    outputs = (
        torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=tree_mask(exit_RL)),
        tree_attention(query, key, value, runs_of(exit_RL, torch.float64)),
    )
    return [[out * real, *torch.autograd.grad((out * real * weights).sum(), inputs)] for out in outputs]


SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=6)


@given(st.lists(SEQUENCES, min_size=1, max_size=3))
@settings(max_examples=40)
def test_runs_equal_the_dense_mask_on_any_tries(tries) -> None:
    """Whatever the branches, in batches of rows of several lengths: outputs and all gradients."""
    for a, b in zip(*both_ways(batch([row(*sequences) for sequences in tries])), strict=True):
        torch.testing.assert_close(a, b)


def test_runs_of_all_lengths() -> None:
    """Runs of 1 to 70 tokens; ancestors that are not the first of a row are among them."""
    long = [
        row([1, 2, *range(100, 100 + n)], [1, 2, *range(200, 270)], [1, 2, 200, 201, 7, 8], [1, 9]) for n in (3, 40)
    ]
    for a, b in zip(*both_ways(batch(long)), strict=True):
        torch.testing.assert_close(a, b)


def test_short_rows_keep_the_dense_mask_and_long_ones_carry_runs(monkeypatch) -> None:
    monkeypatch.setattr("r3v.training.layout.attention.SPLIT_ABOVE", 3)
    short, long = row([1, 2, 3])[None], row([1, 2], [1, 3], [1, 4])[None]
    assert not hasattr(attach(tree_mask(short), short, torch.float32), "r3v_runs")
    carried = attach(tree_mask(long), long, torch.float32)
    assert hasattr(carried, "r3v_runs")
    assert not hasattr(carried.clone(), "r3v_runs"), "a copied mask must fall back to the dense computation"


@pytest.mark.parametrize("scaling", [None, 0.3])
def test_transformers_interface_takes_the_runs(scaling, monkeypatch) -> None:
    """Grouped heads (4 queries, 2 keys) through transformers' own entry: the same with and without the runs."""
    from types import SimpleNamespace

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    monkeypatch.setattr("r3v.training.layout.attention.SPLIT_ABOVE", 0)
    exits = batch([row([1, 2, 3, 4], [1, 2, 5, 6], [1, 7]), row([1, 2])])
    dense, split = tree_mask(exits), attach(tree_mask(exits), exits, torch.float32)
    calls: list[object] = []
    monkeypatch.setattr(attention, "tree_attention", lambda *a: calls.append(a[3]) or tree_attention(*a))
    query = torch.randn(2, 4, exits.shape[1], 8, generator=torch.Generator().manual_seed(0))
    key, value = query[:, :2] * 0.5, query[:, 2:] + 1
    module = SimpleNamespace(num_key_value_groups=2, is_causal=True)
    options = {"dropout": 0.0, "scaling": scaling}
    out = [ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, **options)[0] for mask in (split, dense)]
    assert len(calls) == 1
    real = exits > 0
    torch.testing.assert_close(out[0][real], out[1][real])
