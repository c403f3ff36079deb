"""The measuring of `r3v bench`: pairs, medians, limits, files; with a clock that is told what to say."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser

import pytest

from r3v.app.commands import bench as bench_commands
from r3v.bench.harness import (
    BenchError,
    Case,
    Growth,
    Result,
    Settings,
    compared,
    exponent,
    in_fresh_process,
    measure,
    resolve,
)
from r3v.bench.table import bar_chart, growth_chart, laws, table, write_charts
from r3v.errors import ConfigError


class Clock:
    """Time goes on only while work is done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: list[float], units: float = 1.0):
        left = iter(seconds)

        def run() -> float:
            self.calls.append(name)
            self.now += next(left)
            return units

        return run


def case(clock: Clock, ours: list[float], peer: list[float], **more) -> Case:
    return Case(
        clock.work("ours", ours, more.pop("ours_units", 1.0)),
        clock.work("peer", peer),
        more.pop("check", lambda: "loss 1 = 1"),
        "the peer",
        **more,
    )


def test_pairs_alternate_and_the_ratio_is_taken_in_each_pair() -> None:
    """Warm-up 9 s and 9 s are left out. Pairs (1, 2), (2, 6), (1, 4): ratios 2, 3, 4; limit 6: half of it."""
    clock = Clock()
    found = measure(case(clock, [9, 1, 2, 1], [9, 2, 6, 4], limit=6.0), Settings(pairs=3), clock=clock)
    assert clock.calls == ["ours", "peer"] * 4
    assert (found.ratio, found.min, found.max) == (3.0, 2.0, 4.0)
    assert (found.limit, found.of_limit) == (6.0, 0.5)
    assert (found.ours_s, found.peer_s, found.pairs, found.check) == (1.0, 4.0, 3, "loss 1 = 1")


def test_ratio_counts_units_of_work() -> None:
    """Ours does 4 units in 2 s, the peer 1 unit in 3 s: 6 times as fast."""
    clock = Clock()
    found = measure(case(clock, [2] * 6, [3] * 6, ours_units=4.0), Settings(warmup=0), clock=clock)
    assert found.ratio == 6.0


def test_a_limit_may_be_found_after_the_pairs() -> None:
    clock = Clock()
    found = measure(case(clock, [1] * 6, [3] * 6, limit=lambda ours, peer: peer / ours + 1), Settings(), clock=clock)
    assert (found.limit, found.of_limit) == (4.0, 0.75)


def test_nothing_is_timed_when_both_differ() -> None:
    def differ() -> str:
        raise BenchError("loss 1 against 2")

    clock = Clock()
    with pytest.raises(BenchError, match="loss 1 against 2"):
        measure(case(clock, [1], [1], check=differ), Settings(), clock=clock)
    assert clock.calls == []


def test_no_work_is_no_speed() -> None:
    clock = Clock()
    with pytest.raises(BenchError, match="ours did 0"):
        measure(case(clock, [1] * 9, [1] * 9, ours_units=0.0), Settings(), clock=clock)


def test_growth_law_by_hand() -> None:
    """y = 3 x^2 has slope 2 in logarithms; one size has none."""
    assert exponent([(1, 3), (2, 12), (4, 48)]) == pytest.approx(2.0)
    assert Growth("G", ((1, 5, None), (10, 50, None))).law() == "seconds grow as G to the power 1.00"
    with pytest.raises(BenchError, match="one size"):
        exponent([(2, 1), (2, 3)])


