"""Making a problem: everything follows from (split, seed, index), and splits never share a content.

A construction draws a figure; some of its measures are given; all that follows from them is found by chaining; one of
the things found is asked for. Givens that its derivation does not use are taken away again, or one is left in as a
distraction.
"""

from __future__ import annotations

import functools
import hashlib
import random
from dataclasses import dataclass

from r3v.data.euclid.choose import SPLITS, Choice, choose
from r3v.data.euclid.figure import Clause, Figure
from r3v.data.euclid.figures import CONSTRUCTIONS, Retry
from r3v.data.euclid.item import Item
from r3v.data.euclid.names import Names
from r3v.data.euclid.options import options
from r3v.data.euclid.rules import RULES
from r3v.data.euclid.words import question, relabelled, solution
from r3v.errors import ConfigError, DataError
from r3v.records import Problem

_TRIES = 400
"""What is too little for a problem of one step."""
"""What is asked where the construction names no goals."""
ALPHABET = "ABCDEFGHKMNPQ"


@dataclass(frozen=True, slots=True)
class EuclidImage:
    """A picture that is drawn when it is read; holds only what determines it."""

    split: str
    seed: int
    index: int
    only: str = ""

    def read(self) -> bytes:
        """PNG bytes, the same for the same fields with one version of Pillow."""
        return _png(self)

    def describe(self) -> str:
        return f"euclid {self.split} seed {self.seed} number {self.index}"


@functools.lru_cache(maxsize=2048)
def _png(image: EuclidImage) -> bytes:
    from r3v.data.euclid.picture import render

    return render(make(image.split, image.seed, image.index, image.only))


def make(split: str, seed: int, index: int, only: str = "") -> Item:
    """The item that (split, seed, index) stands for; `only` names the constructions that may draw it, divided by
    commas. Raises ConfigError for an unknown split or construction, and where none of them has a problem in the split.
    """
    if split not in SPLITS:
        raise ConfigError(f"found euclid split {split!r}, expected one of {', '.join(SPLITS)}")
    return _make(split, seed, index, only)


@functools.lru_cache(maxsize=256)
def _make(split: str, seed: int, index: int, only: str) -> Item:
    wanted = only.split(",") if only else list(CONSTRUCTIONS)
    unknown = [name for name in wanted if name not in CONSTRUCTIONS]
    if unknown:
        raise ConfigError(f"found constructions {unknown}, expected some of {', '.join(CONSTRUCTIONS)}")
    order = random.Random(f"euclid|{split}|{seed}|{index}|{only}")
    first = order.choice(wanted)
    # Some constructions have so little content that a split's share of it is hardly ever drawn; others then stand in.
    others = [name for name in wanted if name != first]
    for name in (first, *order.sample(others, len(others))):
        for attempt in range(_TRIES):
            rng = random.Random(f"euclid|{split}|{seed}|{index}|{only}|{attempt}")
            figure = sketch(name, rng)
            chosen = choose(figure, rng, split) if figure else None
            if figure is not None and chosen is not None:
                return _told(figure, chosen, rng, (split, seed, index, only))
    raise ConfigError(
        f"found no problem of split {split} (seed {seed}, number {index}) in {', '.join(wanted)}; name more of them"
    )


def sketch(name: str, rng: random.Random) -> Figure | None:
    """A figure of the construction `name`, closed; None where the draw is not fair."""
    figure = Figure(name, rng)
    try:
        CONSTRUCTIONS[name](figure, rng)
    except (Retry, ValueError, ZeroDivisionError):
        return None
    if not figure.story and rng.random() < 0.3:
        points = [p for p in figure.points if p in ALPHABET]
        relabelled(figure, dict(zip(points, rng.sample(ALPHABET, len(points)), strict=True)))
    try:
        figure.close()
    except ValueError:
        return None
    figure.short_names = rng.random() < 0.8
    return figure


