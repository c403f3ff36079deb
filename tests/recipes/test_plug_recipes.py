"""The plug-in recipes train geoworld-tiny to the same loss curve, each in its own trainer."""

from __future__ import annotations

import importlib
import importlib.util
import warnings

import pytest

from r3v.recipes import plug_common
from r3v.recipes.plug_common import Settings

SETTINGS = Settings(steps=3, problems_per_step=2)
TOLERANCE = 2e-4
"""Relative; float32 sums in another order, three AdamW steps, and four decimals in the trainers' logs."""


def losses_of(name: str) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"r3v.recipes.{name}").train(SETTINGS)


@pytest.fixture(scope="module")
def fused() -> list[float]:
    """The curve of the plain loop on prefix tries."""
    losses = losses_of("plug_torch")
    assert len(losses) == SETTINGS.steps
    assert all(0.0 < loss < 20.0 for loss in losses)
    assert len(set(losses)) == SETTINGS.steps
    return losses


@pytest.mark.parametrize("name", ["plug_hf_trainer", "plug_hf_fused", "plug_lightning", "plug_trl"])
def test_same_curve(name: str, fused: list[float]) -> None:
    if name == "plug_trl" and importlib.util.find_spec("trl") is None:
        pytest.skip("trl is not installed (pip install 'r3v[bench]')")
    assert losses_of(name) == pytest.approx(fused, rel=TOLERANCE)


def test_the_curve_depends_on_the_learning_rate(fused: list[float]) -> None:
    """Equal curves would mean nothing if the steps changed nothing."""
    slower = importlib.import_module("r3v.recipes.plug_torch").train(Settings(3, 2, lr=1e-5))
    assert slower[0] == pytest.approx(fused[0], rel=1e-6)
    assert slower[-1] > fused[-1] * (1 + 50 * TOLERANCE)


def test_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags become settings; the loss of every step and a summary are printed."""
    monkeypatch.setattr(
        "sys.argv", ["plug", "--steps", "2", "--problems-per-step", "3", "--lr", "0.5", "--model", "smolgeo"]
    )
    seen: list[Settings] = []

    def train(settings: Settings) -> list[float]:
        seen.append(settings)
        return [2.0, 1.0]

    plug_common.main(train, "documentation")
    assert seen == [Settings(2, 3, 0.5, "smolgeo")]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["step   0  loss 2.0000", "step   1  loss 1.0000"]
    assert lines[2].endswith("2.0000 -> 1.0000")
