"""The simulated operating characteristics: against exact figures, and against the promises of the gate."""

from __future__ import annotations

import itertools
import math

import pytest

from r3v.errors import ConfigError
from r3v.notebook.gate.gate import GateConfig
from r3v.notebook.gate.power import Scene, accept_rate


def more_wins(n: int, win: float, loss: float) -> float:
    """P(wins > losses) of n items, exactly."""
    total = 0.0
    for w, low in itertools.product(range(n + 1), repeat=2):
        if w > low and w + low <= n:
            ways = math.comb(n, w) * math.comb(n - w, low)
            total += ways * win**w * loss**low * (1 - win - loss) ** (n - w - low)
    return total


@pytest.mark.parametrize(("effect", "published"), [(0.0, 0.39), (0.05, 0.56), (-0.05, 0.23)])
def test_paper_rule_is_the_published_multinomial(effect: float, published: float) -> None:
    exact = more_wins(16, (0.2 + effect) / 2, (0.2 - effect) / 2)
    assert round(exact, 2) == published
    found = accept_rate(GateConfig(kind="m2note-paper"), Scene(effect=effect, pool=0), n=1000)
    assert abs(found["accept"] - exact) < 4 * math.sqrt(exact * (1 - exact) / 1000)
    assert found["ci95"][0] <= found["accept"] <= found["ci95"][1]


@pytest.mark.parametrize("world", ["flips", "items"])
def test_paired_gate_keeps_its_promises(world: str) -> None:
    rates = {
        effect: accept_rate(GateConfig(), Scene(effect=effect, world=world, pool=128), n=n)  # type: ignore[arg-type]
        for effect, n in ((0.0, 600), (-0.05, 200), (0.1, 300))
    }
    assert rates[0.0]["ci95"][0] <= 0.05
    assert rates[-0.05]["ci95"][0] <= 0.01
    assert rates[0.1]["ci95"][0] >= 0.6
    assert all(rate["pairs"] <= 128 for rate in rates.values())


def test_a_row_of_trials_keeps_the_promise_of_one() -> None:
    """Without spending, five trials at 5 % would accept about one do-nothing edit in six."""
    row = accept_rate(GateConfig(), Scene(pool=128), n=400, trials=5)
    assert row["ci95"][0] <= 0.05
    assert row["accept"] == pytest.approx(sum(row["by_trial"]))
    first = accept_rate(GateConfig(), Scene(pool=128), n=400)
    assert first["by_trial"] == [first["accept"]]
    again = accept_rate(GateConfig(), Scene(effect=0.1, pool=128), n=60, trials=2)
    assert again["by_trial"][1] > 0, "a useful edit has a second chance"


def test_sparse_edits_are_easier_to_judge() -> None:
    """Ten points over all problems are forty on the quarter that the edit touches."""
    scene = Scene(effect=0.1, touched=0.25, world="items")
    assert accept_rate(GateConfig(), scene, n=100)["ci95"][0] > 0.8


def test_an_outage_of_half_the_solves_accepts_nothing() -> None:
    assert accept_rate(GateConfig(), Scene(effect=0.2, outage=0.5), n=40)["accept"] == 0.0


def test_same_seed_same_figure() -> None:
    a, b = (accept_rate(GateConfig(), Scene(pool=40), n=20, seed=3) for _ in range(2))
    assert a == b


@pytest.mark.parametrize(
    "scene",
    [Scene(effect=5), Scene(effect=0.1, touched=0.25), Scene(world="moon"), Scene(noise=0.6, world="items"),  # type: ignore[arg-type]
     Scene(outage=1.0)],
)  # fmt: skip
def test_impossible_scenes_are_named(scene: Scene) -> None:
    with pytest.raises(ConfigError, match="found"):
        accept_rate(GateConfig(), scene, n=1)


@pytest.mark.parametrize("counts", [{"n": 0}, {"n": 1, "trials": 0}])
def test_nothing_to_simulate_is_an_error(counts: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        accept_rate(GateConfig(), Scene(), **counts)
