"""Making a problem: everything follows from (split, seed, index), and splits never share a content.

A construction draws a figure; some of its measures are given; all that follows from them is found by chaining; one of
the things found is asked for. Givens that its derivation does not use are taken away again, or one is left in as a
distraction.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from r3v.data.euclid.engine import Ground, Knowledge, Node, chain
from r3v.data.euclid.exact import Exact, near
from r3v.data.euclid.figure import Clause, Figure, Quantity
from r3v.data.euclid.figures import CONSTRUCTIONS, Retry
from r3v.data.euclid.names import Names
from r3v.data.euclid.options import options
from r3v.data.euclid.rules import RULES, stated, written_out
from r3v.data.euclid.words import question, relabelled, solution
from r3v.errors import ConfigError, DataError
from r3v.records import Problem

_SHARES = (("train", 80), ("gate", 8), ("test", 12))
SPLITS: tuple[str, ...] = tuple(name for name, _ in _SHARES)
_TRIES = 400
_WANTED_STEPS = ((1, 16), (2, 27), (3, 25), (4, 18), (5, 14))
_PLAIN = frozenset(("angle_sum", "linear_pair", "angle_parts", "segment_parts", "equality", "vertical_angles"))
_TRIVIAL = frozenset(("radii", "diameter_radius", "equality", "equal_chain", "midpoint_halves", "segment_parts"))
"""What is too little for a problem of one step."""
_USUAL = frozenset(("angle", "length", "perimeter", "radius", "diameter"))
"""What is asked where the construction names no goals."""
ALPHABET = "ABCDEFGHKMNPQ"
KINDS = (
    "angle",
    "length",
    "area",
    "perimeter",
    "radius",
    "diameter",
    "arc",
    "sector",
    "curve",
    "disc",
    "round",
    "sin",
    "cos",
    "tan",
    "sum",
    "difference",
    "ratio",
)


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


@dataclass(frozen=True, slots=True)
class Item:
    """A problem with all that is known about it and that no solver sees."""

    problem: Problem
    rationale: str
    steps: tuple[Node, ...]
    figure: Figure = field(repr=False)
    names: Names = field(repr=False)
    target: Quantity = ()
    answer: Exact = field(default_factory=lambda: Exact(()))
    givens: tuple[tuple[Quantity, Exact], ...] = ()
    """Every value that is stated beside those of the clauses, the distraction included."""
    pictured: tuple[tuple[Quantity, Exact], ...] = ()
    """The givens that stand on the picture alone."""
    clauses: tuple[Clause, ...] = ()
    """The clauses that the question says."""
    marked: tuple[Clause, ...] = ()
    """The clauses that are left to marks on the picture."""

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node.rule for node in self.steps))


@dataclass(frozen=True, slots=True)
class Choice:
    """What is given and what is asked."""

    target: Quantity
    givens: tuple[tuple[Quantity, Exact], ...]
    spare: tuple[Quantity, Exact] | None
    steps: tuple[Node, ...]
    knowledge: Knowledge = field(repr=False)
    content: str


def split_of(key: str) -> str:
    """The split that the content `key` belongs to."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    for name, share in _SHARES:
        if bucket < share:
            return name
        bucket -= share
    raise AssertionError("the shares of the splits sum to 100")


