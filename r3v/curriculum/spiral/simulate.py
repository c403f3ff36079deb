"""How many practice items a mixture needs, on simulated learners with known blind spots, and how far it gets with the
items of three iterations.

A learner has one ability per skill in log-odds. Practice follows a published learning curve, the mixture sees only a
noisy diagnosis (k answers to a few probes of each skill, problems of unequal difficulty), skills drift back a little in
every iteration, and practice of one skill may undo a little of all others, because they share their weights.

    python -m r3v.curriculum.spiral.simulate
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from r3v.curriculum.diagnosis.shrink import design_effect, fit_beta, intraclass
from r3v.curriculum.spiral.mixture import GROUP, MIXTURES, MixtureConfig, SkillState, largest_remainder, weights
from r3v.errors import ConfigError
from r3v.stats import mean_interval

Curve = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(p [S], items [S], rate [S]) -> p after practising. A rate is per item."""
_CEILING = 0.99


def policy_gradient(p_S: np.ndarray, items_S: np.ndarray, rate_S: np.ndarray) -> np.ndarray:
    """Logistic growth: d logit(p) / d items = 4 rate p(1 - p), the expected policy gradient of a Bernoulli answer with
    reward 1 for right. Blind spots near 0 are learnt slowly, as nothing is ever rewarded. Euler steps."""
    theta_S = _logit(p_S)
    for _ in range(8):
        now_S = _p(theta_S)
        theta_S = theta_S + 4 * rate_S * now_S * (1 - now_S) * items_S / 8
    return _p(theta_S)


def groups(p_S: np.ndarray, items_S: np.ndarray, rate_S: np.ndarray) -> np.ndarray:
    """GRPO: as `policy_gradient`, but advantages are divided by the deviation of their group of 8 answers, so that
    d logit(p) / d items = 2 rate E(deviation) and groups that are all right or all wrong teach nothing."""
    theta_S = _logit(p_S)
    for _ in range(8):
        theta_S = theta_S + 2 * rate_S * _deviation(_p(theta_S)) * items_S / 8
    return _p(theta_S)


def _deviation(p_S: np.ndarray, n: int = GROUP) -> np.ndarray:
    """Expected standard deviation of the rewards of n answers."""
    right_K = np.arange(n + 1)
    chance_SK = np.array([math.comb(n, k) for k in right_K]) * p_S[:, None] ** right_K
    return (chance_SK * (1 - p_S[:, None]) ** (n - right_K)) @ np.sqrt(right_K * (n - right_K)) / n


def exponential(p_S: np.ndarray, items_S: np.ndarray, rate_S: np.ndarray) -> np.ndarray:
    """Exponential law of practice: the error shrinks by a constant share per item (Heathcote, Brown and Mewhort
    2000). Blind spots are learnt fastest."""
    return _CEILING - (_CEILING - np.minimum(p_S, _CEILING)) * np.exp(-rate_S * items_S)


def power(p_S: np.ndarray, items_S: np.ndarray, rate_S: np.ndarray) -> np.ndarray:
    """Power law of practice (Newell and Rosenbloom 1981) with exponent 1, as a flow without memory of
    when practice began: d error / d items = -2 rate error^2, so that the error falls as 1 / items."""
    error_S = np.maximum(_CEILING - p_S, 1e-9)
    return _CEILING - 1 / (1 / error_S + 2 * rate_S * items_S)


LEARNERS: dict[str, Curve] = {
    "policy_gradient": policy_gradient,
    "groups": groups,
    "exponential": exponential,
    "power": power,
}


