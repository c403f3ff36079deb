"""`--run` reads the folders of `r3v train` and of `r3v reinforce`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from r3v.app.commands.common import model_config
from r3v.curriculum.reinforce.config import ReinforceConfig
from r3v.io import write_json
from r3v.settings.config import Config, ModelConfig, RunConfig, SelectConfig
from r3v.settings.tree import to_yaml


def args(run: Path) -> argparse.Namespace:
    return argparse.Namespace(recipe=None, run=str(run), model=None, adapter=None)


def folder(path: Path, config: Config | ReinforceConfig, accepted: int) -> Path:
    path.mkdir()
    (path / "config.yaml").write_text(to_yaml(config))
    write_json(path / "run.json", {"accepted_round": accepted})
    return path


def test_a_reinforcement_run_lends_its_model_and_its_accepted_adapter(tmp_path: Path) -> None:
    model = ModelConfig(path="geoworld-tiny", prompt_style="short", lora_r=5)
    select = SelectConfig(selectors=("greedy",), n=2, max_new_tokens=33)
    run = folder(tmp_path / "r", ReinforceConfig(model=model, select=select), 2)
    config = model_config(args(run), [])
    assert config.model == replace(model, adapter=str(run / "round_02" / "adapter"))
    assert config.select == select
    assert model_config(args(run), ["--select.n=4"]).select == replace(select, n=4)


def test_a_training_run_is_read_whole(tmp_path: Path) -> None:
    run = folder(tmp_path / "t", Config(run=RunConfig(rounds=7), model=ModelConfig(lora_r=6)), 0)
    config = model_config(args(run), [])
    assert (config.run.rounds, config.model.lora_r, config.model.adapter) == (7, 6, None)
