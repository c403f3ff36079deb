"""Do two ways to compute the same log-probabilities agree? Judged token by token against measured noise.

A mean hides errors of opposite sign, and a fixed tolerance is either blind or cries wolf: in 16 bit two equally good
computations differ by some hundredths of a nat at a token, in float32 by a millionth. So the noise is measured: the
plain way is computed twice, in batches that differ and with embeddings rounded differently (`jittered`: kernels may
round alike in two batches, and what a model makes of a last bit depends on the model), and the fast way may differ
from it by a few times that.

Two questions are asked. Is every stretch of tokens near (a wrong mask or position moves all tokens of a branch)? The
tenth of a stretch that differs most is left out, because a router that picks another expert moves a single token by a
nat, in the plain way too. And are there few far tokens (a lost picture moves the few tokens that tell what is in it)?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r3v.policies.model.structure import base_model

STRETCH = 32
"""Tokens of one stretch at least; short branches are joined, a long one stands alone."""
TOKENS = 300
"""Target tokens below which a comparison in 16 bit says little: 6 of 300 are the share of far tokens allowed."""
FACTOR = 4.0
"""Times the noise that a stretch may differ by, on average over its tokens."""
FAR = 0.02
"""Share of tokens that may differ by more than FACTOR times the largest noise."""
FLOOR = {"full": 2e-5, "half": 2.0**-6}
"""Nats of noise assumed at least, for float32 and for 16-bit (or quantised) arithmetic: logits of 10 to 30 are rounded
to 1e-6 and to 1/32 to 1/8, though the same kernel may round alike in two batches."""
FAR_FLOOR = 4.0
"""The largest noise assumed, in FLOOR."""


@dataclass(frozen=True)
class Agreement:
    """tokens: how many were compared. worst: the largest difference. stretch, allowed: mean difference of the stretch
    that comes off worst, and what its noise allows. far, far_allowed: tokens beyond `limit`."""

    tokens: int
    worst: float
    stretch: float
    allowed: float
    far: int
    far_allowed: int
    limit: float

    @property
    def ok(self) -> bool:
        return self.stretch <= self.allowed and self.far <= self.far_allowed

    def describe(self) -> str:
        return (
            f"{self.tokens} tokens compared: a stretch differs by {self.stretch:.2g} nats a token where noise allows "
            f"{self.allowed:.2g}, {self.far} tokens by more than {self.limit:.2g} ({self.far_allowed} allowed), one by "
            f"{self.worst:.2g}"
        )


def agreement(fast: Sequence[Tensor], plain: Sequence[Tensor], again: Sequence[Tensor], *, half: bool) -> Agreement:
    """Log-probabilities of each branch computed the fast way, the plain way, and the plain way in another batch.

    A number that is not finite agrees with nothing. Raises ValueError where lengths differ or nothing is there.
    """
    sizes = [len(b) for b in plain]
    if [len(b) for b in fast] != sizes or [len(b) for b in again] != sizes or not sum(sizes):
        raise ValueError(f"found {list(map(len, fast))} and {list(map(len, again))} tokens, expected {sizes}, not none")
    plain_T, fast_T, again_T = (torch.cat([b.detach().float().cpu() for b in way]) for way in (plain, fast, again))
    error_T = (fast_T - plain_T).abs().nan_to_num(torch.inf, torch.inf)
    noise_T = (again_T - plain_T).abs().nan_to_num(0.0, 0.0)
    means_NS, allowed_NS, limit_N = limits(error_T[None], noise_T[None], list(stretches(sizes)), half=half)
    worst = int((means_NS / allowed_NS)[0].argmax())
    far = int((error_T > limit_N[0]).sum())
    return Agreement(
        tokens=len(plain_T),
        worst=float(error_T.max()),
        stretch=float(means_NS[0, worst]),
        allowed=float(allowed_NS[0, worst]),
        far=far,
        far_allowed=int(FAR * len(plain_T)),
        limit=float(limit_N[0]),
    )


def limits(error_NT: Tensor, noise_NT: Tensor, parts: Sequence[slice], *, half: bool) -> tuple[Tensor, Tensor, Tensor]:
    """For N comparisons at once: mean error of each of S stretches and what is allowed (N S), and the difference beyond
    which a token is far (N)."""
    floor = FLOOR["half" if half else "full"]
    everywhere_N1 = _most(noise_NT)[:, None].clamp(min=floor)
    means_NS, noise_NS = (torch.stack([_most(t[:, some]) for some in parts], 1) for t in (error_NT, noise_NT))
    return means_NS, FACTOR * noise_NS.maximum(everywhere_N1), FACTOR * noise_NT.amax(1).clamp(min=FAR_FLOOR * floor)


@contextmanager
def jittered(model: Any) -> Iterator[None]:
    """Token embeddings that come out up to one unit in the last place away, at random (the same each time)."""
    generators: dict[torch.device, torch.Generator] = {}

    def moved(_module: Any, _inputs: Any, out: Tensor) -> Tensor:
        generator = generators.setdefault(out.device, torch.Generator(out.device).manual_seed(0))
        units = torch.rand(out.shape, generator=generator, device=out.device).mul_(2).sub_(1)
        dtype = torch.get_autocast_dtype(out.device.type) if torch.is_autocast_enabled(out.device.type) else out.dtype
        return (out.float() * (1 + units * torch.finfo(dtype).eps)).to(out.dtype)

    hook = base_model(model).get_input_embeddings().register_forward_hook(moved)
    try:
        yield
    finally:
        hook.remove()


def _most(values_NT: Tensor) -> Tensor:
    """Means over T without the largest tenth."""
    kept = max(1, values_NT.shape[1] - values_NT.shape[1] // 10)
    return values_NT.sort(1).values[:, :kept].mean(1)


def stretches(sizes: Sequence[int]) -> Iterator[slice]:
    """Neighbouring branches joined until they have STRETCH tokens; what is left at the end joins the last."""
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    total, begin = ends[-1], 0
    for end in ends[1:]:
        if end - begin >= STRETCH and (total - end >= STRETCH or end == total):
            yield slice(begin, end)
            begin = end
    if begin < total:
        yield slice(begin, total)
