"""Making a problem: everything follows from (family, level, seed, split), and splits never share a content.

A content (family, variant, numbers, letters) belongs to the one split that its sha256 falls to; a draw
that lands in another split's share is thrown away and drawn again. Novel families occur in the split
"novel" only.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from r3v.data.geoworld import circles, lengths, lines, novel, quads, triangles
from r3v.data.geoworld.core import (
    Draft,
    Draw,
    Family,
    Given,
    Item,
    constants,
    evaluate,
    given_values,
    number,
    operations,
    question_text,
    rationale_text,
    reading_text,
    run,
)
from r3v.data.geoworld.shapes import distance
from r3v.errors import ConfigError, DataError
from r3v.records import LETTERS, Problem

_BUILDERS = (
    triangles.triangle_sum,
    triangles.exterior_angle,
    triangles.isosceles_base,
    triangles.isosceles_apex,
    triangles.right_acute,
    triangles.angle_bisector,
    lines.linear_pair,
    lines.vertical_bisector,
    lines.parallel_cointerior,
    lines.parallel_alternate,
    lines.parallel_zigzag,
    quads.quadrilateral_sum,
    quads.parallelogram_angle,
    quads.parallelogram_perimeter,
    quads.rectangle_area,
    quads.rectangle_perimeter,
    lengths.triangle_area,
    lengths.pythagoras,
    lengths.midline,
    lengths.similar_ratio,
    lengths.hypotenuse_median,
    circles.inscribed_central,
    circles.inscribed_diameter,
    circles.circle_diameter,
)
_NOVEL_BUILDERS = (
    novel.cyclic_quadrilateral,
    novel.tangent_radius,
    novel.two_tangents,
    novel.trapezoid_midline,
    novel.rhombus_area,
    novel.sector,
)
FAMILIES: dict[str, Family] = {
    build.__name__: Family(build.__name__, build, build in _NOVEL_BUILDERS) for build in (*_BUILDERS, *_NOVEL_BUILDERS)
}
NOVEL: tuple[str, ...] = tuple(name for name, family in FAMILIES.items() if family.novel)
SEEN: tuple[str, ...] = tuple(name for name, family in FAMILIES.items() if not family.novel)

_SHARES = (("warmup", 40), ("train", 30), ("gate", 12), ("test", 18))
SPLITS: tuple[str, ...] = (*(name for name, _ in _SHARES), "novel")
_TRIES = 20_000


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """A picture that is drawn when it is read; holds only what determines it."""

    family: str
    level: int
    seed: int
    split: str

    def read(self) -> bytes:
        """PNG bytes, the same for the same fields with one version of Pillow."""
        return _png(self)

    def describe(self) -> str:
        return f"geoworld {self.family} level {self.level} seed {self.seed} ({self.split})"


@functools.lru_cache(maxsize=4096)
def _png(image: RenderedImage) -> bytes:
    """The last pictures drawn are kept (about 7 MB), because a prompt is hashed, encoded and shown from one picture."""
    from r3v.data.geoworld.render import render

    return render(make(image.family, image.level, image.seed, image.split))


def split_of(key: str) -> str:
    """The split that the content `key` of a family outside NOVEL belongs to."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    for name, share in _SHARES:
        if bucket < share:
            return name
        bucket -= share
    raise AssertionError("the shares of the splits sum to 100")


def content_key(family: str, draft: Draft) -> str:
    """What makes two problems the same: family, variant, numbers and letters; not the rotation of the
    figure.
    """
    givens = ",".join(g.text for g in draft.givens)
    return f"{family}|{draft.variant}|{draft.intro}|{givens}|{draft.target}"


def families_of(split: str) -> tuple[str, ...]:
    """The families that occur in `split`. Raises ConfigError for an unknown split."""
    if split not in SPLITS:
        raise ConfigError(f"found geoworld split {split!r}, expected one of {', '.join(SPLITS)}")
    return NOVEL if split == "novel" else SEEN


def make(family: str, level: int, seed: int, split: str) -> Item:
    """The item that (family, level 1..5, seed, split) stands for. Raises ConfigError for arguments outside
    these.
    """
    every = families_of(split)
    if family not in every:
        raise ConfigError(f"found geoworld family {family!r} for split {split!r}, expected one of {', '.join(every)}")
    if level not in range(1, 6):
        raise ConfigError(f"found geoworld level {level!r}, expected 1 to 5")
    return _make(family, level, seed, split)


@functools.lru_cache(maxsize=512)
def _make(family: str, level: int, seed: int, split: str) -> Item:
    for attempt in range(_TRIES):
        rng = random.Random(f"geoworld|{family}|{level}|{seed}|{split}|{attempt}")
        draft = FAMILIES[family].build(Draw(rng, level, wide=attempt >= 24))
        if draft is None or not is_clean(draft):
            continue
        key = content_key(family, draft)
        if split != "novel" and split_of(key) != split:
            continue
        if level >= 3 and draft.extras and rng.random() < 0.35:
            draft = _with_extra(draft, rng)
        return item_from(family, level, seed, split, draft, key, rng)
    raise AssertionError(f"family {family} has no content at level {level} in split {split}")


