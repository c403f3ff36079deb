"""From a diagnosis to what is practised next: weights over skills, then whole numbers of items.

A mixture is a pure function (states, previous weights, config) -> weights; `MIXTURES` names them. `mix` adds what all
share: skills that cannot be aimed at get nothing, and skills that cannot be told apart share one part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from r3v.curriculum.diagnosis.findings import Diagnosis
from r3v.errors import ConfigError, DataError

MixtureName = str


@dataclass(frozen=True)
class MixtureConfig:
    """How practice is shared out."""

    kind: MixtureName = "learnability"
    """uniform, dpe-paper or learnability."""
    floor: float = 0.3
    """Share that is spread evenly over all skills, against forgetting (learnability)."""
    momentum: float = 0.3
    """Share of the previous weights that is kept (learnability)."""
    headroom: float = 3.0
    """Exponent of what is left to gain, 1 - p; 0 ignores it (learnability)."""
    replay: float = 0.1
    """Share of the items that repeats earlier practice instead of being made anew."""


@dataclass(frozen=True)
class SkillState:
    """What a mixture knows of a skill: `p` its shrunken chance of a right answer with standard deviation `sd`, `raw`
    the plain share of right answers of `answers` answers."""

    p: float
    sd: float
    raw: float
    answers: int


States = Mapping[str, SkillState]
Weights = dict[str, float]
Mixture = Callable[[States, Mapping[str, float] | None, MixtureConfig, int], Weights]
"""(states, previous weights, config, answers of a group that are compared with each other) -> weights."""
GROUP = 8


def uniform(states: States, previous: Mapping[str, float] | None, config: MixtureConfig, group: int) -> Weights:
    """Every skill the same."""
    return {name: 1 / len(states) for name in states}


DPE_STEPS = ((0.70, 2.0), (0.75, 1.5), (0.85, 1.0), (0.90, 0.8))
"""Accuracy below the first number gives the weight beside it, from the top; at or above the last one 0.5."""


def dpe_paper(states: States, previous: Mapping[str, float] | None, config: MixtureConfig, group: int) -> Weights:
    """DPE's step function of the plain accuracy (arXiv 2602.22859, released code): stateless, no regard to how
    well an accuracy is known; a skill without answers gets nothing. Raises DataError where no skill has any."""
    found = {
        name: next((weight for below, weight in DPE_STEPS if state.raw < below), 0.5) if state.answers else 0.0
        for name, state in states.items()
    }
    return _normalise(found)


def group_signal(p: float, sd: float, group: int, headroom: float = 0.0) -> float:
    """What a group of answers to one problem is expected to teach: the standard deviation of its rewards (right 1,
    wrong 0), times (1 - p)^headroom.

    An advantage is a reward against the mean of its group, divided by this deviation, so the expected step in log-odds
    is in proportion to it; a group that is all right or all wrong has none. In expectation over the number of right
    answers, and over p itself: Beta with this mean and standard deviation (0: p is known). With groups of two it is
    p(1 - p).
    """
    strength = p * (1 - p) / sd**2 - 1 if sd > 0 else math.inf
    if not 0 < p < 1 or strength <= 0:  # always all right or all wrong
        return 0.0
    total = 0.0
    for right in range(1, group):
        wrong = group - right
        if strength == math.inf:
            chance = p**right * (1 - p) ** (wrong + headroom)
        else:
            a, b = p * strength, (1 - p) * strength
            chance = math.exp(_log_beta(a + right, b + wrong + headroom) - _log_beta(a, b))
        total += math.comb(group, right) * chance * math.sqrt(right * wrong) / group
    return total


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def learnability(states: States, previous: Mapping[str, float] | None, config: MixtureConfig, group: int) -> Weights:
    """Share by what a group of answers is expected to teach x (1 - p)^headroom (see `group_signal`): log-odds gained
    for each answer drawn, the more so the more is left to gain. With headroom 1 that is the gain in log p, by which a
    skill that doubles counts the same wherever it begins; the gain in p, with a factor p more, leaves the weakest for
    last.

    Then the floor, then the momentum.
    """
    score = {name: group_signal(s.p, s.sd, group, config.headroom) for name, s in states.items()}
    total = math.fsum(score.values())
    even = 1 / len(states)
    wanted = {
        name: config.floor * even + (1 - config.floor) * (value / total if total > 0 else even)
        for name, value in score.items()
    }
    if not previous or not any(previous.get(name, 0.0) > 0 for name in states):
        return wanted
    before = _normalise({name: max(0.0, previous.get(name, 0.0)) for name in states})
    return {name: (1 - config.momentum) * wanted[name] + config.momentum * before[name] for name in states}


MIXTURES: dict[str, Mixture] = {"uniform": uniform, "dpe-paper": dpe_paper, "learnability": learnability}


def check_config(config: MixtureConfig) -> None:
    """Raise ConfigError for an unknown mixture and for shares outside [0, 1)."""
    if config.kind not in MIXTURES:
        raise ConfigError(f"mixture.kind: found {config.kind!r}, expected one of {', '.join(MIXTURES)}")
    for name in ("floor", "momentum", "replay"):
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise ConfigError(f"mixture.{name}: found {value}, expected at least 0 and less than 1")
    if not config.headroom >= 0:
        raise ConfigError(f"mixture.headroom: found {config.headroom}, expected at least 0")


def weights(states: States, previous: Mapping[str, float] | None, config: MixtureConfig, group: int = GROUP) -> Weights:
    """The weights of the mixture that `config` names, for groups of so many answers; they sum to 1. Raises ConfigError;
    DataError for no skill."""
    check_config(config)
    if not states:
        raise DataError("found no skill to practise", fix="Diagnose on problems that name their skills")
    return MIXTURES[config.kind](states, previous, config, group)


def mix(
    diagnosis: Diagnosis,
    previous: Mapping[str, float] | None,
    config: MixtureConfig,
    group: int = GROUP,
    *,
    aims: Collection[str] | None = None,
) -> Weights:
    """Weights over the skills of a diagnosis, summing to 1, for groups of so many answers. Skills that are not among
    `aims` (None: all are) get 0: there is no practice for them. Raises DataError where none is.

    `p` of a skill is its own accuracy (see `SkillCell.own`), so that a skill is not practised for the weakness of
    another. Skills that are on every problem get 0: any practice practises them. Skills that cannot be told apart
    share the part of one.
    """
    cells = diagnosis.skills
    known = [name for name in cells if aims is None or name in aims]
    if not known:
        raise DataError(
            f"found skills {sorted(cells)[:6]}, none of which the generator has practice for",
            field="skills",
            fix="Name another practice.generator, or data that name its skills (euclid: skills=theorems)",
        )
    aimed = [name for name in known if not cells[name].everywhere] or known
    leader = {name: min((name, *(t for t in cells[name].together if t in aimed))) for name in aimed}
    states = {name: state_of(diagnosis, name) for name in aimed if leader[name] == name}
    size = {name: sum(other == name for other in leader.values()) for name in states}
    earlier = None
    if previous is not None:
        earlier = {name: math.fsum(previous.get(o, 0.0) for o in aimed if leader[o] == name) for name in states}
    shared = weights(states, earlier, config, group)
    return {name: shared[leader[name]] / size[leader[name]] if name in leader else 0.0 for name in cells}


def state_of(diagnosis: Diagnosis, name: str) -> SkillState:
    """What a mixture knows of one skill of a diagnosis."""
    cell = diagnosis.skills[name]
    if cell.own is not None and cell.own_sd is not None:
        return SkillState(cell.own, cell.own_sd, cell.raw, cell.answers)
    low, high = cell.ci95
    return SkillState(cell.accuracy, (high - low) / 3.92, cell.raw, cell.answers)


@dataclass(frozen=True)
class Quotas:
    """Whole numbers of items per skill: made anew, and repeated from earlier practice."""

    new: dict[str, int]
    replay: dict[str, int]


def quotas(
    shared: Mapping[str, float],
    total: int,
    config: MixtureConfig,
    practised: Mapping[str, int] | None = None,
) -> Quotas:
    """`total` items by `shared` (weights), `config.replay` of them from earlier practice.

    `practised`: skill -> items at hand from earlier iterations; they are repeated in proportion to their number, and
    no more than there are. What replay cannot fill is made anew, so the sums are always `total` together.
    """
    at_hand = {name: count for name, count in (practised or {}).items() if count > 0}
    wanted = min(round(config.replay * total), sum(at_hand.values()))
    replay = largest_remainder(at_hand, wanted) if wanted else {}
    return Quotas(largest_remainder(shared, total - wanted), {name: n for name, n in replay.items() if n})


def largest_remainder(shared: Mapping[str, float], total: int) -> dict[str, int]:
    """Split `total` in proportion to the weights (Hamilton's method): floors first, then one each to the largest
    fractions, ties to the name that comes first. Raises ConfigError for a negative total, DataError for weights that
    are negative, not finite or all 0."""
    if total < 0:
        raise ConfigError(f"found {total} items to share out, expected at least 0")
    exact = {name: value * total for name, value in _normalise(shared).items()}
    counts = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    left = total - sum(counts.values())
    for name in sorted(exact, key=lambda n: (counts[n] - exact[n], n))[:left]:
        counts[name] += 1
    return counts


def _normalise(found: Mapping[str, float]) -> Weights:
    total = math.fsum(found.values())
    if not found or any(not math.isfinite(v) or v < 0 for v in found.values()) or total <= 0:
        raise DataError(
            f"found weights {dict(found)}, expected numbers of at least 0 that are not all 0",
            fix="Diagnose again with more probes",
        )
    return {name: value / total for name, value in found.items()}
