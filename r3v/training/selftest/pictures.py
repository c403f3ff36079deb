"""Does what is trained depend on the picture? Asked with the self-test: pictures are exchanged, and log-probabilities
must change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from r3v.errors import ModelError
from r3v.policies.sampling.pictures import UNSEEN
from r3v.training.forward import Path, token_logprobs
from r3v.training.layout.trie import Trie
from r3v.training.selftest.parity import Collate, still


def check_pictures(model: nn.Module, tries: Sequence[Trie], collate: Collate, path: Path) -> None:
    """Raise ModelError where the target tokens of the smallest trie with a picture are as likely with another one. The
    other is that of a neighbour with inputs of the same shapes, else the same in negative."""
    with_one = sorted((t for t in tries if t.images), key=lambda t: t.tokens)
    if not with_one:
        return
    trie = with_one[0]
    other = next((t for t in with_one[1:] if _can_stand_in(trie, t)), None)
    images = {k: -v if v.is_floating_point() else v for k, v in trie.images.items()} if other is None else other.images
    turned = replace(trie, images=images)
    with still(model), torch.no_grad():
        before, after = (token_logprobs(model, collate([t], path == "fused"), path) for t in (trie, turned))
    if torch.equal(before, after):
        what = (
            f"with another picture the {len(before)} target tokens of problem {trie.problem_id!r} have the same "
            "log-probabilities"
        )
        raise ModelError(UNSEEN.format(what=what))


def _can_stand_in(trie: Trie, other: Trie) -> bool:
    same = trie.images.keys() == other.images.keys() and all(
        _alike(trie.images[k], other.images[k]) for k in trie.images
    )
    return same and any(not torch.equal(trie.images[k], other.images[k]) for k in trie.images)


def _alike(a: Tensor, b: Tensor) -> bool:
    """Floating inputs (pixels) of one shape; others (grids, masks) are the same."""
    return a.shape == b.shape and (a.is_floating_point() or torch.equal(a, b))
