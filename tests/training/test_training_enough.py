"""Training on nothing is an error; on less than was built, and on answers that were cut off, it is said. What is
trained and sampled has seen the picture."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from some_prompts import some_prompts
from test_training import CONFIG, TRAIN, fresh, train
from tiny_models import tiny
from training_examples import examples_of

from r3v.errors import ConfigError, DataError, ModelError
from r3v.policies.base import SamplingParams
from r3v.policies.model.encode import Encoder
from r3v.policies.sampling import pictures
from r3v.policies.sampling.hf import HFPolicy
from r3v.rollout.lengths import tell_cut
from r3v.settings.config import ModelConfig
from r3v.training.enough import check_kept
from r3v.training.fit import fit
from r3v.training.layout.trie import TrieStats
from r3v.training.module import R3VModule
from r3v.training.precision import check_precision

# Lightning's loader asks torch's pytree in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")


def test_a_fit_whose_examples_are_all_too_long_is_an_error(tmp_path: Path) -> None:
    """Pictures alone take more than 20 tokens: nothing is trained, nothing is written."""
    examples = [e for n in range(2, 5) for e in examples_of(n)]
    with pytest.raises(DataError, match=r"train\.max_tokens.*at most 20 tokens among the 3 smallest"):
        fit(fresh(), examples, train=replace(TRAIN, max_tokens=20), model=CONFIG, out=tmp_path / "fit", seed=0)
    assert not (tmp_path / "fit" / "fit.json").exists()


def test_nothing_kept_in_the_end_is_an_error_and_much_dropped_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """5 of 100 are not more than 5 %; 6 of 100 are."""
    for stats in (TrieStats(dropped={"answer": 3}), TrieStats(kept=2)):
        with pytest.raises(DataError, match="expected at least one"):
            check_kept(stats, 20)
    with caplog.at_level(logging.WARNING):
        check_kept(TrieStats(95, {"answer": 5}, tokens_target=9), 20)
        assert not caplog.records
        check_kept(TrieStats(94, {"answer": 4, "select": 2}, tokens_target=9), 20)
    assert "6 % of the examples (4 answer, 2 select) are longer than 20 tokens" in caplog.text


def test_many_answers_cut_off_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """1 of 10 is not more than a tenth; 11 of 100 are."""
    with caplog.at_level(logging.WARNING):
        assert not tell_cut(1, 10, "sample.max_new_tokens", 384)
        assert not tell_cut(0, 0, "sample.max_new_tokens", 384)
        assert tell_cut(11, 100, "sample.max_new_tokens", 384)
    assert "11 % of 100 answers ended by length (sample.max_new_tokens 384)" in caplog.text


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture becomes the same pixels, in sampling and in training."""
    own = Encoder.collate_images

    def same(self: Encoder, images: Any) -> Any:
        found = own(self, images)
        return {k: torch.full_like(v, 0.1) if v.is_floating_point() else v for k, v in found.items()}

    monkeypatch.setattr(Encoder, "collate_images", same)
    monkeypatch.setattr(pictures, "_LOOKED", type(pictures._LOOKED)())


def test_training_that_does_not_look_is_an_error_unless_it_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    blind(monkeypatch)
    with pytest.raises(ModelError, match=r"pictures do not reach the model.*target tokens of problem.*model\.blank"):
        train(R3VModule(fresh(), TRAIN, config=CONFIG))
    declared = replace(CONFIG, blank=True)
    train(R3VModule(fresh(declared), TRAIN, config=declared))


def test_sampling_that_does_not_look_is_an_error_unless_it_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    params, loaded = SamplingParams(max_new_tokens=2), tiny("idefics3")
    blind(monkeypatch)
    with pytest.raises(ModelError, match=r"pictures do not reach the model.*next token after prompt"):
        HFPolicy(loaded).generate(some_prompts(2), 1, params)
    declared = replace(loaded, config=replace(loaded.config, blank=True))
    assert HFPolicy(declared).generate(some_prompts(2), 1, params)


def test_a_picture_is_exchanged_for_another_or_for_its_negative() -> None:
    first, second = some_prompts(2)
    assert pictures.exchanged(first, [first, second]).images == second.images
    alone = pictures.exchanged(first, [first])
    assert alone.messages[0].text == first.messages[0].text
    assert alone.images[0] != first.images[0]
    twice = pictures.negative(pictures.negative(first.images[0]))
    from r3v.data.images import decode

    assert decode(twice).tobytes() == decode(first.images[0]).convert("RGB").tobytes()


def test_true_half_precision_trains_and_keeps_the_base(tmp_path: Path) -> None:
    """bf16-true on a bfloat16 model makes an adapter; on a float32 model it would round it for good."""
    half = replace(CONFIG, dtype="bfloat16")
    with pytest.raises(ConfigError, match=r"set model\.dtype bfloat16, or train\.precision bf16-mixed"):
        check_precision("bf16-true", CONFIG)
    check_precision("16-mixed", ModelConfig())
    settings = replace(TRAIN, precision="bf16-true", max_steps=2)
    examples = [e for n in range(2, 5) for e in examples_of(n)]
    result = fit(fresh(half), examples, train=settings, model=half, out=tmp_path / "fit", seed=0)
    assert result.steps == 2
    assert all(loss == loss for loss in result.losses)
    assert (result.adapter / "adapter_model.safetensors").exists()
