"""From the graded candidates of a problem to its training examples: answer, refine, keep, select, prefer.

What comes out for a problem depends on its candidates, the settings and (seed, problem id) alone, so the
order of problems and what else is in the pool change nothing.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r3v import prompts as words
from r3v.errors import ConfigError
from r3v.policies.base import Given, Policy
from r3v.prompts import Style
from r3v.records import Candidate, Example, Graded, Outcome, Problem
from r3v.reflection.filters import FILTERS, keep
from r3v.rollout.choose import distinct, diverse, joined, problem_rng, spread, told_again
from r3v.rollout.pool import Pool
from r3v.settings.config import BuildConfig

DRAWS = 4
"""How often each round is drawn from at most, for select examples of one problem."""
_TOLD = re.compile(r"\bhints?\b|\bgiven answer\b|\banswer (?:is )?given\b", re.IGNORECASE)


@dataclass
class BuildStats:
    """What the builder saw and made; `to_dict` goes into run.json."""

    problems: int = 0
    sampled: int = 0
    solved: int = 0
    rescued: int = 0
    candidates: int = 0
    positives: int = 0
    used_positives: int = 0
    select_none: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        plain = {k: dict(sorted(v.items())) if isinstance(v, Counter) else v for k, v in vars(self).items()}
        return {**plain, "never_solved": self.sampled - self.solved}


@dataclass(frozen=True)
class _Parts:
    """The candidates of one problem as the builder uses them, best first."""

    problem: Problem
    positives: list[Graded]
    negatives: list[Graded]
    answers: list[Graded]
    graded: list[Graded]
    """As sampled, oldest first, without right ones that a filter dropped."""
    rng: random.Random


def check_build(cfg: BuildConfig) -> None:
    """Raises ConfigError for settings that contradict each other."""
    unknown = [name for name in cfg.filters if name not in FILTERS]
    if unknown:
        raise ConfigError(f"found filter {unknown[0]!r} in build.filters, expected one of {', '.join(FILTERS)}")
    if not 2 <= cfg.select_min <= cfg.select_max:
        raise ConfigError(
            f"found build.select_min {cfg.select_min} and build.select_max {cfg.select_max}; "
            "expected 2 <= select_min <= select_max"
        )
    if not 0.0 <= cfg.select_none <= 1.0:
        raise ConfigError(f"found build.select_none {cfg.select_none}, expected a share from 0 to 1")
    if cfg.select_pairs and not cfg.select:
        raise ConfigError("found build.select_pairs with build.select 0: pairs are made of select sets, so raise it")
    if cfg.select_pairs and cfg.select_target != "solution":
        raise ConfigError(
            f"found build.select_pairs with build.select_target {cfg.select_target}: pairs are of solutions told "
            "again, so set build.select_target solution"
        )
    if min(cfg.positives, cfg.refine, cfg.keep, cfg.select, cfg.prefer) < 0:
        raise ConfigError("found a negative number of examples in build; expected 0 or more of each kind")


def _positives(
    graded: Sequence[Graded],
    problem: Problem,
    cfg: BuildConfig,
    style: Style,
    policy: Policy | None,
    stats: BuildStats,
) -> list[Graded]:
    """Correct candidates that pass every filter, oldest first."""
    found = [item for item in graded if item.verdict.correct]
    stats.positives += len(found)
    for name in cfg.filters:
        flags = keep(name, problem, [item.candidate for item in found], style, policy)
        stats.dropped[name] += flags.count(False)
        found = [item for item, flag in zip(found, flags, strict=True) if flag]
    return found


def _rescued(items: Sequence[Graded]) -> list[Graded]:
    """Rescued candidates that do not speak of the hint they were given."""
    return [item for item in items if not _TOLD.search(item.candidate.text)]


def _split(
    problem: Problem,
    graded: Sequence[Graded],
    rescued: Sequence[Graded],
    cfg: BuildConfig,
    style: Style,
    seed: int,
    policy: Policy | None,
    stats: BuildStats,
) -> _Parts:
    if cfg.pool == "newest" and graded:
        newest = max(item.candidate.round for item in graded)
        graded = [item for item in graded if item.candidate.round == newest]
    stats.outcomes.update(item.verdict.outcome.value for item in graded)
    stats.candidates += len(graded)
    stats.sampled += bool(graded)
    stats.solved += any(item.verdict.correct for item in graded)
    rng = problem_rng(seed, problem.id, "build")
    positives = _positives(graded, problem, cfg, style, policy, stats)
    negatives = [
        item
        for item in graded
        if item.verdict.wrong or (cfg.unparsed_negatives and item.verdict.outcome is Outcome.UNPARSED)
    ]
    if not any(item.verdict.correct for item in graded):
        positives = _positives(_rescued(rescued), problem, cfg, style, policy, stats)
        stats.rescued += bool(positives)
    kept = {item.candidate.id for item in positives}
    usable = [item for item in graded if not item.verdict.correct or item.candidate.id in kept]
    positives, negatives = positives[::-1], negatives[::-1]
    if cfg.order == "diverse":
        unlike = distinct(positives)
        stats.dropped["duplicates"] += len(positives) - len(unlike)
        answers = diverse(unlike, cfg.positives)
        positives = answers + [item for item in unlike if item not in answers]
        negatives = spread(distinct(negatives), rng)
    else:
        answers = positives[: cfg.positives]
    stats.used_positives += len(answers)
    return _Parts(problem, positives, negatives, answers, usable, rng)


def _example(
    parts: _Parts, kind: Any, prompt: Any, target: str | Candidate, weight: float, *used: Graded, **more: Any
) -> Example:
    """A candidate as the target is taught as it was sampled: its ids, its end only if it had one."""
    sources = tuple(item.candidate.id for item in used)
    if isinstance(target, Candidate):
        more["ended"] = target.stop != "length"
        if target.tokenizer:
            more |= {"token_ids": target.token_ids, "tokenizer": target.tokenizer}
        target = target.text
    return Example(kind, parts.problem.id, prompt, target.strip(), weight, sources, **more)


def _answer(parts: _Parts, cfg: BuildConfig, style: Style) -> Iterable[Example]:
    prompt = words.solve(parts.problem, style)
    for item in parts.answers:
        yield _example(parts, "answer", prompt, item.candidate, cfg.weight_answer, item)


def _refine(parts: _Parts, cfg: BuildConfig, style: Style) -> Iterable[Example]:
    """Wrong -> right, each pair with another wrong solution and the right ones in turn."""
    if not parts.positives:
        return
    rights = parts.answers or parts.positives[:1]
    for i, wrong in enumerate(parts.negatives[: cfg.refine]):
        right = rights[i % len(rights)] if cfg.order == "diverse" else parts.positives[0]
        prompt = words.refine(parts.problem, style, wrong.candidate.text)
        yield _example(parts, "refine", prompt, right.candidate, cfg.weight_refine, wrong, right)


def _keep(parts: _Parts, cfg: BuildConfig, style: Style) -> Iterable[Example]:
    """Right -> the same, so that the refine prompt leaves a right answer alone."""
    for item in parts.positives[: cfg.keep]:
        prompt = words.refine(parts.problem, style, item.candidate.text)
        yield _example(parts, "keep", prompt, item.candidate, cfg.weight_keep, item)


def _select_example(parts: _Parts, shown: list[Graded], cfg: BuildConfig, style: Style, letters: bool) -> Example:
    """Show candidates in a random order; the target names the first right one, or none."""
    parts.rng.shuffle(shown)
    right = next((i for i, item in enumerate(shown) if item.verdict.correct), None)
    answer = words.answer_text(parts.problem, letters)
    texts = [item.candidate.text for item in shown]
    target: Given = words.select_target(style, right, answer, cfg.select_target, "" if right is None else texts[right])
    if right is not None and cfg.select_target == "solution":
        target = told_again(style, shown[right].candidate)
    prompt = words.select(parts.problem, style, texts, cfg.select_target)
    return _example(parts, "select", prompt, target, cfg.weight_select, *shown)


def _select_pairs(parts: _Parts, shown: list[Graded], number: int, cfg: BuildConfig, style: Style) -> Iterable[Example]:
    """Show candidates in a random order; of the solutions told again the first right one is preferred to each wrong
    one. Nothing where one of both is missing."""
    parts.rng.shuffle(shown)
    right = next((item for item in shown if item.verdict.correct), None)
    if right is None:
        return
    prompt = words.select(parts.problem, style, [item.candidate.text for item in shown], "solution")
    for wrong in (item for item in shown if not item.verdict.correct):
        pair = _pair_number(parts.problem.id, "select", number, wrong.candidate.id)
        for item, rejected in ((right, False), (wrong, True)):
            target, weight = told_again(style, item.candidate), cfg.weight_select
            yield _example(parts, "prefer", prompt, target, weight, item, pair=pair, rejected=rejected)


def _pair_number(*parts: object) -> int:
    """A number for a preference pair that no other pair has."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big")


