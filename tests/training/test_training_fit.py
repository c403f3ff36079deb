"""`fit`: adapters, losses, kill and resume, several processes, nf4."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar, cast

import pytest
import pytorch_lightning as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tiny_models import NAMES
from training_examples import examples_of

from r3v.errors import DataError, RunError
from r3v.policies.model.adapters.files import load_adapter, save_adapter
from r3v.policies.model.loading import load
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training import keeper
from r3v.training.fit import fit

MODEL = ModelConfig(path=NAMES["idefics3"], lora_r=4, lora_alpha=8, lora_dropout=0.1)
TRAIN = TrainConfig(problems_per_step=2, problems_per_batch=2, lr=1e-2, warmup=0.1, epochs=2.0)
EXAMPLES = [e for n in range(2, 9) for e in examples_of(n)]


def adapter(result):
    return load_file(result.adapter / "adapter_model.safetensors")


def same(a, b, **tolerance):
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, msg=name, **(tolerance or {"atol": 0.0, "rtol": 0.0}))


class Killed(Exception):
    pass


class KillAt(pl.Callback):
    """Raises in the middle of optimiser step `step`, as a kill would end it."""

    def __init__(self, step):
        self.step = step

    def on_after_backward(self, trainer, module):
        if trainer.global_step == self.step:
            raise Killed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("fit")
    return out, fit(load(MODEL, dry_run=True), EXAMPLES, train=TRAIN, model=MODEL, out=out, seed=3)


def test_fit_learns_and_leaves_an_adapter_and_a_curve(undisturbed):
    """7 problems, 2 a step, 2 epochs: 8 steps; the loss falls; the folder holds what it says."""
    out, result = undisturbed
    assert result.steps == len(result.losses) == 8
    assert sum(result.losses[-3:]) < sum(result.losses[:3])
    assert result.fused
    assert result.dropped == {}
    assert result.tokens > result.tokens_target > 0
    lines = (out / "losses.csv").read_text().splitlines()
    assert lines[0] == "step,loss,lr"
    assert [float(line.split(",")[1]) for line in lines[1:]] == list(result.losses)
    assert sorted(p.name for p in out.iterdir()) == ["adapter", "fit.json", "losses.csv"]
    assert any(v.abs().max() > 0 for k, v in adapter(result).items() if "lora_B" in k)


def test_losses_are_on_disk_while_the_fit_runs(tmp_path, monkeypatch):
    """Killed in its third step, without a checkpoint: the losses of two steps can be read by whoever watches."""
    monkeypatch.setattr(keeper, "LIVE", 0.0)
    with pytest.raises(Killed):
        fit(
            load(MODEL, dry_run=True), EXAMPLES, train=TRAIN, model=MODEL, out=tmp_path, seed=3, checkpoint_every=0,
            callbacks=[KillAt(2)],
        )  # fmt: skip
    lines = (tmp_path / "losses.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "1", "2"]


def test_a_finished_fit_is_not_done_again(undisturbed):
    out, result = undisturbed
    again = fit(load(MODEL, dry_run=True), EXAMPLES, train=TRAIN, model=MODEL, out=out, seed=3)
    assert again == result
    with pytest.raises(RunError, match="other examples or settings"):
        fit(load(MODEL, dry_run=True), EXAMPLES[:4], train=TRAIN, model=MODEL, out=out, seed=3)


@pytest.mark.parametrize("step", [1, 4, 5])
def test_killed_and_resumed_equals_undisturbed(undisturbed, tmp_path, step):
    """Checkpoints every 2 steps; killed in step 2, 5, or 6 (second epoch, dropout on): same adapter, same
    losses."""
    options = {"train": TRAIN, "model": MODEL, "out": tmp_path, "seed": 3, "checkpoint_every": 2}
    with pytest.raises(Killed):
        fit(load(MODEL, dry_run=True), EXAMPLES, callbacks=[KillAt(step)], **options)
    assert not (tmp_path / "adapter").exists()
    assert (tmp_path / ".fit" / "last.ckpt").exists() == (step >= 2)
    torch.rand(7)
    result = fit(load(MODEL, dry_run=True), EXAMPLES, **options)
    assert result.losses == undisturbed[1].losses
    assert (result.tokens, result.dropped) == (undisturbed[1].tokens, undisturbed[1].dropped)
    same(adapter(undisturbed[1]), adapter(result))
    assert not (tmp_path / ".fit").exists()


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    options = {"model": MODEL, "out": tmp_path, "seed": 3, "checkpoint_every": 1}
    with pytest.raises(Killed):
        fit(load(MODEL, dry_run=True), EXAMPLES, train=TRAIN, callbacks=[KillAt(2)], **options)
    with pytest.raises(RunError, match="checkpoint of another fit"):
        fit(load(MODEL, dry_run=True), EXAMPLES, train=replace(TRAIN, lr=1e-3), **options)


def test_the_base_model_is_the_base_model_again(tmp_path):
    loaded = load(MODEL, dry_run=True)
    before = {k: v.clone() for k, v in loaded.model.state_dict().items()}
    short = replace(TRAIN, max_steps=2)
    first = fit(loaded, EXAMPLES, train=short, model=MODEL, out=tmp_path / "a", seed=0)
    after = loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    second = fit(loaded, EXAMPLES, train=short, model=MODEL, out=tmp_path / "b", seed=0)
    assert first.losses == second.losses
    assert first.steps == 2


def test_continuing_an_adapter_begins_where_it_ended(undisturbed, tmp_path):
    """With a learning rate of zero the continued adapter is the old one, bit by bit."""
    still = replace(TRAIN, lr=0.0, max_steps=1)
    loaded = load(MODEL, dry_run=True)
    result = fit(loaded, EXAMPLES, train=still, model=MODEL, out=tmp_path, seed=0, adapter=undisturbed[1].adapter)
    same(adapter(undisturbed[1]), adapter(result))


def test_reloaded_adapter_gives_identical_logits(undisturbed):
    one, two = (load_adapter(load(MODEL, dry_run=True).model, undisturbed[1].adapter) for _ in range(2))
    ids = torch.tensor([[5, 6, 7]])
    base = load(MODEL, dry_run=True).model
    with torch.no_grad():
        assert torch.equal(one(input_ids=ids).logits, two(input_ids=ids).logits)
        assert not torch.equal(one(input_ids=ids).logits, base(input_ids=ids).logits)


def test_long_branches_are_dropped_and_counted(tmp_path):
    """With the longest answer as the limit every answer stays; what is longer is dropped, and counted once,
    though there are two epochs. With a limit of 3 nothing is left, and the loss is zero."""
    loaded = load(MODEL, dry_run=True)
    encoder = loaded.encoder
    lengths = [(e.kind, len(encoder.prompt(e.prompt).ids) + len(encoder.target(e.target))) for e in EXAMPLES]
    limit = max(n for kind, n in lengths if kind == "answer")
    expected = Counter(kind for kind, n in lengths if n > limit)
    assert 0 < sum(expected.values()) < len(EXAMPLES)
    result = fit(loaded, EXAMPLES, train=replace(TRAIN, max_tokens=limit), model=MODEL, out=tmp_path / "a", seed=0)
    assert result.dropped == expected
    with pytest.raises(DataError, match="found no example of at most 3 tokens"):
        fit(loaded, EXAMPLES, train=replace(TRAIN, max_tokens=3), model=MODEL, out=tmp_path / "b", seed=0)


class OutOfMemory(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_out_of_memory_names_what_to_lower_and_the_same_fit_goes_on(tmp_path):
    """After the first step there is no room. With half of the problems in a batch the same fit goes on from its
    checkpoint and ends after the 8 steps of the undisturbed one."""
    with pytest.raises(RunError, match=r"out of memory: CUDA .*Lower train\.problems_per_batch \(it is 2\)") as caught:
        fit(load(MODEL, dry_run=True), EXAMPLES, train=TRAIN, model=MODEL, out=tmp_path, seed=3, checkpoint_every=1,
            callbacks=[OutOfMemory()])  # fmt: skip
    assert "train.gradient_checkpointing true" in str(caught.value)
    lower = replace(TRAIN, problems_per_batch=1)
    result = fit(load(MODEL, dry_run=True), EXAMPLES, train=lower, model=MODEL, out=tmp_path, seed=3)
    assert result.steps == 8


def test_an_unfinished_fit_of_0_1_is_still_the_same(tmp_path):
    """Its fingerprint was over the batch size too."""
    from r3v.training.fit import _fingerprint

    with pytest.raises(Killed):
        fit(load(MODEL, dry_run=True), EXAMPLES, train=TRAIN, model=MODEL, out=tmp_path, seed=3, checkpoint_every=1,
            callbacks=[KillAt(2)])  # fmt: skip
    old = _fingerprint(EXAMPLES, TRAIN, MODEL, 3, None, of_0_1=True)
    note = tmp_path / ".fit" / "fingerprint"
    assert note.read_text() != old
    note.write_text(old)
    assert fit(load(MODEL, dry_run=True), EXAMPLES, train=TRAIN, model=MODEL, out=tmp_path, seed=3).steps == 8


def test_a_full_disk_is_no_traceback(tmp_path):
    class Full:
        peft_config: ClassVar = {}

        def save_pretrained(self, *args, **options):
            raise SafetensorError("I/O error: No space left on device (os error 28)")

    with pytest.raises(RunError, match=r"adapter: cannot be written \(I/O error: No space left.*make room for it"):
        save_adapter(Full(), tmp_path / "adapter", cast(Any, None))
    assert list(tmp_path.iterdir()) == []


def test_no_examples_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no training example"):
        fit(load(MODEL, dry_run=True), [], train=TRAIN, model=MODEL, out=tmp_path, seed=0)


def test_a_loss_that_is_not_finite_stops_the_fit(tmp_path):
    broken = [replace(e, weight=float("inf")) for e in EXAMPLES]
    with pytest.raises(RunError, match="expected a finite number"):
        fit(load(MODEL, dry_run=True), broken, train=TRAIN, model=MODEL, out=tmp_path, seed=0)


def test_two_processes_give_the_loss_of_one(tmp_path):
    """DDP over gloo, 2 CPU processes, 3 problems a step (2 on one, 1 on the other), no dropout."""
    model = replace(MODEL, lora_dropout=0.0)
    one = replace(TRAIN, problems_per_step=3, problems_per_batch=3, epochs=1.0)
    two = replace(one, strategy="ddp_fork", devices=2)
    a = fit(load(model, dry_run=True), EXAMPLES, train=one, model=model, out=tmp_path / "one", seed=3)
    b = fit(load(model, dry_run=True), EXAMPLES, train=two, model=model, out=tmp_path / "two", seed=3)
    assert b.losses == pytest.approx(a.losses, rel=1e-4)
    assert (b.tokens, b.tokens_target, b.fused) == (a.tokens, a.tokens_target, True)
    same(adapter(a), adapter(b), atol=2e-4, rtol=1e-3)


def test_lora_on_nf4_is_trained_on_the_cpu(tmp_path):
    """QLoRA: a frozen nf4 base, a LoRA in float32; the loss falls and the parity test keeps fusing on."""
    model = replace(MODEL, quantization="nf4", lora_dropout=0.0, device="cpu")
    loaded = load(model, dry_run=True)
    assert any(type(m).__name__ == "Linear4bit" for m in loaded.model.modules())
    result = fit(loaded, EXAMPLES, train=replace(TRAIN, epochs=3.0), model=model, out=tmp_path, seed=0)
    assert result.fused
    assert sum(result.losses[-3:]) < sum(result.losses[:3])
    assert json.loads((tmp_path / "fit.json").read_text())["fused"] is True
