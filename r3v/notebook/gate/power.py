"""How often a gate accepts an edit of a given effect under a given noise: simulation through the gate itself.

`accept_rate` draws outcomes, hands them to `r3v.notebook.gate.gate.decide` as a solve function, and counts. Two worlds,
both with item noise d (share of touched items whose outcome differs between two runs) and effect e (accuracy with
minus without, over all problems):

flips   Every paired solve is a win with probability (d + e) / 2 and a loss with (d - e) / 2, repeats included. The
        definition of the published figures, and the pessimistic one: a flip says nothing about its item.
items   Item i is right with probability p_i, Beta(a, a) with 2 E[p (1 - p)] = d; the edit turns a share 2 |e| of the
        items into always right (e > 0) or always wrong. Flips repeat where the edit acts.

With `touched` < 1 the edit changes the prompts of that share of the problems only, which then carry the whole effect
and the only noise; `touched` = 1 is the pessimistic case.

With several `trials` a refused edit is proposed again, on items with fresh noise, until it is accepted or the trials
are used up. That is more than `evolve` allows, which proposes again only what was refused for want of items. Its trials
share items of the pool; whatever they share, the rate of a row there is at most the sum of the rates of its trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from r3v.errors import ConfigError
from r3v.notebook.gate.gate import Arm, GateConfig, decide
from r3v.records import Outcome, Problem, Verdict
from r3v.stats import wilson

World = Literal["flips", "items"]
WORLDS = ("flips", "items")
SUBJECTS = 6
BASE = 0.5
"""Share of the unflipped items that are right in both arms; no gate looks at it."""

_RIGHT, _WRONG = Verdict(Outcome.CORRECT), Verdict(Outcome.WRONG)
_LOST = Verdict(Outcome.UNAVAILABLE)
Draw = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""item numbers [N] -> right without the edit, right with it (bool [N] each), fresh noise at each call."""


@dataclass(frozen=True)
class Scene:
    """What is simulated. `effect` and `noise` are shares: 0.1 is ten points."""

    effect: float = 0.0
    noise: float = 0.2
    batch: int = 16
    pool: int = 256
    touched: float = 1.0
    world: World = "flips"
    outage: float = 0.0
    """Share of the solves that are UNAVAILABLE."""

    def check(self) -> None:
        """Raise ConfigError for what cannot be drawn."""
        if self.world not in WORLDS:
            raise ConfigError(f"found world {self.world!r}, expected one of {', '.join(WORLDS)}")
        if not 0 < self.touched <= 1 or not 0 <= self.outage < 1 or self.batch < 1 or self.pool < 0:
            raise ConfigError(
                f"found batch {self.batch}, pool {self.pool}, touched {self.touched}, outage {self.outage}; expected "
                "at least one problem, and shares from 0 to 1"
            )
        own = self.effect / self.touched
        if self.world == "flips" and not abs(own) <= self.noise <= 1:
            raise ConfigError(
                f"found effect {self.effect} on {self.touched:.0%} of the problems and noise {self.noise}; in the "
                "world `flips` the effect on touched problems cannot exceed the noise. Both are shares, 0.1 is ten "
                "points; `--world items` takes larger effects"
            )
        if self.world == "items" and not (0 <= self.noise < 0.5 and abs(own) <= 0.5):
            raise ConfigError(
                f"found effect {self.effect} on {self.touched:.0%} of the problems and noise {self.noise}; in the "
                "world `items` noise is below 0.5 and the effect on touched problems at most 0.5"
            )


