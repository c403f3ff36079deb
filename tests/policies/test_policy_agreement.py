"""Agreement by hand, and on thousands of draws from noise that was measured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from r3v.policies.model.agreement import FAR, FAR_FLOOR, FLOOR, agreement, jittered, limits, stretches
from r3v.policies.model.tiny import random_tiny


def branches(values: Tensor, *sizes: int) -> list[Tensor]:
    return list(values.split(list(sizes)))


def test_a_branch_that_is_off_is_found_among_many() -> None:
    """Ten branches of 32 tokens with noise of 0.02: limits are 4 * 0.02 = 0.08 for a stretch and 4 * max(0.02, 4 / 64)
    = 0.25 for a token. One branch that is off by 0.1 everywhere moves the mean of all by 0.01, and is found."""
    plain = branches(torch.full((320,), -2.0), *[32] * 10)
    again = [b + 0.02 for b in plain]
    assert agreement([b - 0.02 for b in plain], plain, again, half=True).ok
    found = agreement([*plain[:9], plain[9] - 0.1], plain, again, half=True)
    assert not found.ok
    assert (found.stretch, found.allowed) == (pytest.approx(0.1, abs=1e-5), pytest.approx(0.08, abs=1e-5))
    assert (found.far, found.far_allowed, found.limit) == (0, 6, 0.25)


def test_a_few_far_tokens_are_found_and_fewer_are_not() -> None:
    """Of 320 tokens 6 may be far: a router's choice; a lost picture moves more."""
    plain = [torch.full((320,), -2.0)]
    for far, ok in ((6, True), (7, False)):
        fast = plain[0].clone()
        fast[:: 320 // far][:far] += 0.8
        assert agreement([fast], plain, plain, half=True).ok is ok


def test_no_number_agrees_with_nothing() -> None:
    plain = [torch.zeros(8)]
    assert not agreement([torch.full((8,), torch.nan)], plain, plain, half=True).ok
    with pytest.raises(ValueError, match="not none"):
        agreement([], [], [], half=False)
    with pytest.raises(ValueError, match="expected"):
        agreement(plain, plain, [torch.zeros(7)], half=False)


def test_stretches_by_hand() -> None:
    """10 and 25 are 35 together; 40 stands alone; the 5 that are left go with it."""
    assert list(stretches([10, 25, 40, 5])) == [slice(0, 35), slice(35, 80)]
    assert list(stretches([3, 4])) == [slice(0, 7)]
    assert list(stretches([32, 32])) == [slice(0, 32), slice(32, 64)]


def test_a_tenth_of_a_stretch_may_be_anything() -> None:
    """Nine tokens of 1 and one of 100 have a mean of 1; the limit is 4 times the noise's own such mean, 2."""
    error, noise = torch.tensor([[1.0] * 9 + [100.0]]), torch.tensor([[2.0] * 9 + [50.0]])
    means, allowed, limit = limits(error, noise, [slice(0, 10)], half=True)
    assert (means.item(), allowed.item(), limit.item()) == (1.0, 8.0, 200.0)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("tail", [False, True])
def test_honest_noise_is_never_an_alarm(half: bool, tail: bool) -> None:
    """10,000 comparisons of ten branches of 32 tokens, errors and noise drawn alike: as wide as the floor, below which
    there is more room; normal, or with a tail as of a router that chooses otherwise at one token of five hundred."""
    generator = torch.Generator().manual_seed(0)
    error, noise = torch.randn(2, 10_000, 320, generator=generator).abs() * FLOOR["half" if half else "full"]
    if tail:
        flips = torch.rand(2, *error.shape, generator=generator) < 0.002
        error, noise = (torch.where(f, 0.6, t) for f, t in zip(flips, (error, noise), strict=True))
    assert alarms(error, noise, half) == 0


def alarms(error_NT: torch.Tensor, noise_NT: torch.Tensor, half: bool) -> int:
    """How many of N comparisons would be alarms."""
    means, allowed, limit = limits(error_NT, noise_NT, list(stretches([32] * 10)), half=half)
    far = (error_NT > limit[:, None]).sum(1) > int(FAR * error_NT.shape[1])
    return int(((means > allowed).any(1) | far).sum())


def test_jitter_moves_embeddings_by_their_last_place_and_is_taken_off() -> None:
    """In bfloat16 numbers move by at most two units (one and its rounding), many by none; twice alike; then gone."""
    model = random_tiny("llava", dtype=torch.bfloat16)[0]
    embed, ids = model.get_input_embeddings(), torch.arange(50)
    with torch.no_grad():
        plain = embed(ids)
        with jittered(model):
            first = embed(ids)
        with jittered(model):
            second = embed(ids)
        assert torch.equal(first, second)
        assert torch.equal(embed(ids), plain)
    gap = (first.float() - plain.float()).abs() / plain.float().abs().clamp(min=1e-9)
    assert 0 < float(gap.max()) <= 2 * torch.finfo(torch.bfloat16).eps
    assert 0.2 < float((gap > 0).float().mean()) < 0.95
    assert FAR_FLOOR > 1
