"""Shrinkage and intervals against values by hand, cells and modes, each skill's own effect, planted blind spots."""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from r3v.curriculum.diagnosis.categories import by_cluster, by_image_type, by_skills, discover
from r3v.curriculum.diagnosis.cells import ProbeRecord, gain, state_of, tally
from r3v.curriculum.diagnosis.diagnosis import diagnose
from r3v.curriculum.diagnosis.effects import groups_of, skill_effects
from r3v.curriculum.diagnosis.findings import DiagnosisConfig, read_diagnosis, write_diagnosis
from r3v.curriculum.diagnosis.shrink import (
    beta_cdf,
    beta_intervals,
    design_effect,
    fit_beta,
    intraclass,
    shrink_means,
)
from r3v.data.geoworld import source
from r3v.errors import ConfigError, DataError, RunError
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Outcome, Problem

RIGHT, WRONG, UNPARSED, LOST = Outcome.CORRECT, Outcome.WRONG, Outcome.UNPARSED, Outcome.UNAVAILABLE


def records(
    problem: str, outcomes: Sequence[Outcome], skills: Sequence[str] = ("a",), variant: str = "base", stop: str = "eos"
) -> list[ProbeRecord]:
    return [
        ProbeRecord(problem, variant, tuple(skills), o, stop, i, text=f"{problem} {i}") for i, o in enumerate(outcomes)
    ]


def test_beta_distribution_by_hand() -> None:
    """Beta(2, 1) has the distribution x^2, Beta(1, 3) has 1 - (1 - x)^3, Beta(1, 1) is uniform."""
    assert beta_cdf(0.3, 2, 1)[0] == pytest.approx(0.09)
    assert beta_cdf([0.2, 0.9], [1, 1], [3, 3]) == pytest.approx([0.488, 0.999])
    assert beta_cdf([0.0, 1.0], 4, 5) == pytest.approx([0, 1])
    low, high = beta_intervals([1, 2], [1, 1])
    assert low == pytest.approx([0.025, math.sqrt(0.025)], abs=1e-6)
    assert high == pytest.approx([0.975, math.sqrt(0.975)], abs=1e-6)
    low, high = beta_intervals(4000, 6000)  # near normal: sd = sqrt(.4 * .6 / 10001)
    assert [low[0], high[0]] == pytest.approx([0.4 - 1.96 * 0.004899, 0.4 + 1.96 * 0.004899], abs=2e-4)


def test_samples_of_one_problem_count_as_fewer() -> None:
    """All or nothing: two samples of a problem are one. Perfectly mixed pairs are not alike at all."""
    alike = intraclass(np.array([2, 0, 2, 0]), np.array([2, 2, 2, 2]))
    mixed = intraclass(np.array([1, 1, 1, 1]), np.array([2, 2, 2, 2]))
    assert (alike, mixed) == (1.0, 0.0)
    assert design_effect(1.0, 8, 4) == 2.0
    assert design_effect(0.5, 40, 10) == 2.5
    assert design_effect(0.5, 10, 10) == 1.0
    # 3 problems, 2 samples each: right 2, 1, 0. Between (0.5^2 + 0.5^2) * 2 / 2 = 0.5, within 0.5 / 3 = 1/6.
    assert intraclass(np.array([2, 1, 0]), np.array([2, 2, 2])) == pytest.approx((0.5 - 1 / 6) / (0.5 + 1 / 6))


def test_the_prior_is_strong_for_equal_cells_and_weak_for_unequal_ones() -> None:
    a, b = fit_beta([50, 50, 50], [100, 100, 100])
    assert (a + b, a) == (512, 256)
    a, b = fit_beta([2, 98, 50], [100, 100, 100])
    assert a + b < 4
    assert a / (a + b) == pytest.approx(150.5 / 301)


