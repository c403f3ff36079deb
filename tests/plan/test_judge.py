"""The nearest settings that fit, what free memory gives, and how a batch is cut by it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tiny_models import tiny

from r3v.plan import free, serving
from r3v.plan.judge import halvings, nearest
from r3v.plan.work import Branch, Fit, picture_of
from r3v.policies.base import SamplingParams
from r3v.policies.sampling.hf import HFPolicy
from r3v.settings.config import ModelConfig, TrainConfig

HERE = torch.device("cpu")


def put(config: dict[str, int], name: str, value: int) -> dict[str, int]:
    return {**config, name: value}


def test_each_field_that_helps_alone_is_named_with_its_nearest_value() -> None:
    """a + b <= 10 of a = 8, b = 6: a halves to 4 (4 + 6), b to 3 is 11, to 1 is 9."""
    ways = nearest({"a": 8, "b": 6}, lambda c: c["a"] + c["b"] <= 10, [("a", [4, 2]), ("b", [3, 1]), ("c", [0])], put)
    assert ways == [{"a": 4}, {"b": 1}]


def test_where_none_helps_alone_sets_are_named_without_what_is_not_needed() -> None:
    """a + b <= 4 of 8 and 8 wants both; c changes nothing."""
    moves = [("c", [0]), ("a", [4, 2, 1]), ("b", [4, 2, 1])]
    ways = nearest({"a": 8, "b": 8, "c": 1}, lambda c: c["a"] + c["b"] <= 4, moves, put)
    assert all("c" not in way and way["a"] + way["b"] <= 4 for way in ways)
    assert ways
    assert nearest({"a": 8}, lambda c: False, [("a", [4])], put) == []


def test_halvings() -> None:
    assert halvings(64, 10) == [32, 16, 10]
    assert halvings(8, 8) == []


def test_a_pass_holds_whole_tries_within_the_budget() -> None:
    """A question of 100 tokens, branches of 50 + 30 and 400: the last is over 450 tokens and left out, a trie is 180.
    Four of them are 720; a budget of 400 holds two, one of 10 still one."""
    fit = Fit(9, (Branch(20, 30), Branch(0, 30), Branch(0, 400)), 1.0, 8, 4, 450, None, True, True, True)
    assert fit.trie_tokens(100) == 180
    assert fit.targets(100) == 60
    assert [replace(fit, max_batch_tokens=b).pass_tokens(100) for b in (None, 400, 10)] == [720, 360, 180]


def test_more_memory_free_means_longer_passes_and_more_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train = tiny("idefics3").model, TrainConfig()
    assert free.pass_tokens(model, train, ModelConfig(), HERE) is None, "a CPU has no limit"
    assert serving.serving(model, 100, HERE) == serving.MOST
    assert free.pass_tokens(model, replace(train, max_batch_tokens=77), ModelConfig(), HERE) == 77
    found = []
    for bytes_free in (2**20, 2**28, 2**30):
        for module in (free, serving):
            monkeypatch.setattr(module, "free_bytes", lambda _, n=bytes_free: float(n))
        room = serving.serving(model, 100, HERE)
        found.append(
            (free.pass_tokens(model, train, ModelConfig(), HERE), room.slots, room.prefill_tokens, room.kept_bytes)
        )
    assert found[0][0] == 1
    assert all(a <= b for low, high in pairwise(found) for a, b in zip(low, high, strict=True))
    # 3 layers of 2 key heads of 16, keys and values in float32: 768 bytes a token, 164 tokens a slot, growing by 1.6.
    assert found[0][1] == int(2**20 / 2 / (1.6 * 164 * 768))
    assert found[2][3] == int(0.05 * 2**30)


def test_a_policy_asks_for_what_is_free_and_draws_the_same(monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
    """Room for two answers at once: 16 slots are cut to 2, said once, and the samples are those of 16."""
    from some_prompts import some_prompts

    params = SamplingParams(temperature=0.8, max_new_tokens=6)
    expected = HFPolicy(tiny("idefics3"), slots=16).generate(some_prompts(2), 3, params, seed=1)
    small = float(2 * 2 * 1.6 * 70 * 768 + 100)
    monkeypatch.setattr(serving, "free_bytes", lambda _: small)
    policy = HFPolicy(tiny("idefics3"), slots=16)
    with caplog.at_level("WARNING", logger="r3v.policies.sampling.hf"):
        found = policy.generate(some_prompts(2), 3, params, seed=1)
    assert sum("holds 2 answers" in r.getMessage() for r in caplog.records) == 1
    assert [[c.token_ids for c in row] for row in found] == [[c.token_ids for c in row] for row in expected]


def test_pictures_of_one_size_have_their_own_tokens() -> None:
    from r3v.plan.shape import shape_of

    shape = shape_of(tiny("gemma3").model, "language")
    assert picture_of(shape).tokens == 4
