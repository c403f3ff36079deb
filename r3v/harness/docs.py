"""The functions that the YAML of a task written by `r3v harness task` names: a document is a problem and its pictures.

The column `r3v` holds the problem as JSON, `images` its pictures as `datasets` decodes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from r3v.errors import DataError
from r3v.grading import grade
from r3v.prompts import STYLES, question_text
from r3v.records import Outcome, Problem

OWN = "r3v"
"""The column that tells a document of ours from others."""
_TUPLES = ("choices", "skills")


def problem_to(problem: Problem) -> str:
    """A problem without its pictures, as JSON."""
    return json.dumps({name: value for name, value in asdict(problem).items() if name != "images"}, ensure_ascii=False)


def problem_from(doc: Mapping[str, Any]) -> Problem:
    """The problem of a document, without its pictures. Raises DataError for a damaged one."""
    try:
        found: dict[str, Any] = json.loads(doc[OWN])
        for name in _TUPLES:
            found[name] = tuple(found[name]) if found.get(name) is not None else None
        return Problem(**found)
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"found no problem in the column {OWN}: {error}", fix="Write the task anew with `r3v harness task`"
        ) from error


def visual(doc: Mapping[str, Any]) -> list[Any]:
    return list(doc["images"])


def text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Any = None) -> str:
    """What any model is asked: question, choices, and the words of the prompt style `full`. `--model r3v` asks in the
    words of its own style."""
    return f"{question_text(problem_from(doc))}\n{STYLES['full'].solve}"


def messages(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Any = None) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "image", "url": image} for image in visual(doc)]
    return [{"role": "user", "content": [*content, {"type": "text", "text": text(doc)}]}]


def target(doc: Mapping[str, Any]) -> str:
    return problem_from(doc).gold_text


def results(doc: Mapping[str, Any], replies: Sequence[str]) -> dict[str, float]:
    """`score` is 1 for a right answer; `unparsed` is 1 where none is named, which is not right either."""
    verdict = grade(problem_from(doc), replies[0])
    return {"score": float(verdict.correct), "unparsed": float(verdict.outcome is Outcome.UNPARSED)}
