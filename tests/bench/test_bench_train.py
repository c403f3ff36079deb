"""The work that `train-step` measures: its sizes, the limit counted by hand, and that ours computes the plain loss."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from letters import build, example
from tiny_models import NAMES

from r3v.bench import loss_head
from r3v.bench.arithmetic import common_prefix, limit, pairs_of
from r3v.bench.harness import BenchError, Settings
from r3v.bench.models import bench_problem, reflection_examples, small_idefics
from r3v.bench.train_step import Sides
from r3v.losses import from_logits
from r3v.policies.model.loading import load
from r3v.settings.config import ModelConfig
from r3v.training.forward import token_logprobs


@functools.cache
def ours(branches: int) -> Sides:
    return Sides(small_idefics, branches, Settings(), with_peer=False)


@pytest.mark.parametrize("branches", [4, 8])
def test_sizes_are_those_that_the_goal_names(branches: int) -> None:
    """Prefix 640 to 800 tokens of which at least 512 of the image, branches 120 to 150, 20 to 60 M parameters."""
    side = ours(branches)
    sizes: dict[str, Any] = dict(side.details())
    assert 640 <= sizes["prefix_tokens"] <= 800
    assert sizes["image_tokens"] >= 512
    assert 20e6 < sizes["parameters"] < 60e6
    assert side.trie.n_branches == branches
    assert all(120 <= len(path) - sizes["prefix_tokens"] <= 150 for path in side.trie.path_BL)
    kinds = [e.kind for e in reflection_examples(bench_problem(1, side.encoder), side.encoder, 3)]
    assert kinds == ["answer", "refine", "select"]


def test_pairs_by_hand() -> None:
    """q a x 0 | b y 0: token pairs seen are 1 + 2 + 3 + 4 in the first branch, then 2 + 3 + 4."""
    trie, _ = build([example("qa", "x"), example("qb", "y")])
    assert trie is not None
    assert (pairs_of(trie), common_prefix(trie)) == (19, 1)


def test_limit_lies_between_the_token_ratio_and_the_number_of_branches() -> None:
    """Vision passes and all head positions come on top of the tokens; no saving beats computing one branch of G."""
    side = ours(8)
    tokens = side.trie.tokens_unfused / side.trie.tokens
    assert tokens < limit(side.model, side.trie) < 8


def test_our_step_computes_the_plain_loss() -> None:
    """Token mean over the branches, by the model's own forward; the step moves the weights and leaves no gradient."""
    make = lambda: load(ModelConfig(path=NAMES["idefics3"]), dry_run=True)  # noqa: E731
    side = Sides(make, 4, Settings(), side=48, question_tokens=16, with_peer=False)
    loss = side.loss()
    with torch.no_grad():
        plain = -token_logprobs(side.model, side._collate(False), "plain").mean()
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=0)
    weight = next(p for n, p in side.model.named_parameters() if "lora_A" in n)
    before = weight.detach().clone()
    assert side.step() == 4.0
    assert not torch.equal(weight, before)
    assert weight.grad is None


def test_loss_head_sides_agree_and_a_difference_is_seen(monkeypatch) -> None:
    tensors = loss_head.inputs("cpu", "float32", tokens=64, vocabulary=300)
    assert loss_head._same(tensors, 1e-4).startswith("loss ")
    wrong = lambda h, w, t: from_logits(h @ w.T * 1.01, t)  # noqa: E731
    monkeypatch.setattr(loss_head, "from_hidden", wrong)
    with pytest.raises(BenchError, match="gradients differ"):
        loss_head._same(tensors, 1e-4)