def test_fresh_process_gives_value_and_its_own_peak(tmp_path, monkeypatch) -> None:
    """80 MB of bytes are written, so they are resident, on top of what an interpreter takes."""
    six, low = in_fresh_process("json:loads", s="6")
    assert six == 6
    code = tmp_path / "filling.py"
    code.write_text("def fill(size):\n    return len(b'x' * size)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found, high = in_fresh_process("filling:fill", size=80_000_000)
    assert found == 80_000_000
    assert 70e6 < high - low < 120e6


def test_failure_in_a_fresh_process_is_shown() -> None:
    with pytest.raises(BenchError, match="found no function 'nothing'"):
        in_fresh_process("math:nothing")


def example() -> dict[str, dict[str, Result]]:
    return {
        "train-step": {
            "G4": Result(2.5, 2.4, 2.6, "TRL <b>", 2.7, 0.926, goal=2.4),
            "G8": Result(3.0, 2.9, 3.1, "TRL", goal=3.4),
        }
    }


GROWTH = Growth("branches", ((1, 1.0, 2e6), (2, 2.0, 3e6)))


def test_laws_say_how_cost_grows() -> None:
    expected = "train-step: seconds grow as branches to the power 1.00 (1: 1 s 2 MB, 2: 2 s 3 MB)"
    assert laws({"train-step": [GROWTH]}) == expected


def test_table_says_whether_goals_are_met() -> None:
    lines = table(example()).splitlines()
    assert lines[2].split() == [
        "train-step",
        "G4",
        "2.50x",
        "2.40x",
        "2.60x",
        "2.70x",
        "93%",
        "2.4x",
        "met",
        "TRL",
        "<b>",
    ]
    assert lines[3].split()[-3:] == ["3.4x", "missed", "TRL"]
    assert len(lines) == 4


def test_charts_are_whole_files(tmp_path) -> None:
    import xml.etree.ElementTree as ET

    paths = write_charts(example(), {"train-step": [GROWTH]}, tmp_path / "bench.json", "cpu")
    names = ["bench.svg", "bench-growth-train-step-0.svg", "bench-growth-train-step-0-memory.svg"]
    assert [p.name for p in paths] == names
    texts = [ET.parse(p).getroot().itertext() for p in paths]
    assert {"2.50x", "against TRL <b>"} <= set(texts[0])
    assert "2.50" in bar_chart(example(), "t")
    assert "2: 3 MB" in growth_chart("t", GROWTH, memory=True)


def command(*argv: str):
    parser = ArgumentParser()
    bench_commands.register(parser.add_subparsers())
    args = parser.parse_args(["bench", *argv])
    return args.handler(args, [])


def test_command_writes_json_table_and_charts(tmp_path, monkeypatch, capsys) -> None:
    import sys
    from types import ModuleType

    fake = ModuleType("fake_bench")
    fake.good = lambda settings: {"K8": compared([2.0, 4.0, 3.0], "generate", limit=4.0)}  # pyright: ignore
    fake.bad = lambda settings: 1 / 0  # pyright: ignore
    monkeypatch.setitem(sys.modules, "fake_bench", fake)
    monkeypatch.setattr(bench_commands, "BENCHMARKS", {"sampler": "fake_bench:good", "data": "fake_bench:bad"})
    path = tmp_path / "bench.json"
    assert command("all", "--json", str(path)) == 1
    found = json.loads(path.read_text())
    assert found["benchmarks"] == {
        "sampler": {
            "K8": {"ratio": 3, "min": 2, "max": 4, "peer": "generate", "limit": 4, "of_limit": 0.75, "pairs": 3}
        }
    }
    assert {"device", "cpu", "versions"} < found.keys()
    out = capsys.readouterr()
    assert "sampler K8" in out.out
    assert "bench data failed: ZeroDivisionError" in out.err
    assert (tmp_path / "bench.svg").exists()
    monkeypatch.setattr(bench_commands, "BENCHMARKS", {"store": "fake_bench:good"})
    assert command("store", "--json", str(path)) == 0
    found = json.loads(path.read_text())["benchmarks"]
    assert list(found) == ["sampler", "store"]
    drawn = (tmp_path / "bench.svg").read_text()
    assert all(name in drawn for name in ("sampler K8", "store K8")), "the chart shows all that the file holds"
    assert Result.of_json(found["store"]["K8"]).as_json() == found["store"]["K8"]
    fake.grown = lambda settings: (GROWTH,)  # pyright: ignore
    monkeypatch.setattr(bench_commands, "GROWTH", {"store": "fake_bench:grown"})
    assert command("store", "--growth", "--json", str(path)) == 0
    both = json.loads(path.read_text())
    assert list(both["benchmarks"]) == ["sampler", "store"], "pairs measured before are kept"
    assert [Growth.of_json(g) for g in both["growth"]["store"]] == [GROWTH]
    assert (tmp_path / "bench-growth-store-0.svg").exists()


@pytest.mark.parametrize("flags", [("store", "--growth"), ("sampler", "--growth", "--device", "cuda")])
def test_growth_that_cannot_be_measured_is_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="growth"):
        command(*flags)


def test_bars_begin_at_one_and_twice_as_fast_is_as_far_as_half_as_fast() -> None:
    """Axis from 1/2 to 2 over the 500 pixels from 190 to 690: 1 stands in the middle, at 440."""
    results = {"a": {"x": Result(2.0, 2.0, 2.0, "p"), "y": Result(0.5, 0.5, 0.5, "p")}}
    bars = re.findall(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)"', bar_chart(results, "t"))
    assert [tuple(map(float, bar)) for bar in bars] == [(440.0, 250.0), (190.0, 250.0)]


def test_command_refuses_few_pairs_and_foreign_files(tmp_path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match="at least 5"):
        command("sampler", "--pairs", "2")
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"device": "tpu", "benchmarks": {}}))
    monkeypatch.setitem(bench_commands.BENCHMARKS, "sampler", "nowhere:measured")  # refused before anything runs
    with pytest.raises(ConfigError, match="another machine"):
        command("sampler", "--json", str(path))
    path.write_text("not json")
    with pytest.raises(ConfigError, match="no bench file"):
        command("sampler", "--json", str(path))
    assert path.read_text() == "not json"


def test_benchmark_functions_are_named_where_they_are() -> None:
    """Modules are found without being imported: each file has a function of that name."""
    import ast
    from importlib.util import find_spec

    for target in bench_commands.BENCHMARKS.values():
        module, name = target.split(":")
        spec = find_spec(module)
        assert spec is not None, module
        assert spec.origin is not None
        with open(spec.origin, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, target
    with pytest.raises(BenchError, match="no function 'nothing'"):
        resolve("math:nothing")