@dataclass(frozen=True)
class World:
    """One experiment. Blind spots start low, the other skills high; every skill learns at a rate of its own."""

    skills: int = 24
    blind: int = 6
    blind_range: tuple[float, float] = (0.15, 0.5)
    good_range: tuple[float, float] = (0.75, 0.95)
    batch: int = 240
    probes: int = 20
    """Probe problems per skill in each diagnosis."""
    k: int = 4
    difficulty: float = 0.8
    """Standard deviation of the log-odds of probe problems of one skill."""
    rate: float = 0.02
    rate_spread: float = 0.4
    """Learning rate per item: median, and spread of its logarithm over the skills."""
    drift: float = 0.02
    """Share of what was learnt (in log-odds) that is lost in every iteration."""
    interference: float = 0.0
    """Log-odds that every item takes from each skill that it does not practise."""
    target: float = 0.85
    """Mean accuracy over the skills at which the samples are counted."""
    most: int = 60
    """Iterations after which a run is given up; it then counts with all its samples."""


def samples_to_target(mixture: MixtureConfig, curve: str, world: World, seed: int) -> int:
    """Practice items until the true mean accuracy of the learner reaches the target, to the end of an iteration."""
    for iteration, p_S in enumerate(practised(mixture, curve, world, seed)):
        if p_S.mean() >= world.target or iteration == world.most:
            return iteration * world.batch
    raise AssertionError("practice goes on without end")


def practised(mixture: MixtureConfig, curve: str, world: World, seed: int) -> Iterator[np.ndarray]:
    """True accuracies [S] of a learner at its start and after every iteration of practice, without end."""
    if curve not in LEARNERS:
        raise ConfigError(f"found learner {curve!r}, expected one of {', '.join(LEARNERS)}")
    made = np.random.default_rng([seed, 0])  # the learner of a seed is the same for every mixture
    start_S = made.uniform(*world.good_range, world.skills)
    blind = made.choice(world.skills, world.blind, replace=False)
    start_S[blind] = made.uniform(*world.blind_range, world.blind)
    rate_S = world.rate * np.exp(made.normal(0, world.rate_spread, world.skills))
    names = [f"skill {s:02d}" for s in range(world.skills)]
    p_S, previous = start_S.copy(), None
    for iteration in itertools.count():
        yield p_S
        probe = np.random.default_rng([seed, 1, iteration])
        previous = weights(diagnosed(p_S, names, world, probe), previous, mixture)
        counts = largest_remainder(previous, world.batch)
        items_S = np.array([counts[name] for name in names], float)
        theta_S = _logit(LEARNERS[curve](p_S, items_S, rate_S)) - world.interference * (items_S.sum() - items_S)
        p_S = _p(theta_S - world.drift * (theta_S - _logit(start_S)))


def three_iterations(mixture: MixtureConfig, curve: str, world: World, seed: int) -> tuple[float, float]:
    """True mean accuracy after three iterations: of all skills, and of those that were the weakest quarter."""
    found = list(itertools.islice(practised(mixture, curve, world, seed), 4))
    weakest = np.argsort(found[0], kind="stable")[: math.ceil(world.skills / 4)]
    return float(found[3].mean()), float(found[3][weakest].mean())


Interval = tuple[float, float, float]


def from_blind_start(curve: str, seeds: Sequence[int], world: World) -> dict[str, tuple[Interval, Interval]]:
    """Mixture -> learnability minus it after three iterations with the default settings, the same learners for both:
    mean with its 95 % Student t interval over the learners, of all skills and of the weakest quarter."""
    ends = {
        name: np.array([three_iterations(MixtureConfig(kind=name), curve, world, seed) for seed in seeds])
        for name in MIXTURES
    }
    found = {}
    for name, end in ends.items():
        if name != "learnability":
            every, weakest = (ends["learnability"] - end).T
            found[name] = (mean_interval(every.tolist()), mean_interval(weakest.tolist()))
    return found