def is_clean(draft: Draft) -> bool:
    """Whether no number could be mistaken for another and no wrong method lands on the gold answer."""
    values = [g.value for g in draft.givens]
    fixed = {n for method in (draft.right, *draft.wrong) for n in constants(method)}
    if len(set(values)) < len(values) or any(str(v) in fixed for v in values):
        return False
    gold, _ = run(draft.right, given_values(draft))
    if gold <= 0 or abs(gold - round(gold)) > 1e-9 or gold in values:
        return False
    answers = [_wrong_answer(draft, i) for i in range(len(draft.wrong))]
    if any(a is not None and abs(a - gold) < 1e-9 for a in answers):
        return False
    return len({a for a in answers if a is not None}) >= 2


def _wrong_answer(draft: Draft, index: int) -> float | None:
    """Where a wrong method ends, or None where a step of it is not a positive number of at most one
    decimal.
    """
    known = given_values(draft)
    method = draft.wrong[index]
    answer = known.get(method.result, 0.0)
    for step in method.steps:
        expression, _, name = step.partition(" = ")
        answer = known[name] = evaluate(expression, known)
        if answer <= 0 or abs(answer * 2 - round(answer * 2)) > 1e-9:
            return None
    return answer


def _with_extra(draft: Draft, rng: random.Random) -> Draft:
    """The draft at another scale, with the length of one segment as a number that nobody needs."""
    p, q = rng.choice(draft.extras)
    taken = {g.value for g in draft.givens} | {int(run(draft.right, given_values(draft))[0])}
    fixed = {int(float(n)) for m in (draft.right, *draft.wrong) for n in constants(m)}
    value = rng.choice([n for n in range(3, 20) if n not in taken | fixed])
    factor = value / distance(draft.points[p], draft.points[q])
    points = {name: (x * factor, y * factor) for name, (x, y) in draft.points.items()}
    extra = Given("extra", f"{p}{q}", value, ("length", p, q))
    return replace(draft, points=points, givens=(*draft.givens, extra))


def item_from(family: str, level: int, seed: int, split: str, draft: Draft, key: str, rng: random.Random) -> Item:
    """The problem, its rationale and its typical mistakes, from a draft of this content `key`."""
    place = "figure" if rng.random() < 0.6 else "text"
    rationale, gold = rationale_text(draft, draft.right)
    wrong: list[tuple[str, str]] = []
    for index, method in enumerate(draft.wrong):
        if _wrong_answer(draft, index) is not None:
            text, answer = rationale_text(draft, method)
            if answer not in {a for _, a in wrong}:
                wrong.append((text, answer))
    choices, letter = _choices(gold, [a for _, a in wrong], rng)
    skills = [*draft.skills, *operations(draft.right)]
    if place == "figure":
        skills.append("perception:number")
    skills += ["perception:letter", *(["composition:two_rules"] if level >= 4 else [])]
    if any(g.key == "extra" for g in draft.givens):
        skills.append("perception:ignore_extra")
    problem = Problem(
        id=f"geoworld-{split}-{family}-{level}-{seed}",
        question=question_text(draft, place),
        answer=letter,
        kind="choice",
        images=(RenderedImage(family, level, seed, split),),
        choices=choices,
        skills=tuple(dict.fromkeys(skills)),
        split=split,
        source="geoworld",
        meta={
            "family": family,
            "level": level,
            "seed": seed,
            "split": split,
            "place": place,
            "variant": draft.variant,
            "givens": {g.label: g.value for g in draft.givens},
            "content": hashlib.sha256(key.encode()).hexdigest()[:16],
        },
    )
    truth = {
        "points": {name: list(point) for name, point in draft.points.items()},
        "givens": [{"measure": list(g.measure), "value": g.value} for g in draft.givens],
        "target": list(draft.target_measure),
        "answer": float(gold),
    }
    return Item(problem, rationale, tuple(wrong), reading_text(draft), draft.note, truth, draft)


def _choices(gold: str, wrong: Sequence[str], rng: random.Random) -> tuple[tuple[str, ...], str]:
    """Four distinct options: the gold, up to three answers of wrong methods, the rest near values; and its
    letter.
    """
    options = [gold, *wrong[:3]] if len(wrong) <= 3 else [gold, *rng.sample(list(wrong), 3)]
    near = [5, 10, 15, 20] if float(gold) >= 25 else [1, 2, 3, 4]
    offsets = [sign * n for n in near for sign in (1, -1)]
    rng.shuffle(offsets)
    for offset in offsets:
        text = number(float(gold) + offset)
        if len(options) < 4 and float(text) > 0 and text not in options:
            options.append(text)
    rng.shuffle(options)
    return tuple(options), LETTERS[options.index(gold)]


def item_of(problem: Problem) -> Item:
    """The item behind a GeoWorld problem, rebuilt from its meta. Raises DataError for any other problem."""
    missing = [name for name in ("family", "level", "seed", "split") if name not in problem.meta]
    if missing:
        raise DataError(
            f"found no {', '.join(missing)} in meta, expected a GeoWorld problem",
            row=problem.id,
            field="meta",
            fix="Use problems from r3v.data.geoworld.source or write_dataset",
        )
    meta = problem.meta
    item = make(meta["family"], int(meta["level"]), int(meta["seed"]), meta["split"])
    return replace(item, problem=problem)
