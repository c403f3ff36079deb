"""What is given and what is asked: givens at random, all that follows by chaining, and one of the things found."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from r3v.data.euclid.engine import Knowledge, Node, chain
from r3v.data.euclid.exact import Exact, near, number
from r3v.data.euclid.figure import Figure, Quantity
from r3v.data.euclid.rules import RULES, stated, written_out

_SHARES = (("train", 80), ("gate", 8), ("test", 12))


SPLITS: tuple[str, ...] = tuple(name for name, _ in _SHARES)


_WANTED_STEPS = ((1, 9), (2, 24), (3, 27), (4, 23), (5, 17))


PLAIN = frozenset(("angle_sum", "linear_pair", "angle_parts", "segment_parts", "equality", "vertical_angles"))


TRIVIAL = frozenset(("radii", "diameter_radius", "equality", "equal_chain", "midpoint_halves", "segment_parts"))


_USUAL = frozenset(("angle", "length", "perimeter", "radius", "diameter"))


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
        if not 1 <= tagged <= 5 or (tagged == 1 and steps[-1].rule in TRIVIAL):
            continue
        if given and not given & {g.key for g in knowledge.givens(node.key)}:
            continue
        weight = 1.2 - sum(1 for n in steps if n.rule in PLAIN) / len(steps)
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
