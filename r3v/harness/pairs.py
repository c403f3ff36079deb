"""Two models on the documents of one task, compared in pairs, from the files that `lmms-eval --log_samples` writes.

lmms-eval's own `--baseline` pairs tasks whose samples have a number called `score` or `..._score`, and passes over the
others without a word. This reads what those have: a number, or a mapping with `score`, `scores` or `true_false`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError, RunError
from r3v.records import Outcome
from r3v.run.controls import Paired, paired

Sample = Mapping[str, Any]
_OF_ALL = (
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "token_counts", "doc_hash", "input_media",
    "input",
)  # fmt: skip
"""Fields of every sample; the others are what the task measured."""
_INSIDE = ("score", "scores", "true_false")


def compare(base: str | Path, other: str | Path, metric: str | None = None) -> tuple[str, Paired]:
    """(metric, `other` against `base`) on the documents that both answered: accuracies, difference with 95 % interval,
    and the two-sided exact sign test.

    metric: a field of the samples; None takes the first that says of a document whether it was answered right. Raises
    RunError for files that are none of `--log_samples` or of other documents, ConfigError where nothing can be paired.
    """
    files = [(Path(base), read_samples(base)), (Path(other), read_samples(other))]
    (_, one), (_, two) = files
    both = sorted(one.keys() & two.keys())
    if not both:
        raise RunError(f"{other}: has no document of {base}; compare two models on one task")
    for doc in both:
        if one[doc].get("target") != two[doc].get("target"):
            raise RunError(f"{other}: document {doc} is another one than in {base}; compare two models on one task")
    name = metric or first_metric([samples[doc] for samples in (one, two) for doc in both], Path(base))
    rows = [
        [{"problem_id": str(doc), "metric": name, "outcome": _outcome(samples[doc], name, path)} for doc in both]
        for path, samples in files
    ]
    return name, paired(rows[1], name, rows[0], name, Path(base).stem)


def read_samples(path: str | Path) -> dict[Any, Sample]:
    """Document -> its sample. Raises RunError for a file that is missing or none of `--log_samples`."""
    found: dict[Any, Sample] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}; expected the samples file of a run") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            sample = json.loads(line)
            found[sample["doc_id"]] = sample
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path}, line {number}: expected a sample with doc_id, as `lmms-eval --log_samples` writes"
            ) from error
    return found


def first_metric(samples: Sequence[Sample], path: Path) -> str:
    """The first field that says of every document whether it was answered right (MMStar has one for each category, and
    one of all). Raises ConfigError where none does."""
    own = [name for name in samples[0] if name not in _OF_ALL]
    for name in own:
        if right(samples[0][name]) is not None and all(name in sample for sample in samples):
            return name
    raise ConfigError(
        f"{path}: found {', '.join(own) or 'no metric'} in a sample, and none says whether that document was answered "
        "right: the task judges all answers together, after they are logged"
    )


def right(value: Any) -> bool | None:
    """Whether a field's value says right or wrong; None where it says neither."""
    if isinstance(value, Mapping) and "parsed_pred" in value:
        return _mmmu(value)
    if isinstance(value, Mapping):
        inside = [value[name] for name in _INSIDE if name in value]
        return right(inside[0]) if inside else None
    if isinstance(value, list):
        return right(value[0]) if len(value) == 1 else None
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def _mmmu(value: Mapping[str, Any]) -> bool:
    """MMMU keeps what it read of the answer and judges it when it adds up; this judges it by the same function."""
    try:
        from lmms_eval.tasks.mmmu.utils import evaluate_mmmu  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"samples of MMMU are judged by lmms-eval, and {error.name} is not installed: pip install 'r3v[lmms]'"
        ) from error
    return bool(evaluate_mmmu([value])[1]["acc"])


def _outcome(sample: Sample, metric: str, path: Path) -> str:
    found = right(sample.get(metric))
    if found is None:
        raise ConfigError(
            f"{path}, document {sample['doc_id']}: found {metric} {str(sample.get(metric))[:60]}, expected 0 or 1"
        )
    return (Outcome.CORRECT if found else Outcome.WRONG).value
