"""`--help`: short, grouped, with the values a run would use; one field on request; and the page that says the same."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from places import ROOT

from r3v.app.cli import main
from r3v.app.reference import page
from r3v.app.trees import TREES, tree_of
from r3v.settings.fields import fields_of


def told(line: list[str], capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(line)
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", TREES)
def test_every_field_says_what_it_means(command: str) -> None:
    every = list(fields_of(tree_of(command)()))
    assert len(every) > 40
    assert [f.name for f in every if len(f.text) < 10 or f.kind == "value"] == []


@pytest.mark.parametrize(
    ("command", "most"), [("train", 110), ("reinforce", 90), ("evolve", 170), ("notebook evolve", 90)]
)
def test_the_help_is_short_and_names_every_field(command: str, most: int, capsys: pytest.CaptureFixture) -> None:
    text = told([*command.split(), "--help"], capsys)
    assert len(text.splitlines()) <= most, "a screen or two, and not the 400 lines of one line a field"
    words = " ".join(text.split())
    for field in fields_of(tree_of(command)()):
        assert field.name.partition(".")[2] in words


def test_the_values_are_those_of_the_preset(capsys: pytest.CaptureFixture) -> None:
    """Preset r3v: four positives, no refine examples, direct answers with weight 1; the classes say 2, 1 and 0."""
    text = " ".join(told(["train", "--help"], capsys).split())
    assert "positives 4, refine 0" in text
    assert "qa 1," in text


def test_help_of_one_field(capsys: pytest.CaptureFixture) -> None:
    text = told(["train", "--help", "build.positives"], capsys)
    assert text.splitlines()[0] == ("--build.positives  whole number (default 4, filled by the preset; 2 without it)")
    assert "At most this many diverse positives per problem." in text
    assert "Largest learning rate" in told(["train", "--help", "train.lr"], capsys)
    assert "--sample.k" in told(["eval", "-h", "sample"], capsys), "commands that take the same fields explain them too"
    assert "--group.n " in told(["reinforce", "--help", "group"], capsys)


def test_help_of_a_field_that_is_not_there(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--help", "train.lrr"]) == 2
    assert "--help train.lrr: no such field or group; did you mean train.lr?" in capsys.readouterr().err
    assert main(["train", "--help", "lr"]) == 2
    assert "did you mean train.lr or chooser.lr?" in capsys.readouterr().err


def test_help_costs_no_torch() -> None:
    code = (
        "import sys\nfrom r3v.app.cli import main\ntry: main(['evolve', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'jsonargparse') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_the_page_of_fields_is_current() -> None:
    """Made anew by `python -m r3v.app.reference > docs/fields.md`."""
    kept = (ROOT / "docs" / "fields.md").read_text()
    assert kept == page()
    assert len(re.findall(r"^\| `", kept, re.M)) > 250
