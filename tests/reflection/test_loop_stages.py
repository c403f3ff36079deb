"""How the three sets are made of the data specs: held-out gate, shared pictures, seeds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from recipe_data import plain

from r3v.data.geoworld import source
from r3v.errors import ConfigError, DataError
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Problem
from r3v.reflection.loop import disjoint
from r3v.reflection.stages import commit_of, load_splits, real_stages, round_seed, with_adapter
from r3v.settings.config import Config, DataConfig, RunConfig
from r3v.settings.tree import set_field


def test_the_gate_is_held_out_of_the_train_set_whatever_its_order(tmp_path: Path) -> None:
    """Six rows, two held out; the same two when the file is turned round, and n_train counts what is left."""
    spec = plain(tmp_path / "a", "train")
    other = plain(tmp_path / "b", "test")
    data = DataConfig(train=spec, gate=spec, eval=other, n_gate=2)
    splits = disjoint(load_splits(data))
    assert (len(splits.train), len(splits.gate), len(splits.eval)) == (4, 2, 6)
    file = Path(spec.partition(":")[2])
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    again = load_splits(data)
    assert {p.id for p in again.gate} == {p.id for p in splits.gate}
    assert len(load_splits(DataConfig(train=spec, gate=spec, eval=other, n_gate=2, n_train=3)).train) == 3


def test_training_problems_with_a_picture_of_the_other_sets_are_left_out(tmp_path: Path) -> None:
    """The first training row shows the picture of the first evaluation row under another name."""
    train, gate, evaluation = (plain(tmp_path / s, s) for s in ("train", "gate", "test"))
    first = {
        s: json.loads((tmp_path / s / f"{s}.jsonl").read_text().splitlines()[0])["image"] for s in ("train", "test")
    }
    (tmp_path / "train" / first["train"]).write_bytes((tmp_path / "test" / first["test"]).read_bytes())
    splits = load_splits(DataConfig(train=train, gate=gate, eval=evaluation))
    assert (len(splits.train), splits.left_out) == (5, 1)


def test_geoworld_has_a_gate_of_its_own() -> None:
    with pytest.raises(ConfigError, match="use geoworld:gate"):
        load_splits(DataConfig(train="geoworld:train", gate="geoworld:train"))
    splits = disjoint(load_splits(DataConfig(n_train=5, n_gate=3, n_eval=2)))
    assert [len(s) for s in (splits.train, splits.gate, splits.eval)] == [5, 3, 2]
    assert splits.left_out == 0
    assert splits.train[0].id == source("train", 1)[0].id


def test_open_takes_every_choice_away() -> None:
    splits = load_splits(DataConfig(n_train=3, n_gate=3, n_eval=3, open=True))
    assert all(p.choices is None for part in (splits.train, splits.gate, splits.eval) for p in part)


def test_real_geoqa_is_split_apart(real_data) -> None:
    """Two of its training problems show a picture of a test problem."""
    folder = real_data("geoqa")
    spec = f"geoqa:{folder}?split=train"
    splits = disjoint(load_splits(DataConfig(train=spec, gate=spec, eval=f"geoqa:{folder}?split=test", n_gate=200)))
    assert (len(splits.train) + splits.left_out, len(splits.gate), len(splits.eval)) == (2490, 200, 608)
    assert splits.left_out == 2


def test_every_round_and_every_run_seed_has_its_own_noise() -> None:
    seeds = {round_seed(Config(run=RunConfig(seed=s)), number) for s in range(5) for number in range(1, 20)}
    assert len(seeds) == 5 * 19


def test_an_adapter_replaces_the_one_of_the_config() -> None:
    assert with_adapter(Config(), None).model.adapter is None
    assert with_adapter(Config(), Path("round_01/adapter")).model.adapter == "round_01/adapter"


def test_the_commit_of_a_hub_model_is_told_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers notes the commit that a hub name was resolved to in the model's config."""
    hub: Any = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(_commit_hash="c" * 40)))
    monkeypatch.setattr("r3v.reflection.stages.make_policy", lambda *args, **more: hub)
    monkeypatch.setattr("r3v.reflection.stages.check_loss", lambda config: None)
    said: list[str] = []
    stages = real_stages(say=said.append)
    assert stages.policy(Config(), None) is stages.policy(Config(), None)
    assert said == [f"geoworld-tiny: no revision is named, found commit {'c' * 40}; pin it with --model.revision"]
    real_stages(say=said.append).policy(set_field(Config(), "model.revision", "c" * 40), None)
    assert len(said) == 1, "nothing to say where the revision is named"
    assert commit_of(hub) == "c" * 40
    assert commit_of(ScriptedPolicy(lambda *args: "")) is None


def test_no_problem_is_no_measurement(tmp_path: Path) -> None:
    """0 % with an interval from 0 to 100 % would look like a result."""
    with pytest.raises(ConfigError, match="found no problem to measure on"):
        real_stages().evaluate(ScriptedPolicy(lambda *args: ""), [], ("greedy",), tmp_path / "e.parquet", Config())


def test_an_alphabet_of_choices_is_the_most() -> None:
    letters = tuple("abcdefghijklmnopqrstuvwxyz")
    assert Problem("p", "q", "Z", "choice", choices=letters).gold_text == "z"
    with pytest.raises(DataError, match="found 27 choices, expected at most 26"):
        Problem("p", "q", "A", "choice", choices=(*letters, "more"))