def test_means_shrink_by_hand() -> None:
    """Means 0 and 1 with variance 0.1 each: Q = 10 * 2 * 0.25 = 5, scale = 20 - 200 / 20 = 10, tau^2 = (5 - 1) / 10 =
    0.4, so 0.4 / 0.5 = 80 % of a mean is kept and 20 % of 0.5 taken; variance 0.08 + 0.04 * 0.25 = 0.09."""
    mean, low, high = shrink_means(np.array([0.0, 1.0]), np.array([0.1, 0.1]))
    assert mean == pytest.approx([0.1, 0.9])
    assert low == pytest.approx([0.1 - 1.959964 * 0.3, 0.9 - 1.959964 * 0.3])
    assert high - mean == pytest.approx(mean - low)
    alike, _, _ = shrink_means(np.array([0.2, 0.3]), np.array([0.1, 0.1]))
    assert alike == pytest.approx([0.25, 0.25]), "no more different than chance: pooled"


def test_states_and_counts() -> None:
    assert [
        state_of(o, s) for o, s in ((RIGHT, "length"), (WRONG, "length"), (UNPARSED, "length"), (LOST, "length"))
    ] == [
        0,
        3,
        3,
        4,
    ]
    found = tally([*records("p", [RIGHT, WRONG, LOST]), *records("q", [UNPARSED, WRONG], stop="length")])
    assert found.n_VP[0].tolist() == [2, 2]
    assert found.right_VP[0].tolist() == [1, 0]
    assert found.wrong_VP[0].tolist() == [1, 0]
    assert found.truncated_VP[0].tolist() == [0, 2]
    assert found.lost == 1


def test_a_gain_is_paired_with_the_right_variant() -> None:
    """round_numbers is compared with numbers where that was asked, and with the problem itself elsewhere."""
    found = tally(
        [
            *records("p", [WRONG, WRONG]), *records("p", [RIGHT, WRONG], variant="numbers"),
            *records("p", [RIGHT, RIGHT], variant="round_numbers"),
            *records("q", [RIGHT, WRONG]), *records("q", [RIGHT, RIGHT], variant="round_numbers"),
            *records("r", [LOST, LOST]), *records("r", [RIGHT, RIGHT], variant="numbers"),
        ]
    )  # fmt: skip
    assert gain(found, "numbers")[:2].tolist()[0] == 0.5
    assert np.isnan(gain(found, "numbers")[1:]).all(), "not asked, or nothing to compare with"
    assert gain(found, "round_numbers")[:2].tolist() == [0.5, 0.5]


def test_records_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="row p, field variant: found 'louder'"):
        tally(records("p", [RIGHT], variant="louder"))
    with pytest.raises(DataError, match=r"row p.*for one problem"):
        tally([*records("p", [RIGHT]), *records("p", [RIGHT], ("b",), "named")])
    with pytest.raises(DataError, match="no available answer"):
        diagnose(records("p", [LOST, LOST]))


@functools.cache
def geoworld(n: int, seed: int) -> tuple[Problem, ...]:
    return tuple(source("gate", n, seed=seed))


def planted(seed: int, kind: str, n: int = 480, k: int = 4) -> tuple[list[ProbeRecord], list[str]]:
    """Answers to GeoWorld problems by a learner with three blind spots.

    "needs_all": a problem is right if every skill works, 97 % for each, 35 % for a blind one, times the luck of the
    problem. "adds_up": log-odds 1.5, less 0.15 per level, less 2.2 for each blind skill, plus N(0, 0.7) per problem.
    """
    rng = random.Random(f"{kind}|{seed}")
    problems = geoworld(n, seed + 1)
    counts: dict[tuple[str, ...], list[str]] = {}
    for skill in sorted({s for p in problems for s in p.skills}):
        counts.setdefault(tuple(p.id for p in problems if skill in p.skills), []).append(skill)
    named = [group[0] for ids, group in counts.items() if 15 <= len(ids) < n]
    assert len(named) >= 20
    blind = rng.sample(named, 3)
    made = []
    for p in problems:
        luck = rng.gauss(0, 0.7)
        hit = sum(skill in blind for skill in p.skills)
        if kind == "needs_all":
            chance = 0.97 ** (len(p.skills) - hit) * 0.35**hit
        else:
            chance = 1 / (1 + math.exp(-(1.5 - 0.15 * (p.meta["level"] - 3) + luck - 2.2 * hit)))
        made += [
            ProbeRecord(
                p.id, "base", p.skills, RIGHT if rng.random() < chance else WRONG, index=i, level=p.meta["level"]
            )
            for i in range(k)
        ]
    return made, blind


