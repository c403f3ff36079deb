"""Any data set through a field mapping: JSON Lines (or JSON) files, and whatever `datasets` can open.

    jsonl:mine.jsonl?question=q&answer=gold&image=img
    jsonl:folder                                      with problems.jsonl or data.jsonl inside
    hub:org/name?split=test&choices=options&answer_is=index
    hub:some/folder-or-file.parquet?answer=label

Options naming a field (dots reach into objects); in brackets the field used when the option is absent:
question [question], answer [answer], image [image or images], choices [choices], id [id], unit [unit],
tolerance_field [tolerance], skills [skills], split_field [split], context (text put before the question).
`choices=a,b,c` joins several fields into the options. Options holding a value: kind (choice, number, text or
expression; otherwise from the look of the answer), answer_is (auto, letter, text, index from 0, index1),
tolerance (relative), name (begins the ids), root (folder of the images, otherwise that of the file); for
`hub:` also config and revision. Rows without an id get one made of their content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from r3v.data import fields
from r3v.data.images import locate
from r3v.data.normalise import answer_kind
from r3v.data.rows import JsonFile, Row
from r3v.data.source import Source, one_file
from r3v.data.spec import Spec
from r3v.errors import ConfigError, DataError
from r3v.records import ANSWER_KINDS, AnswerKind, ImageSource, Problem

FIELDS = (
    "question",
    "answer",
    "image",
    "choices",
    "id",
    "unit",
    "skills",
    "context",
    "tolerance_field",
    "split_field",
)
_OPEN_KINDS: tuple[AnswerKind, ...] = ("number", "text", "expression")
VALUES = ("kind", "answer_is", "tolerance", "name", "root")
_OPTIONAL = {
    "choices": "choices",
    "id": "id",
    "unit": "unit",
    "skills": "skills",
    "context": "context",
    "tolerance_field": "tolerance",
}
NO_ID = "\0"
"""The preset of `id` where the rows' own is not unique: no field has this name, so ids are made of the content."""


class FieldMap:
    """The checked options of one spec; `presets` are the defaults of a named data set."""

    def __init__(self, spec: Spec, presets: Mapping[str, str], extra: Sequence[str] = ()) -> None:
        spec.only((*FIELDS, *VALUES, *extra))
        self.named = {k: v for k, v in spec.options.items() if k in FIELDS}
        self.given = {**presets, **self.named}
        values = {**presets, **spec.options}
        merged = Spec(spec.text, spec.reader, spec.path, values)
        self.kind = merged.choice("kind", ("auto", *ANSWER_KINDS))
        self.answer_is: Any = merged.choice("answer_is", fields.ANSWER_FORMS)
        self.name = values.get("name", "")
        try:
            self.tolerance = float(values["tolerance"]) if "tolerance" in values else None
        except ValueError:
            self.tolerance = -1.0
        if self.tolerance is not None and not 0 <= self.tolerance < 1:
            raise ConfigError(f"{spec.text}: option tolerance={values['tolerance']!r}, expected a number from 0 to 1")

    def value(self, row: Row, option: str) -> tuple[str, Any]:
        """(field name, value) for an option; None when it is optional and absent. Raises DataError when the
        spec named it."""
        name = self.given.get(option, _OPTIONAL.get(option, option))
        if option in _OPTIONAL and option not in self.named:
            return name, fields.get(row, name, None)
        return name, fields.get(row, name)

    def images(self, row: Row, root: Path) -> tuple[ImageSource, ...]:
        if "image" in self.given:
            name, value = self.given["image"], fields.get(row, self.given["image"], None)
        else:
            name = "image" if row.value.get("image") is not None else "images"
            value = row.value.get(name)
        if value is None or value == []:
            if "image" in self.given:
                raise row.error("names no image", name, "Restore it, or leave the row out")
            return ()
        several = value if isinstance(value, list) else [value]
        return tuple(
            item if hasattr(item, "read") else locate(item, root, file=row.file, row=row.label, field=name)
            for item in several
        )

    def options(self, row: Row) -> tuple[str, ...] | None:
        if "," in self.given.get("choices", ""):
            names = self.given["choices"].split(",")
            return fields.choices(row, "choices", [fields.get(row, name) for name in names])
        name, value = self.value(row, "choices")
        return None if value is None or value == [] else fields.choices(row, name, value)


