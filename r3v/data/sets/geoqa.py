"""GeoQA in every form people have, and Geometry3K, which shares two of them.

- join file: one row is {split, geoqa_id or geometry3k_id, image, record}, where `record` is an untouched
  upstream row. GeoQA's training rows are divided by their pictures into train, gate and dev
  (r3v.data.sets.by_picture); with skills=theorems they name the theorems of their solutions as skills
  (r3v.data.sets.theorems)
- ShareGPT export (`geoqa_train_base.json`): {messages, images}, question and choices inside the first message
- UniGeo JSON: {id: {problem, numbers, choice_numbers, label}} with `N_0`, `N_1`, ... in the text; it names
  no images, so the option image=PATTERN says where they are, for example image=images/{id}.png
- FormalGeo7k JSON Lines: {problem_text_en, problem_img, problem_answer}, open-ended; placeholders in the
  English text are filled from the Chinese original, and rows with raw formal predicates in the text are bad
  rows
- InterGPS folders (Geometry3K): SPLIT/ID/data.json beside img_diagram.png
- tables on the hub or fetched from it (r3v.data.sets.copies)

Numbers and point names are tidied (r3v.data.normalise); `meta` keeps the question and choices as they were.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from r3v.data import fields
from r3v.data.hub import is_table
from r3v.data.images import locate
from r3v.data.normalise import (
    answer_kind,
    fill_placeholders,
    gold_tolerance,
    placeholder_numbers,
    tidy_choices,
    tidy_decimal,
    tidy_question,
)
from r3v.data.rows import JsonFile, Row
from r3v.data.sets.by_picture import ByPicture
from r3v.data.sets.copies import copy
from r3v.data.sets.theorems import PARTS, theorems_of
from r3v.data.source import Source, one_file
from r3v.errors import ConfigError, DataError
from r3v.records import LETTERS, ImageSource, Problem
from r3v.spec import Spec

OPTIONS = ("root", "image")
THEOREMS = "theorems"
"""The value of GeoQA's option `skills`."""
SPLIT_NAMES = ("train", "val", "valid", "validation", "dev", "test")
_ANSWER = re.compile(r"Answer:\s*\(?([A-Z])\)?(?![A-Za-z])")
_OPTION = re.compile(r"^\(([A-Z])\)[ \t]*(.*)$", re.MULTILINE)
_PREDICATE = re.compile(r"\b(?:Add|Sub|Mul|Div|Pow|Mod|Sqrt|Sin|Cos|Tan|Equal|Value|[A-Z][a-z]+Of[A-Z]\w+)\(")


