"""The benchmarks of reading and of the notebook: what they compare is checked, and ratios point the right way."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from r3v.bench import data as data_bench
from r3v.bench import store as store_bench
from r3v.bench.harness import BenchError, Settings
from r3v.notebook.retrieval.retrieve import Retriever

QUICK = Settings(pairs=1, warmup=0)


def test_a_visit_reads_every_problem_every_time(tmp_path: Path) -> None:
    path = data_bench.write(tmp_path, 10)
    visited, seconds, peak = data_bench.visit(str(path), passes=3, pictures=5)
    assert visited == 30
    assert seconds > 0
    assert 1e6 < peak < 1e11
    (tmp_path / "figure.png").unlink()
    with pytest.raises(Exception, match=r"figure\.png"):
        data_bench.visit(str(path), passes=1, pictures=1)


def test_growing_memory_and_time_are_ratios_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 to 25 MB is a ratio of 0.8, 30 to 60 us a problem one of 0.5; the goal is 1/1.1."""
    figures = {1_000: (3e-5, 20e6), 100_000: (6e-5, 25e6)}
    monkeypatch.setattr(data_bench, "_visit", lambda path, n, visits: figures[n])
    monkeypatch.setattr(data_bench, "write", lambda folder, n: folder / f"{n}.jsonl")
    found = data_bench.data(replace(QUICK, pairs=3))
    assert found["memory"].ratio == found["memory"].of_limit == pytest.approx(0.8)
    assert found["time"].ratio == pytest.approx(0.5)
    assert (found["time"].pairs, found["time"].goal) == (3, pytest.approx(1 / 1.1))
    assert found["memory"].details["peak_bytes"] == 25e6


def test_growth_names_seconds_and_bytes_of_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same 40 us a problem at 1,000, 10,000 and 100,000: seconds grow with the power 1."""
    monkeypatch.setattr(data_bench, "_visit", lambda path, n, visits: (4e-5, 21e6))
    monkeypatch.setattr(data_bench, "write", lambda folder, n: folder / f"{n}.jsonl")
    (growth,) = data_bench.growth(QUICK)
    assert [x for x, _, _ in growth.points] == [1_000, 10_000, 100_000]
    assert growth.points[-1][1:] == (pytest.approx(4.0), 21e6)
    assert growth.law().endswith("1.00")


def test_a_small_notebook_is_measured_for_real() -> None:
    """Real files: 60 notes, the same best notes as brute force, milliseconds told."""
    found = store_bench.store(QUICK, notes=60)
    assert set(found) == {"retrieve", "commit"}
    for name, goal in (("retrieve", 2.0), ("commit", 10.0)):
        details = found[name].details
        assert (details["notes"], details["goal_ms"]) == (60, goal)
        ms = float(details["ms"])
        assert ms > 0
        assert 0 < float(details["cpu_ms"]) < 1e4
        assert details["reached"] == ("yes" if ms < goal else "no")
        assert found[name].limit is not None
    assert "8 questions" in found["retrieve"].check


def test_notes_that_brute_force_does_not_find_stop_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Retriever.retrieve
    monkeypatch.setattr(Retriever, "retrieve", lambda self, problems: [hits[1:] for hits in real(self, problems)])
    with pytest.raises(BenchError, match="find different notes for q0"):
        store_bench.store(QUICK, notes=20)


def test_the_words_of_notes_are_seeded() -> None:
    first, second = (store_bench._note(random.Random(4), 0) for _ in range(2))
    assert first == second
    assert len(first.guidance.split()) == 24