@pytest.mark.parametrize("kind", ["needs_all", "adds_up"])
def test_three_planted_blind_spots_are_the_three_weakest_in_five_of_five_seeds(kind: str) -> None:
    for seed in range(5):
        answers, blind = planted(seed, kind)
        found = diagnose(answers)
        top = [name for name in found.ranking if (found.skills[name].rank or 99) <= 3]
        assert set(blind) <= set(top), (seed, blind, top)
        assert found.weak
        assert set(found.weak) <= set(top), "no false alarm"
        assert sum(not found.skills[name].everywhere for name in found.skills) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["needs_all", "adds_up"])
def test_with_60_problems_for_every_skill_the_planted_ones_and_no_others_are_called_weak(kind: str) -> None:
    """The ranking finds blind spots earlier than it can be sure of them: 480 probes hold 20 problems of the rarest
    skills, 1,440 hold 60."""
    for seed in range(5):
        answers, blind = planted(seed, kind, n=1440)
        found = diagnose(answers)
        together = {name for skill in blind for name in found.skills[skill].together}
        assert set(blind) <= set(found.weak) <= set(blind) | together, (seed, blind, found.weak)
        assert min(found.skills[name].problems for name in blind) >= 60


def test_weak_is_a_step_down_test_over_the_skills_that_have_enough_problems() -> None:
    """Ten skills with one problem kind each, 20 problems; two are always wrong, the others right 3 of 4 times; with
    `min_problems` above 20 nothing is tested and nothing said."""
    answers = []
    for p in range(200):
        skill = f"s{p % 10}"
        states = [WRONG] * 4 if skill in ("s0", "s1") else [RIGHT, RIGHT, RIGHT, WRONG]
        answers += records(f"p{p}", states, skills=(skill,))
    assert set(diagnose(answers).weak) == {"s0", "s1"}
    assert diagnose(answers, DiagnosisConfig(min_problems=21)).weak == ()


def test_a_skill_beside_a_blind_one_is_not_blamed() -> None:
    """b occurs half the time beside the blind spot a, and never hurts alone; c never meets a. By accuracy b looks
    weaker than c (60 % against 90 %), by its own effect it is not weak."""
    rng = random.Random(1)
    answers = []
    for i in range(400):
        skills = (("a", "b"), ("b",), ("c",), ("c", "d"))[i % 4]
        chance = 0.3 if "a" in skills else 0.9
        answers += records(f"p{i}", [RIGHT if rng.random() < chance else WRONG for _ in range(2)], skills)
    found = diagnose(answers)
    assert found.ranking[0] == "a"
    assert found.weak == ("a",)
    assert found.skills["b"].raw < 0.7 < 0.8 < found.skills["c"].raw
    assert found.skills["a"].own == pytest.approx(0.3, abs=0.12)
    assert (found.skills["b"].own or 0) > 0.75
    assert found.skills["a"].lost == pytest.approx(0.6, abs=0.12)


def test_one_skill_by_hand() -> None:
    """With a flat prior the model has the log-odds of the two groups: 3/4 right without the skill, 1/4 with it."""
    tags = np.array([[True], [False]] * 2000)
    right = np.array([1.0, 3.0] * 2000)
    found = skill_effects(tags, right, np.full(4000, 4.0))
    assert found.effect[0] == pytest.approx(math.log(1 / 3) - math.log(3), abs=0.01)
    assert found.own[0] == pytest.approx(0.25, abs=0.005)
    assert found.lost[0] == pytest.approx(0.5, abs=0.005)
    assert found.sd[0] == pytest.approx(math.sqrt(2 / (8000 * 0.1875)), rel=0.05)


