"""Notebook, adapter and selector together on `r3v eval`, and the table of all combinations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from notebook_world import QUESTIONS, RULES

from r3v.app.cli import main as r3v
from r3v.app.commands import core as commands
from r3v.errors import RunError
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.policies.scripted import ScriptedPolicy
from r3v.recipes.research import notebook_compose as compose
from r3v.records import Prompt
from r3v.reflection import stages
from r3v.settings.config import ModelConfig

N = 20


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Twenty problems about triangles, in a file of the user's own."""
    rows = [
        {"id": f"p{i}", "q": QUESTIONS["triangle"].format(a=10 + i, b=50), "gold": str(100 + i), "kind": "number"}
        for i in range(N)
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"jsonl:{path}?question=q&answer=gold"


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    with Notebook.open(tmp_path / "n.db", create=True) as made:
        note = Note("triangle", QUESTIONS["triangle"].format(a="0", b="0"), RULES["triangle"])
        made.commit([note], message="learn", author="test")
    return tmp_path / "n.db"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plain model is right on problems 0-4, the notebook adds 5-9, the adapter 10-14; two candidates of three are
    right on 15-19, so that a majority adds those, and the greedy answer is the wrong one. Returns the models made."""
    made: list[str] = []

    def make(model: ModelConfig, config: Any, dry_run: bool = False, say: Any = None, **more: Any) -> ScriptedPolicy:
        made.append(str(model.adapter))

        def answer(prompt: Prompt, index: int) -> str:
            number = int(prompt.problem_id.removeprefix("p"))
            known = number < 5 or (number < 10 and RULES["triangle"] in prompt.messages[0].text)
            known |= 10 <= number < 15 and model.adapter is not None
            known |= number >= 15 and index in (1, 2)
            return f"Answer: {100 + number}" if known else "Answer: 1"

        return ScriptedPolicy(answer, name=f"scripted {model.adapter}")

    monkeypatch.setattr(commands, "make_policy", make)
    monkeypatch.setattr(stages, "make_policy", make)
    return made


def argv(data: str, notebook: Path, out: Path, *more: str) -> list[str]:
    flags = ["--embedder", "lexical", "--threshold", "0.2", "--model.prompt_style", "short"]
    return ["--data", data, "--notebook", str(notebook), "--out", str(out), *flags, *more]


def test_eval_takes_notebook_adapter_and_selectors_together(data: str, notebook: Path, tmp_path: Path) -> None:
    own = argv(data, notebook, tmp_path / "all.json", "--adapter", "A", "--selectors", "greedy,majority", "--n", "3")
    assert r3v(["eval", *own]) == 0
    found = json.loads((tmp_path / "all.json").read_text())
    assert found["eval"]["greedy"]["accuracy"] == 15 / N
    assert found["eval"]["majority@3"]["accuracy"] == 1.0
    assert found["notes"]


def test_every_combination_is_measured_and_compared(
    data: str, notebook: Path, tmp_path: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert compose.main(argv(data, notebook, out, "--adapter", "A")) == 0
    assert sorted(asked) == ["A", "A", "None", "None"]
    found = json.loads((out / "compose.json").read_text())
    right = {name: cell["right"] for name, cell in found["cells"].items()}
    assert right == {
        "plain": 5, "selector": 10, "notebook": 10, "notebook + selector": 15, "adapter": 10,
        "adapter + selector": 15, "notebook + adapter": 15, "notebook + adapter + selector": 20,
    }  # fmt: skip
    gains = {(row["cell"], row["than"]): row for row in found["comparisons"]}
    assert len(gains) == 12, "every cell against itself without each of its parts"
    both = gains["notebook + adapter", "adapter"]
    assert (both["gain"], both["n"]) == (0.25, N)
    assert 0 < both["ci95"][0] < 0.25 < both["ci95"][1]
    text = capsys.readouterr().out
    assert "| yes | selected | 75.0 %" in text
    assert (out / "compose.md").read_text() in text
    with Notebook.open(notebook) as made:
        assert list(made.events()) == [], "measuring leaves no trace in the notebook"


def test_the_same_command_goes_on_with_what_is_measured(data: str, notebook: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert compose.main(argv(data, notebook, out)) == 0
    first = (out / "plain.parquet").stat().st_mtime_ns
    (out / "notebook.parquet").unlink()
    assert compose.main(argv(data, notebook, out)) == 0
    assert (out / "plain.parquet").stat().st_mtime_ns == first
    cells = json.loads((out / "compose.json").read_text())["cells"]
    assert sorted(cells) == ["notebook", "notebook + selector", "plain", "selector"]


def test_an_arm_that_fails_ends_the_command(notebook: Path, tmp_path: Path) -> None:
    assert compose.main(argv("jsonl:/nowhere.jsonl?question=q&answer=gold", notebook, tmp_path / "out")) == 2
    assert not (tmp_path / "out/compose.json").exists()


def test_cells_without_a_common_problem_are_not_compared() -> None:
    plain, noted = frozenset[str](), frozenset({"notebook"})
    with pytest.raises(RunError, match="notebook and plain have no measured problem in common"):
        compose.gain({plain: {"a": True}, noted: {"b": True}}, noted, plain)
