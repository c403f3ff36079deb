"""The options of a spec that say which field of a row is what, and the Problem they make of a row.

`jsonl:` and `hub:` read whatever has fields through this. Four rules for rows that can be read in two ways, each told
once per file when it is first used:
- A row with both `image` and `images` shows what `image` names; the option image=FIELD decides otherwise.
- `<image>` in a question stands for a picture, and pictures stand before the text: at either end it is taken out;
  inside it becomes "(picture 2)" where there are several pictures and is taken out where there is one. A row with more
  of them than pictures has lost one and is a bad row.
- Rows with pictures and rows without may stand in one file; those without are asked from the text alone.
- A key that stands twice in one JSON object is a bad row, unless both values are the same (r3v.data.rows).
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from r3v.data import fields
from r3v.data.images import locate
from r3v.data.normalise import answer_kind
from r3v.data.rows import Row
from r3v.errors import ConfigError
from r3v.records import ANSWER_KINDS, AnswerKind, ImageSource, Problem
from r3v.spec import Spec

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


_PLACEHOLDER = re.compile(r"<image(?:[ _]?(\d+))?>")
_AT_THE_ENDS = re.compile(r"\A(?:\s*<image(?:[ _]?\d+)?>)+\s*|\s*(?:<image(?:[ _]?\d+)?>\s*)+\Z")


class FieldMap:
    """The checked options of one spec; `presets` are the defaults of a named data set. `golds` counts how the golds of
    choices were read so far."""

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
        self.golds: Counter[str] = Counter()
        self._told: set[str] = set()
        self._seen: dict[bool, str] = {}

    def tell(self, row: Row, kind: str, what: str) -> None:
        """Warn of what was done with a row, the first time for each kind."""
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(f"{row.file}, row {row.label}: {what} (told once)", stacklevel=2)

    def value(self, row: Row, option: str) -> tuple[str, Any]:
        """(field name, value) for an option; None when it is optional and absent. Raises DataError when the
        spec named it."""
        name = self.given.get(option, _OPTIONAL.get(option, option))
        if option in _OPTIONAL and option not in self.named:
            return name, fields.get(row, name, None)
        return name, fields.get(row, name)

    def images(self, row: Row, root: Path) -> tuple[ImageSource, ...]:
        """The pictures of a row, `locate`d where they are files. Raises DataError."""
        if "image" in self.given:
            name = self.given["image"]
            value = fields.get(row, name, None)
        else:
            one, several = row.value.get("image"), row.value.get("images")
            name, value = ("image", one) if one is not None else ("images", several)
            if one is not None and several and _keys(several) != _keys(one):
                self.tell(row, "both", "image and images differ; image is shown, image=images shows the other")
        found = value if isinstance(value, list) else [value]
        found = [item for item in found if item is not None]
        if not found and "image" in self.given:
            raise row.error("names no image", name, "Restore it, or leave the row out")
        named = {*FIELDS, *self.given.values()}
        others = [key for key, item in row.value.items() if hasattr(item, "read") and key not in named]
        if not found and others:
            what = f"holds pictures in {', '.join(others)}, which no option names; show one with image={others[0]}"
            self.tell(row, "unnamed", what)
        self._mixed(row, bool(found))
        return tuple(
            item if hasattr(item, "read") else locate(_path(item), root, file=row.file, row=row.label, field=name)
            for item in found
        )

    def _mixed(self, row: Row, pictures: bool) -> None:
        self._seen.setdefault(pictures, row.label)
        if len(self._seen) == 2:
            here, other = ("has a picture", "none") if pictures else ("has no picture", "one")
            what = f"{here} and row {self._seen[not pictures]} has {other}; rows without are asked from the text alone"
            self.tell(row, "mixed", what)

    def question(self, row: Row, name: str, text: str, pictures: int) -> str:
        """The text with no `<image>` in it. Raises DataError where it stands for a picture that is not there."""
        marks = _PLACEHOLDER.findall(text)
        if not marks:
            return text
        numbers = [int(mark) if mark else i for i, mark in enumerate(marks, 1)]
        if max(numbers) > pictures:
            raise row.error(
                f"found {max(numbers)} <image> in the text and {pictures} pictures",
                name,
                "Restore the pictures, or take <image> out of the text",
            )
        lead = _AT_THE_ENDS.match(text)
        order = iter(numbers[len(_PLACEHOLDER.findall(lead.group())) if lead else 0 :])
        inner = _AT_THE_ENDS.sub("", text)
        if _PLACEHOLDER.search(inner):
            how = 'becomes "(picture 2)" and the like' if pictures > 1 else "is taken out"
            self.tell(row, "inside", f"<image> inside the text {how}, because pictures stand before the text")
        said = _PLACEHOLDER.sub(lambda _: f"(picture {next(order)})" if pictures > 1 else " ", inner)
        return fields.as_text(row, name, re.sub(r" {2,}", " ", said))

    def options(self, row: Row) -> tuple[str, ...] | None:
        if "," in self.given.get("choices", ""):
            names = self.given["choices"].split(",")
            return fields.choices(row, "choices", [fields.get(row, name) for name in names])
        name, value = self.value(row, "choices")
        return None if value is None or value == [] else fields.choices(row, name, value)


def build(row: Row, *, fieldmap: FieldMap, root: Path, split: str) -> Problem:
    """One Problem out of one row. Raises DataError."""
    name, value = fieldmap.value(row, "question")
    images = fieldmap.images(row, root)
    question = fieldmap.question(row, name, fields.as_text(row, name, value), len(images))
    if "context" in fieldmap.given and (context := _optional_text(fieldmap, row, "context")):
        question = f"{context}\n{question}"
    options = fieldmap.options(row)
    name, gold = fieldmap.value(row, "answer")
    if isinstance(gold, list) and len(gold) == 1:  # as ChartQA's on the hub
        name, gold = f"{name}[0]", gold[0]
    if options:
        kind: AnswerKind = "choice"
        answer, said = fields.gold_of(row, name, gold, options, fieldmap.answer_is)
        fieldmap.golds[said] += 1
    else:
        answer = fields.as_text(row, name, gold)
        kind = _kind(fieldmap, row, answer)
    if fieldmap.kind not in ("auto", kind):
        raise row.error(f"found choices, expected an answer of kind {fieldmap.kind}", "choices")
    key = _optional_text(fieldmap, row, "id")
    if key is None:
        shown = [getattr(image, "key", None) or image.describe().removeprefix(str(root.resolve())) for image in images]
        key = fields.content_id(question, options, shown)
    name, tags = fieldmap.value(row, "skills")
    own, meta = split_of(row, fieldmap, split), row.value.get("meta")
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


def split_of(row: Row, fieldmap: FieldMap, default: str) -> str:
    """The split of a row: by the field that the spec names, by its file, by a field `split`, or the default."""
    name = fieldmap.given.get("split_field", "split")
    field = fields.get(row, name, None)
    value = field if "split_field" in fieldmap.given else row.split or field
    return default if value is None or value == "" else fields.as_text(row, name, value)


def _keys(value: Any) -> list[Any]:
    """What tells pictures apart without reading them: the key of a picture in a table, else the value itself."""
    return [getattr(item, "key", item) for item in (value if isinstance(value, list) else [value])]


def _path(item: Any) -> Any:
    """The name of an image file, also out of the {path, bytes} that tables are written to JSON with."""
    named = isinstance(item, Mapping) and item.get("path") and not item.get("bytes")
    return item["path"] if named else item
