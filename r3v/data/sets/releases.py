"""CLEVR-Math and M3CoT as their authors publish them; flat files and hub copies are in r3v.data.sets.copies.

- CLEVR-Math (arXiv 2208.05358): clevr-math-{train,val,test}.json of the two archives, each an object whose list
  `questions` has the rows of CLEVR (question, answer, image_filename, split, template_filename), and the CLEVR images
  beside them, CLEVR_v1.0/images/SPLIT/.
- M3CoT (arXiv 2405.16473): {train,dev,test}.jsonl with question, context (often empty), choices, answer (a letter),
  and the images under images/.

Without `split` every split in the folder is read, one after the other.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from r3v.data import fields
from r3v.data.hub import VALIDATION
from r3v.data.images import locate
from r3v.data.rows import Joined, JsonFile, Row
from r3v.data.sets.copies import copy
from r3v.data.source import Source
from r3v.errors import DataError
from r3v.records import Problem
from r3v.spec import Spec


def _files(folder: Path, pattern: str, splits: tuple[str, ...], split: str | None) -> list[tuple[Path, str]]:
    """The files of the wanted splits that exist. Raises DataError where there is none."""
    same = VALIDATION if split in VALIDATION else (None, split)
    wanted = [(folder / pattern.format(name), name) for name in splits if split is None or name in same]
    found = [(path, name) for path, name in wanted if path.is_file()]
    if not found:
        listed = ", ".join(path.name for path, _ in wanted) or f"a file of split {split!r} ({', '.join(splits)})"
        raise DataError(f"found none of {listed}", file=folder, fix="Check the path and the split")
    return found


def clevr_math(spec: Spec, split: str | None) -> Source:
    """`clevr_math:FOLDER` as published, or a flat file or hub copy with template, question, image and label.

    Ids are made of image and question: the published ones are names of images, which several questions share.
    Option for the folder: root=DIR with the folders of images of the splits (default CLEVR_v1.0/images).
    """
    folder = Path(spec.path)
    if not folder.is_dir() or not any(folder.glob("clevr-math-*.json")):
        return copy(spec, split)
    spec.only(("root",))
    files = _files(folder, "clevr-math-{}.json", ("train", "val", "test"), split)
    root = Path(spec.options.get("root", folder / "CLEVR_v1.0" / "images"))
    rows = Joined([JsonFile(path, name, inside="questions") for path, name in files])
    return Source(rows, partial(_build_clevr_math, root=root))


def _build_clevr_math(row: Row, *, root: Path) -> Problem:
    question, image = fields.text(row, "question"), fields.text(row, "image_filename")
    own = str(fields.get(row, "split", row.split))  # the folder of the image, in CLEVR's own terms
    template = str(fields.get(row, "template_filename", "")).removesuffix(".json")
    return fields.make(
        row,
        id=f"clevr_math-{row.split}-{fields.content_id(image, question)}",
        question=question,
        answer=fields.text(row, "answer"),
        kind="number",
        images=(locate(f"{own}/{image}", root, file=row.file, row=row.label, field="image_filename"),),
        skills=(template,) if template else (),
        split=row.split or "train",
        source="clevr_math",
        meta={"image_filename": image},
    )


def m3cot(spec: Spec, split: str | None) -> Source:
    """`m3cot:FOLDER` as published, one of its files, or a hub copy.

    An image is where the row says (image or image_path), or in images/ under that name or under the id.
    Option for folder and file: root=DIR for the images (default: beside the file).
    """
    path = Path(spec.path)
    if path.is_dir() and any((path / f"{name}.jsonl").is_file() for name in ("train", "dev", "test")):
        files = _files(path, "{}.jsonl", ("train", "dev", "test"), split)
    elif path.suffix == ".jsonl" and not set(spec.options) - {"split", "limit", "skip_bad", "open", "root"}:
        own = path.stem if path.stem in ("train", "dev", "test") else split or "train"
        if split and split != own:
            raise DataError(
                f"no row of split {split!r}, found {own} (from the file name)", file=path, fix=f"Use split={own}"
            )
        files = [(path, own)]
    else:
        return copy(spec, split)
    spec.only(("root",))
    root = Path(spec.options.get("root", path if path.is_dir() else path.parent))
    return Source(Joined([JsonFile(file, name) for file, name in files]), partial(_build_m3cot, root=root))


def _build_m3cot(row: Row, *, root: Path) -> Problem:
    key, question = fields.text(row, "id"), fields.text(row, "question")
    context = row.value.get("context")
    context = None if context in (None, "") else fields.as_text(row, "context", context)
    options = fields.choices(row, "choices", fields.get(row, "choices"))
    return fields.make(
        row,
        id=f"m3cot-{key}",
        question=f"{context}\n{question}" if context else question,
        answer=fields.letter(row, "answer", fields.get(row, "answer"), options, "letter"),
        kind="choice",
        choices=options,
        images=(_m3cot_image(row, key, root),),
        skills=tuple(str(row.value[name]) for name in ("domain", "topic") if row.value.get(name)),
        split=row.split or "train",
        source="m3cot",
        meta={"question": question, "category": row.value.get("category")},
    )


def _m3cot_image(row: Row, key: str, root: Path):
    field = "image" if row.value.get("image") else "image_path"
    named = row.value.get(field)
    names = [named, f"images/{named.rsplit('/', 1)[-1]}"] if isinstance(named, str) else []
    names.append(f"images/{key}.png")
    there = next((name for name in names if (root / name).is_file()), names[0])
    return locate(there, root, file=row.file, row=row.label, field=field)
