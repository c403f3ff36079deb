"""New Problems from existing ones by editing their pictures.

    edit                 on GeoWorld items                       on any other picture
    relabel              new numbers in the old boxes            refused: the answer cannot be recomputed
    remake               new numbers, drawn again to scale       refused
    redraw               same numbers, figure turned             refused
    mirror               figure mirrored, labels upright         refused unless meta.text_free
    crop rotate occlude noise                                    the answer is kept, no ink is hidden

`relabel` and `remake` recompute the answer exactly; the others keep it. An edit that could change an answer that
nobody can recompute raises EditRefused.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from r3v.curriculum.images.png import png
from r3v.curriculum.practice import relabel
from r3v.curriculum.practice.edit_ops import OPS
from r3v.curriculum.practice.generate import GeoWorldGenerator
from r3v.curriculum.practice.item import (
    HELD_OUT,
    KEY,
    Checked,
    Provenance,
    Target,
    provenance_of,
    target_dict,
    with_provenance,
)
from r3v.curriculum.practice.relabel import Base, EditRefused
from r3v.errors import ConfigError, DataError
from r3v.records import BytesImage, Problem

if TYPE_CHECKING:
    pass

CHANGING = ("relabel", "remake")
RENDERED = ("redraw", "mirror")
EDITS: tuple[str, ...] = (*CHANGING, "redraw", *OPS)
_MOST_MISSES = 100


def edit(problem: Problem, op: str, seed: int = 0, target: Target | None = None) -> Problem:
    """The problem after one edit, with provenance. The same (problem, op, seed) gives the same result.

    Raises ConfigError for an unknown edit, EditRefused where it does not apply, ImageError for a broken picture.
    """
    if op not in EDITS:
        raise ConfigError(f"found edit {op!r}, expected one of {', '.join(EDITS)}")
    if len(problem.images) != 1:
        raise EditRefused(f"found {len(problem.images)} pictures, expected one", row=problem.id)
    if op in CHANGING:
        made, record = _renumber(problem, op, seed)
    elif op == "redraw" or (op in RENDERED and _is_base(problem)):
        made, record = _redraw(problem, op, seed)
    else:
        made, record = _pixels(problem, op, seed)
    return _label(problem, made, record, seed, target)


def _label(old: Problem, new: Problem, record: Mapping[str, Any], seed: int, target: Target | None) -> Problem:
    earlier = provenance_of(old) if KEY in old.meta else None
    edits = (*(earlier.edits if earlier else ()), record)
    seed_item = earlier.seed_item if earlier and earlier.seed_item else old.id
    wanted = target_dict(target) if target else dict(earlier.target) if earlier else target_dict(Target())
    provenance = Provenance(
        generator="edit",
        target=wanted,
        seed=seed,
        answer="recomputed" if any(e["op"] in CHANGING for e in edits) else "kept",
        seed_item=seed_item,
        source=earlier.source if earlier and earlier.source else old.images[0].describe(),
        edits=edits,
    )
    name = hashlib.sha256(repr((seed_item, edits)).encode()).hexdigest()[:12]
    return with_provenance(replace(new, id=f"edit-{name}", split="practice"), provenance)


def _is_base(problem: Problem) -> bool:
    """Whether the picture is still the one GeoWorld drew, so that its layout is known."""
    from r3v.data.geoworld.make import RenderedImage

    return isinstance(problem.images[0], RenderedImage) and "seed" in problem.meta


def _base(problem: Problem) -> Base:
    base = Base.of(problem)
    if not _is_base(problem):
        raise EditRefused(
            "the picture has been edited already, so its layout is not known",
            row=problem.id,
            fix="Edit the seed item",
        )
    return base


def _renumber(problem: Problem, op: str, seed: int) -> tuple[Problem, dict[str, Any]]:
    base = _base(problem)
    index, item = relabel.find(base, seed, paint=op == "relabel", problem_id=problem.id)
    if op == "relabel":
        picture = png(relabel.paint(base, item.draft))
    else:
        from r3v.data.geoworld.render import render

        picture = render(replace(item, problem=replace(item.problem, meta={**item.problem.meta, "seed": index})))
    meta = {k: v for k, v in item.problem.meta.items() if k != "seed"}
    record = {
        "op": op,
        "base": base.to_dict(),
        "draw": index,
        "givens": {g.key: g.value for g in item.draft.givens},
        "to_scale": op == "remake",
    }
    made = replace(item.problem, images=(BytesImage(picture, f"{op} of {problem.id}"),), meta=meta)
    return made, record


def _redraw(problem: Problem, op: str, seed: int) -> tuple[Problem, dict[str, Any]]:
    base = _base(problem)
    picture = relabel.redrawn(base, seed, mirror=op == "mirror")
    record = {"op": op, "base": base.to_dict(), "layout": seed}
    return replace(problem, images=(BytesImage(png(picture), f"{op} of {problem.id}"),)), record


def _pixels(problem: Problem, op: str, seed: int) -> tuple[Problem, dict[str, Any]]:
    from r3v.data.images import decode

    OPS[op].require(problem)
    image = decode(problem.images[0])
    parameters = OPS[op].choose(image, random.Random(f"{op}|{problem.id}|{seed}"))
    picture = OPS[op].apply(image, parameters)
    record = {"op": op, **parameters}
    return replace(problem, images=(BytesImage(png(picture), f"{op} of {problem.id}"),)), record


class EditGenerator:
    """Practice by editing `seeds`: Problems of the target's skill and level, one edit out of `ops` each.

    `refused` counts the edits that did not apply, by operation. Seeds must not come from what is measured on: a gate,
    test or probe set would leak into practice, so Problems of the splits in `never` are refused at once.
    """

    name = "edit"

    def __init__(
        self,
        seeds: Sequence[Problem],
        ops: Sequence[str] = EDITS,
        never: Sequence[str] = HELD_OUT,
    ) -> None:
        unknown = [op for op in ops if op not in EDITS]
        if unknown or not ops:
            raise ConfigError(f"found edits {unknown or 'none'}, expected some of {', '.join(EDITS)}")
        held = next((p for p in seeds if p.split in never), None)
        if held is not None:
            raise ConfigError(f"seed item {held.id} is of split {held.split!r}, which practice must not be made from")
        self._seeds, self._ops = seeds, tuple(ops)
        self._by_id: dict[str, Problem] | None = None
        self.refused: Counter[str] = Counter()

    def generate(self, target: Target, n: int, *, seed: int = 0) -> Iterator[Problem]:
        """Up to `n` edited problems, no two with the same content and picture. Raises DataError where no seed item has
        the target's skill and level."""
        places = [i for i, p in enumerate(self._seeds) if _matches(p, target)]
        if not places:
            raise DataError(f"found no seed item with {target.describe()}", fix="Give more seeds, or another generator")
        rng = random.Random(f"edit|{target.skill}|{target.level}|{seed}")
        made = misses = 0
        seen: set[str] = set()
        while made < n and misses < _MOST_MISSES:
            old, op, number = self._seeds[rng.choice(places)], rng.choice(self._ops), rng.randrange(2**31)
            try:
                new = edit(old, op, number, target)
            except EditRefused:
                self.refused[op] += 1
                misses += 1
                continue
            key = f"{new.question}|{new.answer}|{hashlib.sha256(new.images[0].read()).hexdigest()}"
            if key in seen or not _matches(new, target):
                misses += 1
                continue
            seen.add(key)
            misses = 0
            made += 1
            yield new

    def check(self, problem: Problem) -> Checked:
        """Recompute the answer of a changing edit; for the others compare with the seed item, and verify that."""
        if self._by_id is None:
            self._by_id = {p.id: p for p in self._seeds}
        return check_edit(problem, self._by_id.get)