def _select_published(parts: _Parts, cfg: BuildConfig) -> list[list[Graded]]:
    """2 newest right + newest wrong, and newest right + 2 newest wrong, where there are enough of each."""
    p, n = parts.positives, parts.negatives
    if not p or not n:
        return []
    items = ([[*p[:2], n[0]]] if len(p) >= 2 else []) + ([[p[0], *n[:2]]] if len(n) >= 2 else [])
    return items[: cfg.select]


def _select_random(parts: _Parts, cfg: BuildConfig, stats: BuildStats) -> list[list[Graded]]:
    """Sets of `select_min` to `select_max` candidates with different answers: one right and wrong ones, or,
    with probability `select_none`, wrong ones alone. A never-solved problem gives at most one set, with that
    probability.
    """
    answers: dict[str | None, list[Graded]] = {}
    for item in parts.negatives:
        answers.setdefault(item.verdict.extracted, []).append(item)
    sets: list[list[Graded]] = []
    for _ in range(cfg.select if parts.positives else min(1, cfg.select)):
        none = parts.rng.random() < cfg.select_none and len(answers) >= cfg.select_min
        if not none and (not parts.positives or len(answers) + 1 < cfg.select_min):
            continue
        most = min(cfg.select_max, len(answers) + (not none))
        size = parts.rng.randint(cfg.select_min, most)
        wrong = [parts.rng.choice(answers[a]) for a in parts.rng.sample(list(answers), size - (not none))]
        shown = wrong if none else [parts.rng.choice(parts.positives), *wrong]
        if not any({i.candidate.id for i in shown} == {i.candidate.id for i in other} for other in sets):
            sets.append(shown)
            stats.select_none += none
    return sets


