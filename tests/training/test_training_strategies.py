"""Names of strategies, and the order of the data when the number of devices changes. No process is started."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, StrategyRegistry
from test_training_fit import EXAMPLES, MODEL, TRAIN, KillAt, Killed

from r3v.errors import ConfigError, RunError
from r3v.policies.model.loading import load
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training.fit import fit
from r3v.training.keeper import Keeper, take_place
from r3v.training.layout.trie import TrieStats
from r3v.training.loader import BatchMaker, StepLoader
from r3v.training.strategies import ShardedStrategy, check_strategy, count_in_steps, lightning_strategy, wants_workers


@dataclass(frozen=True)
class Named:
    """Stands for a batch: the problems in it."""

    problems: tuple[int, ...]
    stats: Any = None
    step_denominators_K: Any = field(default=None, compare=False)


def seen(world: int, accumulate: int, start_step: int, stop_step: int) -> list[list[int]]:
    """Problems of every step, over all devices, of a pass that begins and ends at these steps."""
    maker = BatchMaker(
        trie=lambda group: (group[0], TrieStats()),  # pyright: ignore[reportArgumentType]
        collate=lambda tries: Named(tuple(tries)),  # pyright: ignore[reportArgumentType]
        counts=lambda batch: torch.tensor([float(len(batch.problems))]),  # pyright: ignore[reportAttributeAccessIssue]
    )
    steps: list[list[int]] = [[] for _ in range(stop_step - start_step)]
    for rank in range(world):
        loader = StepLoader(
            groups=[[n] for n in range(10)],  # pyright: ignore[reportArgumentType]
            maker=maker, per_step=4, seed=5, world=world, rank=rank, accumulate=accumulate, epochs=2.0, cache_bytes=0,
            place=lambda: (0, start_step * accumulate),
        )  # fmt: skip
        loader._sizes = [1] * 10
        for n, batch in enumerate(loader):
            if n // accumulate < len(steps):
                steps[n // accumulate] += batch.problems  # pyright: ignore[reportAttributeAccessIssue]
    return [sorted(step) for step in steps]


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (1, 4), (2, 1), (2, 3), (5, 1)])
def test_the_order_goes_on_with_another_number_of_devices(world: int, accumulate: int, monkeypatch) -> None:
    """10 problems, 4 a step, 2 epochs: 6 steps of which each epoch's three hold every problem once. Stopped after
    step 2 on one device and resumed on others: the same steps."""
    monkeypatch.setattr("r3v.training.loader._size", lambda group: 1)
    monkeypatch.setattr("r3v.training.loader._bytes", lambda trie: 0)
    whole = seen(1, 1, 0, 6)
    assert sorted(whole[0] + whole[1] + whole[2]) == sorted(whole[3] + whole[4] + whole[5]) == list(range(10))
    assert seen(1, 1, 0, 2) + seen(world, accumulate, 2, 6) == whole


def checkpoint(batches: int) -> dict[str, Any]:
    counts = {"ready": batches, "completed": batches - 1, "started": batches, "processed": batches}
    progress = {"total": dict(counts), "current": dict(counts), "is_last_batch": False}
    return {"loops": {"fit_loop": {"epoch_loop.batch_progress": progress}}}


def test_batch_numbers_follow_the_number_of_batches_in_a_step() -> None:
    """12 batches at 3 a step are 4 steps, which are 8 batches at 2 a step; 13 are inside a step."""
    state = checkpoint(12)
    count_in_steps(state, 3, 2)
    assert state == checkpoint(8)
    with pytest.raises(ConfigError, match="13 batches, inside a step of 3"):
        count_in_steps(checkpoint(13), 3, 2)


def test_killed_in_one_process_and_resumed_in_two(tmp_path: Path) -> None:
    """A step of two batches in one process goes on as one batch in each of two forked ones; dropout off, so the
    losses agree."""
    model = replace(MODEL, lora_dropout=0.0)
    train = replace(TRAIN, problems_per_batch=1, epochs=1.0)
    two = replace(train, strategy="ddp_fork", devices=2)
    options: dict[str, Any] = {"model": model, "seed": 3, "checkpoint_every": 2}
    undisturbed = fit(load(model, dry_run=True), EXAMPLES, train=train, out=tmp_path / "a", **options)
    with pytest.raises(Killed):
        fit(load(model, dry_run=True), EXAMPLES, train=train, out=tmp_path / "b", callbacks=[KillAt(3)], **options)
    found = fit(load(model, dry_run=True), EXAMPLES, train=two, out=tmp_path / "b", **options)
    assert found.losses == pytest.approx(undisturbed.losses, rel=1e-4)
    assert (found.steps, found.tokens, found.dropped) == (4, undisturbed.tokens, {})


def test_what_runs_in_processes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def wants(strategy: str, devices: int) -> bool:
        return wants_workers(TrainConfig(strategy=strategy, devices=devices))

    assert [wants("auto", 1), wants("ddp", 1), wants("ddp_fork", 2), wants("ddp_spawn", 2)] == [False] * 4
    assert [wants("auto", 2), wants("ddp", 2), wants("fsdp", 1), wants("fsdp2", 2), wants("deepspeed", 2)] == [True] * 5
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a rank of torchrun")
    assert not wants("fsdp", 2)


def test_names_of_strategies() -> None:
    assert isinstance(lightning_strategy("fsdp", 2), ShardedStrategy)
    assert (lightning_strategy("auto", 2), lightning_strategy("auto", 1)) == ("ddp", "auto")
    for name in ("auto", "ddp", "ddp_fork", "fsdp", "fsdp2"):
        check_strategy(TrainConfig(strategy=name), ModelConfig())
    with pytest.raises(ConfigError, match=r"found 'dpp', expected one of auto, fsdp, fsdp2, ddp"):
        check_strategy(TrainConfig(strategy="dpp"), ModelConfig())
    with pytest.raises(ConfigError, match="quantised"):
        check_strategy(TrainConfig(strategy="fsdp"), ModelConfig(quantization="nf4"))
    with pytest.raises(ConfigError, match="dpo"):
        check_strategy(TrainConfig(strategy="fsdp2", loss="dpo"), ModelConfig())
    with pytest.raises(ConfigError, match="found 0, expected at least 1"):
        check_strategy(TrainConfig(devices=0), ModelConfig())


def test_deepspeed_is_named_when_it_is_missing(tmp_path: Path) -> None:
    if importlib.util.find_spec("deepspeed") is not None:
        pytest.skip("deepspeed is installed")
    train = TrainConfig(strategy="deepspeed_stage_2", devices=2)
    with pytest.raises(ConfigError, match="'deepspeed_stage_2' needs DeepSpeed, which is not installed: pip install"):
        fit(None, EXAMPLES, train=train, model=MODEL, out=tmp_path, seed=0, dry_run=True)
    assert list(tmp_path.iterdir()) == []


def test_deepspeed_gets_its_own_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in takes the place of the package, so only what Lightning's strategy is given can be seen."""
    package = tmp_path / "deepspeed"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import logging as real\nclass utils:\n    class logging:\n        logger = real.getLogger(__name__)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "deepspeed", importlib.import_module("deepspeed"))
    for name in ("_DEEPSPEED_AVAILABLE", "_DEEPSPEED_GREATER_EQUAL_0_16"):
        monkeypatch.setattr(f"pytorch_lightning.strategies.deepspeed.{name}", True)
    file = tmp_path / "ds.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    strategy = lightning_strategy(f"deepspeed:{file}", 2)
    assert isinstance(strategy, DeepSpeedStrategy)
    assert strategy.config == {"zero_optimization": {"stage": 2}}
    assert lightning_strategy("deepspeed_stage_3", 2) in StrategyRegistry.available_strategies()
    with pytest.raises(ConfigError, match="expected a DeepSpeed configuration"):
        lightning_strategy("deepspeed:nowhere.json", 2)
    with pytest.raises(ConfigError, match="found 'deepspeed_stage_7'"):
        lightning_strategy("deepspeed_stage_7", 2)
    monkeypatch.undo()
    sys.modules.pop("deepspeed", None)


def test_a_checkpoint_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """DeepSpeed's checkpoints are folders; killed between the two renames, the old one is found."""
    keeper = Keeper(tmp_path, "f", 1)
    target, new = keeper.checkpoint, keeper.checkpoint.with_suffix(".writing")
    for content in ("first", "second"):
        new.mkdir(parents=True)
        (new / "state").write_text(content)
        take_place(new, target)
        assert (target / "state").read_text() == content
    assert [p.name for p in target.parent.iterdir()] == ["last.ckpt"]
    target.rename(target.with_suffix(".old"))
    with pytest.raises(RunError, match="another fit"):
        keeper.resume()
    assert (target / "state").read_text() == "second"