def _matches(problem: Problem, target: Target) -> bool:
    level = problem.meta.get("level")
    skill = target.skill is None or target.skill in problem.skills
    return skill and (target.level is None or level == target.level)


def check_edit(problem: Problem, seed_item: Callable[[str], Problem | None]) -> Checked:
    """The verifier of an edited problem. `seed_item` finds the Problem that an id names."""
    try:
        provenance = provenance_of(problem)
    except DataError as error:
        return Checked("unknown", str(error))
    change = next((e for e in provenance.edits if e["op"] in CHANGING), None)
    if change is not None:
        return _check_changed(problem, change)
    old = seed_item(provenance.seed_item or "")
    if old is None:
        return Checked("unknown", f"the seed item {provenance.seed_item} is not at hand")
    if (problem.question, problem.choices, problem.kind) != (old.question, old.choices, old.kind):
        return Checked("unknown", "question or choices are not those of the seed item")
    if problem.answer != old.answer:
        return Checked("wrong", f"the edits keep the answer {old.answer}, found {problem.answer}")
    exact = GeoWorldGenerator().check(old)
    return exact if exact.state != "unknown" else Checked("right", "kept from the seed item, whose gold is trusted")


def _check_changed(problem: Problem, change: Mapping[str, Any]) -> Checked:
    try:
        made = relabel.remade(Base(**change["base"]), int(change["draw"]), problem.id).problem
    except (DataError, ConfigError) as error:
        return Checked("unknown", str(error))
    if (problem.question, problem.choices) != (made.question, made.choices):
        return Checked("unknown", "question or choices are not those of the recorded edit")
    if problem.answer != made.answer:
        return Checked("wrong", f"recomputed {made.answer} ({made.gold_text}), found {problem.answer}")
    return Checked("right", "recomputed, and measured on a drawing to scale")
