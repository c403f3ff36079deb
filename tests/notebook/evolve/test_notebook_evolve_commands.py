"""`r3v notebook evolve`, `gate-power`, `qualify` and `values` as they are called."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from notebook_world import RULES, parts, problems

from r3v.app.commands import notebook_evolve as evolve_commands
from r3v.data.geoworld import NOVEL, item_of, source
from r3v.errors import ConfigError
from r3v.notebook.evolve import assemble
from r3v.notebook.evolve.assemble import load_problems
from r3v.notebook.evolve.config import ProblemsConfig
from r3v.notebook.evolve.evolve import evolve
from r3v.notebook.evolve.qualify import describe, exposures_of, qualify
from r3v.notebook.evolve.value import values
from r3v.notebook.retrieval import qualified
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Prompt
from r3v.settings.config import ModelConfig
from r3v.settings.server import ServerConfig
from r3v.settings.tree import recipe_folder


def test_qualify_says_whether_notes_help_another_solver(tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = parts(tmp_path, stack)
        evolve(made)
        fresh, recall = problems(600, 30), made.shelf.recall(made.notebook.notes())
        good = qualify(recall, made.solver, made.style, fresh)
        assert (good["verdict"], good["n"], good["noted"], good["difference"]) == ("helps", 30, 30, 1.0)
        assert {cell["won"] for cell in good["by_note"].values()} == {10}
        spoilt = ScriptedPolicy(
            lambda p, i: "Answer: 1" if "Note:" in p.messages[-1].text else f"Answer: {1000 + int(p.problem_id[1:])}"
        )
        bad = qualify(recall, replace(made.solver, policy=spoilt), made.style, fresh)
        assert (bad["verdict"], bad["difference"]) == ("hurts", -1.0)
        assert "hurts" in describe(bad)
        worth = values(made.notebook.notes(), exposures_of(bad))
        assert all(value.high < 0 for value in worth.values())
        none = qualify(made.shelf.recall({}), made.solver, made.style, fresh)
        assert (none["verdict"], none["noted"], none["p_mcnemar"]) == ("unclear", 0, 1.0)


def test_problems_of_train_and_pool_are_apart(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"id": i, "question": f"q {i}?", "answer": "1"}) + "\n" for i in range(40)))
    spec = f"jsonl:{path}?id=id&question=question&answer=answer&kind=number"
    train, pool = load_problems(ProblemsConfig(train=spec, pool=spec, n_pool=10))
    assert (len(train), len(pool)) == (30, 10)
    assert not {p.id for p in train} & {p.id for p in pool}
    with pytest.raises(ConfigError, match=r"another split or seed"):
        load_problems(ProblemsConfig(train="geoworld:novel", pool="geoworld:novel"))


def command(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    evolve_commands.register(parser.add_subparsers())
    args, rest = parser.parse_known_args(argv)
    return args.handler(args, rest)


def test_gate_power_prints_and_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "power.json"
    argv = ["gate-power", "--gate", "paired", "--batch", "16", "--effect", "0", "--noise", "0.2", "--n", "20"]
    assert command(*argv, "--trials", "2", "--json", str(out)) == 0
    written = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == written
    assert written["n"] == 20
    assert (written["trials"], len(written["by_trial"])) == (2, 2)
    assert written["ci95"][0] <= written["accept"] <= written["ci95"][1]


def test_recipes_are_read_with_the_nearest_name_for_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("evolve", "recipes/geoworld_tiny_notebook.yaml", "--print_config", "--gate.alpha", "0.01") == 0
    printed = capsys.readouterr().out
    assert "alpha: 0.01" in printed
    assert "kind: symbolic" in printed
    config = evolve_commands.read_config(None, ["--model.path=geoworld-tiny"])
    assert (config.model.prompt_style, config.supervisor.prompt_style) == ("short", "short")
    with pytest.raises(ConfigError, match=r"did you mean gate\.alpha"):
        evolve_commands.read_config(None, ["--gate.alpa=0.1"])
    with pytest.raises(ConfigError, match="no failure is left"):
        evolve_commands.read_config(None, ["--gate.reserve=16"])


@pytest.mark.parametrize("name", sorted(path.name for path in recipe_folder().glob("*_notebook.yaml")))
def test_every_recipe_of_a_notebook_says_what_to_expect_and_keeps_to_itself(name: str) -> None:
    config = evolve_commands.read_config(recipe_folder() / name, [])
    assert config.evolve.notebook == f"checkpoints/notebooks/{name.removesuffix('_notebook.yaml')}.db"
    header = [line for line in (recipe_folder() / name).read_text().splitlines() if line.startswith("#")]
    for part in ("# command:", "# hardware:", "# time:", "# expect:"):
        assert any(line.startswith(part) for line in header), f"{name} says nothing of {part}"
    assert f"recipes/{name}" in "\n".join(header)


def test_commands_run_the_recipe_on_geoworld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the model is replaced: pictures, the symbolic teacher, retrieval, gate and files are real."""
    items = {p.id: item_of(p) for n, seed in ((12, 0), (48, 1), (12, 9)) for p in source("novel", n, seed)}

    def answer(prompt: Prompt, index: int) -> str:
        assert prompt.images
        item = items[prompt.problem_id]
        told = item.note in prompt.messages[-1].text
        return f"Answer: {item.problem.gold_text if told else 99999}"

    monkeypatch.setattr(assemble, "_policy", lambda *_: ScriptedPolicy(answer, name="blank"))
    path, out = tmp_path / "books" / "n.db", tmp_path / "out.json"
    recipe = ("recipes/geoworld_tiny_notebook.yaml", "--evolve.steps=1", "--evolve.batch=12", "--data.n_pool=48")
    recipe += ("--data.n_train=12", "--retrieval.threshold=0.8")
    assert command("evolve", *recipe, f"--evolve.notebook={path}", "--gate.reserve=0", "--out", str(out)) == 0
    found = json.loads(out.read_text())
    with Notebook.open(path) as notebook:
        notes = notebook.notes()
    assert found["notes"] == len(notes) == found["accepted"] == len(NOVEL)
    assert {note.guidance for note in notes.values()} == {item.note for item in items.values()}
    assert all(note.images and note.author == "geoworld" for note in notes.values())
    assert found["costs"]["images"] == found["costs"]["calls"] > 0
    told = capsys.readouterr().out
    assert "6 notes after 1 steps; 6 edits accepted, 0 refused" in told
    assert f"per accepted note: {found['costs']['calls'] / 6:.0f} calls" in told
    report = tmp_path / "report.json"
    argv = (
        "qualify",
        str(path),
        "--recipe",
        recipe[0],
        "--data",
        "geoworld:novel?seed=9",
        "--limit",
        "12",
        "--record",
        "--retrieval.threshold=0.8",
    )
    assert command(*argv, "--out", str(report)) == 0
    assert json.loads(report.read_text())["verdict"] == "helps"
    assert "the notes help" in capsys.readouterr().out
    monkeypatch.setattr(assemble, "_policy", lambda *_: ScriptedPolicy(answer, name="another"))
    with Notebook.open(path) as notebook:
        notes = notebook.notes()
        assert qualified.objection(notebook, notes, "blank") is None
        assert "never measured with another" in (qualified.objection(notebook, notes, "another") or "")
        assert command(*argv) == 0
        assert qualified.objection(notebook, notes, "another") is None
    capsys.readouterr()
    assert command("values", str(path), "--solver", "blank") == 0
    assert "unknown" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no such notebook"):
        command("qualify", str(tmp_path / "none.db"), "--data", "geoworld:novel")


