"""Four options as GeoQA has them: decimals, the wrong ones plausible, often in order of size."""

from __future__ import annotations

import random
from collections.abc import Iterator

from r3v.data.euclid.choose import Choice
from r3v.data.euclid.exact import Exact, number
from r3v.records import LETTERS


def options(chosen: Choice, answer: Exact, rng: random.Random) -> tuple[tuple[str, ...], str]:
    """Four distinct decimals and the letter of the right one."""
    kind = chosen.target[0]
    listed, values = [answer.decimal], [float(answer)]
    pool = list(_other_values(chosen, kind))
    rng.shuffle(pool)
    likely = [*pool[:2], *_slips(answer, kind, rng)]
    for value in likely:
        text, size = value.decimal, float(value)
        clear = all(abs(size - other) > 0.012 * max(abs(other), 1e-9) for other in values)
        if len(listed) < 4 and size > 0 and clear and text not in listed and (kind != "angle" or size < 180):
            listed.append(text)
            values.append(size)
    order = rng.random()
    if order < 0.55:
        listed.sort(key=float)
    elif order < 0.7:
        listed.sort(key=float, reverse=True)
    else:
        rng.shuffle(listed)
    return tuple(listed), LETTERS[listed.index(answer.decimal)]


def _other_values(chosen: Choice, kind: str) -> Iterator[Exact]:
    """What a solver meets on the way and may take for the answer."""
    for key, node in chosen.knowledge.nodes.items():
        if node.value is not None and key[0] == kind and key != chosen.target:
            yield node.value


def _slips(answer: Exact, kind: str, rng: random.Random) -> Iterator[Exact]:
    half, double = answer.over(number(2)), answer * number(2)
    assert half is not None
    if kind in ("angle", "arc"):
        near = [number(180) - answer, number(90) - answer, half, double]
        rng.shuffle(near)
        yield from near[:2]
        steps = [5, 10, 15, 20, -5, -10, -15, -20]
        rng.shuffle(steps)
        yield from (answer + number(k) for k in steps)
        return
    if kind in ("ratio", "sin", "cos", "tan"):
        one = number(1).over(answer)
        known = [x for x in (one, number(1) - answer, answer * answer, half, double) if x is not None]
        rng.shuffle(known)
        yield from known
        yield from (answer * x for x in (number(3), number(4)))
        return
    near = [half, double, answer * ROOTS[rng.randrange(2)]]
    if answer.fraction is None:
        plain = [number(k) * answer for k in (3, 4)]
        yield from rng.sample([*near, *plain], 5)
        return
    rng.shuffle(near)
    yield from near[: rng.choice((0, 1, 1, 2))]
    steps = [1, 2, 3, 4, -1, -2, -3, 5] if float(answer) < 40 else [5, 10, -5, -10, 20, 2, -2, 4]
    rng.shuffle(steps)
    yield from (answer + number(k) for k in steps)
    yield from near


ROOTS = tuple(root for root in (number(2).root(), number(3).root()) if root is not None)
