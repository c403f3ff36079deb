"""Fits in several processes: every strategy gives the fit of one process, survives a killed rank and resumes with
another number of processes. Two gloo processes on the CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from places import python_path
from safetensors.torch import load_file
from tiny_models import NAMES
from training_callbacks import KillRank
from training_examples import examples_of

from r3v.errors import ConfigError, DataError, RunError
from r3v.policies.model.loading import load
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training.fit import FitResult, fit

MODEL = ModelConfig(path=NAMES["idefics3"], lora_r=4, lora_alpha=8, lora_dropout=0.0, device="cpu")
EXAMPLES = [e for n in range(2, 9) for e in examples_of(n)]
ONE = TrainConfig(problems_per_step=2, problems_per_batch=2, lr=1e-2, warmup=0.1, epochs=2.0)
"""7 problems, 2 a step, 2 epochs: 8 steps, of which the last of an epoch has one problem for two processes."""
DDP, FSDP = replace(ONE, strategy="ddp", devices=2), replace(ONE, strategy="fsdp", devices=2)
pytestmark = pytest.mark.slow


def run(out: Path, train: TrainConfig, *callbacks: KillRank) -> FitResult:
    return fit(
        None, EXAMPLES, train=train, model=MODEL, out=out, seed=3, checkpoint_every=2, callbacks=callbacks, dry_run=True
    )


def in_process(out: Path) -> FitResult:
    base = load(MODEL, dry_run=True)
    return fit(base, EXAMPLES, train=ONE, model=MODEL, out=out, seed=3, checkpoint_every=2)


def assert_same(found: FitResult, expected: FitResult) -> None:
    """Losses of every step, the adapter, and the counts of tokens: a batch lost or seen twice would change all."""
    assert found.losses == pytest.approx(expected.losses, rel=1e-4)
    assert (found.steps, found.tokens, found.tokens_target) == (8, expected.tokens, expected.tokens_target)
    a, b = (load_file(r.adapter / "adapter_model.safetensors") for r in (expected, found))
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, atol=5e-4, rtol=2e-3, msg=name)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return in_process(tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("train", [DDP, FSDP], ids=["ddp", "fsdp"])
def test_two_processes_give_the_fit_of_one(train: TrainConfig, expected: FitResult, tmp_path: Path) -> None:
    found = run(tmp_path, train)
    assert_same(found, expected)
    assert found.fused
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "fit.json", "losses.csv"]
    assert run(tmp_path, ONE) == found, "finished, whatever the strategy asked for now"


@pytest.mark.parametrize(
    ("before", "rank", "after"),
    [(DDP, 1, ONE), (DDP, 0, FSDP), (FSDP, 1, DDP), (FSDP, 1, ONE)],
    ids=["ddp-to-one", "ddp-to-fsdp", "fsdp-to-ddp", "fsdp-to-one"],
)
def test_a_killed_rank_ends_the_fit_and_any_strategy_resumes_it(
    before: TrainConfig, rank: int, after: TrainConfig, expected: FitResult, tmp_path: Path
) -> None:
    """Killed in the sixth step, after the checkpoint of the fourth: the error names the rank and the signal."""
    with pytest.raises(RunError, match=rf"rank {rank} of 2 was killed by signal 9 .*the last checkpoint is kept"):
        run(tmp_path, before, KillRank(rank, 5))
    assert (tmp_path / ".fit" / "last.ckpt").is_file()
    assert not (tmp_path / "adapter").exists()
    assert_same(in_process(tmp_path) if after is ONE else run(tmp_path, after), expected)


@pytest.mark.parametrize("after", [DDP, FSDP], ids=["one-to-ddp", "one-to-fsdp"])
def test_a_fit_of_one_process_goes_on_in_two(after: TrainConfig, expected: FitResult, tmp_path: Path) -> None:
    """One process with a problem a batch (two batches a step), killed; two processes with one batch a step go on."""
    code = (
        "from test_training_workers import *\n"
        "base = load(MODEL, dry_run=True)\n"
        "fit(base, EXAMPLES, train=replace(ONE, problems_per_batch=1), model=MODEL, out=sys.argv[1], seed=3, "
        "checkpoint_every=2, callbacks=[KillRank(0, 5)])\n"
    )
    path = python_path(Path(__file__).parent)
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": path}).returncode == -signal.SIGKILL
    assert_same(run(tmp_path, replace(after, problems_per_batch=1)), expected)


def test_workers_end_with_their_starter(tmp_path: Path) -> None:
    """The starter is killed with SIGKILL: no process is left that would go on writing into the folder."""
    code = (
        "from test_training_workers import *\n"
        "run(Path(sys.argv[1]), replace(DDP, epochs=10000.0))\n"
    )  # fmt: skip
    path = python_path(Path(__file__).parent)
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    try:
        wait_for(lambda: (tmp_path / ".fit" / "last.ckpt").exists())
        assert len(workers_of(tmp_path)) == 2
    finally:
        starter.kill()
        starter.wait()
    wait_for(lambda: not workers_of(tmp_path))


def wait_for(happened) -> None:
    end = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


def workers_of(out: Path) -> list[str]:
    """Living processes with this fit's folder on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"r3v.training.rank" in words and str(out / ".fit").encode() in words:
            found.append(path.parent.name)
    return found


def test_an_error_of_a_worker_is_the_fits_error(tmp_path: Path) -> None:
    broken = [replace(e, weight=float("inf")) for e in EXAMPLES]
    with pytest.raises(RunError, match="expected a finite number"):
        fit(None, broken, train=DDP, model=MODEL, out=tmp_path, seed=3, checkpoint_every=2, dry_run=True)
    with pytest.raises(DataError, match="no training example"):
        fit(None, [], train=DDP, model=MODEL, out=tmp_path, seed=3, dry_run=True)
    with pytest.raises(ConfigError, match="must be picklable"):
        fit(None, EXAMPLES, train=DDP, model=MODEL, out=tmp_path, seed=3, logger=lambda: None, dry_run=True)
