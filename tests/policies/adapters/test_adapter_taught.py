"""What an adapter was taught with stands beside it, and is compared wherever one is loaded."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from adapter_folders import shaken, taught_otherwise, written
from places import ROOT

from r3v.errors import ModelError
from r3v.policies.model.adapters.files import beside, save_adapter, with_adapter
from r3v.policies.model.adapters.taught import AdapterWarning, Base, Taught, Usage, read_taught, taught_with
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import load
from r3v.prompts import STYLES
from r3v.settings.config import ModelConfig
from r3v.version import __version__

CONFIG = ModelConfig(prompt_style="short", lora_r=2, max_pixels=50176)
USAGE = Usage(select_target="solution", grader="r3v 2")


@pytest.fixture(scope="module")
def base() -> Loaded:
    return load(CONFIG, usage=USAGE)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(load(CONFIG, usage=USAGE), CONFIG, tmp_path_factory.mktemp("taught") / "adapter", std=0.02)


def put(loaded: Loaded, folder: Path, trainable: bool = False) -> None:
    """Load an adapter and take it off again."""
    with_adapter(loaded, folder, trainable=trainable).model.unload()


def test_the_file_says_what_the_adapter_was_taught_with(base: Loaded, adapter: Path) -> None:
    found = json.loads((adapter / "r3v_adapter.json").read_text())
    hashes = {name: found.pop(name) for name in ("words", "tokenizer", "template")}
    assert all(len(value) == 12 and int(value, 16) >= 0 for value in hashes.values())
    assert found == {
        "schema": 1,
        "base": {
            "path": "geoworld-tiny", "revision": None, "commit": None, "weights": base.name.split("@")[1],
            "family": base.model.config.model_type,
        },
        "prompt_style": "short", "letters": False, "min_pixels": None, "max_pixels": 50176, "select_target": "solution",
        "grader": "r3v 2", "dtype": "float32", "quantization": "none", "precision": None, "r3v": __version__,
    }  # fmt: skip
    assert read_taught(adapter) == taught_with(base)


def test_the_same_adapter_on_the_same_base_is_loaded_without_a_word(base: Loaded, adapter: Path) -> None:
    put(base, adapter)


OTHER_PIXELS = (
    {"max_pixels": 602112},
    "found model.max_pixels 50176, expected 602112. Use what it was taught with, or set --model.force true",
)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "larger pictures": OTHER_PIXELS,
    "all pictures": ({"max_pixels": None}, "found model.max_pixels 50176, expected null"),
    "a lower limit": ({"min_pixels": 3136}, "found model.min_pixels null, expected 3136"),
    "other weights": (
        {"base": {"weights": "0" * 12}},
        "found base geoworld-tiny, .*expected .*weights 0000",
    ),
    "another family": ({"base": {"family": "qwen2_vl"}}, "found base geoworld-tiny"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_pictures_and_another_base_are_refused_unless_forced(
    what: str, base: Loaded, adapter: Path, tmp_path: Path
) -> None:
    fields, said = REFUSED[what]
    other = taught_otherwise(adapter, tmp_path / "other", **fields)
    for trainable in (False, True):
        with pytest.raises(ModelError, match=said):
            put(base, other, trainable)
    forced = replace(base, config=replace(base.config, force=True))
    with pytest.warns(AdapterWarning, match="used otherwise than it was taught"):
        put(forced, other)


TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "prompt style": ({"prompt_style": "full", "words": "0"}, "model.prompt_style is short, was full$"),
    "its words": ({"words": "0"}, "the words of the prompt style is another one$"),
    "letters": ({"letters": True}, "model.letters is False, was True"),
    "select target": ({"select_target": "answer"}, "select.target is solution, was answer"),
    "grader": ({"grader": "r3v 1"}, "the grader is r3v 2, was r3v 1"),
    "precision": ({"quantization": "nf4"}, "model.quantization is none, was nf4"),
    "tokenizer": ({"tokenizer": "0"}, "the tokenizer is another one"),
    "template": ({"template": "0"}, "the chat template is another one"),
    "a base of another place": ({"base": {"weights": None, "path": "a/b"}}, "the base is geoworld.* cannot be told"),
}


@pytest.mark.parametrize("what", TOLD)
def test_other_words_and_graders_are_told(what: str, base: Loaded, adapter: Path, tmp_path: Path) -> None:
    fields, said = TOLD[what]
    with pytest.warns(AdapterWarning, match=said):
        put(base, taught_otherwise(adapter, tmp_path / "other", **fields))


def test_the_words_are_hashed_not_only_named(base: Loaded) -> None:
    """A library whose style `short` has other words teaches otherwise under the same name."""
    before = taught_with(base)
    words = replace(STYLES["short"], solve="Think.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STYLES, "short", words)
        assert taught_with(base).words != before.words
    assert taught_with(base) == before


def test_an_adapter_of_0_1_is_loaded_with_one_notice(base: Loaded, adapter: Path, tmp_path: Path) -> None:
    old = taught_otherwise(adapter, tmp_path / "old")
    (old / "r3v_adapter.json").unlink()
    with pytest.warns(AdapterWarning, match=r"has no r3v_adapter\.json .*cannot be checked") as told:
        put(base, old)
    assert len(told) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"base": 1}'])
def test_a_damaged_file_is_named(text: str, base: Loaded, adapter: Path, tmp_path: Path) -> None:
    bad = taught_otherwise(adapter, tmp_path / "bad")
    (bad / "r3v_adapter.json").write_text(text)
    with pytest.raises(ModelError, match=r"bad/r3v_adapter\.json: damaged"):
        put(base, bad)


def test_a_field_of_a_later_version_is_left_alone(base: Loaded, adapter: Path, tmp_path: Path) -> None:
    put(base, taught_otherwise(adapter, tmp_path / "later", weather="fine", base={"licence": "MIT"}))


def test_the_adapter_that_chooses_is_compared_too(base: Loaded, adapter: Path, tmp_path: Path) -> None:
    answers = with_adapter(base, adapter)
    with pytest.raises(ModelError, match="expected 602112"):
        beside(answers, taught_otherwise(adapter, tmp_path / "other", max_pixels=602112), "second")
    answers.model.unload()


def test_bases_are_compared_by_what_both_know() -> None:
    """Weights before commits; names say nothing: a folder may be a copy of what the hub has under another."""
    hub = Base("Qwen/X", None, "abc", None, "qwen2_vl")
    assert Base("a", weights="1", family="f").differs(Base("b", weights="1", family="f")) is False
    assert Base("a", weights="1", family="f").differs(Base("a", weights="2", family="f")) is True
    assert hub.differs(replace(hub, revision="main")) is False
    assert hub.differs(replace(hub, commit="def")) is True
    assert hub.differs(Base("mine", weights="1", family="qwen2_vl")) is None
    assert hub.differs(Base("mine", weights="1", family="llava")) is True
    assert Base().differs(hub) is None


def test_files_get_the_rights_of_plain_ones(base: Loaded, tmp_path: Path) -> None:
    """safetensors writes for the owner alone; the umask of this process decides, as for any other file."""
    plain = tmp_path / "plain"
    plain.write_text("x")
    model = shaken(load(CONFIG), CONFIG)
    save_adapter(model, tmp_path / "adapter", taught_with(base))
    expected = stat.S_IMODE(os.stat(plain).st_mode)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "adapter").iterdir()}
    assert found == dict.fromkeys(("adapter_config.json", "adapter_model.safetensors", "r3v_adapter.json"), expected)


def test_every_field_of_the_file_is_explained() -> None:
    """`docs/adapters.md` has a row for each."""
    page = (ROOT / "docs" / "adapters.md").read_text()
    assert not [name for name in asdict(Taught()) if f"`{name}`" not in page]
