"""Data sets that are folders of several files: TabMWP, ChartQA, and Geometry3K as InterGPS publishes it.

Without `split` every split in the folder is read, one after the other, and each Problem says which it is
from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from r3v.data import fields
from r3v.data.hub import is_table
from r3v.data.images import locate
from r3v.data.normalise import answer_kind, is_number
from r3v.data.rows import Joined, JsonFile, Row
from r3v.data.sets.copies import copy, only_part
from r3v.data.source import Source
from r3v.errors import DataError
from r3v.records import Problem
from r3v.spec import Spec

CHARTQA_TOLERANCE = 0.05
"""The published relaxed match accepts 5 %."""
_YEAR = re.compile(r"(?:1[89]|20)\d\d")
_TABMWP_FILE = re.compile(r"problems_(train|dev|test)(\d*k?)\.json")


def _absent(folder: Path, what: str, fix: str) -> DataError:
    return DataError(f"found no {what}", file=folder, fix=fix)


# TabMWP -------------------------------------------------------------------------------------------


def _tabmwp_files(path: Path, split: str | None) -> list[tuple[Path, str]]:
    if path.is_file():
        match = _TABMWP_FILE.fullmatch(path.name)
        own = match.group(1) if match else split or "train"
        if split and split != own:
            raise DataError(
                f"no row of split {split!r}, found {own} (from the file name)",
                file=path,
                fix=f"Use split={own}",
            )
        return [(path, own)]
    found: dict[str, list[Path]] = {}
    for file in sorted(path.glob("problems_*.json")):
        if match := _TABMWP_FILE.fullmatch(file.name):
            found.setdefault(match.group(1), []).append(file)
    if split is not None:
        found = {split: found[split]} if split in found else {}
    if not found:
        raise _absent(path, f"problems_{split or 'SPLIT'}*.json", "Check the path and the split")
    chosen: list[tuple[Path, str]] = []
    for name, files in sorted(found.items()):
        whole = [file for file in files if file.name == f"problems_{name}.json"] or files
        if len(whole) > 1:
            listed = ", ".join(file.name for file in whole)
            raise DataError(f"split {name!r} has several files: {listed}", file=path, fix="Name the file itself")
        chosen.append((whole[0], name))
    return chosen


def _build_tabmwp(row: Row, *, root: Path) -> Problem:
    key = row.key if row.key is not None else fields.text(row, "pid")
    raw = row.value.get("choices")
    options = None if raw is None else fields.choices(row, "choices", raw)
    answer = fields.text(row, "answer")
    unit = row.value.get("unit")
    kind = fields.as_text(row, "ans_type", row.value.get("ans_type", "unknown"))
    return fields.make(
        row,
        id=f"tabmwp-{row.split}-{key}",
        question=fields.text(row, "question"),
        answer=fields.letter(row, "answer", answer, options, "text") if options else answer,
        kind="choice" if options else answer_kind(answer),
        choices=options,
        unit=None if unit is None else fields.as_text(row, "unit", unit),
        images=(locate(f"{key}.png", root, file=row.file, row=row.label, field="pid"),),
        skills=(kind,),
        split=row.split or "train",
        source="tabmwp",
        meta={"grade": row.value.get("grade"), "table_title": row.value.get("table_title")},
    )


def tabmwp(spec: Spec, split: str | None) -> Source:
    """`tabmwp:PATH`, the folder with problems_SPLIT.json (or problems_dev1k.json, ...) and tables/, or one
    such file.

    Numbers are compared exactly (no tolerance), as in the official evaluation. Option: root=DIR for the
    images. Copies as tables: r3v.data.sets.copies.
    """
    if is_table(spec.path):
        return copy(spec, split)
    spec.only(("root",))
    path = Path(spec.path)
    files = _tabmwp_files(path, split)
    root = Path(spec.options.get("root", (path if path.is_dir() else path.parent) / "tables"))
    rows = Joined([JsonFile(file, split=name) for file, name in files])
    return Source(rows, partial(_build_tabmwp, root=root))


# ChartQA ------------------------------------------------------------------------------------------


def _build_chartqa(row: Row) -> Problem:
    name = fields.text(row, "imgname")
    question, answer = fields.text(row, "query"), fields.text(row, "label")
    file = Path(row.file)
    part = file.stem.partition("_")[2]
    number = is_number(answer)
    return fields.make(
        row,
        id=f"chartqa-{row.split}-{fields.content_id(name, question)}",
        question=question,
        answer=answer,
        kind="number" if number else "text",
        tolerance=CHARTQA_TOLERANCE if number and not _YEAR.fullmatch(answer) else None,
        images=(locate(name, file.parent / "png", file=row.file, row=row.label, field="imgname"),),
        skills=(part,) if part else (),
        split=row.split or "train",
        source="chartqa",
        meta={"imgname": name},
    )


def chartqa(spec: Spec, split: str | None) -> Source:
    """`chartqa:PATH`, the official folder: SPLIT/SPLIT_human.json, SPLIT/SPLIT_augmented.json and SPLIT/png/.

    Numbers are right within 5 %, except whole numbers from 1800 to 2099, which are taken for years and must
    match exactly (the published rule takes 2010 for 2015). Option: part=all, human or augmented. Ids are
    made of image and question, so a repeated row has a repeated id. Copies as tables: r3v.data.sets.copies.
    """
    path = Path(spec.path)
    part = spec.choice("part", ("all", "human", "augmented"))
    if path.is_file() or is_table(spec.path):
        return copy(only_part(spec, part) if "part" in spec.options else spec, split)
    spec.only(("part",))
    parts: list[JsonFile] = []
    for name in ("train", "val", "test") if split is None else (split,):
        for kind in ("human", "augmented"):
            file = path / name / f"{name}_{kind}.json"
            if part in ("all", kind) and file.is_file():
                parts.append(JsonFile(file, split=name))
    if not parts:
        raise _absent(
            path,
            f"{split or 'SPLIT'}/{split or 'SPLIT'}_human.json",
            "Name the folder that holds train, val and test",
        )
    return Source(Joined(parts), _build_chartqa)


# Geometry3K as InterGPS folders -------------------------------------------------------------------


class FolderRows(Sequence[Row]):
    """One row for each sub-folder, from its `data.json`; in memory are the names of the folders."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        names = [entry.name for entry in folder.iterdir() if entry.is_dir()]
        self.names = sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))
        if not self.names:
            raise _absent(folder, "problem folders", "Expected SPLIT/ID/data.json")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Row:
        name = self.names[index]
        file = self.folder / name / "data.json"
        try:
            value = json.loads(file.read_bytes())
        except OSError as error:
            raise DataError(
                f"cannot be read: {error.strerror or error}", file=file, row=name, fix="Restore it"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"not valid JSON: {error}", file=file, row=name) from error
        if not isinstance(value, dict):
            raise DataError(f"found {type(value).__name__}, expected a JSON object", file=file, row=name)
        return Row(str(file), name, value, name, self.split)


