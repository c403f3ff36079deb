"""The library from Python: train, load, select and evaluate on geoworld-tiny, as a notebook or a script calls them."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import r3v
from r3v.api import flags_of
from r3v.data.geoworld import source
from r3v.errors import ConfigError
from r3v.settings.config import Config
from r3v.settings.tree import read_tree

SMALL = {"sample": {"max_new_tokens": 12}, "select": {"max_new_tokens": 24, "selectors": ["greedy", "majority"]}}


@pytest.fixture(scope="module")
def model() -> r3v.api.Model:
    return r3v.load("geoworld-tiny", **SMALL)


def test_a_run_from_python_is_the_run_of_the_command(tmp_path: Path) -> None:
    """A dry run: two rounds' reports, the page, and a run folder that `load` takes with the adapter of its round."""
    said: list[str] = []
    folder = tmp_path / "run"
    value = r3v.train("geoworld_tiny", dry_run=True, say=said.append, run={"dir": folder}, sample={"k": 2})
    assert [entry["round"] for entry in value["rounds"]] == [0, 1]
    assert (folder / "report.html").is_file()
    assert any(line.startswith("round 1: ") for line in said)
    assert read_tree(Config, folder / "config.yaml")[0].sample.k == 2
    again = r3v.train("geoworld_tiny", dry_run=True, say=said.append, run={"dir": str(folder)}, sample={"k": 2})
    assert again == value
    assert "is finished" in said[-1]


def test_select_and_evaluate(model: r3v.api.Model, tmp_path: Path) -> None:
    problem = source("test", 1)[0]
    picture = tmp_path / "figure.png"
    picture.write_bytes(problem.images[0].read())
    chosen = r3v.select(model, problem.question, picture, choices=problem.choices, n=2, method="majority")
    assert (chosen.method, len(chosen.candidates), len(chosen.scores)) == ("majority", 2, 2)
    found = r3v.evaluate(model, "geoworld:test", limit=3, n=2)
    assert {name: cell["n"] for name, cell in found["eval"].items()} == {"greedy": 3, "majority@2": 3}
    only = r3v.evaluate(model, "geoworld:test", limit=2, selectors=["greedy"], out=tmp_path / "rows.parquet")
    assert list(only["eval"]) == ["greedy"]
    assert (tmp_path / "rows.parquet").is_file()


def test_what_cannot_be_meant_is_an_error(model: r3v.api.Model) -> None:
    with pytest.raises(ConfigError, match=r"did you mean train\.lr"):
        r3v.train("geoworld_tiny", train={"lrr": 1e-4})
    with pytest.raises(ConfigError, match="did you mean majority"):
        r3v.select(model, "q", method="majoriti")
    with pytest.raises(ConfigError, match="'4' twice"):
        r3v.select(model, "q", choices=["4", "4"])
    with pytest.raises(ConfigError, match="did you mean majority"):
        r3v.evaluate(model, "geoworld:test", selectors=["majorit"])


def test_fields_are_the_flags_of_the_command_line(tmp_path: Path) -> None:
    train = {"kind_weights": {"refine": 0.5}, "betas": (0.8, 0.9)}
    assert flags_of({"train": train, "data.n_train": None, "run": {"dir": tmp_path}}) == [
        '--train.kind_weights={"refine": 0.5}',
        "--train.betas=[0.8, 0.9]",
        "--data.n_train=null",
        f"--run.dir={tmp_path}",
    ]


@pytest.mark.parametrize("name", ["train", "load", "select", "evaluate"])
def test_help_reads_well(name: str) -> None:
    made = getattr(r3v, name)
    assert name in r3v.__all__
    text = inspect.getdoc(made) or ""
    assert "Raises" in text
    asked = [p for p in inspect.signature(made).parameters if p not in ("fields", "question", "data", "choices")]
    assert [p for p in asked if p not in text] == []