def _told(figure: Figure, chosen: Choice, rng: random.Random, at: tuple[str, int, int, str]) -> Item:
    """The chosen problem in words, with its options."""
    split, seed, index, only = at
    if not figure.numbered and not figure.story:
        _number_some(figure, chosen, rng)
    names = Names(figure)
    answer = chosen.knowledge.nodes[chosen.target].value
    assert answer is not None
    givens = [*chosen.givens, *([chosen.spare] if chosen.spare else [])]
    rng.shuffle(givens)
    place = "figure" if rng.random() < 0.3 else "text"
    pictured = [
        (q, v) for q, v in givens if place == "figure" and q[0] in ("angle", "length") and q not in figure.numbered
    ]
    shown = [(q, v) for q, v in givens if (q, v) not in pictured]
    clauses, marked = _said(figure, rng)
    text = question(names, clauses, shown, chosen.target, rng)
    read = [(q, v) for q, v in pictured if (q, v) in chosen.givens]
    rationale = solution(names, chosen.steps, read, answer)
    listed, letter = options(chosen, answer, rng)
    tags = tuple(dict.fromkeys(tag for node in chosen.steps for tag in (*RULES[node.rule].tags, *node.tags)))
    problem = Problem(
        id=f"euclid-{split}-{seed}-{index:07d}" + (f"-{hashlib.sha256(only.encode()).hexdigest()[:6]}" if only else ""),
        question=text,
        answer=letter,
        kind="choice",
        images=(EuclidImage(split, seed, index, only),),
        choices=listed,
        tolerance=0.005 if "." in answer.decimal and len(answer.decimal.partition(".")[2]) > 2 else None,
        skills=tags,
        split=split,
        source="euclid",
        meta={
            "construction": figure.kind,
            "rules": list(dict.fromkeys(node.rule for node in chosen.steps)),
            "steps": sum(1 for node in chosen.steps if RULES[node.rule].tags),
            "place": "figure" if pictured else "text",
            "spare": chosen.spare is not None,
            "seed": seed,
            "index": index,
            "only": only,
            "content": chosen.content,
        },
    )
    return Item(
        problem,
        rationale,
        chosen.steps,
        figure,
        names,
        chosen.target,
        answer,
        tuple(givens),
        tuple(pictured),
        tuple(clauses),
        tuple(marked),
    )


def _number_some(figure: Figure, chosen: Choice, rng: random.Random) -> None:
    """Now and then the angles that matter are called by numbers, as many real problems do."""
    angles = [q for q, _ in chosen.givens if q[0] == "angle"]
    if chosen.target[0] == "angle":
        angles.append(chosen.target)
    if angles and rng.random() < 0.16:
        for k, q in enumerate(angles):
            figure.numbered[q] = str(k + 1)


def _said(figure: Figure, rng: random.Random) -> tuple[list[Clause], list[Clause]]:
    """The clauses for the question, and those that marks on the picture say instead."""
    clauses, marked = [], []
    for clause in figure.clauses:
        if clause.optional and rng.random() < 0.5:
            continue
        markable = clause.facts and all(f[0] in ("right", "eq") for f in clause.facts) and clause.text
        simple = all(f[0] != "eq" or f[1][0] == "length" for f in clause.facts)
        if markable and simple and rng.random() < 0.15:
            marked.append(clause)
        else:
            clauses.append(clause)
    return clauses, marked


def item_of(problem: Problem) -> Item:
    """The item behind a problem of this world, rebuilt from its meta. Raises DataError for any other problem."""
    missing = [name for name in ("construction", "seed", "index", "only") if name not in problem.meta]
    if missing or problem.source != "euclid":
        raise DataError(
            f"found no {', '.join(missing) or 'source euclid'}, expected a problem of the world euclid",
            row=problem.id,
            field="meta",
            fix="Use problems from r3v.data.euclid.source",
        )
    meta = problem.meta
    return make(problem.split, int(meta["seed"]), int(meta["index"]), str(meta["only"]))
