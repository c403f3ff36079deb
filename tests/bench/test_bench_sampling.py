"""The peer of the sampling benchmarks, their checks, and both sides on a tiny model."""

from __future__ import annotations

import pytest
import torch
from some_prompts import some_prompts
from tiny_models import tiny

from r3v.bench import harness
from r3v.bench import sampler as bench
from r3v.bench.generating import Ban, Transformers, same_distribution, uneven_lengths
from r3v.bench.harness import BenchError, Settings
from r3v.bench.sampler import Paced, compare_greedy, compare_samples
from r3v.bench.selector import PeerPolicy
from r3v.policies.base import SamplingParams
from r3v.policies.sampling.decode import Job
from r3v.policies.sampling.hf import HFPolicy


def test_chi_square_of_two_bins_is_the_textbook_value() -> None:
    """60:40 against 40:60 of 100 each: statistic 4 * 10^2 / 50 = 8, one degree of freedom, p = 0.00468."""
    ours, theirs = [0] * 60 + [1] * 40, [0] * 40 + [1] * 60
    assert same_distribution(ours, theirs) == pytest.approx(0.004678, abs=1e-5)
    assert same_distribution(ours, ours) == 1.0


def test_rare_tokens_are_put_together() -> None:
    """Twenty tokens once each are two bins of ten expected, not twenty of one."""
    ours = list(range(20)) + [99] * 100
    assert same_distribution(ours, ours[::-1]) == 1.0
    assert same_distribution([99] * 120, ours) < 1e-4


def test_lengths_are_uneven_within_their_bounds() -> None:
    lengths = uneven_lengths(3, 400)
    assert lengths == uneven_lengths(3, 400)
    assert min(lengths) >= 20
    assert max(lengths) <= 200
    assert sum(n < 64 for n in lengths) == pytest.approx(200, abs=40)  # the middle of the logarithms is 63.2


def test_peer_samples_and_scores_what_we_do() -> None:
    loaded = tiny("idefics3")
    ours, peer = HFPolicy(loaded, slots=4), PeerPolicy(loaded.model, loaded.encoder)
    greedy = SamplingParams(temperature=0.0, max_new_tokens=12)
    mine, other = ours.generate(some_prompts(), 1, greedy), peer.generate(some_prompts(), 1, greedy)
    assert [row[0].token_ids for row in mine] == [row[0].token_ids for row in other]
    texts = [["Answer: 3", "x"], [], ["a longer reply"], ["b"]]
    for left, right in zip(ours.score(some_prompts(), texts), peer.score(some_prompts(), texts), strict=True):
        assert [s.total for s in left] == pytest.approx([s.total for s in right], abs=1e-3)


def test_both_sides_give_the_lengths_asked_for() -> None:
    loaded = tiny("idefics3")
    prompts = [loaded.encoder.prompt(p) for p in some_prompts(3)]
    lengths = [[1, 7], [4, 2], [9, 3]]
    with torch.inference_mode():
        made = Paced(loaded.model, loaded.encoder, SamplingParams(max_new_tokens=9), slots=3, shared=True)
        made.lengths = lengths
        done = list(made.run([Job(e, (2 * i, 2 * i + 1)) for i, e in enumerate(prompts)]))
        found = Transformers(loaded.model, loaded.encoder, rows=4).sample(prompts, 2, 9, lengths=lengths)
    assert {(d.job, d.sample): len(d.ids) for d in done} == {(i, k): lengths[i][k] for i in range(3) for k in range(2)}
    assert [[len(ids) for ids in row] for row in found] == lengths


def test_the_checks_pass_and_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours against generate; then against a generate that leaves unlikely tokens out."""
    loaded = tiny("idefics3")
    prompts = [loaded.encoder.prompt(p) for p in some_prompts(2)]
    with torch.inference_mode():
        compare_greedy(loaded.model, loaded.encoder, prompts, shared=True, most=8)
        assert compare_samples(loaded.model, loaded.encoder, prompts[0], 0, shared=True, n=64, most=2) > 1e-4
    monkeypatch.setattr(Ban, "__call__", lambda self, ids, scores: scores.masked_fill(scores < 2, -9e9))
    with torch.inference_mode(), pytest.raises(BenchError, match="distribution"):
        compare_samples(loaded.model, loaded.encoder, prompts[0], 0, shared=True, n=64, most=2)


def test_settings_of_the_round_are_the_recipes_with_fewer_problems() -> None:
    from r3v.bench.round import SIZES, recipe

    config = recipe(Settings())
    assert {name: getattr(config.data, name) for name in SIZES} == SIZES
    assert (config.sample.k, config.train.problems_per_step, config.model.lora_r) == (4, 8, 32)


def test_growth_is_measured_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the samples take twice the seconds; the law says so."""
    asked = []

    def fresh(target: str, *, timeout: float, environment: object, **sizes: int) -> tuple[dict[str, float], float]:
        asked.append((target, sizes))
        (size,) = sizes.values()
        return {"seconds": 0.5 * size}, 1e6

    monkeypatch.setattr(harness, "in_fresh_process", fresh)
    samples, problems = bench.growth(Settings())
    assert samples.axis == "samples of each problem"
    assert samples.points[0] == (1.0, 0.5, 1e6)
    assert samples.law().endswith("1.00")
    assert [size for size, _, _ in problems.points] == [4, 8, 16, 32]
    assert ("r3v.bench.sampler:cost", {"problems": 32}) in asked
