"""What cannot work is refused before anything is loaded or written, in one line that names the nearest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from places import ROOT

from r3v.app.cli import main
from r3v.policies.model import loading

TRAIN = ["train", "geoworld_tiny", "--data.n_train", "4", "--data.n_gate", "4", "--data.n_eval", "4"]
TINY_TEST = ["--data", "geoworld:test", "--limit", "2"]

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a device is here")
NO_FLASH = "model.attention flash_attention_2, and no package flash_attn"

REFUSED = [
    ([*TRAIN, "--train.precision", "bf16-mied"], "found train.precision 'bf16-mied'", "did you mean bf16-mixed?"),
    ([*TRAIN, "--train.strategy", "ddpp"], "train.strategy: found 'ddpp'", "expected one of auto"),
    ([*TRAIN, "--train.loss", "reflecton"], "did you mean 'reflection'", "train.loss"),
    ([*TRAIN, "--train.kind_weights", '{"answr": 1}'], "train.kind_weights 'answr'", "expected one of answer"),
    ([*TRAIN, "--model.device", "gpu"], "model.device 'gpu'", "expected auto, cpu, cuda or cuda:N"),
    ([*TRAIN, "--model.attention", "flash_attention_2"], NO_FLASH, "model.attention sdpa"),
    ([*TRAIN, "--sample.temperature", "0"], "sample.k 4 with sample.temperature 0", "or sample.k 1"),
    ([*TRAIN, "--data.train", "jsonl:none.jsonl"], "none.jsonl", "no such file"),
    (["eval", *TINY_TEST, "--select.temperature", "0"], "select.n 3 with select.temperature 0", "or select.n 1"),
    (["eval", "--data", "geoworld:test", "--limit", "0"], "found --limit 0", "a whole number of at least 1"),
    (["sample", "--data", "geoworld:test", "--limit", "0", "--out", "s"], "found --limit 0", "at least 1"),
    (["select", "--data", "geoworld:test", "--limit", "0"], "found --limit 0", "at least 1"),
    (["sample", *TINY_TEST, "--k", "two", "--out", "s"], "found --k two", "a whole number of at least 1"),
    (["select", *TINY_TEST, "--method", "majoriti"], "found selector 'majoriti'", "did you mean majority?"),
    (["select", "--question", "q", "--image", "none.png", "--method", "beam"], "found selector 'beam'", "expected"),
    (["diagnose", "--data", "geoworld:test", "--variants", "numbrs"], "--variants 'numbrs'", "did you mean numbers?"),
    (["diagnose", "--data", "geoworld:test", "--sample.temperature", "0"], "sample.k 4", "or sample.k 1"),
    (["reinforce", "geoworld_tiny_reinforce", "--train.lr", "0"], "found train.lr 0", "more than 0"),
    (["reinforce", "geoworld_tiny_reinforce", "--model.max_pixels", "100"], "model.max_pixels 100", "at least 784"),
    (["reinforce", "geoworld_tiny_reinforce", "--model.device", "gpu"], "model.device 'gpu'", "expected auto"),
    (["evolve", "geoworld_tiny_evolve", "--ask.temperature", "0"], "ask.temperature 0", "or probe.k 1"),
    (["evolve", "geoworld_tiny_evolve", "--model.device", "gpu"], "model.device 'gpu'", "expected auto"),
    (["notebook", "evolve", "geoworld_tiny_notebook", "--model.device", "gpu"], "model.device 'gpu'", "expected auto"),
]


@pytest.mark.parametrize(("line", "what", "fix"), REFUSED, ids=[" ".join(line) for line, *_ in REFUSED])
def test_refused_before_a_model_is_loaded(
    line: list[str], what: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One line, exit code 2, no model, and nothing left that a corrected command would trip over."""

    def load(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(loading, "_model", load)
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("r3v: error: ")
    assert what in error
    assert fix in error
    assert list(tmp_path.iterdir()) == []


@needs_no_gpu
@pytest.mark.parametrize(
    "line",
    [
        [*TRAIN, "--model.device", "cuda"],
        ["eval", *TINY_TEST, "--model.device", "cuda:1"],
        ["reinforce", "geoworld_tiny_reinforce", "--model.device", "cuda"],
        ["evolve", "geoworld_tiny_evolve", "--model.device", "cuda"],
        ["notebook", "evolve", "geoworld_tiny_notebook", "--model.device", "cuda"],
    ],
    ids=lambda line: line[0],
)
def test_a_device_that_is_not_here(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    assert f"but this torch ({torch.__version__}) " in (error := capsys.readouterr().err)
    assert "use auto or cpu" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["trian", "geoworld_tiny"], "found COMMAND 'trian', expected one of train,"),
        (["trian", "geoworld_tiny"], "did you mean train?"),
        (["notebook", "evlove", "x"], "did you mean evolve?"),
        (["data", "chek", "x"], "did you mean check?"),
        (["eval", "--data", "geoworld:test", "--limt", "3"], "found --limt; did you mean --limit?"),
        (["diagnose", "--data", "geoworld:test", "--categories", "skils"], "did you mean skills?"),
        (["train", "geoworld_tin"], "did you mean geoworld_tiny?"),
        (["train", "recipes/geoqa_tny.yaml"], "did you mean geoqa_tiny?"),
        (["train", "mine/my_recipee.yaml"], "did you mean my_recipe?"),
        (["reinforce", "geoworld_tiny"], "found a recipe of `r3v train`; run `r3v train geoworld_tiny`"),
        (["train", "geoworld_tiny_reinforce"], "found a recipe of `r3v reinforce`"),
        (["evolve", "geoworld_tiny"], "found a recipe of `r3v train`"),
        (["notebook", "evolve", "geoworld_tiny_evolve"], "found a recipe of `r3v evolve`"),
        (["eval", "--recipe", "geoworld_tiny_notebook", "--data", "geoworld:test"], "of `r3v notebook evolve`"),
    ],
)
def test_misspelt_words_get_the_nearest(
    line: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my_recipe.yaml").write_text("run:\n  rounds: 1\n")
    assert main(line) == 2
    assert message in capsys.readouterr().err


def test_a_clone_named_as_the_package_is_harmless(tmp_path: Path) -> None:
    """From the folder that holds a clone called r3v, `import r3v` is the package in it, with its parts."""
    (tmp_path / "r3v").symlink_to(ROOT)
    code = (
        "import r3v, r3v.losses, r3v.recipes, r3v.checkpoints\n"
        "from r3v import Candidate\n"
        "from r3v.settings.tree import find_recipe\n"
        "print(r3v.__version__, find_recipe('geoworld_tiny').is_file(), Candidate.__module__)"
    )
    for flags in ([], ["-S", "-W", "ignore"]):  # installed, and not even that
        done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        if flags and "No module named" in done.stderr:  # torch or yaml, which are not here without site-packages
            assert "r3v" not in done.stderr.rpartition("No module named")[2]
            continue
        assert done.stdout.split()[1:] == ["True", "r3v.records"], done.stderr