def make(split: str, seed: int, index: int, only: str = "") -> Item:
    """The item that (split, seed, index) stands for; `only` names the constructions that may draw it, divided by
    commas. Raises ConfigError for an unknown split or construction.
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
    name = random.Random(f"euclid|{split}|{seed}|{index}|{only}").choice(wanted)
    for attempt in range(_TRIES):
        rng = random.Random(f"euclid|{split}|{seed}|{index}|{only}|{attempt}")
        figure = sketch(name, rng)
        chosen = choose(figure, rng, split) if figure else None
        if figure is None or chosen is None:
            continue
        return _told(figure, chosen, rng, (split, seed, index, only))
    raise AssertionError(f"construction {name} has no content in split {split} (seed {seed}, number {index})")


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


def measures(figure: Figure) -> list[tuple[Quantity, Exact]]:
    """What may be given: whole angles, and lengths that a person would write."""
    quantities = figure.offers or [*figure.angles, *figure.lengths]
    found = []
    for q in dict.fromkeys(quantities):
        size = figure.measure(q)
        if q[0] == "ratio" or q[0] in ("sin", "cos", "tan"):
            exact = _ratio(size)
        else:
            exact = near(size)
        if exact is None or (q[0] == "angle" and (not exact.whole or abs(size - 90) < 1e-6)):
            continue
        found.append((q, exact))
    return found


def _ratio(size: float) -> Exact | None:
    from fractions import Fraction

    from r3v.data.euclid.exact import number

    fraction = Fraction(size).limit_denominator(40)
    return number(fraction) if abs(float(fraction) - size) < 1e-9 else None


def choose(figure: Figure, rng: random.Random, split: str) -> Choice | None:
    """Givens and a target whose shortest derivation has one to five steps, of a content of this split; or None."""
    base = written_out(figure)
    facts = [fact for clause in figure.clauses if not clause.optional for fact in stated(figure, clause.facts)]
    known = {key for key, _ in facts}
    offered = [(q, v) for q, v in measures(figure) if q not in known]
    if figure.numbered:
        offered = [(q, v) for q, v in offered if q in figure.numbered]
    wanted = rng.choices([k for k, _ in _WANTED_STEPS], weights=[w for _, w in _WANTED_STEPS])[0]
    best: tuple[int, Choice] | None = None
    for _ in range(5):
        count = min(len(offered), rng.choice(figure.gives))
        if (
            count == 0
            and set(figure.gives) != {0}
            and not any(value is not None for _, value in facts)
            and rng.random() < 0.8
        ):
            continue
        givens = rng.sample(offered, count)
        knowledge = chain(base, [*facts, *givens], most=6)
        for missed, target in _targets(figure, knowledge, {q for q, _ in givens}, wanted, rng):
            if best is not None and best[0] <= missed:
                break
            used = knowledge.givens(target)
            needed = {node.key for node in used}
            kept = tuple((q, v) for q, v in givens if q in needed)
            content = content_of(figure, kept, target)
            if split_of(content) == split:
                best = missed, Choice(target, kept, None, tuple(knowledge.derivation(target)), knowledge, content)
                break
        if best is not None and best[0] == 0:
            break
    if best is None:
        return None
    chosen = best[1]
    if figure.numbered or rng.random() > 0.1:
        return chosen
    return replace(chosen, spare=_spare(offered, chosen.knowledge, chosen.givens, chosen.target, rng))


def content_of(figure: Figure, givens: Sequence[tuple[Quantity, Exact]], target: Quantity) -> str:
    """What makes two problems the same: construction, words, numbers and target; not the drawing."""
    numbers = ",".join(f"{' '.join(q)}={v.text}" for q, v in sorted(givens, key=lambda x: x[0]))
    said = ";".join(sorted(clause.text for clause in figure.clauses))
    return hashlib.sha256(f"{figure.kind}|{said}|{numbers}|{target}".encode()).hexdigest()[:16]


def _targets(
    figure: Figure, knowledge: Knowledge, given: set[Quantity], wanted: int, rng: random.Random
) -> list[tuple[int, Quantity]]:
    """Derived values that somebody would ask for, each with the number of steps by which it misses `wanted`.

    The nearest come first, at random among equals but rather those that rest on more than plain rules.
    """
    goals = set(figure.goals) if figure.goals else None
    found = []
    for node in knowledge.order:
        if node.value is None or not node.rule or not _askable(figure, node, goals):
            continue
        steps = knowledge.derivation(node.key)
        tagged = sum(1 for n in steps if RULES[n.rule].tags)
        if not 1 <= tagged <= 5 or (tagged == 1 and steps[-1].rule in _TRIVIAL):
            continue
        if given and not given & {g.key for g in knowledge.givens(node.key)}:
            continue
        weight = 1.2 - sum(1 for n in steps if n.rule in _PLAIN) / len(steps)
        found.append((abs(tagged - wanted), -(rng.random() ** (1 / weight)), node.key))
    return [(missed, key) for missed, _, key in sorted(found)]


def _askable(figure: Figure, node: Node, goals: set[Quantity] | None) -> bool:
    key, value = node.key, node.value
    assert value is not None
    if (goals is not None and key not in goals) or key[0] not in KINDS:
        return False
    if goals is None and key[0] not in _USUAL:
        return False
    if figure.numbered and key not in figure.numbered:
        return False
    if key[0] in ("angle", "arc"):
        fraction = value.fraction
        return fraction is not None and fraction.denominator <= 2 and float(value) not in (90.0, 180.0)
    if any(p in figure.hidden for p in key[1:]):
        return False
    return value.simple


def _spare(
    offered: Sequence[tuple[Quantity, Exact]],
    knowledge: Knowledge,
    kept: Sequence[tuple[Quantity, Exact]],
    target: Quantity,
    rng: random.Random,
) -> tuple[Quantity, Exact] | None:
    """A value nobody needs: one that was not known, so that it gives nothing away."""
    free = [(q, v) for q, v in offered if q not in knowledge.nodes and q != target and q not in dict(kept)]
    return rng.choice(free) if free else None


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


__all__ = ["CONSTRUCTIONS", "SPLITS", "EuclidImage", "Ground", "Item", "item_of", "make", "sketch", "split_of"]
