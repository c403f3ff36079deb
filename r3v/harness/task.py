"""A data set that r3v reads, as a task of lmms-eval: a YAML file and a Parquet file beside it, for `--include_path`.

r3v harness task "geoqa:data/geoqa?split=test" --out tasks
lmms-eval --include_path tasks --tasks geoqa --model r3v --model_args run=runs/first
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r3v.data.images import decode
from r3v.errors import ConfigError, RunError
from r3v.grading import grader_name
from r3v.harness.docs import OWN, problem_to
from r3v.io import atomic_path, atomic_write
from r3v.records import Problem

YAML = """\
# {count} problems of {spec}, graded by {grader}
task: {name}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {name}.parquet  # beside this file
test_split: test
output_type: generate_until
doc_to_visual: !function r3v.harness.docs.visual
doc_to_text: !function r3v.harness.docs.text
doc_to_messages: !function r3v.harness.docs.messages
doc_to_target: !function r3v.harness.docs.target
process_results: !function r3v.harness.docs.results
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: 0
  do_sample: false
  until: []
metric_list:
  - metric: score
    aggregation: mean
    higher_is_better: true
  - metric: unparsed
    aggregation: mean
    higher_is_better: false
score_key: score  # what `--baseline` compares
metadata:
  version: 1.0
"""


def write_task(problems: Sequence[Problem], spec: str, name: str, out: str | Path, *, tokens: int = 384) -> Path:
    """Write `out`/NAME.yaml and `out`/NAME.parquet and return the former. `tokens`: longest answer. Pictures go into
    the file as the data set has them, decoded once to see that they are pictures.

    Raises ConfigError for a name that lmms-eval cannot take and for no problems, RunError where the files exist,
    ImageError."""
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
        raise ConfigError(f"found the task name {name!r}, expected letters, digits, _ and -")
    if not len(problems):
        raise ConfigError(f"found no problem in {spec}; check the data spec and its limit")
    folder = Path(out)
    yaml, table = folder / f"{name}.yaml", folder / f"{name}.parquet"
    for path in (yaml, table):
        if path.exists():
            raise RunError(f"{path}: exists; delete it, or choose another --out or --name")
    from datasets import Dataset, Features, Image, Value
    from datasets import Sequence as Several

    features = Features({"id": Value("string"), OWN: Value("string"), "images": Several(Image())})
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(table) as temporary:
        Dataset.from_list([_row(problem) for problem in problems], features=features).to_parquet(str(temporary))
    filled = {"count": len(problems), "spec": spec, "grader": grader_name(problems[0]), "name": name, "tokens": tokens}
    atomic_write(yaml, YAML.format(**filled))
    return yaml


def _row(problem: Problem) -> dict[str, Any]:
    for image in problem.images:
        decode(image)
    images = [{"bytes": image.read(), "path": None} for image in problem.images]
    return {"id": problem.id, OWN: problem_to(problem), "images": images}
