"""The fused trie where another trainer calls the model: the same log-probabilities, the same gradient, and a self-test
that switches it off. The whole of it inside transformers.Trainer: tests/recipes/test_plug_recipes.py."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import need_torchvision, tiny
from training_examples import examples_of

from r3v.errors import DataError
from r3v.losses import make_loss, reduce
from r3v.policies.model.loaded import Loaded
from r3v.records import Example
from r3v.training import forward
from r3v.training.forward import token_logprobs
from r3v.training.layout.batching import collate
from r3v.training.layout.trie import build_trie
from r3v.training.other_trainers import TrieCollator, TrieLoss
from r3v.training.selftest.parity import ParityWarning

GROUPS = [examples_of(2), examples_of(3), examples_of(4)]


def rows_logprobs(loaded: Loaded, groups: list[list[Example]]) -> tuple[Any, torch.Tensor]:
    """The unfused batch of these groups and its log-probabilities by the model's own forward."""
    tries = [trie for g in groups if (trie := build_trie(g, loaded.encoder, model=loaded.model)[0])]
    batch = collate(tries, fused=False, collate_images=loaded.encoder.collate_images)
    return batch, token_logprobs(loaded.model, batch, "plain")


@pytest.mark.parametrize("family", ["idefics3", "qwen2_5_vl"])
def test_a_collated_batch_gives_the_models_own_numbers(family: str) -> None:
    """Also with three positions a token (Qwen); the kept logits are those of the targets' columns alone."""
    if family.startswith("qwen"):
        need_torchvision()
    loaded = tiny(family)
    collator, loss = TrieCollator(loaded.model, loaded.encoder), TrieLoss(make_loss("reflection"))
    found = collator.check(GROUPS)
    assert found is not None
    assert found.ok
    assert collator.fused
    inputs = collator(GROUPS[:2])
    labels = inputs.pop("labels")
    outputs = loaded.model(**inputs)
    assert labels.fused
    assert outputs.logits.shape[1] < labels.ids_RL.shape[1]
    batch, logprobs_T = rows_logprobs(loaded, GROUPS[:2])
    expected, _ = reduce(make_loss("reflection")(batch.loss_inputs(logprobs_T)))
    torch.testing.assert_close(loss(outputs, labels), expected, rtol=1e-4, atol=1e-5)


def test_a_family_without_tree_masks_is_trained_in_rows() -> None:
    loaded = tiny("gemma3")
    with pytest.warns(ParityWarning, match="attends in both directions"):
        collator = TrieCollator(loaded.model, loaded.encoder)
    assert collator.check(GROUPS) is None
    inputs = collator(GROUPS[:1])
    labels = inputs.pop("labels")
    assert labels.ids_RL.shape[0] == len(GROUPS[0])
    batch, logprobs_T = rows_logprobs(loaded, GROUPS[:1])
    expected, _ = reduce(make_loss("reflection")(batch.loss_inputs(logprobs_T)))
    found = TrieLoss(make_loss("reflection"))(loaded.model(**inputs), labels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_mask_that_is_wrong_switches_fusing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("idefics3")
    tree = forward.tree_mask
    monkeypatch.setattr("r3v.training.layout.attention.SPLIT_ABOVE", 10**6)  # else long rows do not look at the mask
    monkeypatch.setattr(forward, "tree_mask", lambda exit_RL: tree(torch.full_like(exit_RL, exit_RL.shape[1])))
    collator = TrieCollator(loaded.model, loaded.encoder)
    with pytest.warns(ParityWarning, match="fusing is off"):
        found = collator.check(GROUPS)
    assert found is not None
    assert not found.ok
    assert not collator.fused
    assert collator(GROUPS[:1])["labels"].ids_RL.shape[0] == len(GROUPS[0])


def test_a_batch_of_branches_that_are_too_long_is_refused() -> None:
    loaded = tiny("idefics3")
    with pytest.raises(DataError, match="found no branch of at most 3 tokens"):
        TrieCollator(loaded.model, loaded.encoder, max_tokens=3)(GROUPS[:1])


def test_counts_are_the_losss_own() -> None:
    """reflection counts target tokens of each kind; grpo counts branches. A trainer's one number is refused."""
    loaded = tiny("idefics3")
    samples = [replace(e, kind="reinforce", advantage=1.0, weight=1.0) for e in GROUPS[0]]
    collator = TrieCollator(loaded.model, loaded.encoder)
    labels = collator([samples])["labels"]
    assert TrieLoss(make_loss("grpo")).counts(labels).tolist() == [0, 0, 0, 0, 0, 4]
    tokens = float(labels.target_T.shape[0])
    assert TrieLoss(make_loss("dapo")).counts(labels).tolist() == [0, 0, 0, 0, 0, tokens]
    with pytest.raises(ValueError, match="mix KindCounts into the trainer class"):
        TrieLoss(make_loss("grpo"))(None, labels, 7)


@pytest.mark.slow
def test_two_processes_and_accumulation() -> None:
    """The recipe under DDP: four steps of two problems are two steps of four, as the plain loop takes them."""
    from r3v.recipes.plug_common import Settings
    from r3v.recipes.plug_torch import train

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
    command = [sys.executable, "-W", "ignore", "-m", "r3v.recipes.plug_hf_fused", "--steps", "4"]
    command += ["--problems-per-step", "2"]
    workers = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [worker.communicate(timeout=480) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    found = [float(line.split()[-1]) for line in outputs[0][0].splitlines() if line.startswith("step ")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = train(Settings(steps=2, problems_per_step=4))
    assert found == pytest.approx(expected, abs=2e-4)