def _select_drawn(parts: _Parts, cfg: BuildConfig, stats: BuildStats) -> list[list[Graded]]:
    """Sets as test time meets them: `select_min` to `select_max` candidates of one round drawn at random and joined
    by answer, so that how often each answer is the right one is as it will be. Newest round first, then round by
    round again until there are `select` sets; of those without a right answer a share `select_none` is used.
    """
    rounds: dict[int, list[Graded]] = {}
    for item in parts.graded:
        rounds.setdefault(item.candidate.round, []).append(item)
    sets: dict[frozenset[str], list[Graded]] = {}
    for number in sorted(rounds, reverse=True) * DRAWS:
        if len(sets) >= cfg.select:
            break
        size = min(len(rounds[number]), parts.rng.randint(cfg.select_min, cfg.select_max))
        shown = joined(parts.problem, parts.rng.sample(rounds[number], size))
        none = not any(item.verdict.correct for item in shown)
        key = frozenset(item.candidate.id for item in shown)
        if len(shown) > 1 and key not in sets and not (none and parts.rng.random() >= cfg.select_none):
            sets[key] = shown
            stats.select_none += none
    return list(sets.values())


def _select(parts: _Parts, cfg: BuildConfig, style: Style, letters: bool, stats: BuildStats) -> Iterable[Example]:
    if cfg.select_mix == "published":
        sets = _select_published(parts, cfg)
    elif cfg.select_mix == "drawn":
        sets = _select_drawn(parts, cfg, stats)
    else:
        sets = _select_random(parts, cfg, stats)
    for number, shown in enumerate(sets):
        if cfg.select_pairs:
            yield from _select_pairs(parts, shown, number, cfg, style)
        else:
            yield _select_example(parts, shown, cfg, style, letters)


