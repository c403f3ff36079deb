"""Put probes to a model: K graded answers per variant, in shards that survive a kill, read back as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from r3v.curriculum.diagnosis.cells import AIDS, ProbeRecord
from r3v.curriculum.diagnosis.probes import Probe, variants_of
from r3v.policies.base import Policy
from r3v.prompts import Style, question_text, solve
from r3v.records import Problem, Prompt
from r3v.rollout.rollout import bootstrap
from r3v.rollout.shards import read_shard, shard_paths
from r3v.settings.config import SampleConfig


def probes_of(
    problems: Sequence[Problem], variants: Sequence[str] = tuple(AIDS), notes: Mapping[str, str] | None = None
) -> tuple[list[Probe], dict[str, dict[str, int]]]:
    """All variants of all problems, and variant -> reason -> number of problems that do not have it."""
    probes: list[Probe] = []
    missing: dict[str, dict[str, int]] = {}
    for problem in problems:
        asked = variants_of(problem, variants, notes)
        probes += asked.probes
        for name, why in asked.missing.items():
            counts = missing.setdefault(name, {})
            counts[why] = counts.get(why, 0) + 1
    return probes, missing


def ask(
    policy: Policy,
    probes: Sequence[Probe],
    out: str | Path,
    *,
    sample: SampleConfig,
    style: Style,
    seed: int,
    categories: Mapping[str, tuple[str, ...]] | None = None,
    progress: bool = True,
) -> list[ProbeRecord]:
    """Sample and grade `sample.k` answers to every probe into `out`, and return them as records.

    The same call on the same folder goes on where it stopped. `categories`: problem id -> what its answers are
    counted under; default: its skills. Raises RunError where `out` holds answers of another model or other settings.
    """
    notes = {probe.problem.id: probe.notes for probe in probes}

    def prompt(problem: Problem, words: Style) -> Prompt:
        return solve(problem, words, notes[problem.id])

    told = sum(len(given) > 0 for given in notes.values())
    bootstrap(
        policy, [probe.problem for probe in probes], out, sample=sample, style=style, seed=seed,
        prompts=prompt, purpose=f"probe, {told} with notes", progress=progress,
    )  # fmt: skip
    return read_records(probes, out, categories)


def read_records(
    probes: Sequence[Probe], folder: str | Path, categories: Mapping[str, tuple[str, ...]] | None = None
) -> list[ProbeRecord]:
    """The records of answers sampled earlier into `folder`."""
    by_id = {probe.problem.id: probe for probe in probes}
    bases = {probe.base_id: probe.problem for probe in probes if probe.variant == "base"}
    count_under = _counter(bases, categories)
    records = []
    for path in shard_paths(Path(folder)):
        for graded in read_shard(path):
            probe = by_id[graded.candidate.problem_id]
            base = bases[probe.base_id]
            records.append(
                ProbeRecord(
                    problem_id=probe.base_id,
                    variant=probe.variant,
                    categories=count_under(probe.base_id),
                    outcome=graded.verdict.outcome,
                    stop=graded.candidate.stop,
                    index=graded.candidate.index,
                    level=_level(base),
                    question=question_text(probe.problem),
                    gold=probe.problem.gold_text,
                    text=graded.candidate.text,
                )
            )
    return records


def _counter(
    bases: Mapping[str, Problem], categories: Mapping[str, tuple[str, ...]] | None
) -> Callable[[str], tuple[str, ...]]:
    if categories is None:
        return lambda problem_id: bases[problem_id].skills
    return lambda problem_id: categories[problem_id]


def _level(problem: Problem) -> float | None:
    level = problem.meta.get("level")
    return float(level) if isinstance(level, int | float) and not isinstance(level, bool) else None
