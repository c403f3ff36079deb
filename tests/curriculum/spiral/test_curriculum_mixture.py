"""Mixtures and quotas by hand, and how many samples each needs on simulated learners with known blind spots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from r3v.curriculum.diagnosis.cells import ProbeRecord
from r3v.curriculum.diagnosis.diagnosis import diagnose
from r3v.curriculum.spiral.mixture import (
    MIXTURES,
    MixtureConfig,
    Quotas,
    SkillState,
    group_signal,
    largest_remainder,
    mix,
    quotas,
    weights,
)
from r3v.curriculum.spiral.simulate import (
    BLIND_START,
    LEARNERS,
    World,
    compare,
    diagnosed,
    from_blind_start,
    samples_to_target,
)
from r3v.errors import ConfigError, DataError
from r3v.records import Outcome


def states(**p: float) -> dict[str, SkillState]:
    return {name: SkillState(value, 0.1, value, 40) for name, value in p.items()}


def test_the_step_function_has_its_published_steps() -> None:
    """0.69 -> 2, 0.70 -> 1.5, 0.75 -> 1, 0.85 -> 0.8, 0.90 -> 0.5; the sum is 5.8. A skill without answers gets 0."""
    found = weights(
        {**states(a=0.69, b=0.70, c=0.75, d=0.85, e=0.90), "f": SkillState(0.5, 0.3, 0.0, 0)},
        None,
        MixtureConfig(kind="dpe-paper"),
    )
    assert found == pytest.approx({"a": 2 / 5.8, "b": 1.5 / 5.8, "c": 1 / 5.8, "d": 0.8 / 5.8, "e": 0.5 / 5.8, "f": 0})
    with pytest.raises(DataError, match="not all 0"):
        weights({"f": SkillState(0.5, 0.3, 0.0, 0)}, None, MixtureConfig(kind="dpe-paper"))


def test_uniform_is_uniform() -> None:
    assert weights(states(a=0.1, b=0.9), {"a": 1.0}, MixtureConfig(kind="uniform")) == {"a": 0.5, "b": 0.5}


def test_what_a_group_teaches_by_hand() -> None:
    """Groups of 4 at p = 0.5: 1, 2 or 3 right with chance 4, 6 and 4 of 16 and deviations sqrt(3)/4, 1/2, sqrt(3)/4;
    all or none right teach nothing. Groups of 2: one right with chance 2p(1 - p) and deviation 1/2. At p = 0.1 a group
    of 8 teaches 0.45 of what it does at 0.5, where p(1 - p) says 0.36. Beta(12, 12) has mean 0.5 and deviation 0.1:
    E p(1 - p) = 0.24, E p(1 - p)^2 = 12 * 12 * 13 / (24 * 25 * 26) = 0.12."""
    assert group_signal(0.5, 0.0, 4) == pytest.approx(0.5 * 3**0.5 / 4 + 3 / 16)
    assert group_signal(0.3, 0.0, 2) == pytest.approx(0.21)
    assert group_signal(0.3, 0.0, 2, headroom=1) == pytest.approx(0.147)
    assert group_signal(0.1, 0.0, 8) / group_signal(0.5, 0.0, 8) == pytest.approx(0.45, abs=0.005)
    assert group_signal(0.5, 0.1, 2) == pytest.approx(0.24)
    assert group_signal(0.5, 0.1, 2, headroom=1) == pytest.approx(0.12)
    assert group_signal(0.0, 0.1, 8) == group_signal(1.0, 0.1, 8) == group_signal(0.5, 0.5, 8) == 0
    drawn = np.random.default_rng(0).beta(12, 12, 200_000)
    right = np.random.default_rng(1).binomial(8, drawn) / 8
    assert group_signal(0.5, 0.1, 8) == pytest.approx(np.sqrt(right * (1 - right)).mean(), abs=2e-3)


def test_learnability_by_hand() -> None:
    """Groups of 2 and deviation 0.1 for both. a as above 0.12; b: Beta(12, 3), E p(1 - p)^2 = 12 * 3 * 4 / (15 * 16 *
    17) = 0.6/17: shares 17/22 and 5/22. With a floor of 0.1: 0.05 + 0.9 * 17/22. Half momentum from (0.25, 0.75).
    Headroom 0: 0.24 to 0.15."""
    config = MixtureConfig(floor=0.1, momentum=0.5, headroom=1.0)
    a = 0.05 + 0.9 * 17 / 22
    assert weights(states(a=0.5, b=0.8), None, config, 2) == pytest.approx({"a": a, "b": 1 - a})
    kept = weights(states(a=0.5, b=0.8), {"a": 1.0, "b": 3.0}, config, 2)
    assert kept == pytest.approx({"a": a / 2 + 0.125, "b": (1 - a) / 2 + 0.375})
    plain = MixtureConfig(floor=0.0, headroom=0.0)
    assert weights(states(a=0.5, b=0.8), None, plain, 2) == pytest.approx({"a": 24 / 39, "b": 15 / 39})


def test_the_weakest_get_more_than_an_even_share() -> None:
    """Three skills right in 8 % of the answers among nine at 30 to 90 %: each gets more than a twelfth, though a group
    of 8 is mixed in half of the cases only."""
    many = {**states(a=0.08, b=0.08, c=0.08), **states(**{f"s{i}": 0.3 + i * 0.075 for i in range(9)})}
    many = {name: SkillState(s.p, 0.05, s.raw, 40) for name, s in many.items()}
    found = weights(many, None, MixtureConfig())
    assert min(found["a"], found["b"], found["c"]) > 1.3 / 12
    assert found["s8"] < 0.5 / 12


def test_the_floor_holds_for_what_is_mastered_and_what_is_out_of_reach() -> None:
    found = weights(states(mastered=1.0, hopeless=0.0, middle=0.5), None, MixtureConfig(floor=0.3))
    assert found == pytest.approx({"mastered": 0.1, "hopeless": 0.1, "middle": 0.8})
    every = weights(states(a=1.0, b=1.0), None, MixtureConfig())
    assert every == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("name", list(MIXTURES))
def test_every_mixture_sums_to_one(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = rng.uniform(0.01, 0.99, (rng.integers(1, 30), 3))
        found = {str(i): SkillState(p, sd, raw, 20) for i, (p, sd, raw) in enumerate(drawn)}
        shared = weights(found, None, MixtureConfig(kind=name))
        assert sum(shared.values()) == pytest.approx(1)
        assert min(shared.values()) >= 0


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="found 'best', expected one of uniform, dpe-paper, learnability"):
        weights(states(a=0.5), None, MixtureConfig(kind="best"))
    with pytest.raises(ConfigError, match=r"mixture\.momentum: found 1\.0"):
        weights(states(a=0.5), None, MixtureConfig(momentum=1.0))
    with pytest.raises(ConfigError, match=r"mixture\.headroom: found -1"):
        weights(states(a=0.5), None, MixtureConfig(headroom=-1))
    with pytest.raises(DataError, match="found no skill"):
        weights({}, None, MixtureConfig())


def test_largest_remainder_by_hand() -> None:
    """10 items by 0.45, 0.35, 0.2 -> 4.5, 3.5, 2: floors 4, 3, 2, the one left to the name that comes first."""
    assert largest_remainder({"b": 0.45, "a": 0.35, "c": 0.2}, 10) == {"b": 4, "a": 4, "c": 2}
    assert largest_remainder({"a": 1, "b": 1, "c": 1}, 5) == {"a": 2, "b": 2, "c": 1}
    assert largest_remainder({"a": 0.1, "b": 0.7, "c": 0.2}, 1000) == {"a": 100, "b": 700, "c": 200}
    assert largest_remainder({"a": 3.0}, 0) == {"a": 0}
    for bad in ({"a": -1.0, "b": 2.0}, {"a": 0.0}, {}, {"a": float("nan")}):
        with pytest.raises(DataError, match="found weights"):
            largest_remainder(bad, 3)
    with pytest.raises(ConfigError, match="found -1 items"):
        largest_remainder({"a": 1.0}, -1)


def test_replay_repeats_what_is_there_and_no_more() -> None:
    shared, config = {"a": 0.5, "b": 0.5}, MixtureConfig(replay=0.2)
    assert quotas(shared, 100, config) == Quotas({"a": 50, "b": 50}, {})
    assert quotas(shared, 100, config, {"a": 30, "c": 10}) == Quotas({"a": 40, "b": 40}, {"a": 15, "c": 5})
    assert quotas(shared, 100, config, {"a": 4, "b": 0}) == Quotas({"a": 48, "b": 48}, {"a": 4})


def test_a_diagnosis_becomes_weights_over_its_skills() -> None:
    """x and y are on the same problems and share one part, `all` is on every problem and gets none; w is weak for
    the same share of failures as the others are strong."""
    made = []
    for i in range(90):
        skills = (("all", "x", "y"), ("all", "w"), ("all", "z"))[i % 3]
        for k in range(4):
            right = k < 2 if "w" in skills else k < 3 or i % 2
            made.append(ProbeRecord(f"p{i}", "base", skills, Outcome.CORRECT if right else Outcome.WRONG, index=k))
    found = diagnose(made)
    even = mix(found, None, MixtureConfig(kind="uniform"))
    assert even == pytest.approx({"all": 0, "x": 1 / 6, "y": 1 / 6, "w": 1 / 3, "z": 1 / 3})
    shared = mix(found, None, MixtureConfig())
    assert sum(shared.values()) == pytest.approx(1)
    assert shared["w"] > 2 * shared["z"]
    assert shared["x"] == shared["y"] == pytest.approx(shared["z"] / 2, rel=0.2)
    kept = mix(found, {"x": 0.5, "y": 0.5}, MixtureConfig(momentum=0.9))
    assert kept["x"] + kept["y"] > 0.9
    aimed = mix(found, None, MixtureConfig(kind="uniform"), aims={"y", "z", "elsewhere"})
    assert aimed == pytest.approx({"all": 0, "x": 0, "y": 0.5, "w": 0, "z": 0.5}), "x, y share none: x has no practice"
    assert mix(found, None, MixtureConfig(), aims={"all"})["all"] == 1, "better than nothing"
    with pytest.raises(DataError, match="none of which the generator has practice for"):
        mix(found, None, MixtureConfig(), aims={"elsewhere"})
    only = diagnose([r for r in made if "w" in r.categories])
    assert sum(mix(only, None, MixtureConfig()).values()) == pytest.approx(1), "all skills everywhere: all are aimed at"


def test_learning_curves_by_hand() -> None:
    """exponential: the error to 0.99 halves after ln 2 / rate items. power: error 0.5, rate 0.01, 100 items ->
    1 / (2 + 2) = 0.25. policy gradient: near p = 0.5 the log-odds grow by 4 * rate / 4 per item; none, none."""
    one = np.array([0.49])
    assert LEARNERS["exponential"](one, np.array([np.log(2) / 0.01]), np.array([0.01])) == pytest.approx([0.74])
    assert LEARNERS["power"](one, np.array([100.0]), np.array([0.01])) == pytest.approx([0.74])
    grown = LEARNERS["policy_gradient"](np.array([0.5]), np.array([1.0]), np.array([0.01]))
    assert np.log(grown / (1 - grown)) == pytest.approx([0.01], rel=1e-3)
    grown = LEARNERS["groups"](np.array([0.5]), np.array([1.0]), np.array([0.01]))
    assert np.log(grown / (1 - grown)) == pytest.approx([0.02 * group_signal(0.5, 0.0, 8)], rel=1e-3)
    for curve in LEARNERS.values():
        assert curve(one, np.array([0.0]), np.array([0.01])) == pytest.approx(one)
        more = curve(np.full(3, 0.3), np.array([0.0, 10.0, 100.0]), np.full(3, 0.02))
        assert (np.diff(more) > 0).all()


def test_the_simulated_diagnosis_is_noisy_and_shrunken() -> None:
    p = np.linspace(0.1, 0.9, 9)
    names = [str(i) for i in range(9)]
    world = World(probes=4000, k=1, difficulty=0.0)
    exact = diagnosed(p, names, world, np.random.default_rng(0))
    assert [exact[n].p for n in names] == pytest.approx(p, abs=0.03)
    noisy = diagnosed(p, names, World(probes=5), np.random.default_rng(0))
    assert noisy["0"].p > noisy["0"].raw
    assert noisy["0"].sd > 5 * exact["0"].sd
    assert noisy != diagnosed(p, names, World(probes=5), np.random.default_rng(1))


@pytest.mark.parametrize("curve", list(LEARNERS))
def test_learnability_needs_fewer_samples_than_the_step_function_and_uniform(curve: str) -> None:
    """24 skills, 6 blind; twenty learners with the same blind spots for every mixture; ratio of samples to 85 % with
    its 95 % interval below 1. None of these seeds was used to choose the settings of the mixture (100 to 107 were)."""
    found = compare(curve, range(20))
    assert all(max(used) < World().most * World().batch for used in found.samples.values()), "every run arrives"
    for name in ("uniform", "dpe-paper"):
        mean, _, high = found.ratio[name]
        assert mean < high < 1, (name, found.ratio)


@pytest.mark.parametrize("curve", ["groups", "exponential"])
@pytest.mark.parametrize("interference", [0.0, 0.001])
def test_from_a_blind_start_the_weakest_quarter_gains_most(curve: str, interference: float) -> None:
    """38 skills, 10 of them right in 5 to 25 % of answers, three iterations of 128 groups, twenty learners: the weakest
    quarter ends at least 4 points above uniform practice and 2 above the step function, all skills not below by more
    than half a point. None of these seeds was used to choose the settings (100 to 109 were)."""
    found = from_blind_start(curve, range(20), replace(BLIND_START, interference=interference))
    for kind, least in (("uniform", 0.04), ("dpe-paper", 0.02)):
        every, weakest = found[kind]
        assert weakest[1] > least, kind
        assert every[0] > -0.005, kind


def test_a_simulation_repeats() -> None:
    config = MixtureConfig()
    assert samples_to_target(config, "power", World(), 3) == samples_to_target(config, "power", World(), 3)
    assert samples_to_target(config, "power", World(target=0.0), 3) == 0
    with pytest.raises(ConfigError, match="found learner 'genius'"):
        samples_to_target(config, "genius", World(), 0)
