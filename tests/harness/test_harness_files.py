"""Tasks that are written for lmms-eval, and its samples compared in pairs. Nothing here needs lmms-eval."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from places import ROOT

from r3v.app.cli import main
from r3v.errors import ConfigError, RunError
from r3v.harness.arguments import read
from r3v.harness.docs import problem_from, visual
from r3v.harness.pairs import compare
from r3v.harness.task import write_task
from r3v.records import BytesImage, Problem
from r3v.settings.config import Config


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "harness.md").read_text(), re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("lmms-eval ")
]


@pytest.mark.parametrize("line", LINES)
def test_arguments_in_the_docs_are_known(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `--model_args` of docs/harness.md is read, without the run, adapter or notebook that it names."""
    monkeypatch.setattr("r3v.harness.arguments.model_settings", lambda *args, **how: Config())
    words = shlex.split(line)
    given = dict(one.split("=", 1) for one in words[words.index("--model_args") + 1].split(","))
    _, asking, notes = read({name: int(v) if v.isdecimal() else v for name, v in given.items()})
    assert asking.method == given.get("method", "greedy")
    assert asking.n == int(given.get("n", 1))
    assert notes.get("notebook") == given.get("notebook")


class Loader(yaml.SafeLoader):
    """Reads `!function a.b.c` as its text."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))  # type: ignore[arg-type]


def test_a_task_holds_problems_and_pictures(tmp_path: Path) -> None:
    from datasets import load_dataset

    problems = [
        Problem("a", "How large?", "B", "choice", (BytesImage(png((9, 0, 0))),), ("30", "60"), skills=("angles",)),
        Problem("b", "How many?", "7", "number", (BytesImage(png((0, 9, 0))),), tolerance=0.05, meta={"level": 2}),
    ]
    path = write_task(problems, "jsonl:x.jsonl", "mine", tmp_path / "tasks", tokens=64)
    task = yaml.load(path.read_text(), Loader)
    assert (task["task"], task["generation_kwargs"]["max_new_tokens"]) == ("mine", 64)
    for name in ("doc_to_visual", "doc_to_text", "doc_to_messages", "doc_to_target", "process_results"):
        module, _, function = task[name].rpartition(".")
        assert callable(getattr(__import__(module, fromlist=[function]), function))
    table = path.parent / task["dataset_kwargs"]["data_files"]["test"]
    rows: Any = load_dataset("parquet", data_files={"test": str(table)}, cache_dir=str(tmp_path / "cache"))["test"]
    for row, problem in zip(rows, problems, strict=True):
        found = problem_from(row)
        for name in ("id", "question", "answer", "kind", "choices", "tolerance", "skills", "meta"):
            assert getattr(found, name) == getattr(problem, name)
        assert visual(row)[0].tobytes() == Image.open(io.BytesIO(problem.images[0].read())).tobytes()
    with pytest.raises(RunError, match="exists"):
        write_task(problems, "x", "mine", tmp_path / "tasks")
    with pytest.raises(ConfigError, match="task name"):
        write_task(problems, "x", "../mine", tmp_path)


def test_the_command_writes_a_task(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["harness", "task", "geoworld:test", "--limit", "2", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "--include_path" in capsys.readouterr().out
    assert (tmp_path / "geoworld.yaml").read_text().startswith("# 2 problems of geoworld:test, graded by ")
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err


def samples(path: Path, metrics: list[Any], target: str = "x") -> str:
    lines = [{"doc_id": i, "target": target, "resps": [], **one} for i, one in enumerate(metrics)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_pairs_are_counted_and_tested(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Base right on 1 of 6, other on 6: five won, none lost, p = 2 / 2**5. MMStar's own form."""

    def rows(right: list[int]) -> list[Any]:
        kinds = ("math", "logical reasoning")
        return [{kinds[i % 2]: {"score": r, "l2": "a"}, "average": {"score": r}} for i, r in enumerate(right)]

    base = samples(tmp_path / "base.jsonl", rows([1, 0, 0, 0, 0, 0]))
    other = samples(tmp_path / "other.jsonl", rows([1] * 6))
    metric, found = compare(base, other)
    assert (metric, found.n, found.wins, found.losses) == ("average", 6, 5, 0)
    assert (found.accuracy, found.difference, found.p) == pytest.approx((1 / 6, 5 / 6, 0.0625))
    assert main(["harness", "pairs", base, other, "--metric", "average", "--out", str(tmp_path / "p.json")]) == 0
    assert capsys.readouterr().out.startswith("average, n 6: base 16.7 %, other 100.0 %, difference +83.3 (")
    assert json.loads((tmp_path / "p.json").read_text())["wins"] == 5


@pytest.mark.parametrize(
    "row",
    [
        {"llm_as_judge_eval": {"true_false": True}},  # MathVista
        {"mathvision_standard_eval": {"response": ["x"], "scores": [True]}},
        {"gpt_eval_score": 1, "submission": {"x": 1}},  # MathVerse
        {"exact_match": 1.0},  # RealWorldQA
    ],
)
def test_forms_of_other_benchmarks_are_read(tmp_path: Path, row: dict[str, Any]) -> None:
    base, other = samples(tmp_path / "a.jsonl", [row, row]), samples(tmp_path / "b.jsonl", [row, row])
    assert compare(base, other)[1].accuracy == 1.0


def test_what_cannot_be_paired_is_said(tmp_path: Path) -> None:
    good = samples(tmp_path / "good.jsonl", [{"score": 1}])
    whole = samples(tmp_path / "whole.jsonl", [{"reasoning_acc": {"resp_key": "1"}}])  # CharXiv
    with pytest.raises(ConfigError, match="found reasoning_acc in a sample, and none says"):
        compare(whole, whole)
    with pytest.raises(ConfigError, match=r"found score 0\.5, expected 0 or 1"):
        compare(good, samples(tmp_path / "half.jsonl", [{"score": 0.5}]))
    with pytest.raises(RunError, match="document 0 is another one"):
        compare(good, samples(tmp_path / "other.jsonl", [{"score": 1}], target="y"))
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match="expected a sample with doc_id"):
        compare(good, tmp_path / "bad.jsonl")
    with pytest.raises(RunError, match="No such file"):
        compare(good, tmp_path / "none.jsonl")
