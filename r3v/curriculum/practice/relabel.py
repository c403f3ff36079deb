"""GeoWorld problems made again with other numbers, another turn of the figure, or its mirror image.

The numbers come from the family's own builder, so they are a figure that exists; structure and letters stay those of
the seed item. The answer follows from the family's right method and is measured on the to-scale figure as well.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from r3v.curriculum.practice.measure import disagreement
from r3v.data.geoworld.core import Draft, Draw, Given, Item, Measure
from r3v.data.geoworld.make import FAMILIES, content_key, is_clean, item_from, item_of, split_of
from r3v.data.geoworld.shapes import distance
from r3v.errors import DataError
from r3v.records import Problem

if TYPE_CHECKING:
    from PIL import Image

_NAMES = re.compile(r"\b[A-Z]+\b")
_CANDIDATES = 400
MAX_ANGLE = 15.0
"""Degrees a painted angle may differ from the one drawn."""
MAX_STRETCH = 1.3
"""Factor by which the ratio of two painted lengths may differ from the drawn one."""


class EditRefused(DataError):
    """An edit that cannot be made, or whose answer could not be recomputed."""


@dataclass(frozen=True, slots=True)
class Base:
    """What determines a GeoWorld item; kept in the provenance of its edits."""

    family: str
    level: int
    seed: int
    split: str

    @classmethod
    def of(cls, problem: Problem) -> Base:
        """Raises EditRefused for a problem that is not a GeoWorld item as it was made."""
        try:
            item_of(problem)
        except DataError as error:
            raise EditRefused(
                "the numbers of this picture are not known, so the answer cannot be recomputed",
                row=problem.id,
                fix="Use an edit that keeps the answer, or the agents generator, whose checker solves the new question",
            ) from error
        meta = problem.meta
        return cls(meta["family"], int(meta["level"]), int(meta["seed"]), meta["split"])

    def item(self) -> Item:
        from r3v.data.geoworld.make import make

        return make(self.family, self.level, self.seed, self.split)

    def to_dict(self) -> dict[str, Any]:
        return {"family": self.family, "level": self.level, "seed": self.seed, "split": self.split}


def _rename(draft: Draft, names: Mapping[str, str]) -> Draft:
    """The draft with other letters at its points."""

    def text(words: str) -> str:
        return _NAMES.sub(lambda m: "".join(names.get(c, c) for c in m[0]), words)

    def measure(kind: Measure) -> Measure:
        return (kind[0], *(names[p] for p in kind[1:]))

    return replace(
        draft,
        intro=text(draft.intro),
        facts=tuple(text(f) for f in draft.facts),
        givens=tuple(replace(g, label=text(g.label), measure=measure(g.measure)) for g in draft.givens),
        target=text(draft.target),
        target_measure=measure(draft.target_measure),
        points={names[p]: at for p, at in draft.points.items()},
        marks=tuple(replace(m, points=tuple(names[p] for p in m.points)) for m in draft.marks),
        hidden=tuple(names[p] for p in draft.hidden),
        extras=tuple((names[p], names[q]) for p, q in draft.extras),
    )


def _structure(draft: Draft) -> tuple[Any, ...]:
    """Everything of a draft but its numbers, its coordinates and which strokes are dashed."""
    givens = tuple((g.key, g.label, g.measure, g.text_only) for g in draft.givens if g.key != "extra")
    marks = tuple((m.kind, m.points, m.count) for m in draft.marks)
    return (
        draft.intro,
        draft.facts,
        givens,
        draft.target,
        draft.target_measure,
        draft.right,
        draft.wrong,
        draft.variant,
        marks,
    )


def _with_extra(draft: Draft, extra: Given, rng: random.Random) -> Draft:
    """The draft scaled so that the segment of the unneeded length has a new whole length."""
    taken = {g.value for g in draft.givens}
    value = rng.choice([v for v in range(3, 20) if v not in taken and v != extra.value])
    p, q = extra.measure[1:]
    factor = value / distance(draft.points[p], draft.points[q])
    points = {name: (x * factor, y * factor) for name, (x, y) in draft.points.items()}
    return replace(draft, points=points, givens=(*draft.givens, replace(extra, value=value)))


def candidate(base: Base, index: int) -> Draft | None:
    """The seed item with the numbers of draw `index` of its family, to scale; None where that draw has another
    structure, the same numbers, an answer that a wrong method also gives, or a content of another split."""
    old = base.item().draft
    rng = random.Random(f"relabel|{base.family}|{base.level}|{base.seed}|{base.split}|{index}")
    draft = FAMILIES[base.family].build(Draw(rng, base.level, wide=True))
    if draft is None or len(draft.points) != len(old.points):
        return None
    draft = _rename(draft, dict(zip(draft.points, old.points, strict=True)))
    if _structure(draft) != _structure(old) or not is_clean(draft):
        return None
    key = content_key(base.family, draft)
    if key == content_key(base.family, _needed(old)) or (base.split != "novel" and split_of(key) != base.split):
        return None
    extra = next((g for g in old.givens if g.key == "extra"), None)
    if extra is not None:
        draft = _with_extra(draft, extra, rng)
        if not is_clean(draft):
            return None
    return draft


def _needed(draft: Draft) -> Draft:
    return replace(draft, givens=tuple(g for g in draft.givens if g.key != "extra"))


def remade(base: Base, index: int, problem_id: str) -> Item:
    """The whole new item of draw `index`, asked as the seed item is (numbers in the figure or in the text).

    Raises EditRefused where the draw gives no item, or where the figure contradicts the recomputed answer.
    """
    draft = candidate(base, index)
    if draft is None:
        raise EditRefused(f"draw {index} gives no item like {base}", row=problem_id)
    place = base.item().problem.meta["place"]
    key = content_key(base.family, _needed(draft))
    for salt in range(64):
        rng = random.Random(f"remade|{base.seed}|{index}|{salt}")
        item = item_from(base.family, base.level, base.seed, base.split, draft, key, rng)
        if item.problem.meta["place"] == place:
            break
    else:
        raise AssertionError("64 draws of two places never gave the one wanted")
    wrong = disagreement(draft, float(item.problem.gold_text))
    if wrong is not None:
        raise EditRefused(f"the recomputed answer does not hold: {wrong}", row=problem_id)
    return item


def find(base: Base, seed: int, *, paint: bool, problem_id: str) -> tuple[int, Item]:
    """The first draw from `seed` on that gives a new item; with `paint`, one whose numbers fit the boxes of the old
    picture and are near enough to what it draws. Raises EditRefused where `_CANDIDATES` draws hold none."""
    for index in range(seed * _CANDIDATES, (seed + 1) * _CANDIDATES):
        draft = candidate(base, index)
        if draft is not None and (not paint or fits(base.item().draft, draft)):
            return index, remade(base, index, problem_id)
    what = "that fit its drawing" if paint else "of its kind"
    raise EditRefused(f"found no other numbers {what} in {_CANDIDATES} draws", row=problem_id, fix="Use another seed")


def fits(old: Draft, new: Draft) -> bool:
    """Whether the numbers of `new` can stand on the picture of `old`: not longer, and not far from what it shows."""
    lengths = []
    for before, after in zip(old.givens, new.givens, strict=True):
        if len(str(after.value)) > len(str(before.value)):
            return False
        if before.measure[0] == "angle" and abs(before.value - after.value) > MAX_ANGLE:
            return False
        if before.measure[0] == "length":
            lengths.append(after.value / before.value)
    return not lengths or max(lengths) / min(lengths) <= MAX_STRETCH


def paint(base: Base, new: Draft) -> Image.Image:
    """The picture of the seed item with the new numbers in the boxes of the old; no pixel outside them changes."""
    from PIL import Image

    from r3v.data.geoworld.glyphs import glyph
    from r3v.data.geoworld.render import SCALE, SIZE, draw

    picture, layout = draw(base.item())
    picture = picture.copy()
    values = {g.key: str(g.value) for g in new.givens}
    for label in layout.labels:
        if label.kind != "number":
            continue
        canvas = Image.new("L", (SIZE * SCALE, SIZE * SCALE), 255)
        mask = glyph(values[label.given], False, SCALE)
        x0, y0, x1, y1 = label.box
        at = (round((x0 + x1) / 2 * SCALE - mask.width / 2), round((y0 + y1) / 2 * SCALE - mask.height / 2))
        canvas.paste(0, at, mask)
        inner = (math.ceil(x0), math.ceil(y0), math.floor(x1), math.floor(y1))
        picture.paste(canvas.reduce(SCALE).crop(inner), inner[:2])
    return picture


def redrawn(base: Base, layout_seed: int, *, mirror: bool) -> Image.Image:
    """The same problem drawn again: another turn of the figure, and its mirror image if asked; labels stay upright."""
    from r3v.data.geoworld.render import draw

    item = base.item()
    draft = item.draft
    if mirror:
        draft = replace(draft, points={name: (-x, y) for name, (x, y) in draft.points.items()})
        meta = item.problem.meta
    else:
        meta = {**item.problem.meta, "seed": f"{base.seed}+{layout_seed}"}
    return draw(replace(item, draft=draft, problem=replace(item.problem, meta=meta)))[0]
