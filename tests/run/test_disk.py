"""Room: what a round needs, who is refused, and what old rounds give up."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest
from loop_fakes import World, config

from r3v.errors import RunError
from r3v.reflection.loop import train
from r3v.run import disk
from r3v.settings.tree import set_field

Usage = namedtuple("Usage", "total used free")


def filled(folder: Path, **sizes: int) -> Path:
    for name, size in sizes.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return folder


def test_a_round_needs_what_the_largest_before_it_took(tmp_path: Path) -> None:
    """The second took 100 + 40, its adapter (40) stands there four times in a fit; a first round what it is said to."""
    small = filled(tmp_path / "a", pool=10)
    large = filled(tmp_path / "b", pool=100, adapter__weights=40)
    assert disk.of_a_round([small, large], {}) == {"files as in the rounds before": 140, "checkpoints of the fit": 120}
    assert disk.of_a_round([], {"samples": 7}) == {"samples": 7}
    assert disk.samples(problems=10, k=4, max_new_tokens=100) == 48_000


def test_a_round_that_does_not_fit_is_refused_with_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: Usage(0, 0, 3 * 2**20))
    disk.afford(tmp_path, "round 2", {"samples": 3 * 2**20})
    with pytest.raises(RunError, match=r"round 2 needs about 5 MiB \(samples 4 MiB, adapter 1 MiB\), found 3 MiB free"):
        disk.afford(tmp_path, "round 2", {"samples": 4 * 2**20, "nothing": 0, "adapter": 2**20})


def test_a_run_is_refused_before_its_round_starts_and_goes_on_with_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: Usage(0, 0, 100))
    with pytest.raises(RunError, match=r"round 1 needs about .* \(samples .*, evaluation .*\), found 100 B free"):
        train(config(tmp_path, rounds=1), world.stages(), say=lambda _: None)
    assert world.calls == ["gate 0", "evaluate 0"]
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: Usage(0, 0, 2**30))
    assert train(config(tmp_path, rounds=1), world.stages(), say=lambda _: None)["accepted_round"] == 1


def test_pruning(tmp_path: Path) -> None:
    """Of rounds 0 to 4 the newest two stay, round 1 is needed: 0 and 2 give up what is named, and nothing else."""
    rounds = {n: filled(tmp_path / str(n), adapter__weights=5, report=3) for n in range(5)}
    assert disk.prune(rounds, None, (), ("adapter",)) == 0
    assert disk.prune(rounds, 2, {1}, ("adapter", "missing")) == 10
    assert [(folder / "adapter").exists() for folder in rounds.values()] == [False, True, False, True, True]
    assert all((folder / "report").exists() for folder in rounds.values())


def test_a_run_keeps_what_it_needs(tmp_path: Path) -> None:
    """Gate 0.5, 0.9, 0.85, 0.8, 0.7 of 20 problems: all accepted (at most four lost of the best), so 4 is the newest
    and 1 the best. With two rounds kept, 2 gives up its adapter; the samples stay, because the pool is cumulative."""
    world, said = World(gates=(0.5, 0.9, 0.85, 0.8, 0.7)), []
    settings = set_field(config(tmp_path, rounds=4), "run.keep_rounds", 2)
    assert train(settings, world.stages(), say=said.append)["accepted_round"] == 4
    assert [n for n in range(1, 5) if (tmp_path / f"round_{n:02d}" / "adapter").exists()] == [1, 3, 4]
    assert all((tmp_path / f"round_{n:02d}" / "candidates").exists() for n in range(1, 5))
    assert any("of older rounds (run.keep_rounds)" in line for line in said)
    newest = set_field(set_field(settings, "build.pool", "newest"), "run.dir", str(tmp_path / "newest"))
    train(newest, World(gates=world.gates).stages(), say=said.append)
    folders = [tmp_path / "newest" / f"round_{n:02d}" for n in range(1, 5)]
    assert [(f / "candidates").exists() for f in folders] == [True, False, True, True]


@pytest.mark.parametrize(("count", "told"), [(0, "0 B"), (1023, "1.02e+03 B"), (1536, "1.5 KiB"), (2**40, "1 TiB")])
def test_bytes(count: int, told: str) -> None:
    assert disk.bytes_(count) == told