def split_in_name(path: Path) -> str | None:
    """The split that a file name speaks of, as in `geoqa_train_base.json`."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((name for name in SPLIT_NAMES if name in words), None)


def _choice_problem(row: Row, question: str, options: list[str], gold: str, **values: Any) -> Problem:
    """A choice problem with tidy text; the originals go to meta."""
    if options[LETTERS.index(gold)] == "None":
        raise row.error("the gold option is one that could not be read ('None')", "choices", "Leave the row out")
    shown = tidy_choices(options)
    meta = {"question": question, "choices": list(options), **values.pop("meta", {})}
    return fields.make(
        row,
        question=tidy_question(question),
        answer=gold,
        kind="choice",
        choices=shown,
        tolerance=gold_tolerance(options[LETTERS.index(gold)], options),
        meta=meta,
        **values,
    )


def _sharegpt(row: Row, record: dict[str, Any], name: str) -> tuple[str, list[str], str]:
    """(question, options, gold letter) out of a two-turn conversation."""
    inner = Row(row.file, row.label, record)
    turns = fields.get(inner, name)
    texts: list[str] = []
    for i, turn in enumerate(turns if isinstance(turns, list) else []):
        content = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
        texts.append(fields.as_text(inner, f"{name}[{i}]", content))
    if len(texts) != 2:
        raise inner.error(f"found {len(texts)} turns, expected a question and an answer", name)
    question, found, listed = texts[0].partition("Choices:")
    options = _OPTION.findall(listed)
    if not found or [letter for letter, _ in options] != list(LETTERS[: len(options)]):
        raise inner.error("expected 'Choices:' and one line for each of (A), (B), ...", f"{name}[0]")
    answers = _ANSWER.findall(texts[1])
    if not answers:
        raise inner.error(f"found {texts[1]!r:.60}, expected 'Answer: ' and a letter", f"{name}[1]")
    checked = fields.choices(inner, f"{name}[0]", [text for _, text in options])
    return question.strip(), list(checked), fields.letter(inner, f"{name}[1]", answers[-1], checked, "letter")


def _unigeo(row: Row, record: dict[str, Any]) -> tuple[str, list[str], str, tuple[str, ...]]:
    """(question with its numbers, options, gold letter, skills) out of a UniGeo record."""
    inner = Row(row.file, row.label, record)
    template = fields.text(inner, "problem" if "problem" in record else "English_problem")
    raw = fields.get(inner, "numbers", [])
    if not isinstance(raw, list):
        raise inner.error(f"found {type(raw).__name__}, expected a list of numbers", "numbers")
    numbers = [fields.as_text(inner, f"numbers[{i}]", number) for i, number in enumerate(raw)]
    try:
        question = fill_placeholders(template, numbers)
    except IndexError as error:
        raise inner.error(f"the text asks for a number that is not there: {template!r:.80}", "numbers") from error
    name = "choice_numbers" if "choice_numbers" in record else "choice_nums"
    listed = fields.get(inner, name)
    # null is an option that the conversion could not read; it may stand as a distractor, never as the gold
    options = list(fields.choices(inner, name, ["None" if x is None else x for x in listed] if listed else listed))
    gold = fields.letter(inner, "label", fields.get(inner, "label"), options, "index")
    return question, options, gold, fields.tags(inner, "p_type", record.get("p_type"))


def _image(row: Row, root: Path, pattern: str | None, key: str, name: Any, field: str) -> tuple[Any, ...]:
    if pattern is not None:
        return (locate(pattern.replace("{id}", key), root, file=row.file, row=row.label, field="image"),)
    if name is None:
        raise row.error("the row names no image", field, "Say where the images are, for example image=images/{id}.png")
    return (locate(name, root, file=row.file, row=row.label, field=field),)


def _look(row: Row, *, name: str, root: Path, pattern: str | None, split: str) -> tuple[str, str, ImageSource]:
    """(split in the file, id, picture) of a row of a join file."""
    key = fields.text(row, f"{name}_id")
    own = fields.as_text(row, "split", fields.get(row, "split", split))
    return own, f"{name}-{own}-{key}", _image(row, root, pattern, key, row.value.get("image"), "image")[0]


def _build_join(
    row: Row,
    *,
    name: str,
    root: Path,
    pattern: str | None,
    split: str,
    part: Callable[[Row], str] | None = None,
    theorems: Mapping[int, tuple[str, ...]] | None = None,
) -> Problem:
    record = fields.get(row, "record")
    if not isinstance(record, dict):
        raise row.error(f"found {type(record).__name__}, expected the upstream record", "record")
    own, called, image = _look(row, name=name, root=root, pattern=pattern, split=split)
    skills: tuple[str, ...] = ()
    if "messages" in record:
        question, options, gold = _sharegpt(row, record, "messages")
    elif "text" in record:
        question, options, gold, skills = _gold(row, record)
    else:
        question, options, gold, skills = _unigeo(row, record)
    if theorems is not None:
        skills = theorems.get(fields.get(row, "problem_id"), ())
    return _choice_problem(
        row,
        question,
        options,
        gold,
        id=called,
        images=(image,),
        skills=skills,
        split=part(row) if part else own,
        source=name,
        meta={f"{name}_id": row.value[f"{name}_id"], "problem_id": row.value.get("problem_id")},
    )


def _gold(row: Row, record: dict[str, Any]) -> tuple[str, list[str], str, tuple[str, ...]]:
    """A record of the GOLD re-annotation of Geometry3K: the answer is rounded, so the nearest option within
    1 % is meant."""
    inner = Row(row.file, row.label, record)
    options = list(fields.choices(inner, "choices", fields.get(inner, "choices")))
    shown = fields.text(inner, "answer")
    try:
        answer, values = float(shown), [float(option) for option in options]
    except ValueError as error:
        raise inner.error(f"found {shown!r} and {options!r}, expected numbers", "answer") from error
    distance, best = min((abs(value - answer), i) for i, value in enumerate(values))
    if not distance <= 0.01 * max(abs(answer), 1e-9):
        raise inner.error(f"gold {shown} is not among the choices {options}", "answer", "Correct the row")
    return fields.text(inner, "text"), options, LETTERS[best], fields.tags(inner, "type", record.get("type"))


def _build_sharegpt(row: Row, *, name: str, root: Path, pattern: str | None, split: str) -> Problem:
    turns = "messages" if "messages" in row.value else "conversations"
    question, options, gold = _sharegpt(row, row.value, turns)
    named = row.value.get("images", row.value.get("image"))
    if isinstance(named, list):
        if len(named) != 1:
            raise row.error(f"found {len(named)} images, expected one", "images")
        named = named[0]
    key = row.value.get("id")
    key = fields.content_id(question, options, str(named)) if key is None else fields.as_text(row, "id", key)
    images = _image(row, root, pattern, key, named, "images")
    return _choice_problem(
        row, question, options, gold, id=f"{name}-{split}-{key}", images=images, split=split, source=name
    )


def _build_unigeo(row: Row, *, name: str, root: Path, pattern: str | None, split: str) -> Problem:
    question, options, gold, skills = _unigeo(row, row.value)
    key = row.key if row.key is not None else fields.text(row, "id")
    images = _image(row, root, pattern, key, row.value.get("image"), "image")
    return _choice_problem(
        row,
        question,
        options,
        gold,
        id=f"{name}-{split}-{key}",
        images=images,
        skills=skills,
        split=split,
        source=name,
    )


def _build_formalgeo(row: Row, *, name: str, root: Path, pattern: str | None, split: str) -> Problem:
    template = fields.text(row, "problem_text_en")
    question = template
    if re.search(r"N_\d", template):
        numbers = placeholder_numbers(template, str(row.value.get("problem_text_cn", "")))
        if numbers is None:
            raise row.error("the numbers behind N_0, N_1, ... are ambiguous", "problem_text_en", "Leave the row out")
        question = fill_placeholders(template, numbers)
    if predicate := _PREDICATE.search(question):
        raise row.error(
            f"found the formal predicate {predicate.group()}...) in the text",
            "problem_text_en",
            "Leave the row out",
        )
    answer = fields.text(row, "problem_answer")
    key = fields.text(row, "problem_id")
    return fields.make(
        row,
        id=f"formalgeo-{key}",
        question=tidy_question(question),
        answer=tidy_decimal(answer),
        kind=answer_kind(answer),
        tolerance=gold_tolerance(answer),
        images=_image(row, root, pattern, key, row.value.get("problem_img"), "problem_img"),
        split=split,
        source=name,
        meta={
            "question": template,
            "answer": answer,
            "problem_id": row.value["problem_id"],
            "from": row.value.get("source"),
        },
    )


def _form(row: Row, name: str) -> Callable[..., Problem]:
    value = row.value
    if "record" in value and f"{name}_id" in value:
        return _build_join
    if "messages" in value or "conversations" in value:
        return _build_sharegpt
    if "problem_text_en" in value:
        return _build_formalgeo
    if "choice_numbers" in value or "choice_nums" in value:
        return _build_unigeo
    raise row.error(
        f"found the fields {', '.join(sorted(value)[:10])}, expected a row of a join file, "
        "a ShareGPT export, UniGeo JSON or FormalGeo7k",
        fix="For other formats use the reader jsonl: with a field mapping",
    )


def _first_form(rows: JsonFile, name: str) -> Callable[..., Problem]:
    """The form of the first row that can be read; broken ones before it are reported when reached."""
    first: DataError | None = None
    for i in range(min(len(rows), 100)):
        try:
            return _form(rows[i], name)
        except DataError as error:
            first = first or error
    raise first or DataError("found no rows", file=rows.path)


def _image_root(file: Path, form: Callable[..., Problem]) -> Path:
    if form is not _build_formalgeo:
        return file.parent
    folders = (file.parent / "images", file.parent / "diagrams", file.parent)
    return next(folder for folder in folders if folder.is_dir())


def read(spec: Spec, split: str | None, *, name: str, files: tuple[str, ...]) -> Source:
    """The reader behind `geoqa:` and `geometry3k:` (all forms but folders)."""
    spec.only((*OPTIONS, "skills") if name == "geoqa" else OPTIONS)
    path = one_file(Path(spec.path), files, "join file")
    rows = JsonFile(path)
    form = _first_form(rows, name)
    theorems = _theorems(spec, split, path.parent, form)
    root = Path(spec.options["root"]) if "root" in spec.options else _image_root(path, form)
    own = split_in_name(path)
    if form is _build_join:
        told = {"name": name, "root": root, "pattern": spec.options.get("image"), "split": own or "train"}
        if name != "geoqa":
            return Source(rows, partial(form, **told), lambda row: row.value.get("split", own))
        kept = ByPicture(rows, partial(_look, **told))
        build = partial(form, **told, part=kept.split_of, theorems=theorems)
        return Source(kept, build, kept.split_of, left_out=kept.told)
    if split and own and split != own:
        raise DataError(
            f"no row of split {split!r}, found {own} (from the file name)", file=path, fix=f"Use split={own}"
        )
    chosen = split or own or "train"
    return Source(rows, partial(form, name=name, root=root, pattern=spec.options.get("image"), split=chosen))


def _theorems(
    spec: Spec, split: str | None, folder: Path, form: Callable[..., Problem]
) -> Mapping[int, tuple[str, ...]] | None:
    """What `skills=theorems` asks for; None without it. The solutions of the test split stay unread."""
    if "skills" not in spec.options:
        return None
    spec.choice("skills", (THEOREMS,))
    if form is not _build_join or split not in PARTS:
        raise ConfigError(
            f"{spec.text}: found skills={THEOREMS} with split {split}, expected one of {', '.join(PARTS)} of a folder "
            "with a join file: the solutions of test problems are not read"
        )
    return theorems_of(folder)


def geoqa(spec: Spec, split: str | None) -> Source:
    """`geoqa:PATH`, PATH a file in one of the forms above, a folder with its join file (whose splits are train, gate,
    dev and test), or a name on the hub."""
    if is_table(spec.path):
        return copy(spec, split)
    return read(spec, split, name="geoqa", files=("join_multiple_choice.jsonl",))


def geometry3k(spec: Spec, split: str | None) -> Source:
    """`geometry3k:PATH`, PATH a file, a folder with its join file, or the InterGPS folder of train/, val/
    and test/."""
    path = Path(spec.path)
    if is_table(spec.path):
        return copy(spec, split)
    if any((path / name).is_dir() for name in ("train", "val", "test")):
        from r3v.data.sets.folders import intergps

        return intergps(spec, split)
    return read(
        spec,
        split,
        name="geometry3k",
        files=("join_multiple_choice_test.jsonl", "join_multiple_choice.jsonl"),
    )
