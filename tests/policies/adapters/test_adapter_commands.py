"""Every command that loads an adapter refuses the same ones, before any work is spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from adapter_folders import changed, taught_otherwise, written
from fake_server import FakeServer
from training_examples import examples_of

from r3v.app.cli import main
from r3v.curriculum.reinforce.config import ReinforceConfig
from r3v.curriculum.reinforce.learner import Learner
from r3v.errors import ModelError
from r3v.policies.model.adapters.taught import AdapterWarning, Usage, read_taught, taught_with
from r3v.policies.model.loading import load
from r3v.policies.server.policy import OpenAIPolicy
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.settings.server import ServerConfig
from r3v.training.fit import fit

CONFIG = ModelConfig(prompt_style="short", lora_r=2)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(load(CONFIG), CONFIG, tmp_path_factory.mktemp("sound") / "adapter", std=0.02)


@pytest.fixture(scope="module")
def half(sound: Path) -> Path:
    return changed(sound, sound.parent / "half", weights=lambda w: {k: v for k, v in w.items() if "lora_B" not in k})


@pytest.fixture(scope="module")
def other_pictures(sound: Path) -> Path:
    return taught_otherwise(sound, sound.parent / "other", max_pixels=602112)


COMMANDS: dict[str, list[str]] = {
    "eval": ["eval", "--data", "geoworld:test", "--limit", "1", "--adapter", "{bad}"],
    "select": ["select", "--data", "geoworld:test", "--limit", "1", "--adapter", "{bad}"],
    "sample": ["sample", "--data", "geoworld:test", "--limit", "1", "--adapter", "{bad}", "--out", "{out}/pool"],
    "serve": ["serve", "--port", "0", "--adapter", "{bad}"],
    "export": ["export", "--adapter", "{bad}", "--out", "{out}/merged"],
    "chooser": ["eval", "--data", "geoworld:test", "--limit", "1", "--adapter", "{good}", "--select.adapter", "{bad}"],
    "chooser beside the base": ["eval", "--data", "geoworld:test", "--limit", "1", "--select.adapter", "{bad}"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["half", "other pictures"])
def test_every_command_refuses_it(
    command: str, what: str, sound: Path, half: Path, other_pictures: Path, tmp_path: Path, capsys: Any
) -> None:
    bad, said = (half, "are missing") if what == "half" else (other_pictures, "expected 602112")
    words = [word.format(bad=bad, good=sound, out=tmp_path) for word in COMMANDS[command]]
    if command.startswith("chooser"):
        words += ["--select.target", "solution", "--build.select_target", "solution"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert str(bad) in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["half", "other pictures"])
def test_training_does_not_go_on_with_it(what: str, half: Path, other_pictures: Path, tmp_path: Path) -> None:
    """A round that continues an adapter (also when a run is resumed), and reinforcement."""
    bad, said = (half, "are missing") if what == "half" else (other_pictures, "expected 602112")
    base = load(CONFIG)
    with pytest.raises(ModelError, match=said):
        fit(base, examples_of(1), train=TrainConfig(), model=CONFIG, out=tmp_path / "fit", seed=0, adapter=bad)
    with pytest.raises(ModelError, match=said):
        Learner(ReinforceConfig(model=replace(CONFIG, adapter=str(bad))), base)
    assert not (tmp_path / "fit" / "adapter").exists()


def test_a_fit_writes_what_it_was_taught_with(tmp_path: Path) -> None:
    base = load(CONFIG)
    usage = Usage("solution", "r3v 2")
    train = TrainConfig(max_steps=1, precision="32-true")
    done = fit(base, examples_of(1), train=train, model=CONFIG, out=tmp_path / "fit", seed=0, usage=usage)
    assert read_taught(done.adapter) == taught_with(replace(base, usage=usage), "32-true")


@pytest.mark.parametrize("what", ["half", "other pictures"])
def test_a_server_is_not_told_to_load_it(what: str, other_pictures: Path, sound: Path, tmp_path: Path) -> None:
    """A server reads the weights itself; what can be known without its base is known before it is asked."""
    cut = changed(sound, tmp_path / "cut")
    (cut / "adapter_model.safetensors").write_bytes(b"")
    bad, said = (cut, "no whole safetensors file") if what == "half" else (other_pictures, "expected 602112")
    with FakeServer() as server:
        config = ServerConfig(url=server.url, model="base")
        with pytest.raises(ModelError, match=said):
            OpenAIPolicy.from_config(config, replace(CONFIG, adapter=str(bad)))
        assert server.requests == []
        limited = replace(config, extra={"mm_processor_kwargs": {"max_pixels": 602112}})
        with OpenAIPolicy.from_config(limited, replace(CONFIG, adapter=str(other_pictures))):
            assert list(server.adapters.values()) == [str(other_pictures)]


def test_an_adapter_of_0_1_goes_on(no_network: list[str]) -> None:
    """Its weights are whole, and nobody knows what it was taught with: one notice, and it answers."""
    from places import ROOT

    folder = ROOT / "tests" / "run" / "run_0_1" / "round_01" / "adapter"
    with pytest.warns(AdapterWarning, match=r"has no r3v_adapter\.json") as told:
        loaded = load(replace(CONFIG, adapter=str(folder)), dry_run=True)
    assert len(told) == 1
    assert hasattr(loaded.model, "peft_config")
    assert not no_network
