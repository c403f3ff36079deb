"""Probe problems: a new held-out set every iteration, and each problem asked again with one aid at a time.

A probe is never a source of training items. GeoWorld guarantees it by construction: a content belongs to one split,
and probes come from `gate`, `test` or `novel`. In other data a fixed share of the pictures is set aside by their hash
(`held_out`), whatever the iteration and the order of the file; every iteration draws its probes from that share with a
seed of its own, and training takes the rest (`training_pool`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from r3v.curriculum.diagnosis.cells import AIDS, BASE
from r3v.data import load
from r3v.data.geoworld import item_of, make, source
from r3v.data.geoworld.core import Draft, Item, Mark, question_text, reading_text
from r3v.errors import ConfigError, DataError
from r3v.records import Problem, image_hash
from r3v.spec import parse_spec

PROBE_SPLITS = ("gate", "test", "novel")
SHARE = 0.2
"""Share of a dataset without splits of its own that is set aside for probes."""
_SEPARATOR = "~"
_TRIES = 40


@dataclass(frozen=True)
class Probe:
    """A problem as it is put to the model: `problem` has its own id, `base_id` is the id of the problem behind it."""

    base_id: str
    variant: str
    problem: Problem
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """All variants of one problem, the problem itself first. `missing`: variant -> why it is not available."""

    probes: tuple[Probe, ...]
    missing: Mapping[str, str]


def probe_seed(seed: int, iteration: int) -> int:
    """Seed of the probe set of an iteration: another one for each, never 0 (the seed that plain specs use)."""
    digest = hashlib.sha256(f"r3v probes|{seed}|{iteration}".encode()).digest()
    return 1 + int.from_bytes(digest[:5], "big")


def probe_set(spec: str, n: int, iteration: int, seed: int = 0, share: float = SHARE) -> list[Problem]:
    """The `n` probe problems of an iteration. The same arguments give the same problems.

    `spec` is a data spec. For GeoWorld its split names the world the probes come from and its own `n` and `seed` give
    way to these. Raises ConfigError for a training split of GeoWorld, DataError where the data hold too few.
    """
    if n < 1:
        raise ConfigError(f"found {n} probes, expected at least 1")
    parsed = parse_spec(spec)
    if parsed.reader == "geoworld":
        if parsed.path not in PROBE_SPLITS:
            raise ConfigError(
                f"{spec}: found split {parsed.path!r}, expected one of {', '.join(PROBE_SPLITS)}: probes must not be "
                "a source of training items"
            )
        families = parsed.options.get("families")
        chosen = None if families is None else families.split(",")
        found: list[Problem] = list(source(parsed.path, n, probe_seed(seed, iteration), chosen))
        as_open = parsed.flag("open")
        return [p.open() for p in found] if as_open else found
    problems = load(spec)
    aside = [i for i in range(len(problems)) if held_out(problems[i], share)]
    if len(aside) < n:
        raise DataError(
            f"found {len(aside)} problems set aside for probes of {len(problems)}, expected at least {n}",
            file=spec,
            fix=f"Ask for fewer probes, or set aside a larger share than {share}",
        )
    key = f"r3v probes|{probe_seed(seed, iteration)}|"
    aside.sort(key=lambda i: hashlib.sha256(f"{key}{problems[i].id}".encode()).digest())
    return [problems[i] for i in sorted(aside[:n])]


def held_out(problem: Problem, share: float = SHARE) -> bool:
    """Whether a problem is set aside for probes: by the hash of its first picture, so that all questions about one
    picture fall on one side, or of its question where it has none. Raises ImageError for an unreadable picture."""
    key = image_hash(problem.images[0]) if problem.images else problem.question.strip()
    bucket = int.from_bytes(hashlib.sha256(f"r3v held out|{key}".encode()).digest()[:6], "big")
    return bucket < share * 2**48


def training_pool(problems: Iterable[Problem], share: float = SHARE) -> list[Problem]:
    """The problems that training and generators may use: GeoWorld outside the probe splits, and of other data what
    `held_out` leaves."""
    return [p for p in problems if not (p.split in PROBE_SPLITS if _geoworld(p) else held_out(p, share))]


def leaks(probes: Iterable[Problem], training: Iterable[Problem]) -> list[str]:
    """Ids of training problems that are also probes: same id, same GeoWorld content, or same question with the same
    first picture."""
    known = {key for p in probes for key in _identities(p)}
    return [p.id for p in training if any(key in known for key in _identities(p))]


def _identities(problem: Problem) -> tuple[str, ...]:
    if _geoworld(problem):
        return f"id {problem.id}", f"content {problem.meta.get('content', problem.id)}"
    picture = image_hash(problem.images[0]) if problem.images else ""
    return f"id {problem.id}", f"asked {problem.question.strip()}|{picture}"


def _geoworld(problem: Problem) -> bool:
    return all(name in problem.meta for name in ("family", "level", "seed", "split"))


def variants_of(problem: Problem, wanted: Sequence[str] = tuple(AIDS), notes: Mapping[str, str] | None = None) -> Asked:
    """The problem and its variants. `notes`: skill -> a note that names its theorem, for data that bring none.

    GeoWorld gives all of them by construction. Other data give `described` where meta has a `description` of the
    figure, and `named` where meta has a `note` or `notes` knows one of the skills; what is missing is named.
    """
    unknown = [name for name in wanted if name not in AIDS]
    if unknown:
        raise ConfigError(f"found variants {unknown}, expected some of {', '.join(AIDS)}")
    made = _geoworld_variants(problem) if _geoworld(problem) else _plain_variants(problem, notes or {})
    probes, missing = [Probe(problem.id, BASE, problem)], {}
    for name in wanted:
        found = made[name]
        if isinstance(found, str):
            missing[name] = found
        else:
            asked, given = found
            own = replace(asked, id=f"{problem.id}{_SEPARATOR}{name}", skills=problem.skills)
            probes.append(Probe(problem.id, name, own, given))
    return Asked(tuple(probes), missing)


Variant = tuple[Problem, tuple[str, ...]] | str
"""A problem and the notes it is asked with, or why it is not available."""


def _plain_variants(problem: Problem, notes: Mapping[str, str]) -> dict[str, Variant]:
    described: Variant = "the data hold no description of the figure (meta.description)"
    description = problem.meta.get("description")
    if isinstance(description, str) and description.strip():
        described = (_with_text(problem, description.strip()), ())
    own = problem.meta.get("note")
    note = own if isinstance(own, str) and own.strip() else None
    note = note or next((notes[skill] for skill in problem.skills if skill in notes), None)
    named: Variant = (problem, (note,)) if note else "no note names the theorem (meta.note, or notes by skill)"
    return {
        "numbers": "the numbers of the figure are not known apart from it",
        "described": described,
        "named": named,
        "round_numbers": "the data hold no easier version of a problem",
        "one_rule": "the data hold no easier version of a problem",
    }


def _with_text(problem: Problem, text: str) -> Problem:
    """The same problem with more said before the question; the picture stays, so nothing is taken away."""
    end = "" if text.endswith((".", "!", "?")) else "."
    return replace(problem, question=f"{text}{end} {problem.question}")


def _geoworld_variants(problem: Problem) -> dict[str, Variant]:
    item = item_of(problem)
    draft, level = item.draft, int(problem.meta["level"])
    in_figure = problem.meta["place"] == "figure"
    shown = [g for g in draft.givens if not g.text_only]
    told = replace(problem, question=question_text(draft, "text"))
    numbers: Variant = (told, ()) if in_figure and shown else "the text already gives the numbers"
    easy: Variant = "level 1 has round numbers already"
    if level >= 4:
        easy = "levels 4 and 5 have no version with round numbers that needs both rules"
    elif level > 1:
        easy = _sibling(problem, item, 1, "text")
    single: Variant = _sibling(problem, item, 3, problem.meta["place"]) if level >= 4 else "one rule is enough already"
    described = (_with_text(told, describe(draft)), ())
    return {
        "numbers": numbers,
        "described": described,
        "named": (problem, (item.note,)),
        "round_numbers": easy,
        "one_rule": single,
    }


def _sibling(problem: Problem, item: Item, level: int, place: str) -> Variant:
    """A problem of the same family and split at another level, its numbers where `place` says."""
    meta = problem.meta
    for attempt in range(_TRIES):
        digest = hashlib.sha256(f"sibling|{meta['seed']}|{meta['level']}|{attempt}".encode()).digest()
        other = make(meta["family"], level, int.from_bytes(digest[:6], "big"), meta["split"])
        found = other.problem
        if found.meta["place"] == place or (place == "text" and found.meta["place"] == "figure"):
            asked = (
                found if found.meta["place"] == place else replace(found, question=question_text(other.draft, place))
            )
            return (asked if problem.choices else asked.open()), ()
    return f"no level {level} version with its numbers in the {place} in {_TRIES} draws"


def describe(draft: Draft) -> str:
    """The figure of a GeoWorld problem in words: what is drawn, marked and written there."""
    said = [f"{_list(_segments(draft.marks))} are drawn"]
    for mark in draft.marks:
        p = mark.points
        if mark.kind == "circle":
            said.append(f"a circle has centre {p[0]}" if p[0] not in draft.hidden else "there is a circle")
        elif mark.kind == "right":
            said.append(f"angle {''.join(p)} is marked as a right angle")
    for count in sorted({m.count for m in draft.marks if m.kind == "ticks"}):
        equal = ["".join(m.points) for m in draft.marks if m.kind == "ticks" and m.count == count]
        if len(equal) > 1:
            said.append(f"{_list(equal)} are marked as equal")
    return f"The figure: {'; '.join(said)}; {reading_text(draft).rstrip('.')}."


def _segments(marks: Iterable[Mark]) -> list[str]:
    return list(dict.fromkeys("".join(m.points) for m in marks if m.kind == "segment"))


def _list(names: Sequence[Any]) -> str:
    return str(names[0]) if len(names) == 1 else f"{', '.join(map(str, names[:-1]))} and {names[-1]}"
