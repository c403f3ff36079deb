"""What a reader hands over, and the lazy `Problems` that `load` makes of it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from r3v.data.normalise import answer_kind
from r3v.data.rows import Row
from r3v.errors import DataError
from r3v.grading.judge import OWN
from r3v.records import Problem


@dataclass(frozen=True, slots=True)
class Source:
    """Rows and how to make a Problem of one. `split_of` is None when every row belongs to the split asked
    for; `commit` is that of the hub, where the rows are from there. `left_out` tells of rows that the reader leaves
    out by a rule of its own; `golds` counts how the golds of choices were read in the rows built so far: by text, by
    letter, or by position (index, index1)."""

    rows: Sequence[Row]
    build: Callable[[Row], Problem]
    split_of: Callable[[Row], str | None] | None = None
    commit: str | None = None
    left_out: Callable[[], tuple[str, ...]] | None = None
    golds: Mapping[str, int] = field(default_factory=dict)


def open_form(problem: Problem) -> Problem:
    """A choice problem without its choices; the kind of the answer follows from the text of the right
    option."""
    return problem.open(answer_kind(problem.gold_text)) if problem.kind == "choice" else problem


@dataclass
class Problems(Sequence[Problem]):
    """Problems read one at a time: 8 bytes each in memory at most, beside the row index.

    A bad row raises DataError when it is reached, unless `skip_bad` left it out: then `bad` holds the
    reasons. Two passes give equal problems. Forked and pickled copies work.
    """

    source: Source
    index: Sequence[int]
    open: bool = False
    bad: list[DataError] = field(default_factory=list)
    grader: str = ""
    """A grader of the user's own, which every problem then names in its `meta`."""

    @property
    def skipped(self) -> int:
        """How many rows were left out as bad."""
        return len(self.bad)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return Problems(self.source, self.index[item], self.open, self.bad, self.grader)
        problem = self.source.build(self.source.rows[self.index[item]])
        if self.grader:
            problem = replace(problem, meta={**problem.meta, OWN: self.grader})
        return open_form(problem) if self.open else problem

    def __iter__(self) -> Iterator[Problem]:
        return (self[i] for i in range(len(self)))


def select_split(source: Source, split: str | None, what: str) -> Sequence[int]:
    """Row numbers of a split. Raises DataError naming the splits there are when none belongs to it."""
    rows = range(len(source.rows))
    if split is None or source.split_of is None:
        return rows
    chosen, seen = array("q"), set()
    for i in rows:
        try:
            name = source.split_of(source.rows[i])
        except DataError:
            chosen.append(i)  # a row that cannot be read belongs to every split: it must not vanish silently
            continue
        seen.add(name)
        if name == split:
            chosen.append(i)
    if split not in seen:
        raise DataError(
            f"no row of split {split!r}, found {', '.join(sorted(map(str, seen)))}",
            file=what,
            fix="Use one of these",
        )
    return chosen


def one_file(path: Path, names: Sequence[str], what: str) -> Path:
    """`path` itself if it is a file, or the first of `names` that exists in the folder `path`."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError("no such file or folder", file=path, fix="Check the path in the data spec")
    for name in names:
        if (path / name).is_file():
            return path / name
    raise DataError(
        f"the folder holds no {what}, expected one of {', '.join(names)}",
        file=path,
        fix="Name the file itself",
    )