def test_where_each_problem_has_one_skill_the_others_stand_in_its_place() -> None:
    """Three skills, one each, 40, 80 and 80 % right: log-odds -0.405, 1.386, 1.386. The first lies 1.79 below the
    others; each of the others is 0.896 above the mean of -0.405 and 1.386; own accuracy is the skill's accuracy."""
    tags = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]] * 1000, bool)
    found = skill_effects(tags, np.array([2.0, 4.0, 4.0] * 1000), np.full(3000, 5.0))
    assert found.effect == pytest.approx([-1.792, 0.896, 0.896], abs=0.01)
    assert found.own == pytest.approx([0.4, 0.8, 0.8], abs=0.005)
    assert (found.sd < 0.1).all(), "the common shift of all effects takes no part"


def test_skills_that_cannot_be_told_apart_are_named() -> None:
    tags = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 0]], bool)
    group, members = groups_of(tags)
    assert group.tolist() == [0, 0, 1, -1, -1]
    assert members == [[0, 1], [2]]
    answers = [r for i in range(20) for r in records(f"p{i}", [RIGHT, WRONG], ("all", "x", "y") if i % 2 else ("all",))]
    found = diagnose([*answers, *records("one", [WRONG], ("all", "rare"))])
    assert found.skills["x"].together == ("y",)
    assert found.skills["x"].rank == found.skills["y"].rank
    assert found.skills["all"].everywhere
    assert "all" not in found.ranking
    said = "\n".join(found.limits)
    assert "cannot be told apart: x, y." in said
    assert "On every problem, not ranked: all." in said
    assert "no statement: rare." in said
    assert "nothing is said about reading" in said
    assert "No skill is weaker" in said
    assert not found.skills["rare"].weak


def modes_of_learner() -> list[ProbeRecord]:
    """60 problems, skill `see` wrong until the figure is described, `know` wrong until the theorem is named; every
    fifth answer of `talk` names none and every other fifth is cut off; UNAVAILABLE answers must not count."""
    made: list[ProbeRecord] = []
    for i in range(20):
        for skill, cure in (("see", "described"), ("know", "named")):
            problem = f"{skill}{i}"
            made += records(problem, [WRONG, WRONG, LOST], (skill,))
            for variant in ("described", "named"):
                made += records(problem, [RIGHT if variant == cure else WRONG] * 2, (skill,), variant)
        made += records(f"talk{i}", [UNPARSED if i % 5 == 0 else RIGHT], ("talk",))
        made += records(f"talk{i}", [WRONG if i % 5 == 1 else RIGHT], ("talk",), stop="length")
    return made


def test_modes_come_from_what_helps_and_what_is_seen() -> None:
    found = diagnose(modes_of_learner())
    see, know, talk = (found.skills[name].modes for name in ("see", "know", "talk"))
    assert see["perception"].value > 0.9
    assert see["perception"].supported
    assert see["perception"].ci95[0] > 0.5
    assert abs(see["knowledge"].value) < 0.1
    assert know["knowledge"].value > 0.9
    assert not know["perception"].supported
    assert "perception" not in talk, "no aid was asked of it"
    assert 0.02 < talk["unparsed"].value < 0.2
    assert talk["truncated"].supported
    assert 0.02 < talk["truncated"].value < 0.2
    assert see["unexplained"].value < 0.1
    assert found.unavailable == 40
    assert found.answers == 40 + 40 + 40
    example = see["perception"].examples[0]
    assert (example.problem_id, example.text, example.aided) == ("see0", "see0 0", "see0 0")
    assert [e.problem_id for e in talk["truncated"].examples] == ["talk1", "talk6"]


def test_too_few_problems_support_nothing() -> None:
    found = diagnose(modes_of_learner(), DiagnosisConfig(min_problems=30))
    assert found.weak == ()
    assert not any(cell.supported for skill in found.skills.values() for cell in skill.modes.values())
    assert "20 problems, fewer than 30" in found.skills["see"].note


