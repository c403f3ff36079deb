"""What is in a data set and what is wrong with it: the work behind `r3v data check SPEC`.

Three different things, kept apart:
- a *bad row* cannot be used: it does not parse, a field is missing or of the wrong type, the gold is not
  among the choices, an image is absent, broken, too large or outside its folder, or its id was used before
  in the same split. `load(..., skip_bad=True)` leaves out exactly these rows.
- a *repeated problem* has the same question, choices and image bytes as an earlier one in its split, under
  another id. It can be used; it only counts twice. Sharing an image alone is normal (GeoQA asks several
  questions of one figure).
- a *leak* is an id or an image (by the hash of its bytes) that stands in two splits of the same source.
  When the spec names one split, the others of the source are read as well, to compare.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from r3v.data import images
from r3v.data.fields import content_id
from r3v.data.normalise import read_as
from r3v.data.readers import examine, reader_of
from r3v.data.source import Source, open_form, select_split
from r3v.data.spec import Spec, parse_spec
from r3v.errors import ConfigError, DataError
from r3v.records import Problem, image_hash


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
    """The same id or image in two splits; `ids` are the problems on either side."""

    what: str
    splits: tuple[str, str]
    ids: tuple[str, str]


@dataclass
class CheckResult:
    """Counts, spreads and findings; `ok` is False when there is any bad row."""

    spec: str
    rows: int = 0
    good: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    without_image: int = 0
    distinct_images: int = 0
    width: Spread | None = None
    height: Spread | None = None
    tokens: Spread | None = None
    repeated: list[tuple[str, str]] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    bad: list[DataError] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.bad


def check(
    spec: str,
    tokens_for: str | Callable[[Problem], int] | None = None,
    *,
    limit: int | None = None,
    max_pixels: int | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> CheckResult:
    """Read every row and decode every image of a spec once.

    `tokens_for` is a function from a problem to the tokens of its prompt, or the name of a model whose
    processor counts them (`token_counter`). `limit` looks at the first rows only. `progress` wraps the row
    numbers. Raises ConfigError or DataError when the spec or the file as a whole cannot be used.
    """
    parsed = parse_spec(spec)
    limit = limit if limit is not None else parsed.number("limit")
    if limit is not None and limit < 0:
        raise ConfigError(f"found limit {limit}, expected a whole number, 0 or more")
    count = token_counter(tokens_for) if isinstance(tokens_for, str) else tokens_for
    split = parsed.options.get("split")
    source = reader_of(parsed)(parsed, split)
    index = select_split(source, split, parsed.path)
    seen = _Seen(CheckResult(spec), parsed.flag("open"), count, max_pixels)
    for i in progress(index if limit is None else index[:limit]):
        seen.row(source, i)
    if split is not None and parsed.reader != "geoworld":  # GeoWorld splits are disjoint by construction
        seen.others(parsed, split)
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
        if self.count:
            self.lengths.append(float(self.count(problem)))
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

    def others(self, spec: Spec, split: str) -> None:
        """Compare with the other splits of the source; their own bad rows are not this check's business."""
        self.result.distinct_images = len(self.hashes)
        options = {key: value for key, value in spec.options.items() if key != "split"}
        whole = Spec(spec.text, spec.reader, spec.path, options)
        source = reader_of(whole)(whole, None)
        for i in range(len(source.rows)):
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


def token_counter(model: str, style: str = "full") -> Callable[[Problem], int]:
    """Counts the tokens of the solve prompt, image included, with a model's own processor."""
    from transformers import AutoProcessor

    from r3v import prompts

    processor = AutoProcessor.from_pretrained(model)
    words = prompts.style(style)

    def count(problem: Problem) -> int:
        prompt = prompts.solve(problem, words)
        text = processor.apply_chat_template(prompt.chat(), add_generation_prompt=True, tokenize=False)
        pictures = [images.decode(image) for image in prompt.images]
        ids = processor(text=[text], images=[pictures] if pictures else None)["input_ids"]
        return len(ids[0])

    return count


def render(result: CheckResult) -> str:
    """The report as plain text: every bad row, and the first ten of what is merely worth knowing."""
    lines = [f"{result.spec}: {result.rows} rows, {result.good} good, {len(result.bad)} bad"]

    def add(name: str, value: object) -> None:
        lines.append(f"  {name:<18} {value}")

    def several(name: str, items: Sequence[str]) -> None:
        add(name, len(items))
        lines.extend(f"    {item}" for item in items[:10])
        if len(items) > 10:
            lines.append(f"    ... and {len(items) - 10} more")

    add("splits", ", ".join(f"{name} {n}" for name, n in sorted(result.splits.items())) or "-")
    add("answer kinds", ", ".join(f"{name} {n}" for name, n in sorted(result.kinds.items())) or "-")
    add("images", f"{result.distinct_images} different; {result.without_image} problems without one")
    if result.width and result.height:
        add("width", f"{result.width} px (least / median / most)")
        add("height", f"{result.height} px")
    if result.tokens:
        add("prompt tokens", f"{result.tokens}")
    several("repeated problems", [f"{second} repeats {first}" for first, second in result.repeated])
    several(
        "split leaks",
        [
            f"{leak.what} of {leak.ids[0]} ({leak.splits[0]}) also in {leak.ids[1]} ({leak.splits[1]})"
            for leak in result.leaks
        ],
    )
    several("warnings", result.warnings)
    add("bad rows", len(result.bad))
    lines.extend(f"    {error}" for error in result.bad)
    return "\n".join(lines)