def build(row: Row, *, fieldmap: FieldMap, root: Path, split: str) -> Problem:
    """One Problem out of one row. Raises DataError."""
    name, value = fieldmap.value(row, "question")
    question = fields.as_text(row, name, value)
    if "context" in fieldmap.given and (context := _optional_text(fieldmap, row, "context")):
        question = f"{context}\n{question}"
    options = fieldmap.options(row)
    name, gold = fieldmap.value(row, "answer")
    if isinstance(gold, list) and len(gold) == 1:  # as ChartQA's on the hub
        name, gold = f"{name}[0]", gold[0]
    if options:
        kind: AnswerKind = "choice"
        answer = fields.letter(row, name, gold, options, fieldmap.answer_is)
    else:
        answer = fields.as_text(row, name, gold)
        kind = _kind(fieldmap, row, answer)
    if fieldmap.kind not in ("auto", kind):
        raise row.error(f"found choices, expected an answer of kind {fieldmap.kind}", "choices")
    images = fieldmap.images(row, root)
    key = _optional_text(fieldmap, row, "id")
    if key is None:
        shown = [getattr(image, "key", None) or image.describe().removeprefix(str(root.resolve())) for image in images]
        key = fields.content_id(question, options, shown)
    name, tags = fieldmap.value(row, "skills")
    own, meta = _split(row, fieldmap, split), row.value.get("meta")
    return fields.make(
        row,
        id=f"{fieldmap.name}-{key}" if fieldmap.name else key,
        question=question,
        answer=answer,
        kind=kind,
        images=images,
        choices=options,
        unit=_optional_text(fieldmap, row, "unit"),
        tolerance=_tolerance(fieldmap, row),
        skills=fields.tags(row, name, tags),
        split=own,
        source=fieldmap.name or Path(row.file).stem,
        meta=meta if isinstance(meta, dict) else {},
    )


def _kind(fieldmap: FieldMap, row: Row, answer: str) -> AnswerKind:
    """The kind the spec says, the kind the row says, or the kind the answer looks like."""
    named = fieldmap.kind if fieldmap.kind != "auto" else row.value.get("kind")
    return cast(AnswerKind, named) if named in _OPEN_KINDS else answer_kind(answer)


def _optional_text(fieldmap: FieldMap, row: Row, option: str) -> str | None:
    name, value = fieldmap.value(row, option)
    blank = value is None or (isinstance(value, str) and not value.strip())
    return None if blank else fields.as_text(row, name, value)


def _tolerance(fieldmap: FieldMap, row: Row) -> float | None:
    name, value = fieldmap.value(row, "tolerance_field")
    if value is None:
        return fieldmap.tolerance
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise row.error(f"found {value!r}, expected a relative tolerance from 0 to 1", name)
    return float(value)


def _split(row: Row, fieldmap: FieldMap, default: str) -> str:
    name = fieldmap.given.get("split_field", "split")
    value = row.split or fields.get(row, name, None)
    return default if value is None or value == "" else fields.as_text(row, name, value)


def jsonl(spec: Spec, split: str | None, presets: Mapping[str, str] | None = None) -> Source:
    """`jsonl:PATH` with the mapping above; also reads one JSON array, or one JSON object of objects."""
    fieldmap = FieldMap(spec, presets or {})
    path = one_file(Path(spec.path), ("problems.jsonl", "data.jsonl"), "JSON Lines file")
    root = Path(spec.options.get("root", path.parent))
    rows = JsonFile(path)
    field = fieldmap.given.get("split_field", "split")
    has_split = "split_field" in fieldmap.given or (split is not None and _any_has(rows, field))
    make = partial(build, fieldmap=fieldmap, root=root, split=split or "train")
    return Source(rows, make, (lambda row: _split(row, fieldmap, "")) if has_split else None)


def _any_has(rows: JsonFile, field: str) -> bool:
    """Whether any row has the field; a bad row has none here, and is reported when it is reached."""
    for i in range(len(rows)):
        try:
            if field in rows[i].value:
                return True
        except DataError:
            continue
    return False


PRESETS: dict[str, dict[str, str]] = {
    "chartqa": {
        "question": "query",
        "answer": "label",
        "image": "image",
        "tolerance": "0.05",
        "id": NO_ID,
        "name": "chartqa",
    },
    "clevr_math": {
        "question": "question",
        "answer": "label",
        "image": "image",
        "kind": "number",
        "skills": "template",
        "id": NO_ID,
        "name": "clevr_math",
    },
    "m3cot": {
        "question": "question",
        "answer": "answer",
        "image": "image",
        "choices": "choices",
        "context": "context",
        "answer_is": "letter",
        "skills": "topic",
        "name": "m3cot",
    },
}
"""Data sets that are one field mapping away, as flat files or from the hub: dali-does/clevr-math (whose ids are names
of images, which several questions share) as its Parquet copies hold it, LightChen2333/M3CoT, HuggingFaceM4/ChartQA."""


def preset(spec: Spec, split: str | None) -> Source:
    """A named data set as a JSON or JSON Lines file, or as whatever `hub:` takes."""
    presets = PRESETS[spec.reader]
    if Path(spec.path).suffix in (".json", ".jsonl", ".ndjson"):
        return jsonl(spec, split, presets)
    from r3v.data.hub import hub

    return hub(spec, split, presets)
