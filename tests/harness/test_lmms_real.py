"""`--model r3v` inside lmms-eval itself (`make lmms` makes its environment; `make test-full` runs this).

Two tasks in each run: GeoWorld as `r3v harness task` writes it, and a stand-in of MMStar in its own format, which the
task of lmms-eval itself reads from a folder with the name of the hub's data set.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from r3v.app.cli import main
from r3v.harness.pairs import compare, read_samples
from r3v.run.evaluation import read_rows

PYTHON = Path(os.environ.get("R3V_LMMS", ROOT / ".venv-lmms/bin/python"))
N = 8
CARD = """---
configs:
- config_name: val
  data_files:
  - split: val
    path: mmstar.parquet
---
"""
"""What names the split of Lin-Chen/MMStar."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no {PYTHON}; `make lmms` installs it"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both tasks' data, an adapter and a notebook."""
    from adapter_folders import written

    from r3v.notebook.store.note import Note
    from r3v.notebook.store.store import Notebook
    from r3v.policies.model.loading import load as load_model
    from r3v.settings.config import ModelConfig

    folder = tmp_path_factory.mktemp("lmms")
    command = ["harness", "task", "geoworld:test", "--limit", str(N), "--max-new-tokens", "96"]
    assert main([*command, "--out", str(folder / "tasks")]) == 0
    mmstar(folder / "Lin-Chen" / "MMStar")
    written(load_model(ModelConfig()), ModelConfig(), folder / "adapter")
    with Notebook.open(folder / "n.notebook", create=True) as notebook:
        learnt = Note(id="a", subject="angles", guidance="Angles on a line add up to 180.")
        notebook.commit([learnt], message="learn", author="test")
    return folder


def mmstar(folder: Path) -> None:
    """Problems of GeoWorld in the columns of Lin-Chen/MMStar; the right option is always A."""
    from datasets import Dataset, Features, Image, Value

    from r3v.data import load

    rows = []
    for i, problem in enumerate(load("geoworld:test", limit=N)):
        shown = f"{problem.question}\nOptions: A: {problem.gold_text}, B: 1, C: 2, D: 3"
        image = {"bytes": problem.images[0].read(), "path": None}
        about = {"category": ("math", "logical reasoning")[i % 2], "l2_category": "geometry", "meta_info": "{}"}
        rows.append({"index": i, "question": shown, "image": image, "answer": "A", **about})
    text = dict.fromkeys(("question", "answer", "category", "l2_category", "meta_info"), Value("string"))
    folder.mkdir(parents=True)
    features = Features({"index": Value("int64"), "image": Image(), **text})
    Dataset.from_list(rows, features=features).to_parquet(str(folder / "mmstar.parquet"))
    (folder / "README.md").write_text(CARD)


def lmms(place: Path, out: str, model_args: str, *flags: str) -> tuple[dict[str, Any], dict[str, Path]]:
    """(results of each task, samples file of each task) of one run of lmms-eval."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hf"), "PYTHONWARNINGS": "ignore"}
    command = [
        str(PYTHON), "-m", "lmms_eval", "--model", "r3v", "--model_args", f"model=geoworld-tiny,{model_args}",
        "--tasks", "geoworld,mmstar", "--include_path", str(place / "tasks"), "--batch_size", "8", "--log_samples",
        "--output_path", out, *flags,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = list((place / out).rglob("*_results.json"))  # lmms-eval ends with 0 where it failed, too
    assert len(found) == 1, done.stdout[-3000:] + done.stderr[-3000:]
    (results,) = found
    samples = {task: next((place / out).rglob(f"*_samples_{task}.jsonl")) for task in ("geoworld", "mmstar")}
    return json.loads(results.read_text())["results"], samples


def said(samples: Path) -> dict[int, str]:
    return {doc: sample["filtered_resps"].strip() for doc, sample in read_samples(samples).items()}


def test_lmms_eval_lists_the_model() -> None:
    code = "from lmms_eval.models import get_model, list_available_models as l; print('r3v' in l(), get_model('r3v'))"
    done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True <class 'r3v.harness.chat.R3V'>"


def test_every_task_that_the_docs_name_exists(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "harness.md").read_text()
    named = {task for line in re.findall(r"--tasks (\S+)", text) for task in line.split(",")}
    named -= {"geoqa", "tabmwp", "m3cot"}  # written by `r3v harness task`
    assert len(named) == 8
    code = "import json; from lmms_eval.tasks import TaskManager; print(json.dumps(TaskManager().all_tasks))"
    done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True)
    assert named <= set(json.loads(done.stdout.splitlines()[-1]))


def test_the_same_answers_as_r3v_eval_and_pairs_with_adapter_and_notes(place: Path, tmp_path: Path) -> None:
    base, base_samples = lmms(place, "base", "max_new_tokens=96")
    by_method = {"greedy": "greedy", "majority": "majority@3"}
    rows_file = tmp_path / "eval.json"
    command = ["eval", "--model", "geoworld-tiny", "--data", "geoworld:test", "--limit", str(N), "--n", "3"]
    command += ["--selectors", "greedy,majority", "--select.max_new_tokens", "96", "--out", str(rows_file)]
    assert main(command) == 0
    rows = read_rows(rows_file.with_suffix(".parquet"))
    own = {name: [r["text"].strip() for r in rows if r["metric"] == metric] for name, metric in by_method.items()}
    assert list(said(base_samples["geoworld"]).values()) == own["greedy"]
    measured = json.loads(rows_file.read_text())["eval"]["greedy"]
    assert base["geoworld"]["score,none"] == pytest.approx(measured["accuracy"])
    assert 0.0 <= base["mmstar"]["average,none"] <= 1.0

    voted, voted_samples = lmms(
        place, "voted", "method=majority,n=3,max_new_tokens=96", "--baseline", str(base_samples["geoworld"])
    )  # fmt: skip
    assert list(said(voted_samples["geoworld"]).values()) == own["majority"]
    # lmms-eval pairs our task, and passes over MMStar, whose samples have no number called score
    assert voted["geoworld"]["paired_baseline_score"] == pytest.approx(100 * measured["accuracy"])
    assert "paired_pvalue" in voted["geoworld"]
    assert "paired_pvalue" not in voted["mmstar"]
    metric, found = compare(base_samples["mmstar"], voted_samples["mmstar"])
    assert (metric, found.n) == ("average", N)
    assert found.accuracy == pytest.approx(base["mmstar"]["average,none"])

    notes = "notebook=n.notebook,embedder=lexical,keys=note,threshold=-1,unqualified=true"
    _, taught = lmms(place, "taught", f"adapter=adapter,max_new_tokens=96,{notes}")
    assert said(taught["geoworld"]) != said(base_samples["geoworld"])
    from r3v.notebook.store.store import Notebook

    with Notebook.open(place / "n.notebook") as notebook:
        assert sum(event.kind == "injected" for event in notebook.events()) == 2 * N
