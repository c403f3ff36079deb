"""What is in a data set and what is wrong with it: the work behind `r3v data check SPEC`.

Three different things, kept apart:
- a *bad row* cannot be used: it does not parse, a field is missing or of the wrong type, the gold is not
  among the choices, an image is absent, broken, too large or outside its folder, or its id was used before
  in the same split. `load(..., skip_bad=True)` leaves out exactly these rows.
- a *repeated problem* has the same question, choices and image bytes as an earlier one in its split, under
  another id. It can be used; it only counts twice. Sharing an image alone is normal (GeoQA asks several
  questions of one figure).
- a *leak* is an id or an image (by the hash of its bytes) that stands in two splits of the same source.
  When the spec names one split, the others of the source are read as well, to compare. Between two data sets
  (`leaks_between`) it is an image, by bytes or by pixels, or a question with its choices.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from r3v.data import images
from r3v.data.fields import content_id
from r3v.data.normalise import read_as
from r3v.data.readers import examine, reader_of
from r3v.data.source import Source, open_form, select_split
from r3v.errors import ConfigError, DataError
from r3v.records import Problem, image_hash
from r3v.spec import Spec, parse_spec

GOLDS = {"text": "text", "letter": "letter", "index": "position from 0", "index1": "position from 1"}
"""How golds of choices are read, in the words of the report."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and largest of some sizes."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        return cls(min(values), statistics.median(values), max(values)) if values else None

    def __str__(self) -> str:
        return f"{self.least:g} / {self.median:g} / {self.most:g}"


@dataclass(frozen=True, slots=True)
class Leak:
    """The same id, image or question in two splits or data sets; `ids` are the problems on either side."""

    what: str
    splits: tuple[str, str]
    ids: tuple[str, str]


@dataclass
class CheckResult:
    """Counts, spreads and findings; `ok` is False when there is any bad row."""

    spec: str
    commit: str | None = None
    rows: int = 0
    good: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    golds: Counter[str] = field(default_factory=Counter)
    without_image: int = 0
    distinct_images: int = 0
    width: Spread | None = None
    height: Spread | None = None
    tokens: Spread | None = None
    repeated: list[tuple[str, str]] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    left_out: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    bad: list[DataError] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.bad


