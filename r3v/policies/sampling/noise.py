"""The noise of samples: one uniform number for each (seed, problem, sample, position).

It comes from a counter-based generator, so a candidate never depends on what else is in the batch, on how many slots
there are, or on what was sampled before.

Arithmetic sampling (Vilnis et al. 2023, arXiv:2210.15458) spreads the samples of one prompt out. Every sequence owns a
part of [0, 1) as long as it is likely, and a sample is the sequence that owns its code: its first number picks the
first token, the place inside that token's share the second token, and so on. Here the code of sample i is a shift of
the whole problem plus the radical inverse of i (0, 1/2, 1/4, 3/4, 1/8, ...): uniform by itself, far from the codes of
the other samples, and the same whatever their number. After CODE_BITS of a code are spent, when no two samples have
been on the same path for long, the sample's own numbers take over, so that rounding decides nothing.

Suffixes: S slots, M positions, T positions of one sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from r3v.policies.sampling.draw import Drawn

CODE_BITS = 10.0
"""Information taken from a code. A difference between two computations of the same logits grows twofold with each bit,
from some 1e-7; samples spread over a prompt, up to some hundred, differ within fewer bits."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


def noise_key(seed: int, problem_id: str, index: int) -> int:
    """64 bits that stand for one sample of one problem."""
    digest = hashlib.sha256(f"{seed}\0{problem_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def uniforms(key: int, n: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for positions 0 .. n - 1, float64, shape T.

    SplitMix64 (Steele, Lea and Flood 2014) evaluated at counter key + (position + 1) * golden ratio; 53 bits
    are kept.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (np.arange(1, n + 1, dtype=np.uint64)) * _GOLDEN
        for shift, factor in _MIX:
            z = (z ^ (z >> shift)) * factor
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def code(seed: int, problem_id: str, index: int) -> float:
    """The code of sample `index` of a problem, in [0, 1)."""
    shift = float(uniforms(noise_key(seed, problem_id, -1), 1)[0])
    return (shift + radical_inverse(index)) % 1.0


def radical_inverse(index: int) -> float:
    """The binary digits of `index` mirrored at the point (van der Corput 1935): 0, 0.5, 0.25, 0.75, 0.125, ..."""
    value, place = 0.0, 0.5
    while index:
        value += place * (index & 1)
        index, place = index >> 1, place / 2
    return value


class SlotNoise:
    """The numbers of what is decoded in each slot, `positions` of them."""

    def __init__(self, slots: int, positions: int, device: torch.device) -> None:
        self.device = device
        self.numbers_SM = torch.zeros(slots, positions, dtype=torch.float64, device=device)
        # Information still to be taken from the code; none where samples are independent.
        self.left_S = torch.zeros(slots, dtype=torch.float64, device=device)
        self.coded = False

    def begin(self, rows: Tensor, keys: Sequence[int], codes: Sequence[float | None]) -> None:
        """New samples in these slots, by their noise keys and, for arithmetic sampling, their codes."""
        numbers = np.stack([uniforms(key, self.numbers_SM.shape[1]) for key in keys])
        for row, value in zip(numbers, codes, strict=True):
            if value is not None:
                row[0] = value
        left = [0.0 if value is None else CODE_BITS for value in codes]
        self.coded = self.coded or any(left)
        self.numbers_SM[rows] = torch.from_numpy(numbers).to(self.device)
        self.left_S[rows] = torch.tensor(left, dtype=torch.float64, device=self.device)

    def at(self, rows: Tensor, position: Tensor) -> Tensor:
        """The number of each of these slots at its position."""
        return self.numbers_SM[rows, position]

    def spend(self, rows: Tensor, position: Tensor, drawn: Drawn) -> None:
        """What the numbers at `position` had left after a draw becomes the next number, as long as a code lasts."""
        if not self.coded:
            return
        left = self.left_S[rows] + drawn.share_S.log2()
        self.left_S[rows] = left
        after = (position + 1).clamp(max=self.numbers_SM.shape[1] - 1)
        own = self.numbers_SM[rows, after]
        self.numbers_SM[rows, after] = torch.where((left > 0) & (after > position), drawn.rest_S, own)

    def keep(self, at: Tensor) -> None:
        """Only these slots remain, renumbered from 0."""
        self.numbers_SM, self.left_S = self.numbers_SM.index_select(0, at), self.left_S.index_select(0, at)