@pytest.mark.parametrize(
    ("flags", "writer"),
    [
        ([], "solver"),
        (["--supervisor.path=large"], "large"),
        (["--teacher.url=http://127.0.0.1:9/v1", "--teacher.model=huge", "--teacher.prices.output=2"], "huge"),
    ],
)
def test_notes_are_written_by_the_solver_a_local_model_or_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], writer: str
) -> None:
    """The edit is a new note by that model; its calls are billed to the supervisor at its own price."""

    def policy(server: ServerConfig, model: ModelConfig, *_: object) -> ScriptedPolicy:
        name = server.model if server.url else "large" if model.path == "large" else "solver"
        return ScriptedPolicy(lambda p, i: "A tangent stands at right angles on the radius.", name=name)

    monkeypatch.setattr(assemble, "_policy", policy)
    argv = ["--evolve.steps=1", "--evolve.batch=4", "--gate.reserve=1", "--data.n_train=4", "--data.n_pool=4"]
    argv += ["--supervisor.kind=policy", f"--evolve.notebook={tmp_path / 'n.db'}", *flags]
    config = evolve_commands.read_config("recipes/geoworld_tiny_notebook.yaml", argv)
    with ExitStack() as stack:
        made = assemble.assemble(config, stack, say=lambda _: None)
        evolve(made)
        used = made.solver.ledger.usage("supervisor")
        assert used.calls > 0
        assert made.prices["supervisor"].tokens_out == (2.0 if writer == "huge" else 0.0)
        notes = made.notebook.notes("candidate")
        assert {note.author for note in notes.values()} == {writer}


def test_values_of_a_notebook_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Notebook.open(tmp_path / "n.db", create=True) as notebook:
        note = Note("a", "angles", RULES["triangle"])
        notebook.commit([note], message="m", author="me")
        for kept, outcome in ((False, "correct"), (False, "correct"), (True, "wrong")):
            notebook.record("retrieved", note="a", revision=note.revision, withheld=kept, outcome=outcome)
    assert command("values", str(tmp_path / "n.db")) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[:4] == ["a", "2/2", "0/1", "+100.0"]
    assert command("values", str(tmp_path / "n.db"), "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["benefit"] == 1.0