def check(
    spec: str,
    tokens_for: Callable[[Problem], int] | None = None,
    *,
    limit: int | None = None,
    max_pixels: int | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> CheckResult:
    """Read every row and decode every image of a spec once.

    `tokens_for` is a function from a problem to the tokens of its prompt. `limit` looks at the first rows only.
    `progress` wraps the row numbers. Raises ConfigError or DataError when the spec or the file as a whole cannot be
    used.
    """
    parsed = parse_spec(spec)
    limit = limit if limit is not None else parsed.number("limit")
    if limit is not None and limit < 0:
        raise ConfigError(f"found limit {limit}, expected a whole number, 0 or more")
    split = parsed.options.get("split")
    source = reader_of(parsed)(parsed, split)
    index = select_split(source, split, parsed.path)
    seen = _Seen(CheckResult(spec, source.commit), parsed.flag("open"), tokens_for, max_pixels)
    for i in progress(index if limit is None else index[:limit]):
        seen.row(source, i)
    seen.result.golds.update(source.golds)
    seen.result.left_out = source.left_out() if source.left_out else ()
    if split is not None and parsed.reader != "geoworld":  # GeoWorld splits are disjoint by construction
        seen.others(parsed, split, source, index)
    return seen.finish()


class _Seen:
    """What has been met so far, while `check` goes through the rows."""

    def __init__(
        self,
        result: CheckResult,
        as_open: bool,
        count: Callable[[Problem], int] | None,
        max_pixels: int | None,
    ) -> None:
        self.result, self.as_open, self.count, self.max_pixels = result, as_open, count, max_pixels
        self.keys: set[tuple[str, int]] = set()
        self.contents: dict[tuple[str, str], str] = {}
        self.ids: dict[str, tuple[str, str]] = {}
        self.hashes: dict[str, tuple[str, str]] = {}
        self.widths: list[float] = []
        self.heights: list[float] = []
        self.lengths: list[float] = []

    def row(self, source: Source, i: int) -> None:
        result = self.result
        result.rows += 1
        try:
            problem = examine(source, i, self.keys, self.max_pixels)
            sizes = [images.size(image, self.max_pixels) for image in problem.images]
            tokens = self.count(problem) if self.count else None
        except DataError as error:
            result.bad.append(error)
            return
        result.good += 1
        result.splits[problem.split] += 1
        if self.as_open:
            problem = open_form(problem)
        result.kinds[problem.kind] += 1
        result.without_image += not problem.images
        self.widths += [float(width) for width, _ in sizes]
        self.heights += [float(height) for _, height in sizes]
        if tokens is not None:
            self.lengths.append(float(tokens))
        if (told := read_as(problem)) is not None:
            result.warnings.append(f"{problem.id}: {told}")
        if problem.choices and len(set(problem.choices)) < len(problem.choices):
            result.warnings.append(f"{problem.id}: the same option stands twice: {', '.join(problem.choices)}")
        hashes = [image_hash(image) for image in problem.images]
        content = (problem.split, content_id(problem.question, problem.choices, hashes))
        first = self.contents.setdefault(content, problem.id)
        if first != problem.id:
            result.repeated.append((first, problem.id))
        self.compare(problem, hashes)

    def compare(self, problem: Problem, hashes: Iterable[str]) -> None:
        """Remember id and image hashes; note a leak when another split had them first."""
        here = (problem.split, problem.id)
        pairs = [("id", self.ids.setdefault(problem.id, here))]
        pairs += [("image", self.hashes.setdefault(value, here)) for value in hashes]
        for what, (split, first) in pairs:
            if split != problem.split:
                self.result.leaks.append(Leak(what, (split, problem.split), (first, problem.id)))

    def others(self, spec: Spec, split: str, own: Source, index: Sequence[int]) -> None:
        """Compare with the other splits of the source; their own bad rows are not this check's business.

        A file that names no splits is of whatever split is asked for, so the rows of this one are never others.
        """
        self.result.distinct_images = len(self.hashes)
        options = {key: value for key, value in spec.options.items() if key != "split"}
        whole = Spec(spec.text, spec.reader, spec.path, options)
        source = reader_of(whole)(whole, None)
        if len(source.rows) == len(index):
            return
        mine = {place for i in index if (place := _place(own, i)) is not None}
        for i in range(len(source.rows)):
            if _place(source, i) in mine:
                continue
            try:
                problem = source.build(source.rows[i])
                if problem.split != split:
                    self.compare(problem, [image_hash(image) for image in problem.images])
            except DataError:
                continue

    def finish(self) -> CheckResult:
        result = self.result
        result.distinct_images = result.distinct_images or len(self.hashes)
        result.width, result.height = Spread.of(self.widths), Spread.of(self.heights)
        result.tokens = Spread.of(self.lengths)
        return result


def _place(source: Source, i: int) -> tuple[str, str] | None:
    """File and row; None for one that cannot be read, which is no other's."""
    try:
        row = source.rows[i]
    except DataError:
        return None
    return row.file, row.label


def leaks_between(one: str, other: str, limit: int | None = None) -> list[Leak]:
    """Problems of one spec (its first `limit`) that stand in another, each told once: by a picture (its bytes or, where
    the sets are different ones, its pixels, since copies are encoded anew), and without a picture by question and
    choices: "Find x." alone says nothing.

    Bad rows are left out. Raises ConfigError or DataError as `check` does.
    """
    sources = [(spec.reader, spec.path) for spec in map(parse_spec, (one, other))]
    if all(reader == "geoworld" for reader, _ in sources):  # its splits are disjoint by construction
        return []
    pixels = sources[0] != sources[1]
    held: dict[str, str] = {}
    for problem in _readable(other, None):
        for mark in _marks(problem, pixels):
            held.setdefault(mark, problem.id)
    found = []
    for problem in _readable(one, limit):
        mark = next((mark for mark in _marks(problem, pixels) if mark in held), None)
        if mark is not None:
            found.append(Leak(mark.partition(" ")[0], (one, other), (problem.id, held[mark])))
    return found


def _readable(spec: str, limit: int | None) -> Iterable[Problem]:
    parsed = parse_spec(spec)
    split = parsed.options.get("split")
    source = reader_of(parsed)(parsed, split)
    index = select_split(source, split, parsed.path)
    for i in index[: limit if limit is not None else parsed.number("limit")]:
        try:
            yield source.build(source.rows[i])
        except DataError:
            continue


def _marks(problem: Problem, pixels: bool) -> list[str]:
    """What a problem is known again by."""
    if not problem.images:
        said = " ".join([problem.question, *(problem.choices or ())]).casefold()
        return [f"question {hashlib.sha256(' '.join(said.split()).encode()).hexdigest()}"]
    marks = []
    for image in problem.images:
        try:
            marks.append(f"image {image_hash(image)}")
            if pixels:
                picture = images.decode(image)
                data = f"{picture.width}x{picture.height} ".encode() + picture.tobytes()
                marks.append(f"pixels {hashlib.sha256(data).hexdigest()}")
        except DataError:
            continue
    return marks


def render(result: CheckResult, every: bool = False) -> str:
    """The report as plain text: of what is wrong one line for each kind, with its count and first case, or `every`
    case."""
    lines = [f"{result.spec}: {result.rows} rows, {result.good} good, {len(result.bad)} bad"]

    def add(name: str, value: object) -> None:
        lines.append(f"  {name:<18} {value}")

    def listed(name: str, items: Sequence[tuple[str, str]]) -> None:
        add(name, len(items))
        lines.extend(f"    {line}" for line in by_kind(items, every))

    if result.commit:
        add("commit", f"{result.commit} (pin it with revision={result.commit})")
    add("splits", ", ".join(f"{name} {n}" for name, n in sorted(result.splits.items())) or "-")
    add("answer kinds", ", ".join(f"{name} {n}" for name, n in sorted(result.kinds.items())) or "-")
    if result.golds:
        add("golds of choices", ", ".join(f"{n} by {GOLDS[how]}" for how, n in sorted(result.golds.items())))
    add("images", f"{result.distinct_images} different; {result.without_image} problems without one")
    if result.width and result.height:
        add("width", f"{result.width} px (least / median / most)")
        add("height", f"{result.height} px")
    if result.tokens:
        add("prompt tokens", f"{result.tokens}")
    listed("repeated problems", [("", f"{second} repeats {first}") for first, second in result.repeated])
    listed("split leaks", [_leak(leak) for leak in result.leaks])
    if result.left_out:
        listed("left out", [(text, text) for text in result.left_out])
    listed("warnings", [("", text) for text in result.warnings])
    listed("bad rows", [(_kind(error), str(error)) for error in result.bad])
    return "\n".join(lines)


def several(name: str, leaks: Sequence[Leak], every: bool = False) -> str:
    """What `leaks_between` found, as text."""
    lines = by_kind([(leak.what, " and ".join(leak.ids)) for leak in leaks], every)
    return "\n".join([f"{name}: {len(leaks)}", *(f"    {line}" for line in lines)])


def by_kind(items: Sequence[tuple[str, str]], every: bool = False) -> list[str]:
    """One line for each kind of (kind, text), the commonest first: how often it stands there, and its first text; or
    every text."""
    if every:
        return [text for _, text in items]
    first: dict[str, str] = {}
    for kind, text in items:
        first.setdefault(kind, text)
    counts = Counter(kind for kind, _ in items)
    return [f"{n} like this: {first[kind]}" if n > 1 else first[kind] for kind, n in counts.most_common()]


def _leak(leak: Leak) -> tuple[str, str]:
    (one, other), (first, second) = leak.splits, leak.ids
    return f"{leak.what} {one} {other}", f"{leak.what} of {first} ({one}) also in {second} ({other})"


_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\(\w\)|\d[\d.,x]*|\S*[/\\]\S*")


def _kind(error: DataError) -> str:
    """Errors about the same field that differ in quoted words, numbers and paths alone are of one kind."""
    return f"{error.field}: {_VARYING.sub('#', error.what)}"
