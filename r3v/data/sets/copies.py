"""Named data sets as tables: copies on the hub, and the same copies fetched to a folder or file.

| reader | on the hub | columns |
|---|---|---|
| geoqa | hz2475/geoQA | subject (Chinese), choices, label (0 to 3), original_split, id, image |
| geoqa | leonardPKU/GEOQA_R1V_Train_8K | problem, solution (`<answer> 145° </answer>`), image; no test split |
| geometry3k | hiyouga/geometry3k | problem ("<image>Find x."), answer, images |
| chartqa | HuggingFaceM4/ChartQA | query, label (a list of one), human_or_machine, image |
| m3cot | LightChen2333/M3CoT | question, context, choices, answer (a letter), topic, image (null in some rows) |
| clevr_math | Parquet copies of dali-does/clevr-math | question, label, template, id (of the image), image |
| tabmwp | zyhang1998/tabmwp | Prompt, Answer, Choices, "Image bytes", id |

The columns say which of them a table is, whatever it is called. JSON and JSON Lines files with the same fields are read
as well, where the data set is one field mapping away.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from r3v.data import fields
from r3v.data.fieldmap import NO_ID
from r3v.data.hub import Form, hub
from r3v.data.mapping import jsonl
from r3v.data.normalise import tidy_choices
from r3v.data.rows import Row
from r3v.data.source import Source
from r3v.errors import ConfigError
from r3v.spec import Spec

_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_QUANTITY = re.compile(
    r"([-+−‑]?\d+(?:[.,]\d+)*(?:/\d+)?)\s*(°|degrees?|(?:[cdmk]?m|millimet|centimet|met|kilomet)(?:er|re)?s?(?:\^?[23]|[²³])?)",
    re.IGNORECASE,
)


def answer_of(row: Row, name: str) -> tuple[str, str | None]:
    """(answer, unit) of a field that holds one `<answer>`, or the plain answer: " 145° " is 145 with the unit °.

    Raises DataError for more than one tag, and for one that is not closed.
    """
    text = fields.text(row, name)
    found = _TAG.findall(text)
    if len(found) > 1 or (not found and re.search(r"</?answer>", text, re.IGNORECASE)):
        raise row.error(f"found {len(found)} closed <answer> tags, expected one", name, "Correct the row")
    answer = fields.as_text(row, name, found[0] if found else text)
    quantity = _QUANTITY.fullmatch(answer)
    return (quantity.group(1), quantity.group(2)) if quantity else (answer, None)


def _geoqa(row: Row) -> Row:
    """Choices as a list of tidy text, whether the column holds a list or one written out; an id that is unique over the
    splits."""
    raw = fields.get(row, "choices")
    if isinstance(raw, str):
        try:
            raw = ast.literal_eval(raw)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise row.error(f"found {raw!r:.60}, expected a list of options", "choices", "Correct the row") from error
    options = tidy_choices(fields.choices(row, "choices", raw))
    own, key = fields.text(row, "original_split"), fields.text(row, "id")
    return replace(row, value={**row.value, "choices": list(options), "id": f"{own}-{key}"})


def _tagged(row: Row) -> Row:
    answer, unit = answer_of(row, "solution")
    return replace(row, value={**row.value, "solution": answer, "unit": unit})


def _without_choices(row: Row) -> Row:
    """An empty list of choices is none."""
    raw: Any = row.value.get("Choices")
    return replace(row, value={**row.value, "Choices": None if raw is None or len(raw) == 0 else raw})


FORMS: dict[str, tuple[Form, ...]] = {
    "geoqa": (
        Form(
            frozenset({"subject", "choices", "label", "original_split"}),
            {
                "question": "subject",
                "answer": "label",
                "answer_is": "index",
                "image": "image",
                "split_field": "original_split",
                "name": "geoqa",
            },
            _geoqa,
        ),
        Form(
            frozenset({"problem", "solution"}),
            {"question": "problem", "answer": "solution", "name": "geoqa-r1v", "id": NO_ID},
            _tagged,
        ),
    ),
    "geometry3k": (
        Form(
            frozenset({"images", "problem", "answer"}),
            {"question": "problem", "image": "images", "name": "geometry3k", "id": NO_ID},
        ),
    ),
    "chartqa": (
        Form(
            frozenset({"query", "label", "image"}),
            {
                "question": "query",
                "answer": "label",
                "image": "image",
                "tolerance": "0.05",
                "id": NO_ID,
                "name": "chartqa",
            },
        ),
    ),
    "clevr_math": (
        Form(
            frozenset({"question", "label", "image"}),
            {
                "question": "question",
                "answer": "label",
                "image": "image",
                "kind": "number",
                "skills": "template",
                "id": NO_ID,
                "name": "clevr_math",
            },
        ),
    ),
    "m3cot": (
        Form(
            frozenset({"question", "answer", "choices", "image"}),
            {
                "question": "question",
                "answer": "answer",
                "image": "image",
                "choices": "choices",
                "context": "context",
                "answer_is": "letter",
                "skills": "topic",
                "name": "m3cot",
            },
        ),
    ),
    "tabmwp": (
        Form(
            frozenset({"Prompt", "Answer", "Choices", "Image bytes"}),
            {
                "question": "Prompt",
                "answer": "Answer",
                "choices": "Choices",
                "answer_is": "text",
                "image": "Image bytes",
                "name": "tabmwp",
            },
            _without_choices,
        ),
    ),
}
_FLAT = (".json", ".jsonl", ".ndjson")


def copy(spec: Spec, split: str | None) -> Source:
    """A named data set as a table, by its columns; or as a JSON or JSON Lines file with the same fields."""
    forms = FORMS[spec.reader]
    if Path(spec.path).suffix in _FLAT:
        return jsonl(spec, split, forms[0].presets)
    return hub(spec, split, forms=forms)


def only_part(spec: Spec, part: str) -> Spec:
    """`part=human` or augmented of ChartQA, by the column that copies say it in. Raises ConfigError beside where=."""
    if "where" in spec.options:
        raise ConfigError(f"{spec.text}: found part and where, expected one of them")
    options = {key: value for key, value in spec.options.items() if key != "part"}
    where = {} if part == "all" else {"where": f"human_or_machine:{'0' if part == 'human' else '1'}"}
    return Spec(spec.text, spec.reader, spec.path, {**options, **where})