def _prefer(parts: _Parts, cfg: BuildConfig, style: Style) -> Iterable[Example]:
    """Pairs under the plain prompt: a right rationale preferred to a wrong one."""
    prompt = words.solve(parts.problem, style)
    if not parts.positives:
        return
    for i, wrong in enumerate(parts.negatives[: cfg.prefer]):
        right = parts.positives[i % len(parts.positives)]
        pair = _pair_number(parts.problem.id, i)
        yield _example(parts, "prefer", prompt, right.candidate, 1.0, right, pair=pair)
        yield _example(parts, "prefer", prompt, wrong.candidate, 1.0, wrong, pair=pair, rejected=True)


def problem_examples(
    problem: Problem,
    graded: Sequence[Graded],
    cfg: BuildConfig,
    style: Style,
    seed: int,
    *,
    letters: bool = False,
    rescued: Sequence[Graded] = (),
    policy: Policy | None = None,
    stats: BuildStats | None = None,
) -> list[Example]:
    """The examples of one problem; `graded` oldest first. Counts are added to `stats`."""
    stats = BuildStats() if stats is None else stats
    stats.problems += 1
    parts = _split(problem, graded, rescued, cfg, style, seed, policy, stats)
    made = [
        *_answer(parts, cfg, style),
        *_refine(parts, cfg, style),
        *_keep(parts, cfg, style),
        *_select(parts, cfg, style, letters, stats),
        *_prefer(parts, cfg, style),
    ]
    if cfg.qa > 0:
        line = words.answer_line(style, words.answer_text(problem, letters))
        made.append(_example(parts, "answer", words.direct(problem, style), line, cfg.qa))
    stats.kinds.update(example.kind for example in made)
    return made


def build_examples(
    pool: Mapping[str, Sequence[Graded]],
    problems: Iterable[Problem],
    cfg: BuildConfig,
    style: Style,
    seed: int,
    letters: bool = False,
    *,
    rescued: Mapping[str, Sequence[Graded]] | None = None,
    policy: Policy | None = None,
) -> tuple[list[Example], BuildStats]:
    """Training examples of all problems, problem by problem.

    `pool`: problem id -> graded candidates, oldest first (a `Pool`). `rescued`: what `rollout.rescue`
    returned, needed with `hint` or `prefix`. `policy`: for filters that score. Raises ConfigError for
    settings that contradict.
    """
    check_build(cfg)
    if (cfg.hint or cfg.prefix) != (rescued is not None):
        raise ConfigError(
            f"found build.hint {cfg.hint} and build.prefix {cfg.prefix} with "
            f"{'a' if rescued is not None else 'no'} pool "
            "of rescued problems; run rollout.rescue and pass what it returns"
        )
    if cfg.pool == "newest" and isinstance(pool, Pool):
        pool = pool.newest()
    stats, examples = BuildStats(), []
    for problem in problems:
        graded = pool.get(problem.id, [])
        extra = rescued[problem.id] if rescued is not None and problem.id in rescued else []
        examples += problem_examples(
            problem, graded, cfg, style, seed, letters=letters, rescued=extra, policy=policy, stats=stats
        )
    return examples, stats
