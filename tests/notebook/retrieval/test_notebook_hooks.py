"""Notes reach every place where problems are solved, and results with other notes are other results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r3v import prompts
from r3v.app.cli import build_parser, main
from r3v.embedding.lexical import Lexical
from r3v.errors import ConfigError, RunError
from r3v.notebook.retrieval.inject import Recall
from r3v.notebook.retrieval.keys import remember
from r3v.notebook.retrieval.retrieve import Retriever
from r3v.notebook.store.identity import hashes_of
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Problem, Prompt
from r3v.rollout.rollout import bootstrap
from r3v.run.evaluation import evaluate
from r3v.selection.selector import Selector
from r3v.settings.config import SampleConfig, SelectConfig

STYLE = prompts.style("short")
NOTE = Note("line", "angles on a line", "Two angles on a line sum to 180; subtract.")
LINE = Problem(id="p1", question="Two angles on a line: one is 40. Find the other.", answer="140", kind="number")
CARS = Problem(id="p2", question="How many red cars?", answer="3", kind="number")


def answer(prompt: Prompt, index: int) -> str:
    """Right on the angles only with the note, right on the cars always."""
    text = prompt.messages[0].text
    return "Answer: 3" if "cars" in text else "Answer: 140" if NOTE.guidance in text else "Answer: 50"


def recall(guidance: str = NOTE.guidance) -> Recall:
    note = Note(NOTE.id, NOTE.subject, guidance)
    return Recall(Retriever({note.id: note}, Lexical(), 0.2), STYLE)


def test_the_selector_solves_with_notes_greedily_and_by_samples() -> None:
    policy = ScriptedPolicy(answer)
    for notes, expected in ((None, "50"), (recall(), "140")):
        selector = Selector(policy, STYLE, SelectConfig(), notes=notes)
        for method in ("greedy", "majority", "fused"):
            assert selector.select(LINE, 3, method).answer == expected
            assert selector.select(CARS, 3, method).answer == "3"


def test_an_evaluation_counts_with_notes_and_keeps_them_apart(tmp_path: Path) -> None:
    policy, cfg, out = ScriptedPolicy(answer), SelectConfig(n=2), tmp_path / "rows.parquet"
    plain = evaluate(policy, [LINE, CARS], ["greedy", "majority"], cfg, STYLE, 0, out=tmp_path / "plain.parquet")
    noted = evaluate(policy, [LINE, CARS], ["greedy", "majority"], cfg, STYLE, 0, out=out, notes=recall())
    assert [plain["greedy"]["accuracy"], noted["greedy"]["accuracy"], noted["majority@2"]["accuracy"]] == [0.5, 1, 1]
    for other in (None, recall("Subtract it.")):
        with pytest.raises(RunError, match="another model, data or settings"):
            evaluate(policy, [LINE, CARS], ["greedy", "majority"], cfg, STYLE, 0, out=out, notes=other)


def test_sampling_with_notes_resumes_only_with_the_same_notes(tmp_path: Path) -> None:
    policy, sample = ScriptedPolicy(answer), SampleConfig(k=2)

    def run(notes: Recall | None) -> float:
        stats = bootstrap(
            policy, [LINE, CARS], tmp_path, sample=sample, style=STYLE, seed=0, notes=notes, progress=False
        )
        return stats.to_dict()["resumed_shards"]

    assert (run(recall()), run(recall())) == (0, 1)
    with pytest.raises(RunError, match="other settings"):
        run(None)
    with pytest.raises(ConfigError, match="plain solve prompt"):
        bootstrap(
            policy, [LINE], tmp_path, sample=sample, style=STYLE, seed=0, notes=recall(), prompts=prompts.direct,
            purpose="direct",
        )  # fmt: skip


def test_calibrate_and_reembed_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "n.sqlite"
    with Notebook.open(path, create=True) as notebook:
        remember(notebook, [LINE], Lexical(64), "text")
        note = Note("line", NOTE.subject, NOTE.guidance, sources=("p1",), source_hashes=hashes_of([LINE]))
        notebook.commit([note], message="learn", author="test")
    shared = [str(path), "--embedder", "lexical:64"]
    command = ["notebook", "calibrate", *shared, "--data", "geoworld:gate", "--limit", "80", "--fpr", "0.05"]
    assert main(command) == 0
    assert "problem to problem: threshold" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rate"] == 0.05
    assert len(json.loads((tmp_path / "n.calibration.json").read_text())) == 1
    assert main(["notebook", "reembed", str(path), "--embedder", "lexical:32"]) == 0
    assert "embedded 1 source problems and 1 notes" in capsys.readouterr().out
    assert main([*command, "--limit", "10"]) == 2
    assert "expected at least 72" in capsys.readouterr().err


def test_notebook_flags_stand_on_every_command_that_solves() -> None:
    for command in (["eval", "--data", "d"], ["select", "--question", "q"], ["sample", "--data", "d", "--out", "o"]):
        args = build_parser().parse_args([*command, "--notebook", "n.sqlite", "--top-k", "2"])
        assert (args.notebook, args.notebook_ref, args.top_k) == ("n.sqlite", "head", 2)
