"""The generator of practice that is exact by construction: `geoworld`. All by name: `r3v.curriculum.generators`.

A generator is asked for a `Target` (skill and level) and yields Problems with answer and provenance; its `check` is
the verifier of those answers.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from r3v.curriculum.practice.item import (
    Checked,
    Provenance,
    Target,
    require_level,
    target_dict,
    with_provenance,
)
from r3v.curriculum.practice.measure import disagreement
from r3v.data.geoworld.core import Draw, operations
from r3v.data.geoworld.make import FAMILIES, item_of, make
from r3v.data.geoworld.make import SEEN as FAMILY_NAMES
from r3v.errors import ConfigError, DataError, near
from r3v.records import Problem

LEVELS = (1, 2, 3, 4, 5)
FIRST_SEED = 10**15
"""Seeds of practice start here; `r3v.data.geoworld.source` stays below it for its seeds up to 10**8 - 1."""
_SEED_STRIDE = 10**9
_PROBES = 48
_MOST_MISSES = 200


@functools.lru_cache(maxsize=len(LEVELS))
def skills_at(level: int) -> Mapping[str, tuple[str, ...]]:
    """Skill -> the families that have problems of this level with it, found by drawing each family `_PROBES` times."""
    found: dict[str, list[str]] = {}
    for name in FAMILY_NAMES:
        skills: set[str] = {"perception:letter"}
        for k in range(_PROBES):
            draft = FAMILIES[name].build(Draw(random.Random(f"skills|{name}|{level}|{k}"), level, wide=k % 2 == 1))
            if draft is None:
                continue
            skills.update(draft.skills, operations(draft.right))
            if not all(g.text_only for g in draft.givens):
                skills.add("perception:number")
            if level >= 3 and draft.extras:
                skills.add("perception:ignore_extra")
        if level >= 4:
            skills.add("composition:two_rules")
        for skill in skills:
            found.setdefault(skill, []).append(name)
    return {skill: tuple(names) for skill, names in sorted(found.items())}


def contents(problems: Iterable[Problem]) -> frozenset[str]:
    """What GeoWorld problems are about (family, variant, numbers, letters), to keep practice away from them."""
    return frozenset(str(p.meta["content"]) for p in problems if "content" in p.meta)


class GeoWorldGenerator:
    """Practice from the built-in world: answer exact by construction, verified by measuring the drawing.

    Items have contents of the split "train", which the splits warmup, gate, test and novel cannot contain (a content
    belongs to one split), and seeds that no `geoworld:train` source uses. Two seeds may still draw the same content:
    contents in `exclude` (`contents(probe_set)`) are never made, and one call makes each content once.
    """

    name = "geoworld"

    def __init__(self, exclude: Collection[str] = ()) -> None:
        self._exclude = frozenset(exclude)

    def generate(self, target: Target, n: int, *, seed: int = 0) -> Iterator[Problem]:
        """Up to `n` problems; fewer where the target has no further content. Raises ConfigError for a skill that no
        family has at that level, naming the levels that have it."""
        families = {level: _families(target.skill, level) for level in self._levels(target)}
        families = {level: names for level, names in families.items() if names}
        if not families:
            raise _unknown_skill(target)
        return self._draw(target, n, seed, families)

    def _levels(self, target: Target) -> tuple[int, ...]:
        require_level(target, LEVELS[0], LEVELS[-1])
        return LEVELS if target.level is None else (target.level,)

    def _draw(self, target: Target, n: int, seed: int, families: Mapping[int, tuple[str, ...]]) -> Iterator[Problem]:
        rng = random.Random(f"practice|{target.skill}|{target.level}|{seed}")
        start = FIRST_SEED + seed * _SEED_STRIDE + rng.randrange(_SEED_STRIDE // 2)
        seen = set(self._exclude)
        made = misses = step = 0
        while made < n and misses < _MOST_MISSES:
            level = rng.choice(tuple(families))
            number = start + step
            step += 1
            problem = make(rng.choice(families[level]), level, number, "train").problem
            if (target.skill is not None and target.skill not in problem.skills) or problem.meta["content"] in seen:
                misses += 1
                continue
            misses = 0
            made += 1
            seen.add(problem.meta["content"])
            yield self._labelled(problem, target, number)

    def _labelled(self, problem: Problem, target: Target, seed: int) -> Problem:
        meta = problem.meta
        named = replace(problem, id=f"practice-{meta['family']}-{meta['level']}-{seed}", split="practice")
        return with_provenance(named, Provenance(self.name, target_dict(target), seed, "constructed"))

    def check(self, problem: Problem) -> Checked:
        """Make the item again and measure its drawing; the problem's question, choices and gold must be those."""
        try:
            draft = item_of(problem).draft
            meta = problem.meta
            made = make(meta["family"], int(meta["level"]), int(meta["seed"]), meta["split"]).problem
        except (DataError, ConfigError) as error:
            return Checked("unknown", str(error))
        if problem.question != made.question or problem.choices not in (None, made.choices):
            return Checked("unknown", "question or choices are not those of the item it was made from")
        try:
            stated = float(problem.gold_text)
        except ValueError:
            return Checked("wrong", f"the gold {problem.gold_text!r} is no number")
        found = disagreement(draft, stated)
        return Checked("right", "measured on the drawing") if found is None else Checked("wrong", found)


def _families(skill: str | None, level: int) -> tuple[str, ...]:
    return FAMILY_NAMES if skill is None else skills_at(level).get(skill, ())


def _unknown_skill(target: Target) -> ConfigError:
    levels = [level for level in LEVELS if target.skill in skills_at(level)]
    if levels:
        return ConfigError(f"found {target.describe()}, but GeoWorld has that skill at levels {levels} only")
    known = sorted({skill for level in LEVELS for skill in skills_at(level)})
    hint = near(target.skill or "", known)
    return ConfigError(f"found skill {target.skill!r}{hint} (GeoWorld has: {', '.join(known)})")
