"""`r3v eval --protocol` from the command line on a scripted policy: figures, controls, the ledger, flags that clash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_files import folder, write

from r3v.app.cli import main
from r3v.policies.scripted import ScriptedPolicy
from r3v.reflection import stages
from r3v.run.ledger import entries


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Four test problems, gold 40 among 30, 40, 50, 60, and one training problem."""
    base = folder(tmp_path / "geoqa", 5)
    record = {"problem": "angle C is ()", "numbers": [], "choice_numbers": [30.0, 40.0, 50.0, 60.0], "label": 1}
    rows = [
        {
            "split": "test",
            "geoqa_id": i,
            "image": f"images/{i}.png",
            "record": {**record, "problem": f"angle {i} is ()"},
        }
        for i in range(4)
    ]
    write(base / "join_multiple_choice.jsonl", [*rows, {**rows[0], "split": "train", "image": "images/4.png"}])
    return f"geoqa:{base}?split=test"


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, bool]]:
    """The adapter is right on all problems but the last, the base on the first (greedy) and the first two by vote;
    without a picture everybody says 30. Returns (adapter, blank) of the models made."""
    found: list[tuple[str | None, bool]] = []

    def make(model: Any, config: Any, dry_run: bool = False, say: Any = None) -> ScriptedPolicy:
        found.append((model.adapter, model.blank))

        def answer(prompt: Any, index: int) -> str:
            number = int(prompt.problem_id.rsplit("-", 1)[-1])
            if prompt.images[0].describe().startswith("blank"):
                return "Answer: 30"
            if model.adapter:
                return "Answer: 41" if number == 3 else "Answer: 40"
            return "Answer: 40" if number == 0 or (number == 1 and index % 2) else "Answer: 41"

        return ScriptedPolicy(answer, name=f"scripted {model.adapter}")

    monkeypatch.setattr(stages, "make_policy", make)
    return found


def test_figures_with_their_controls(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture, made: list[tuple[str | None, bool]]
) -> None:
    """Trained 3 of 4. Base: greedy 1 of 4, majority among choices 2 of 4. Blank picture 0 of 4."""
    out, ledger = tmp_path / "e.json", tmp_path / "ledger.jsonl"
    command = ["eval", "--data", data, "--adapter", str(tmp_path / "adapter"), "--protocol", "open", "--controls"]
    command += ["--n", "4", "--selectors", "greedy", "--out", str(out), "--ledger", str(ledger)]
    assert main(command) == 0
    told = capsys.readouterr().out
    value = json.loads(out.read_text())
    assert (value["protocol"], value["open"]) == ("open", True)
    assert value["guess"] == {"accuracy": 0.25, "choices": {"4": 4}}
    assert value["eval"]["greedy"]["accuracy"] == 0.75
    found = {(one["control"], one["metric"]): one for one in value["controls"]}
    assert {key: one["accuracy"] for key, one in found.items()} == {
        ("own greedy", "greedy"): 0.75,
        ("base", "greedy"): 0.25,
        ("base", "majority@4"): 0.5,
        ("blank picture", "greedy"): 0.0,
    }
    assert value["control_models"]["base"] == "scripted None"
    assert (found["base", "greedy"]["wins"], found["base", "greedy"]["losses"]) == (2, 0)
    assert "guessing a letter          25.0%  expected, 4 problems with 4 choices" in told
    assert "base, greedy               25.0%  greedy +50.0" in told
    assert [blank for _, blank in made] == [False, False, True]
    assert made[1][0] is None

    asked = entries(ledger)
    assert [entry["role"] for entry in asked] == ["model", "base", "blank"]
    assert {(entry["problems"], entry["protocol"], entry["data"]) for entry in asked} == {
        (4, "open", "geoqa:geoqa?split=test")
    }
    assert str(tmp_path) not in ledger.read_text()

    assert main(command) == 0, "the same figures again, from the rows"
    assert len(entries(ledger)) == 3, "nothing was asked"
    assert json.loads(out.read_text()) == value


def test_top10_takes_the_first_choice_of_ten(data: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The base's first choice: 40 on problem 0, 40 (sample 1) on problem 1, none on 2 and 3."""
    out = tmp_path / "e.json"
    assert main(["eval", "--data", data, "--protocol", "top10", "--out", str(out)]) == 0
    value = json.loads(out.read_text())
    assert list(value["eval"]) == ["first@10"]
    assert value["eval"]["first@10"]["accuracy"] == 0.5
    assert main(["eval", "--data", data, "--protocol", "top10", "--n", "4"]) == 2
    assert "draws 10" in capsys.readouterr().err


def test_the_base_of_an_earlier_evaluation(data: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base, out = tmp_path / "base.json", tmp_path / "e.json"
    ask = ["eval", "--data", data, "--n", "4", "--selectors", "greedy", "--controls"]
    assert main([*ask, "--protocol", "open", "--out", str(base)]) == 0
    assert "own majority is the base's" in capsys.readouterr().err
    assert list(json.loads(base.read_text())["eval"]) == ["greedy", "majority@4"]
    trained = [*ask, "--adapter", str(tmp_path / "adapter"), "--base", str(base), "--out", str(out)]
    assert main([*trained, "--protocol", "open"]) == 0
    named = [(one["control"], one["accuracy"]) for one in json.loads(out.read_text())["controls"]]
    assert ("base", 0.25) in named
    assert json.loads(out.read_text())["control_models"]["base"] == "scripted None"
    assert main([*trained[:-1], str(tmp_path / "f.json"), "--protocol", "choices"]) == 2
    assert "measured by protocol open, expected choices" in capsys.readouterr().err


def test_the_ledger_is_for_test_splits(data: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    ledger = tmp_path / "ledger.jsonl"
    part = next(p for p in ("train", "gate", "dev") if _has(data, p))
    other = data.replace("split=test", f"split={part}")
    assert main(["eval", "--data", other, "--selectors", "greedy", "--ledger", str(ledger)]) == 0
    assert not ledger.exists()
    assert "gets no line" in capsys.readouterr().err


def _has(data: str, part: str) -> bool:
    from r3v.data import load

    return part in {p.split for p in load(data.partition("?")[0])}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--protocol", "opne"], "did you mean open"),
        (["--controls"], "without --protocol"),
        (["--protocol", "open", "--open"], "a protocol says itself"),
        (["--protocol", "open", "--base", "x.json"], "without --controls"),
        (["--protocol", "top10", "--selectors", "fused"], "takes the first"),
    ],
)
def test_flags_that_clash(flags: list[str], said: str, data: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["eval", "--data", data, *flags]) == 2
    assert said in capsys.readouterr().err
