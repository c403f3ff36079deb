"""A signal to a command and to a real fit: the exit codes, the checkpoint, and the same end when it goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from tiny_models import NAMES
from training_examples import examples_of

from r3v.app import cli
from r3v.app.commands import core as commands
from r3v.policies.model.loading import load
from r3v.run.signals import Stopped, watched
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training.fit import FitResult, fit


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_command_that_resumes_tells_the_scheduler(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "train", lambda args, rest: os.kill(os.getpid(), number))
    assert cli.main(["train", "geoworld_tiny"]) == code
    assert f"stopped by {signal.Signals(number).name}; the same command goes on" in capsys.readouterr().err


class Signalled(pl.Callback):
    """Sends the signal within step `at`."""

    def __init__(self, at: int, number: int) -> None:
        self.at, self.number = at, number

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if trainer.global_step == self.at:
            os.kill(os.getpid(), self.number)


MODEL = ModelConfig(path=NAMES["idefics3"], lora_r=2)
TRAIN = TrainConfig(problems_per_step=1, problems_per_batch=1, lr=1e-2, warmup=0.0)


def fitted(out: Path, callbacks: tuple[pl.Callback, ...] = ()) -> FitResult:
    examples = [example for n in range(2, 6) for example in examples_of(n)]
    loaded = load(MODEL, dry_run=True)
    return fit(loaded, examples, train=TRAIN, model=MODEL, out=out, seed=0, callbacks=callbacks, checkpoint_every=0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_fit_keeps_the_steps_it_has_made(tmp_path: Path, number: int) -> None:
    """Stopped in its second step, without checkpoints of its own accord: two losses are kept, and the same call makes
    the other two and ends with the weights and losses of an undisturbed fit."""
    with pytest.raises(Stopped) as stopped, watched():
        fitted(tmp_path / "a", (Signalled(1, number),))
    assert stopped.value.number == number
    assert len((tmp_path / "a" / "losses.csv").read_text().splitlines()) == 3
    assert (tmp_path / "a" / ".fit" / "last.ckpt").exists()
    whole, again = fitted(tmp_path / "b"), fitted(tmp_path / "a")
    assert again.losses == whole.losses
    assert len(again.losses) == 4
    weights = "adapter_model.safetensors"
    assert (again.adapter / weights).read_bytes() == (whole.adapter / weights).read_bytes()