def diagnosed(p_S: np.ndarray, names: Sequence[str], world: World, rng: np.random.Generator) -> dict[str, SkillState]:
    """What a probe set of one-skill problems shows of these abilities, shrunken as in a diagnosis."""
    theta_SP = _logit(p_S)[:, None] + rng.normal(0, world.difficulty, (len(p_S), world.probes))
    right_SP = rng.binomial(world.k, _p(theta_SP))
    asked_SP = np.full_like(right_SP, world.k)
    icc = intraclass(right_SP.ravel(), asked_SP.ravel())
    deff = design_effect(icc, float(asked_SP.sum()), float(asked_SP.size))
    right_S, n_S = right_SP.sum(1) / deff, asked_SP.sum(1) / deff
    a, b = fit_beta(right_S.tolist(), n_S.tolist())
    states = {}
    for name, right, n, plain in zip(names, right_S, n_S, right_SP.sum(1), strict=True):
        alpha, beta = a + right, b + n - right
        mean = alpha / (alpha + beta)
        sd = math.sqrt(mean * (1 - mean) / (alpha + beta + 1))
        answers = world.probes * world.k
        states[name] = SkillState(float(mean), sd, float(plain) / answers, answers)
    return states


@dataclass(frozen=True)
class Comparison:
    """Samples to the target over the same seeds: per mixture, and learnability against each as a ratio (geometric
    mean with its 95 % Student t interval; below 1 learnability needs fewer)."""

    samples: dict[str, list[int]]
    ratio: dict[str, tuple[float, float, float]]


def compare(curve: str, seeds: Sequence[int], world: World | None = None) -> Comparison:
    """Run every mixture with its default settings on the same learners."""
    world = world or World()
    samples = {
        name: [samples_to_target(MixtureConfig(kind=name), curve, world, seed) for seed in seeds] for name in MIXTURES
    }
    ratio = {}
    for name, found in samples.items():
        if name != "learnability":
            logs = [math.log(a / b) for a, b in zip(samples["learnability"], found, strict=True)]
            mean, low, high = mean_interval(logs)
            ratio[name] = (math.exp(mean), math.exp(low), math.exp(high))
    return Comparison(samples, ratio)


def _logit(p: np.ndarray) -> np.ndarray:
    bounded = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(bounded / (1 - bounded))


def _p(theta: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-theta))


WORLDS: dict[str, World] = {
    "usual": World(),
    "target 0.90": World(target=0.9),
    "few probes": World(probes=5, k=2),
    "forgetful": World(drift=0.06),
    "many skills": World(skills=48, blind=6),
    "weak learner": World(blind=12, good_range=(0.6, 0.9)),
}
BLIND_START = World(
    skills=38, blind=10, blind_range=(0.05, 0.25), good_range=(0.3, 0.75), batch=128, probes=12, k=2, difficulty=1.0,
    rate=0.12, interference=0.001,
)  # fmt: skip
"""A quarter of the skills is hardly ever right, the rest is far from learned, and practice is short: what
`r3v.recipes.research.spiral_blind_spots` begins with, groups of answers as items."""


def main(seeds: int = 20) -> None:
    """Print the samples to the target of all learners in all worlds, then where three iterations lead from a blind
    start."""
    print(f"{'learner':<16} {'world':<12}  " + "  ".join(f"{name:>12}" for name in MIXTURES) + "   learnability / ...")
    for curve in LEARNERS:
        for name, world in WORLDS.items():
            found = compare(curve, range(seeds), world)
            means = "  ".join(f"{sum(v) / len(v):>12.0f}" for v in found.samples.values())
            told = "; ".join(f"{n} {r:.2f} ({a:.2f} to {b:.2f})" for n, (r, a, b) in found.ratio.items())
            print(f"{curve:<16} {name:<12}  {means}   {told}", flush=True)
    print("\nblind start, learnability minus ..., points after three iterations: all skills; weakest quarter")
    for curve in LEARNERS:
        for name, (every, weakest) in from_blind_start(curve, range(seeds), BLIND_START).items():
            print(f"{curve:<16} {name:<12}  {told_points(every)}; {told_points(weakest)}", flush=True)


def told_points(interval: Interval) -> str:
    mean, low, high = (100 * x for x in interval)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
