"""Tries cut into parts: between tries first, then a trie between its branches. The parts' losses add up to the whole's.

A loss is a sum over branches and preference pairs, divided by numbers that are counted over the whole step. So branches
may go apart, the two of a pair may not. What the parts of a trie have in common is computed once for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from r3v.training.layout.trie import Trie


def in_batches(tries: Sequence[Trie], cap: int) -> Iterator[list[Trie]]:
    """Neighbouring tries in batches of at most `cap` padded tokens, at least one in each."""
    batch: list[Trie] = []
    for trie in tries:
        longest = max(t.tokens for t in (*batch, trie))
        if batch and longest * (len(batch) + 1) > cap:
            yield batch
            batch = []
        batch.append(trie)
    if batch:
        yield batch


def halved(tries: Sequence[Trie]) -> tuple[list[Trie], list[Trie]] | None:
    """Two parts of about equally many tokens; None where one branch or pair is all there is."""
    if len(tries) > 1:
        at = _middle([t.tokens for t in tries])
        return list(tries[:at]), list(tries[at:])
    units = [unit for trie in tries for unit in together(trie)]
    if len(units) < 2:
        return None
    trie = tries[0]
    at = _middle([sum(len(trie.path_BL[b]) - trie.prompt_B[b] for b in unit) for unit in units])
    first, second = ([b for unit in some for b in unit] for some in (units[:at], units[at:]))
    return [some_of(trie, first)], [some_of(trie, second)]


def _middle(sizes: Sequence[int]) -> int:
    """How many of the first make up about half, at least one and not all."""
    return min(range(1, len(sizes)), key=lambda i: abs(2 * sum(sizes[:i]) - sum(sizes)), default=1)


def together(trie: Trie) -> list[list[int]]:
    """Branches that must stay in one pass, as their pairs join them, in the order in which they lie in the row."""
    group = list(range(trie.n_branches))
    for chosen, rejected in trie.pair_P2.tolist():
        low, high = sorted((group[chosen], group[rejected]))
        group = [low if g == high else g for g in group]
    ends = [int(path[-1]) for path in trie.path_BL]
    units: dict[int, list[int]] = {}
    for branch in sorted(range(trie.n_branches), key=lambda b: ends[b]):
        units.setdefault(group[branch], []).append(branch)
    return list(units.values())


def some_of(trie: Trie, branches: Sequence[int]) -> Trie:
    """The trie with these branches alone, in the order of `trie`, and the pairs whose two branches are among them."""
    kept_B = sorted(branches)
    row = torch.cat([trie.path_BL[b] for b in kept_B]).unique()  # sorted
    at = torch.full((trie.tokens,), -1)
    at[row] = torch.arange(len(row))
    number = torch.full((trie.n_branches,), -1)
    number[torch.tensor(kept_B)] = torch.arange(len(kept_B))
    of_T = number[trie.branch_T] >= 0
    pair_P2 = number[trie.pair_P2]
    chosen = torch.tensor(kept_B)
    return replace(
        trie,
        ids_L=trie.ids_L[row],
        positions=trie.positions[..., row],
        # Between a token and its exit lie its descendants alone, so those of them that stay are counted.
        exit_L=torch.searchsorted(row, trie.exit_L[row]),
        source_T=at[trie.source_T[of_T]],
        target_T=trie.target_T[of_T],
        branch_T=number[trie.branch_T[of_T]],
        kind_B=trie.kind_B[chosen],
        weight_B=trie.weight_B[chosen],
        advantage_B=trie.advantage_B[chosen],
        pair_P2=pair_P2[(pair_P2 >= 0).all(1)],
        path_BL=tuple(at[trie.path_BL[b]] for b in kept_B),
        prompt_B=tuple(trie.prompt_B[b] for b in kept_B),
        aligned={name: values[row] for name, values in trie.aligned.items()},
        old_T=None if trie.old_T is None else trie.old_T[of_T],
        importance_T=None if trie.importance_T is None else trie.importance_T[of_T],
    )