def accept_rate(config: GateConfig, scene: Scene, *, n: int = 4000, seed: int = 0, trials: int = 1) -> dict[str, Any]:
    """`{"accept", "ci95", "n"}` (Wilson interval) and the mean number of paired solves, by `n` simulated edits, each
    proposed up to `trials` times; `by_trial` is the share of all edits that trial 1, 2, ... accepted.

    Raises ConfigError for a gate or scene that is impossible.
    """
    config.check()
    scene.check()
    if n < 1 or trials < 1:
        raise ConfigError(f"found n {n} and trials {trials}, expected at least one simulated edit and one trial of it")
    rng = np.random.default_rng(seed)
    batch, pool = _problems("batch", scene.batch), _problems("pool", scene.pool)
    by_trial, pairs = [0] * trials, 0
    for number in range(n):
        for trial in range(trials):
            solve = _Simulated(batch + pool, scene, rng)
            marks = dict(zip(solve.number, rng.random(len(batch) + len(pool)) < scene.touched, strict=True))
            receipt = decide(
                config,
                solve,
                batch,
                reserved=batch[: config.reserve],
                pool=pool,
                touched=lambda problems, marks=marks: [bool(marks[p.id]) for p in problems],
                seed=number,
                trial=trial + 1,
            )
            pairs += len(receipt.pairs)
            if receipt.accepted:
                by_trial[trial] += 1
                break
    accepted = sum(by_trial)
    return {
        "accept": accepted / n,
        "ci95": list(wilson(accepted, n)),
        "n": n,
        "trials": trials,
        "by_trial": [count / n for count in by_trial],
        "pairs": pairs / n,
        "gate": config.kind,
        "effect": scene.effect,
        "noise": scene.noise,
        "batch": scene.batch,
        "pool": scene.pool,
        "touched": scene.touched,
        "world": scene.world,
        "max_pairs": config.max_pairs,
        "seed": seed,
    }


def _problems(name: str, count: int) -> list[Problem]:
    return [
        Problem(f"{name}-{i}", "?", "0", "number", meta={"family": f"subject-{i % SUBJECTS}"}) for i in range(count)
    ]


@dataclass
class _Simulated:
    """A solve function whose outcomes are drawn; both arms of a repeat are drawn together."""

    problems: Sequence[Problem]
    scene: Scene
    rng: np.random.Generator
    number: dict[str, int] = field(init=False)
    _edited: dict[tuple[str, int], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.number = {p.id: i for i, p in enumerate(self.problems)}
        self._draw = (_flips if self.scene.world == "flips" else _items)(self.scene, len(self.problems), self.rng)

    def __call__(self, problems: Sequence[Problem], arm: Arm, repeat: int) -> list[Verdict]:
        if arm == "with":
            right = [self._edited.pop((p.id, repeat)) for p in problems]
        else:
            without, edited = self._draw(np.array([self.number[p.id] for p in problems], dtype=int))
            self._edited |= {(p.id, repeat): bool(b) for p, b in zip(problems, edited, strict=True)}
            right = [bool(a) for a in without]
        lost = self.rng.random(len(problems)) < self.scene.outage
        return [_LOST if gone else _RIGHT if good else _WRONG for good, gone in zip(right, lost, strict=True)]


def _flips(scene: Scene, count: int, rng: np.random.Generator) -> Draw:
    own = scene.effect / scene.touched
    win, loss = (scene.noise + own) / 2, (scene.noise - own) / 2

    def draw(items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u_N, both_N = rng.random(len(items)), rng.random(len(items)) < BASE
        won_N, lost_N = u_N < win, (u_N >= win) & (u_N < win + loss)
        return np.where(won_N, False, lost_N | both_N), np.where(lost_N, False, won_N | both_N)

    return draw


def _items(scene: Scene, count: int, rng: np.random.Generator) -> Draw:
    own = scene.effect / scene.touched
    shape = scene.noise / (1 - 2 * scene.noise)  # 2 E[p (1 - p)] of Beta(a, a) is a / (2 a + 1)
    p_I = rng.beta(shape, shape, count) if shape else (rng.random(count) < BASE).astype(float)
    changed_I = rng.random(count) < 2 * abs(own)
    edited_I = np.where(changed_I, 1.0 if own > 0 else 0.0, p_I)

    def draw(items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rng.random(len(items)) < p_I[items], rng.random(len(items)) < edited_I[items]

    return draw
