"""What cannot work is an error before any work: values out of range, unknown names, unreadable recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from r3v.app.cli import main
from r3v.errors import ConfigError
from r3v.reflection.settings import check_unused, read
from r3v.reflection.stages import check_loss
from r3v.settings.checks import ABOVE_ZERO, AT_LEAST, SHARES
from r3v.settings.config import Config
from r3v.settings.tree import field_types, names_of


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sample.k", "0", "at least 1"),
        ("sample.k", "-3", "at least 1"),
        ("run.rounds", "-1", "at least 0"),
        ("data.n_train", "0", "at least 1"),
        ("select.group", "1", "at least 2"),
        ("train.lr", "0", "more than 0"),
        ("train.lr", ".nan", "more than 0"),
        ("sample.top_p", "1.5", "a share from 0 to 1"),
        ("sample.top_p", "0", "more than 0"),
        ("select.selectors", "greedy,majoriti", "did you mean majority"),
        ("build.filters", "lucky", "expected one of computed_last"),
        ("build.select_min", "9", "2 <= select_min <= select_max"),
    ],
)
def test_values_no_run_could_use(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        read(None, [f"--{name}", value])
    assert name.split(".")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "need"),
    [
        (["--build.select_max", "3"], "build.select above 0"),
        (["--build.weight_refine=1"], "build.refine above 0"),
        (["--chooser.k", "8"], "chooser.n above 0"),
        (["--train.dpo_beta", "0.2"], "train.loss dpo"),
        (["--select.group", "4"], "tournament among"),
    ],
)
def test_a_flag_that_would_be_ignored_is_an_error(flags: list[str], need: str, tmp_path: Path) -> None:
    args = ["train", "geoworld_tiny.yaml", "--print_config", "--run.dir", str(tmp_path), *flags]
    assert main(args) == 2
    with pytest.raises(ConfigError, match=f"has no effect without {need}"):
        check_unused(read(None, flags).config, names_of(flags))


def test_a_flag_with_what_it_needs_is_taken(tmp_path: Path) -> None:
    """A preset or another flag may switch on what it belongs to."""
    for more in (["--build.preset", "r3v-fused"], ["--build.select", "1"]):
        args = ["train", "geoworld_tiny.yaml", "--print_config", "--run.dir", str(tmp_path), "--build.select_max", "3"]
        assert main([*args, *more]) == 0


def test_the_defaults_pass_and_every_checked_name_exists() -> None:
    read()
    assert {*AT_LEAST, *ABOVE_ZERO, *SHARES} <= set(field_types(Config))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\xff\xfe run", "not UTF-8 text"),
        (b"run:\n  dir: x\nrun:\n  rounds: 1\n", "found run a second time in line 3"),
        (b"train:\n  lr: 1.0\n  epochs: 1\n  lr: 2.0\n", "found train.lr a second time in line 4"),
        (b"run: {dir: x\n", "not valid YAML"),
    ],
)
def test_recipes_that_cannot_be_meant(
    tmp_path: Path, content: bytes, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    assert main(["train", str(path), "--print_config"]) == 2
    assert what in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"run:\r\n  rounds: 7\r\n", b"\xef\xbb\xbfrun:\n  rounds: 7\n"])
def test_recipes_of_other_editors_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.yaml").write_bytes(content)
    assert read(tmp_path / "r.yaml").config.run.rounds == 7


def test_the_loss_is_looked_up_before_the_first_model_is_loaded() -> None:
    check_loss(read().config)
    with pytest.raises(ConfigError, match=r"train\.loss: found loss 'dpp' \(did you mean 'dpo'"):
        check_loss(read(None, ["--train.loss", "dpp"]).config)
    with pytest.raises(ConfigError, match=r"found train\.kind_weights 'answr', expected one of answer"):
        check_loss(read(None, ["--train.kind_weights", '{"answr": 2.0}']).config)
