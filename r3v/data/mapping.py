"""Any JSON Lines or JSON file through a field mapping; `hub:` reads whatever `datasets` can open by the same options.

    jsonl:mine.jsonl?question=q&answer=gold&image=img
    jsonl:folder                                      with problems.jsonl or data.jsonl inside
    hub:org/name?split=test&choices=options&answer_is=index
    hub:some/folder-or-file.parquet?answer=label

Options naming a field (dots reach into objects); in brackets the field used when the option is absent:
question [question], answer [answer], image [image or images], choices [choices], id [id], unit [unit],
tolerance_field [tolerance], skills [skills], split_field [split], context (text put before the question).
`choices=a,b,c` joins several fields into the options. Options holding a value: kind (choice, number, text or
expression; otherwise from the look of the answer), answer_is (auto, letter, text, index from 0, index1; auto takes a
text or a letter, and refuses a whole number that could be a text and a position), tolerance (relative), name (begins
the ids), root (folder of the images, otherwise that of the file); for `hub:` also config, revision and
where=COLUMN:VALUE. Rows without an id get one made of their content.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from r3v.data.fieldmap import FieldMap, build, split_of
from r3v.data.rows import JsonFile
from r3v.data.source import Source, one_file
from r3v.errors import DataError
from r3v.spec import Spec


def jsonl(spec: Spec, split: str | None, presets: Mapping[str, str] | None = None) -> Source:
    """`jsonl:PATH` with the mapping above; also reads one JSON array, or one JSON object of objects."""
    fieldmap = FieldMap(spec, presets or {})
    path = one_file(Path(spec.path), ("problems.jsonl", "data.jsonl"), "JSON Lines file")
    root = Path(spec.options.get("root", path.parent))
    rows = JsonFile(path)
    field = fieldmap.given.get("split_field", "split")
    has_split = "split_field" in fieldmap.given or (split is not None and _any_has(rows, field))
    make = partial(build, fieldmap=fieldmap, root=root, split=split or "train")
    place = (lambda row: split_of(row, fieldmap, "")) if has_split else None
    return Source(rows, make, place, golds=fieldmap.golds)


def _any_has(rows: JsonFile, field: str) -> bool:
    """Whether any row has the field; a bad row has none here, and is reported when it is reached."""
    for i in range(len(rows)):
        try:
            if field in rows[i].value:
                return True
        except DataError:
            continue
    return False
