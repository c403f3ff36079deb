"""`READERS` and `load`: from a spec to a lazy sequence of problems. A new data set is one function and one
line here."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

from r3v.data.images import decode
from r3v.data.mapping import jsonl
from r3v.data.rows import Row
from r3v.data.sets.folders import chartqa, tabmwp
from r3v.data.sets.geoqa import geometry3k, geoqa
from r3v.data.sets.releases import clevr_math, m3cot
from r3v.data.source import Problems, Source, select_split
from r3v.errors import ConfigError, DataError, near
from r3v.grading.own import load_grader
from r3v.records import Problem
from r3v.spec import Spec, parse_spec

Reader = Callable[[Spec, str | None], Source]


class _Ready(Sequence[Row]):
    """Problems that are made, not read: the rows are the problems themselves."""

    def __init__(self, problems: Sequence[Problem], name: str) -> None:
        self.problems, self.name = problems, name

    def __len__(self) -> int:
        return len(self.problems)

    def __getitem__(self, index: Any) -> Row:
        return Row(self.name, str(index + 1), {"problem": self.problems[index]})


def geoworld(spec: Spec, split: str | None) -> Source:
    """`geoworld:SPLIT?n=N&seed=S&families=a,b`, the built-in world.

    `limit` sets n where n is not given, since any number of problems can be made.
    """
    from r3v.data import geoworld as world

    spec.only(("n", "seed", "families"))
    if split is not None and split != spec.path:
        raise ConfigError(f"{spec.text}: the split is {spec.path!r} already, found split={split!r} as well")
    n = spec.number("n", None if spec.flag("skip_bad") else spec.number("limit"))
    families = spec.options["families"].split(",") if "families" in spec.options else None
    problems = world.source(spec.path, n=n, seed=spec.number("seed", 0) or 0, families=families)
    return Source(_Ready(problems, f"geoworld:{spec.path}"), lambda row: row.value["problem"])


def euclid(spec: Spec, split: str | None) -> Source:
    """`euclid:SPLIT?n=N&seed=S&constructions=a,b&theorems=c,d`, the world of theorems.

    `limit` sets n where n is not given.
    """
    from r3v.data import euclid as world

    spec.only(("n", "seed", "constructions", "theorems"))
    if split is not None and split != spec.path:
        raise ConfigError(f"{spec.text}: the split is {spec.path!r} already, found split={split!r} as well")
    n = spec.number("n", None if spec.flag("skip_bad") else spec.number("limit"))
    chosen, theorems = (
        spec.options[k].split(",") if k in spec.options else None for k in ("constructions", "theorems")
    )
    problems = world.source(spec.path, n, spec.number("seed", 0) or 0, chosen, theorems)
    return Source(_Ready(problems, f"euclid:{spec.path}"), lambda row: row.value["problem"])


def _hub(spec: Spec, split: str | None) -> Source:
    from r3v.data.hub import hub

    return hub(spec, split)


READERS: dict[str, Reader] = {
    "geoworld": geoworld,
    "euclid": euclid,
    "geoqa": geoqa,
    "geometry3k": geometry3k,
    "tabmwp": tabmwp,
    "chartqa": chartqa,
    "clevr_math": clevr_math,
    "m3cot": m3cot,
    "jsonl": jsonl,
    "hub": _hub,
}


def reader_of(spec: Spec) -> Reader:
    """The reader a spec names. Raises ConfigError with the nearest name."""
    if spec.reader not in READERS:
        hint = near(spec.reader, READERS)
        raise ConfigError(f"{spec.text}: unknown reader {spec.reader!r}{hint} (known: {', '.join(READERS)})")
    return READERS[spec.reader]


def load(
    spec: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    skip_bad: bool = False,
    open: bool = False,
    max_pixels: int | None = None,
    grader: str | None = None,
) -> Problems:
    """The problems a spec names, read lazily (see r3v.spec for the syntax).

    `split` None reads every split. `open` takes the choices away. `grader` names one of the user's own
    (`r3v.grading.own`). Without `skip_bad` a bad row raises
    DataError or ImageError when it is reached. With it, every row is read and every image decoded once now,
    bad rows and rows whose id was seen before are left out and listed in `.bad`, and the pass ends after
    `limit` good ones. Raises ConfigError for a spec that is wrong and DataError for a file that cannot be
    read.
    """
    parsed = parse_spec(spec)
    overrides = {
        "split": split,
        "limit": limit,
        "skip_bad": "1" if skip_bad else None,
        "open": "1" if open else None,
        "grader": grader,
    }
    given = {key: str(value) for key, value in overrides.items() if value is not None}
    parsed = Spec(parsed.text, parsed.reader, parsed.path, {**parsed.options, **given})
    split, limit = parsed.options.get("split"), parsed.number("limit")
    skip_bad, as_open = parsed.flag("skip_bad"), parsed.flag("open")
    judge = parsed.options.get("grader", "")
    if judge:
        load_grader(judge)  # what is missing is told now, not after the first sample
    source = reader_of(parsed)(parsed, split)
    index = select_split(source, split, parsed.path)
    if not skip_bad:
        return Problems(source, index if limit is None else index[:limit], as_open, grader=judge)
    good, bad = _pass(source, index, limit, max_pixels)
    return Problems(source, good, as_open, bad, judge)


def _pass(
    source: Source, index: Sequence[int], limit: int | None, max_pixels: int | None
) -> tuple[Sequence[int], list[DataError]]:
    """Read every row and decode every image; the row numbers that are good, and why the others are not."""
    good, bad, seen = array("q"), [], set()
    for i in index:
        if limit is not None and len(good) >= limit:
            break
        try:
            examine(source, i, seen, max_pixels)
        except DataError as error:
            bad.append(error)
        else:
            good.append(i)
    return good, bad


def examine(source: Source, i: int, seen: set[tuple[str, int]], max_pixels: int | None) -> Problem:
    """Read row `i` in full, images included. Raises DataError; an id that is in `seen` already is one reason.

    Ids count once in a split: every later stage keeps its work by id.
    """
    row = source.rows[i]
    problem = source.build(row)
    for image in problem.images:
        decode(image, max_pixels)
    key = (problem.split, hash(problem.id))
    if key in seen:
        raise row.error(
            f"id {problem.id!r} was used by an earlier row", "id", "Give it another id, or leave the row out"
        )
    seen.add(key)
    return problem