def _build_intergps(row: Row) -> Problem:
    options = fields.choices(row, "choices", fields.get(row, "choices"))
    compact = row.value.get("compact_text")
    question = fields.text(row, "problem_text")
    return fields.make(
        row,
        id=f"geometry3k-{row.split}-{row.key}",
        question=fields.as_text(row, "compact_text", compact) if compact else question,
        answer=fields.letter(row, "answer", fields.get(row, "answer"), options, "letter"),
        kind="choice",
        choices=options,
        images=(locate("img_diagram.png", Path(row.file).parent, file=row.file, row=row.label, field="img_diagram"),),
        skills=fields.tags(row, "problem_type_goal", row.value.get("problem_type_goal")),
        split=row.split or "train",
        source="geometry3k",
        meta={"question": question, "choices": list(options)},
    )


def intergps(spec: Spec, split: str | None) -> Source:
    """Geometry3K as published: SPLIT/ID/data.json and SPLIT/ID/img_diagram.png."""
    spec.only(())
    path = Path(spec.path)
    names = [name for name in ("train", "val", "test") if (path / name).is_dir() and split in (None, name)]
    if not names:
        raise _absent(path, f"folder {split}", "Check the path and the split")
    return Source(Joined([FolderRows(path / name, name) for name in names]), _build_intergps)
