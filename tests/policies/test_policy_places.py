"""What is no model is named for what it is, and nothing that is asked for here reaches out to a hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from r3v.data import load as load_problems
from r3v.errors import DataError, ModelError
from r3v.policies.model.loading import encoder_of, load
from r3v.settings.config import ModelConfig


@pytest.fixture(params=["hub off", "hub on"])
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, no_network: list[str]) -> list[str]:
    """What tried to reach out, with the hub switched off and with it switched on."""
    import datasets.config
    from huggingface_hub import constants

    on = request.param == "hub on"
    monkeypatch.setenv("HF_HUB_OFFLINE", "0" if on else "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", not on)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", not on)
    return no_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as a folder: geoworld-tiny."""
    from r3v.policies.model.loading import resolve

    folder = tmp_path_factory.mktemp("model") / "model"
    shutil.copytree(resolve("geoworld-tiny"), folder)
    return folder


def lost(folder: Path, target: Path, *names: str) -> Path:
    """A copy of a model without the files of these names."""
    shutil.copytree(folder, target)
    for name in names:
        for path in target.glob(name):
            path.unlink()
    return target


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("config.json",), "found no config.json in"),
        (("*.safetensors",), "cannot load model|found no"),
        (("tokenizer*", "special_tokens_map.json", "vocab*", "merges*"), "cannot load model|the processor of"),
        (("processor_config.json", "preprocessor_config.json"), "cannot load model|the processor of"),
        (("*",), "found no config.json in"),
    ],
)
def test_a_folder_that_lacks_something_asks_no_hub(
    names: tuple[str, ...], said: str, model: Path, tmp_path: Path, hub: list[str]
) -> None:
    with pytest.raises(ModelError, match=said):
        load(ModelConfig(path=str(lost(model, tmp_path / "lost", *names))))
    assert not hub


def test_a_whole_folder_asks_no_hub(model: Path, hub: list[str]) -> None:
    load(ModelConfig(path=str(model)))
    encoder_of(ModelConfig(path=str(model)))
    assert not hub


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "nowhere",
            "found no folder nowhere, expected .* or geoworld-tiny or smolgeo; check the path",
        ),
        ("geoworld-tinny", "found no folder geoworld-tinny, .*did you mean geoworld-tiny"),
        ("/nowhere/at/all", "found no folder /nowhere/at/all"),
        ("./models/mine", "found no folder ./models/mine"),
        ("tests/mine", "found no folder tests/mine"),
        ("README.md", "found the file README.md, expected the folder of a model"),
    ],
)
def test_a_path_that_is_nowhere_is_not_called_a_hub_name(
    path: str, said: str, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from places import ROOT

    monkeypatch.chdir(ROOT)
    with pytest.raises(ModelError, match=said):
        load(ModelConfig(path=path))
    with pytest.raises(ModelError, match=said):
        encoder_of(ModelConfig(path=path))
    assert not hub


def test_llama_3_2_vision_is_refused_by_name(tmp_path: Path, hub: list[str]) -> None:
    """Before its weights are looked for."""
    (tmp_path / "config.json").write_text('{"model_type": "mllama"}')
    with pytest.raises(ModelError, match=r"is of the family mllama, which does not work here: .*behind a server"):
        load(ModelConfig(path=str(tmp_path)))
    assert not hub


def test_a_hub_name_is_asked_for_only_with_the_hub_switched_on(
    monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    for value in ("1", None):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1") if value else monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        for opens in (load, encoder_of):
            with pytest.raises(ModelError, match=r"no folder somebody/some-model here and no copy .* HF_HUB_OFFLINE=0"):
                opens(ModelConfig(path="somebody/some-model"))
    assert not no_network


def test_the_guard_sees_who_asks_the_hub(monkeypatch: pytest.MonkeyPatch, no_network: list[str]) -> None:
    """With the hub switched on and a name of its own, it is asked."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda _: None)  # it is asked again and again
    with pytest.raises(ModelError, match="cannot fetch model 'somebody/some-model' from the hub"):
        load(ModelConfig(path="somebody/some-model"))
    assert any("huggingface" in what for what in no_network)


ABSENT: dict[str, Callable[[Path], str]] = {
    "jsonl": lambda folder: f"jsonl:{folder / 'none.jsonl'}",
    "table": lambda folder: f"hub:{folder / 'none.parquet'}",
    "folder": lambda folder: f"hub:{folder}",
    "published": lambda folder: f"geoqa:{folder / 'none'}",
}


@pytest.mark.parametrize("kind", ABSENT)
def test_data_that_is_not_here_asks_no_hub(kind: str, tmp_path: Path, hub: list[str]) -> None:
    with pytest.raises(DataError):
        load_problems(ABSENT[kind](tmp_path))
    assert not hub


def test_data_of_the_hub_is_not_asked_for_with_the_hub_switched_off(no_network: list[str]) -> None:
    with pytest.raises(DataError, match="The hub is switched off: set HF_HUB_OFFLINE=0"):
        load_problems("hub:somebody/some-data")
    assert not no_network
