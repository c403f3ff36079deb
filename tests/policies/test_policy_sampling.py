"""Noise, draws, the scripted policy."""

from __future__ import annotations

import math

import pytest
import torch

from r3v import prompts as words
from r3v.policies.base import SamplingParams
from r3v.policies.sampling.draw import draw
from r3v.policies.sampling.noise import noise_key, uniforms
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Problem

NONE = torch.zeros(4, dtype=torch.bool)
LOGITS = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]]))


def drawn(uniform: float, params: SamplingParams, banned: torch.Tensor = NONE) -> tuple[int, float]:
    token, logprob, _, _ = draw(LOGITS, torch.tensor([uniform], dtype=torch.float64), params, banned)
    return int(token), float(logprob)


def test_splitmix64_is_the_published_generator() -> None:
    """First outputs for seed 1234567 (reference implementation): 6457827717110365317, 3203168211198807973."""
    expected = [(x >> 11) * 2.0**-53 for x in (6457827717110365317, 3203168211198807973)]
    assert uniforms(1234567, 2).tolist() == expected


def test_noise_is_keyed_by_seed_problem_and_index() -> None:
    keys = {noise_key(s, p, i) for s in (0, 1) for p in ("a", "b") for i in range(3)}
    assert len(keys) == 12
    assert uniforms(7, 5).tolist() == uniforms(7, 9).tolist()[:5]
    many = uniforms(noise_key(0, "a", 0), 20000)
    assert abs(many.mean() - 0.5) < 4 / math.sqrt(12 * 20000)


@pytest.mark.parametrize(
    ("uniform", "token"),
    [(0.0, 0), (0.099, 0), (0.101, 1), (0.299, 1), (0.301, 2), (0.601, 3), (0.9999999, 3)],
)
def test_inverse_cdf_in_token_order(uniform: float, token: int) -> None:
    """Cumulative 0.1, 0.3, 0.6, 1.0."""
    assert drawn(uniform, SamplingParams(temperature=1)) == (
        token,
        pytest.approx(math.log([0.1, 0.2, 0.3, 0.4][token])),
    )


def test_temperature_reshapes_the_draw_but_not_the_logprob() -> None:
    """At temperature 1/2 the masses are 1, 4, 9, 16 of 30: 0.15 falls on token 1 (1/30 to 5/30)."""
    assert drawn(0.15, SamplingParams(temperature=0.5)) == (1, pytest.approx(math.log(0.2)))
    assert drawn(0.4, SamplingParams(temperature=0)) == (3, pytest.approx(math.log(0.4)))


def test_filters() -> None:
    """top_k 2 leaves 0.3 and 0.4 (3/7 and 4/7); top_p 0.5 leaves 0.4 and 0.3, top_p 0.4 the 0.4 alone."""
    assert [drawn(u, SamplingParams(temperature=1, top_k=2))[0] for u in (0.0, 0.42, 0.43)] == [2, 2, 3]
    assert [drawn(u, SamplingParams(temperature=1, top_p=0.5))[0] for u in (0.0, 0.42, 0.43)] == [2, 2, 3]
    assert [drawn(u, SamplingParams(temperature=1, top_p=0.39))[0] for u in (0.0, 0.99)] == [3, 3]


def test_banned_tokens_are_never_drawn_and_keep_their_mass_in_the_logprob() -> None:
    banned = torch.tensor([False, False, False, True])
    assert drawn(0.9999999999, SamplingParams(temperature=1), banned) == (2, pytest.approx(math.log(0.3)))
    assert drawn(0.5, SamplingParams(temperature=0), banned)[0] == 2


def test_scripted_policy() -> None:
    prompt = words.solve(Problem("p", "2 + 3?", "5", "number"), words.style("short"))
    policy = ScriptedPolicy(lambda p, i: f"{p.problem_id}{i}", lambda p, text: -float(len(text)) / 2)
    (row,) = policy.generate([prompt], 2, SamplingParams(max_new_tokens=3), seed=4, round=1, first_index=5)
    assert [(c.text, c.index, c.seed, c.round, c.stop) for c in row] == [
        ("p5", 5, 4, 1, "eos"),
        ("p6", 6, 4, 1, "eos"),
    ]
    (cut,) = policy.generate([prompt], 1, SamplingParams(max_new_tokens=1))
    assert (cut[0].text, cut[0].stop) == ("p", "length")
    assert policy.score([prompt], [["abcd", ""]])[0][0].total == -2.0
    assert policy.calls == [("generate", 1), ("generate", 1), ("score", 1)]