def test_diagnosis_json_comes_back_equal(tmp_path: Path) -> None:
    found = diagnose(modes_of_learner(), context={"model": "m", "iteration": 2})
    path = tmp_path / "diagnosis.json"
    write_diagnosis(path, found)
    assert json.loads(path.read_text())["schema"] == 1
    assert read_diagnosis(path) == found
    path.write_text('{"schema": 2}')
    with pytest.raises(RunError, match="found schema 2, expected 1"):
        read_diagnosis(path)
    path.write_text("{")
    with pytest.raises(RunError, match="damaged"):
        read_diagnosis(path)
    with pytest.raises(RunError, match="file not found"):
        read_diagnosis(tmp_path / "none.json")


def test_the_same_records_in_any_order_give_the_same_numbers() -> None:
    answers = modes_of_learner()
    mixed = answers.copy()
    random.Random(0).shuffle(mixed)
    a, b = diagnose(answers), diagnose(mixed)
    assert {n: c.accuracy for n, c in a.skills.items()} == pytest.approx({n: c.accuracy for n, c in b.skills.items()})
    assert a.ranking == b.ranking


def test_clusters_are_found_and_counted() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(5)[[0, 1, 2]] * 3
    vectors = np.concatenate([c + rng.normal(0, 0.1, (n, 5)) for c, n in zip(centres, (30, 20, 10), strict=True)])
    found = discover(vectors, seed=3, most=6)
    assert max(found.silhouette, key=lambda k: found.silhouette[k]) == 3
    assert found.label_N.tolist() == [0] * 30 + [1] * 20 + [2] * 10
    assert discover(vectors, seed=3, most=6).label_N.tolist() == found.label_N.tolist()
    by_id = by_cluster({f"{i:02d}": v for i, v in enumerate(vectors)}, seed=1, most=6)
    assert by_id["00"] == ("cluster 00",)
    assert by_id["59"] == ("cluster 02",)
    assert set(discover(np.ones((6, 2))).label_N) == {0}, "equal vectors are one cluster"
    with pytest.raises(ConfigError, match="at least 4"):
        discover(np.ones((3, 2)))


def test_image_types_are_known_named_or_asked_for_and_never_made_up() -> None:
    known = Problem("g", "Find x.", "1", "number", source="geoqa")
    named = Problem("n", "Find x.", "1", "number", meta={"image_type": "map"})
    unknown = Problem("u", "Find x.", "1", "number", source="mine")
    assert by_image_type([known, named]) == {"g": ("geometric",), "n": ("map",)}
    with pytest.raises(DataError, match="1 problems of unknown image type"):
        by_image_type([known, unknown])
    policy = ScriptedPolicy(lambda p, i: "", lambda p, text: 0.0 if text == "architectural" else -5.0 * len(text))
    assert by_image_type([unknown, known], policy) == {"u": ("architectural",), "g": ("geometric",)}
    with pytest.raises(DataError, match="found 'cat'"):
        by_image_type([Problem("b", "Find x.", "1", "number", meta={"image_type": "cat"})])
    with pytest.raises(DataError, match="found no skills"):
        by_skills([unknown])


def test_a_rate_of_zero_everywhere_has_an_interval() -> None:
    """0 of 22 in every cell: Beta(0.5, 22.5), mean 0.5 / 23; its upper 97.5 % point is near 2.5 / 22.5 (chi-square with
    one degree of freedom has 5.02 there, half of it over 22.5 = 0.11)."""
    from r3v.curriculum.diagnosis.shrink import beta_intervals, fit_beta

    assert fit_beta([0, 0], [22, 22]) == (0.5, 0.5)
    assert fit_beta([22, 22], [22, 22]) == (0.5, 0.5)
    low, high = beta_intervals(0.5, 22.5)
    assert 0 <= low[0] < 0.001
    assert 0.09 < high[0] < 0.12
