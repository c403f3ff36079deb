"""Several tries as one padded batch, fused (one row per trie) or unfused (one row per branch) with the same
loss.

Suffixes: R rows of the batch, L padded row length, T supervised target tokens, B branches, P preference
pairs, K kinds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from r3v.losses.contract import LossInputs
from r3v.training.layout.trie import Trie, TrieStats


class ImageCollator(Protocol):
    """Pixel inputs of several rows joined the model family's way: `Encoder.collate_images`."""

    def __call__(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Batch:
    """Everything one forward and loss need.

    ids_RL, positions (R L, or 3 R L for M-RoPE), exit_RL (attention, see `trie`; L_row for plain causal
    rows), length_R: tokens of each row before padding. source_T indexes the flattened R * L hidden states.
    group_B: trie of each branch. images: pixel inputs by argument name. tries: what this batch was made of,
    so that it can be collated again the other way. old_T, importance_T: see `Trie`. step_denominators_K:
    counted units of the whole optimiser step on this device, None when the batch is the whole step. stats:
    what became of the examples it was made from. aligned: token types by argument name, R L.
    """

    ids_RL: Tensor
    positions: Tensor
    exit_RL: Tensor
    length_R: Tensor
    source_T: Tensor
    target_T: Tensor
    branch_T: Tensor
    kind_B: Tensor
    weight_B: Tensor
    group_B: Tensor
    advantage_B: Tensor
    pair_P2: Tensor
    images: Mapping[str, Tensor]
    fused: bool
    tries: tuple[Trie, ...]
    step_denominators_K: Tensor | None = None
    stats: TrieStats = field(default_factory=TrieStats)
    old_T: Tensor | None = None
    importance_T: Tensor | None = None
    aligned: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def n_branches(self) -> int:
        return int(self.kind_B.shape[0])

    @property
    def n_tokens(self) -> int:
        """Real tokens that go through the model."""
        return int(self.length_R.sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device; `tries` stay where they are."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        named = {name: {k: v.to(device) for k, v in getattr(self, name).items()} for name in ("images", "aligned")}
        return replace(self, **moved, **named)

    def loss_inputs(
        self, logprobs_T: Tensor, reference_T: Tensor | None = None, old_T: Tensor | None = None
    ) -> LossInputs:
        """What a loss takes. Sampled tokens without a known log-probability count as drawn by this very policy."""
        if old_T is None and self.old_T is not None:
            old_T = torch.where(self.old_T.isnan(), logprobs_T.detach().to(self.old_T.dtype), self.old_T)
        return LossInputs(
            logprobs_T=logprobs_T,
            branch_T=self.branch_T,
            mask_T=torch.ones_like(self.branch_T, dtype=torch.bool),
            kind_B=self.kind_B,
            weight_B=self.weight_B,
            group_B=self.group_B,
            reference_T=reference_T,
            old_T=old_T,
            advantage_B=self.advantage_B,
            pair_P2=self.pair_P2,
            importance_T=self.importance_T,
        )


@dataclass(frozen=True)
class _Row:
    ids_L: Tensor
    positions: Tensor
    exit_L: Tensor
    images: Mapping[str, Tensor] = field(default_factory=dict)
    aligned: Mapping[str, Tensor] = field(default_factory=dict)


def _fused_rows(tries: Sequence[Trie]) -> tuple[list[_Row], list[Tensor], list[int]]:
    rows = [_Row(t.ids_L, t.positions, t.exit_L, t.images, t.aligned) for t in tries]
    return rows, [t.source_T for t in tries], list(range(len(tries)))


def _branch_rows(tries: Sequence[Trie]) -> tuple[list[_Row], list[Tensor], list[int]]:
    rows, sources, owner = [], [], []
    for trie in tries:
        for path, prompt in zip(trie.path_BL, trie.prompt_B, strict=True):
            n = int(path.shape[0])
            types = {name: values[path] for name, values in trie.aligned.items()}
            rows.append(_Row(trie.ids_L[path], trie.positions[..., path], torch.full((n,), n), trie.images, types))
            sources.append(torch.arange(prompt - 1, n - 1))
            owner.append(len(rows) - 1)
    return rows, sources, owner


def collate(
    tries: Sequence[Trie],
    *,
    fused: bool = True,
    pad_id: int = 0,
    collate_images: ImageCollator,
) -> Batch:
    """Tries to one right-padded batch. Branches keep the order of the tries, so both forms give the same
    loss.

    No tries (all branches of a step's share were too long) give a batch without rows, whose loss is zero.
    """
    rows, sources, owner = (_fused_rows if fused else _branch_rows)(tries)
    length = max((int(r.ids_L.shape[0]) for r in rows), default=0)
    lengths = [int(r.ids_L.shape[0]) for r in rows]

    def padded(values: list[Tensor], value: int) -> list[Tensor]:
        return [pad(v, (0, length - v.shape[-1]), value=value) for v in values]

    branches_before = [0]
    for trie in tries:
        branches_before.append(branches_before[-1] + trie.n_branches)
    empty = torch.zeros(0, dtype=torch.long)

    def joined(values: list[Tensor], like: Tensor = empty) -> Tensor:
        return torch.cat(values) if values else like

    mrope = any(r.positions.dim() == 2 for r in rows)
    positions = [r.positions.expand(3, -1) if mrope else r.positions for r in rows]
    ids_RL = torch.stack(padded([r.ids_L for r in rows], pad_id)) if rows else empty.reshape(0, 0)
    return Batch(
        ids_RL=ids_RL,
        positions=torch.stack(padded(positions, 0), dim=-2) if rows else ids_RL,
        exit_RL=torch.stack(padded([r.exit_L for r in rows], 0)) if rows else ids_RL,
        length_R=torch.tensor(lengths, dtype=torch.long),
        source_T=joined([s + row * length for s, row in zip(sources, owner, strict=True)]),
        target_T=joined([t.target_T for t in tries]),
        branch_T=joined([t.branch_T + b for t, b in zip(tries, branches_before, strict=False)]),
        kind_B=joined([t.kind_B for t in tries]),
        weight_B=joined([t.weight_B for t in tries], torch.zeros(0)),
        group_B=joined([torch.full((t.n_branches,), g) for g, t in enumerate(tries)]),
        advantage_B=joined([t.advantage_B for t in tries], torch.zeros(0)),
        pair_P2=joined([t.pair_P2 + b for t, b in zip(tries, branches_before, strict=False)], empty.reshape(0, 2)),
        images=collate_images([r.images for r in rows]),
        fused=fused,
        tries=tuple(tries),
        old_T=_optional([t.old_T for t in tries], tries, float("nan")),
        importance_T=_optional([t.importance_T for t in tries], tries, 1.0),
        aligned={
            name: torch.stack(padded([r.aligned.get(name, torch.zeros_like(r.ids_L)) for r in rows], 0))
            for name in dict.fromkeys(name for r in rows for name in r.aligned)
        },
    )


def _optional(values: Sequence[Tensor | None], tries: Sequence[Trie], missing: float) -> Tensor | None:
    """Per-token values of the tries end to end, `missing` for a trie that has none; None where no trie has any."""
    if all(v is None for v in values):
        return None
    return torch.cat(
        [torch.full(t.target_T.shape, missing) if v is None else v for v, t in zip(values, tries, strict=True)]
    )


def tree_mask(exit_RL: Tensor) -> Tensor:
    """Boolean [R, 1, L, L]: True where row token i may attend to column token j, that is `j <= i < exit[j]`.

    Padding (exit 0) attends to itself alone, so that no softmax is empty.
    """
    L = exit_RL.shape[1]
    index_L = torch.arange(L, device=exit_RL.device)
    causal_LL = index_L[:, None] >= index_L[None, :]
    mask_RLL = (index_L[None, :, None] < exit_RL[:, None, :]) & causal_LL
    mask_RLL |= torch.eye(L, dtype=torch.bool, device=exit_RL.device)
    return mask_RLL[:, None]


def padding_mask(batch: Batch) -> Tensor:
    """[R, L] of 0 and 1, as models expect it for plain rows."""
    index_L = torch.arange(batch.ids_RL.shape[1], device=batch.ids_RL.device)
    return (index_L[None] < batch.length_R[:, None]).long()


def counts(loss: Any, batch: Batch) -> Tensor:
    """Units this batch adds to each kind's denominator, shape K; the model is not needed for that."""
    from r3v.losses.reduce import denominators

    zeros_T = torch.zeros(batch.target_T.shape[0], device=batch.target_T.device)
    return denominators(loss(batch.loss_inputs(zeros_T, reference_T=zeros_T, old_T=zeros_T)))
