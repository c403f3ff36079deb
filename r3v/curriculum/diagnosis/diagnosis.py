"""A diagnosis: which skills are weak, in which way, how sure that is, and what the data cannot say.

Pure: records in, a `Diagnosis` out, the same for the same records. Accuracies are beta-binomial posteriors with a
prior fitted over the skills, counterfactual gains normal ones, and the ranking goes by each skill's own effect
(`r3v.curriculum.diagnosis.effects`), because the marginal accuracy of a skill also shows the skills it occurs with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from r3v.curriculum.diagnosis.cells import (
    AIDS,
    BASE,
    MODES,
    SEEN_MODES,
    TRUNCATED,
    UNPARSED,
    VARIANTS,
    WRONG,
    ProbeRecord,
    Tally,
    gain,
    tally,
)
from r3v.curriculum.diagnosis.effects import Effects, skill_effects
from r3v.curriculum.diagnosis.examples import Examples
from r3v.curriculum.diagnosis.findings import NO_STATEMENT, Diagnosis, DiagnosisConfig, ModeCell, SkillCell
from r3v.curriculum.diagnosis.shrink import beta_intervals, design_effect, fit_beta, intraclass, shrink_means
from r3v.errors import DataError

METHODS = {
    "accuracy": "beta-binomial posterior, prior fitted over the skills, counts divided by their design effect",
    "gains": "paired difference over problems, normal-normal posterior (DerSimonian and Laird)",
    "effects": "logistic model over skill tags and level, effects N(0, tau squared), tau by empirical Bayes; "
    "answers to one problem count for less by their left-over correlation (Williams); Laplace intervals",
    "weak": "the effect lies below 0 at the interval's level over all groups of skills with enough problems together "
    "(Holm's step-down correction)",
}


def diagnose(
    records: Sequence[ProbeRecord],
    config: DiagnosisConfig | None = None,
    context: Mapping[str, Any] | None = None,
) -> Diagnosis:
    """The diagnosis of these records. `context` (model, data, iteration, seeds; JSON values) is kept as it is.

    UNAVAILABLE answers are counted and take no other part. Raises DataError where no answer is left to count.
    """
    config = config or DiagnosisConfig()
    found = tally(records)
    base = VARIANTS.index(BASE)
    n_P, right_P = found.n_VP[base].astype(float), found.right_VP[base].astype(float)
    if not n_P.sum():
        raise DataError(
            f"found {len(records)} records and no available answer to a problem as it is",
            fix="Check that the model answers; UNAVAILABLE answers cannot be diagnosed",
        )
    effects = skill_effects(found.tags_PS, right_P, n_P, found.level_P)
    rates = {
        "right": _rates(found, found.right_VP[base], config),
        "unparsed": _rates(found, found.unparsed_VP[base], config),
        "truncated": _rates(found, found.truncated_VP[base], config),
    }
    modes_S = _modes(found, rates, config, records)
    ranks, weak = _ranking(found, effects), _weak(found, effects, config)
    cells = {
        name: _skill(found, effects, s, rates["right"][s], ranks.get(s), weak, modes_S[s], config)
        for s, name in enumerate(found.categories)
    }
    ranking = tuple(found.categories[s] for s in ranks)
    return Diagnosis(
        cells, ranking, len(found.problems), int(n_P.sum()), found.lost, float(right_P.sum() / n_P.sum()), effects.icc,
        dict(METHODS), _limits(found, cells, effects, config), dict(context or {}),
    )  # fmt: skip


Rate = tuple[float, tuple[float, float]]


def _rates(found: Tally, count_P: np.ndarray, config: DiagnosisConfig) -> list[Rate]:
    """Shrunken rate and interval of each category [S], over all available base answers."""
    n_P = found.n_VP[VARIANTS.index(BASE)]
    icc = intraclass(count_P, n_P)
    n_S, c_S = n_P @ found.tags_PS, count_P @ found.tags_PS
    problems_S = (n_P > 0).astype(float) @ found.tags_PS
    deff_S = np.array([design_effect(icc, n, p) for n, p in zip(n_S, problems_S, strict=True)])
    c_S, n_S = c_S / deff_S, n_S / deff_S
    a, b = fit_beta(c_S.tolist(), n_S.tolist())
    low_S, high_S = beta_intervals(a + c_S, b + n_S - c_S, config.level)
    mean_S = (a + c_S) / (a + b + n_S)
    return [(float(m), (float(x), float(y))) for m, x, y in zip(mean_S, low_S, high_S, strict=True)]


def _ranking(found: Tally, effects: Effects) -> dict[int, int]:
    """Category -> rank from 1; those of one group share it. Smallest effect first; ties by name."""
    ranks: dict[int, int] = {}
    for rank, group in enumerate(np.argsort(effects.effect, kind="stable"), start=1):
        for s in np.flatnonzero(effects.group_S == group):
            ranks[int(s)] = rank
    return ranks


def _weak(found: Tally, effects: Effects, config: DiagnosisConfig) -> set[int]:
    """Groups whose effect lies below 0 beyond chance: Holm's step-down test (1979), over those with enough problems.

    Two-sided although only one side is of interest: where a problem needs several skills at once, effects do not quite
    add up in log-odds, and the one-sided test called a sound skill weak in 4 of 15 simulations (1,440 problems).
    """
    problems_S = (found.n_VP[VARIANTS.index(BASE)] > 0).astype(float) @ found.tags_PS
    tested = sorted({int(effects.group_S[s]) for s in np.flatnonzero(problems_S >= config.min_problems)} - {-1})
    chance = {g: NormalDist().cdf(float(effects.effect[g] / effects.sd[g])) for g in tested}
    weak: set[int] = set()
    for left, group in zip(range(len(tested), 0, -1), sorted(tested, key=lambda g: chance[g]), strict=True):
        if 2 * chance[group] > (1 - config.level) / left:
            break
        weak.add(group)
    return weak


def _skill(
    found: Tally,
    effects: Effects,
    s: int,
    rate: Rate,
    rank: int | None,
    weak: set[int],
    modes: dict[str, ModeCell],
    config: DiagnosisConfig,
) -> SkillCell:
    n_P = found.n_VP[VARIANTS.index(BASE)]
    has = found.tags_PS[:, s] & (n_P > 0)
    problems, answers = int(has.sum()), int(n_P[has].sum())
    right = int(found.right_VP[VARIANTS.index(BASE)][has].sum())
    group = int(effects.group_S[s])
    together = tuple(found.categories[t] for t in np.flatnonzero(effects.group_S == group) if t != s and group >= 0)
    everywhere = bool(problems) and problems == int((n_P > 0).sum())
    interval = effects.interval(group, config.level) if group >= 0 else None
    value = {name: None if group < 0 else float(getattr(effects, name)[group]) for name in ("own", "own_sd", "lost")}
    note = ""
    if not problems:
        note = "no available answer"
    elif problems < config.min_problems:
        note = f"{problems} problems, fewer than {config.min_problems}: {NO_STATEMENT}"
    elif everywhere:
        note = "on every problem: its effect cannot be separated from the overall level"
    elif together:
        note = f"always together with {', '.join(together)}: cannot be told apart"
    elif effects.sd[group] > 0.8 * effects.tau:
        note = "the data say little about its own effect beside the skills it occurs with"
    return SkillCell(
        problems, answers, right / answers if answers else 0.0, rate[0], rate[1], value["own"], value["own_sd"],
        None if group < 0 else float(effects.effect[group]), interval, value["lost"], rank, group in weak, together,
        everywhere, note, modes,
    )  # fmt: skip


def _modes(
    found: Tally, rates: Mapping[str, list[Rate]], config: DiagnosisConfig, records: Sequence[ProbeRecord]
) -> list[dict[str, ModeCell]]:
    """The mode cells of each category [S]; a mode whose aid was asked for none of its problems has no cell."""
    show = Examples(found, records, config)
    n_P = found.n_VP[VARIANTS.index(BASE)]
    modes_S: list[dict[str, ModeCell]] = [{} for _ in found.categories]
    for variant, aid in AIDS.items():
        gain_P = gain(found, variant)
        for s, (value, low, high, problems) in _gains(found, gain_P, config.level).items():
            supported, note = _support(low, problems, config)
            examples = show.of(s, variant, gain_P) if value > 0 else ()
            modes_S[s][aid.mode] = ModeCell(value, (low, high), problems, supported, note, examples)
    floor = {mode: _pooled_floor(found, mode) for mode in SEEN_MODES}
    for s, modes in enumerate(modes_S):
        has = found.tags_PS[:, s] & (n_P > 0)
        problems, answers = int(has.sum()), max(1, int(n_P[has].sum()))
        for mode in SEEN_MODES:
            value, (low, high) = rates[mode][s]
            supported, note = _support(low if floor[mode] else 0.0, problems, config)
            state = UNPARSED if mode == "unparsed" else TRUNCATED
            modes[mode] = ModeCell(value, (low, high), problems, supported, note, show.with_state(s, state))
        wrong = float(found.wrong_VP[VARIANTS.index(BASE)][has].sum()) / answers
        best = max([0.0, *(cell.value for mode, cell in modes.items() if mode not in SEEN_MODES)])
        asked = any(mode not in SEEN_MODES for mode in modes)
        note = "a difference of two estimates, without interval" if asked else "no aid was asked"
        rest = max(0.0, wrong - best)
        modes["unexplained"] = ModeCell(rest, (0.0, wrong), problems, False, note, show.with_state(s, WRONG))
        modes_S[s] = {mode: modes[mode] for mode in MODES if mode in modes}
    return modes_S


def _pooled_floor(found: Tally, mode: str) -> bool:
    """Whether the mode occurred at all; a posterior of a rate is never 0, so it alone would always say yes."""
    return bool((found.unparsed_VP if mode == "unparsed" else found.truncated_VP)[VARIANTS.index(BASE)].sum())


def _support(low: float, problems: int, config: DiagnosisConfig) -> tuple[bool, str]:
    if problems < config.min_problems:
        return False, f"{problems} problems, fewer than {config.min_problems}: {NO_STATEMENT}"
    return (True, "") if low > 0 else (False, "not distinguishable from 0")


def _gains(found: Tally, gain_P: np.ndarray, level: float) -> dict[int, tuple[float, float, float, int]]:
    """Category -> (posterior mean, low, high, problems) of the paired differences."""
    known = ~np.isnan(gain_P)
    if known.sum() < 2:
        return {}
    value_P = np.where(known, gain_P, 0.0)
    n_S = known.astype(float) @ found.tags_PS  # bool @ bool would be bool
    asked = np.flatnonzero(n_S > 0)
    mean_S = (value_P @ found.tags_PS)[asked] / n_S[asked]
    square_S = ((value_P**2) @ found.tags_PS)[asked] - n_S[asked] * mean_S**2
    pooled = float(value_P[known].var())
    # four problems' worth of the pooled variance, so that a handful of equal differences is not taken as certain
    variance_S = (square_S.clip(0) + 4 * pooled) / (n_S[asked] + 3) / n_S[asked]
    post_S, low_S, high_S = shrink_means(mean_S, np.maximum(variance_S, 1e-9), level)
    return {int(s): (float(post_S[i]), float(low_S[i]), float(high_S[i]), int(n_S[s])) for i, s in enumerate(asked)}


def _limits(found: Tally, cells: Mapping[str, SkillCell], effects: Effects, config: DiagnosisConfig) -> tuple[str, ...]:
    """What these data cannot support, in words."""
    said = []
    few = [name for name, cell in cells.items() if cell.problems < config.min_problems]
    if few:
        said.append(f"Fewer than {config.min_problems} problems, no statement: {', '.join(few)}.")
    groups: dict[tuple[str, ...], None] = {}
    for name, cell in cells.items():
        if cell.together:
            groups[tuple(sorted((name, *cell.together)))] = None
    said += [f"Always on the same problems, cannot be told apart: {', '.join(group)}." for group in groups]
    everywhere = [name for name, cell in cells.items() if cell.everywhere]
    if everywhere:
        said.append(f"On every problem, not ranked: {', '.join(everywhere)}.")
    for variant, aid in AIDS.items():
        asked = int((found.n_VP[VARIANTS.index(variant)] > 0).sum())
        if not asked:
            said.append(f"Variant {variant} was not asked, so nothing is said about {aid.mode}.")
    if not any(cell.weak for cell in cells.values()):
        said.append("No skill is weaker than the average of the probe set beyond chance.")
    if found.lost:
        said.append(f"{found.lost} answers are UNAVAILABLE (engine or grader failed) and left out.")
    if not len(effects.effect):
        said.append("No skill varies over the problems, so nothing can be ranked.")
    return tuple(said)
