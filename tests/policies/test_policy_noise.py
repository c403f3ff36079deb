"""Arithmetic sampling: codes, what a draw leaves of them, and the sets of samples they give."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from some_prompts import STYLE, problem
from tiny_models import tiny

from r3v import prompts as words
from r3v.policies.base import SamplingParams
from r3v.policies.sampling.draw import BELOW_ONE, draw
from r3v.policies.sampling.hf import HFPolicy
from r3v.policies.sampling.noise import CODE_BITS, SlotNoise, code, noise_key, radical_inverse, uniforms

CPU = torch.device("cpu")
NONE = torch.zeros(3, dtype=torch.bool)
LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
PLAIN = SamplingParams(temperature=1.0, noise="arithmetic")


def test_radical_inverses_mirror_the_binary_digits() -> None:
    assert [radical_inverse(i) for i in range(7)] == [0.0, 0.5, 0.25, 0.75, 0.125, 0.625, 0.375]


def test_the_codes_of_a_problem_are_a_shifted_grid_of_its_own() -> None:
    """Eight of them: one in every eighth, wherever the shift puts them; further samples leave them as they are."""
    codes = [code(3, "p", i) for i in range(8)]
    assert sorted((c * 8) % 1 for c in codes) == pytest.approx([(codes[0] * 8) % 1] * 8)
    assert sorted(int(c * 8) for c in codes) == list(range(8))
    assert all(0.0 <= c < 1.0 for c in codes)
    assert code(3, "q", 0) != code(3, "p", 0) != code(4, "p", 0)


@pytest.mark.parametrize(
    ("number", "token", "rest", "share"),
    [(0.0, 0, 0.0, 0.5), (0.25, 0, 0.5, 0.5), (0.5, 1, 0.0, 0.3), (0.65, 1, 0.5, 0.3), (0.95, 2, 0.75, 0.2)],
)
def test_a_draw_leaves_the_place_inside_the_share(number: float, token: int, rest: float, share: float) -> None:
    """Cumulative 0.5, 0.8, 1.0."""
    made = draw(LOGITS, torch.tensor([number], dtype=torch.float64), PLAIN, NONE)
    assert int(made.token_S) == token
    assert float(made.rest_S) == pytest.approx(rest, abs=1e-6)
    assert float(made.share_S) == pytest.approx(share)
    assert 0.0 <= float(made.rest_S) <= BELOW_ONE


def test_shares_are_those_under_bans_and_temperature() -> None:
    """At temperature 1/2 without the second: 25 and 4 of 29; 0.93 lies (0.93 * 29 - 25) / 4 = 0.4925 into the other."""
    banned = torch.tensor([False, True, False])
    params = SamplingParams(temperature=0.5, noise="arithmetic")
    made = draw(LOGITS, torch.tensor([0.93], dtype=torch.float64), params, banned)
    assert int(made.token_S) == 2
    assert float(made.share_S) == pytest.approx(4 / 29)
    assert float(made.rest_S) == pytest.approx(0.4925, abs=1e-5)


def test_a_code_lasts_until_its_bits_are_spent() -> None:
    """Draws that halve: after the tenth bit the sample's own numbers take over; an independent one has them always."""
    halves = torch.log(torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    noise, rows = SlotNoise(2, 14, CPU), torch.arange(2)
    noise.begin(rows, [5, 5], [0.1, None])
    own = uniforms(5, 14)
    seen = []
    for position in range(14):
        place = torch.full((2,), position)
        numbers = noise.at(rows, place)
        seen.append(numbers.tolist())
        noise.spend(rows, place, draw(halves, numbers, PLAIN, torch.zeros(2, dtype=torch.bool)))
    assert [b for _, b in seen] == own.tolist()
    expected = [(0.1 * 2**i) % 1.0 for i in range(int(CODE_BITS))]
    assert [a for a, _ in seen[: len(expected)]] == pytest.approx(expected, abs=1e-9)
    assert [a for a, _ in seen[len(expected) :]] == own[len(expected) :].tolist()


def test_slots_that_remain_keep_their_numbers() -> None:
    noise = SlotNoise(3, 4, CPU)
    noise.begin(torch.arange(3), [1, 2, 3], [0.25, None, 0.75])
    noise.keep(torch.tensor([0, 2]))
    assert noise.at(torch.arange(2), torch.tensor([0, 0])).tolist() == [0.25, 0.75]
    assert noise.left_S.tolist() == [CODE_BITS, CODE_BITS]


def test_each_sample_has_the_distribution_of_the_model_and_the_sets_are_spread() -> None:
    """Four samples of two tokens by hand-made shares, 4,000 problems: chi-square of the second sample alone (8 degrees
    of freedom, 26.1 at 0.1 %), and how many of the nine sequences a set of four holds: more than independent ones."""
    first = torch.tensor([0.5, 0.3, 0.2])
    second = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    problems, k = 4000, 4

    def sets(coded: bool) -> list[list[tuple[int, int]]]:
        keys = [noise_key(0, str(p), i) for p in range(problems) for i in range(k)]
        codes = [code(0, str(p), i) if coded else None for p in range(problems) for i in range(k)]
        noise, rows = SlotNoise(len(keys), 3, CPU), torch.arange(len(keys))
        noise.begin(rows, keys, codes)
        one = draw(first.log().expand(len(keys), -1), noise.at(rows, 0 * rows), PLAIN, NONE)
        noise.spend(rows, 0 * rows, one)
        two = draw(second[one.token_S].log(), noise.at(rows, 0 * rows + 1), PLAIN, NONE)
        flat = list(zip(one.token_S.tolist(), two.token_S.tolist(), strict=True))
        return [flat[i : i + k] for i in range(0, len(flat), k)]

    spread, independent = sets(True), sets(False)
    counts = Counter(made[1] for made in spread)
    chi = sum(
        (counts[a, b] - problems * float(first[a] * second[a, b])) ** 2 / (problems * float(first[a] * second[a, b]))
        for a, b in itertools.product(range(3), range(3))
    )
    assert chi < 26.1
    # By hand for independent ones: sum over sequences of 1 - (1 - p)^4, with p = .30 .15 .05 .06 .06 .18 .02 .16 .02.
    hand = sum(1 - (1 - p) ** 4 for p in (0.30, 0.15, 0.05, 0.06, 0.06, 0.18, 0.02, 0.16, 0.02))
    assert sum(len(set(made)) for made in independent) / problems == pytest.approx(hand, abs=0.05)
    assert sum(len(set(made)) for made in spread) / problems > hand + 0.3


def test_a_policy_gives_spread_candidates() -> None:
    """Of a sharp distribution fewer candidates are alike; a temperature of 0 stays greedy."""
    policy = HFPolicy(tiny("idefics3"), slots=16)
    prompts = [words.solve(problem(i), STYLE) for i in range(9)]

    def distinct(params: SamplingParams) -> int:
        return sum(len({c.token_ids for c in row}) for row in policy.generate(prompts, 4, params))

    assert distinct(SamplingParams(0.15, max_new_tokens=4, noise="arithmetic")) > distinct(
        SamplingParams(0.15, max_new_tokens=4)
    )
    assert distinct(SamplingParams(0.0, max_new_tokens=4, noise="arithmetic")) == len(prompts)
