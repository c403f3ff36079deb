"""Bootstrapping: K graded rationales per problem, written as Parquet shards that survive a kill at any
moment.

Shard i holds problems i*shard_size to (i+1)*shard_size - 1 in the order given, and a candidate depends on
(seed, problem id, index) alone, so a killed run that is started again ends with the same candidates. A policy on many
machines (`Spread`) is handed whole shards, which its workers sample, grade and write; the driver sees their counts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r3v import prompts as words
from r3v.data.source import Problems
from r3v.errors import ConfigError, RunError
from r3v.io import make_folder, write_json
from r3v.policies.base import Policy, SamplingParams
from r3v.prompts import Notes, Style
from r3v.records import Graded, Outcome, Problem, Prompt
from r3v.rollout.lengths import tell_cut
from r3v.rollout.parts import SETTINGS, Job, MakePrompt, Part, Shards, done, made
from r3v.rollout.pool import Pool
from r3v.rollout.shards import SHARD, regrade_folders, shard_paths, shard_settings
from r3v.rollout.tally import RolloutStats, Tally
from r3v.run.progress import task
from r3v.settings.config import BuildConfig, SampleConfig, kept_settings

HINT_INDEX, PREFIX_INDEX = 10_000, 20_000
"""First sample index of hinted and prefix candidates, so that their ids and their noise are their own."""


def _settings(
    policy: Policy,
    count: int,
    digest: str,
    sample: SampleConfig,
    style: Style,
    purpose: str,
    seed: int,
    round: int,
    first_index: int,
) -> dict[str, Any]:
    """Everything a candidate depends on. How many sequences are decoded at once (`slots`) is not among it."""
    return {
        "policy": policy.name,
        "problems": count,
        "problems_sha256": digest,
        "sample": kept_settings(sample, "slots"),
        "style": style.name,
        "purpose": purpose,
        "seed": seed,
        "round": round,
        "first_index": first_index,
    }


def _ids(problems: Sequence[Problem]) -> tuple[list[str], str]:
    """Ids in order and 16 hexadecimal digits over ids, questions and answers. Raises RunError for a repeated
    id.
    """
    digest, seen = hashlib.sha256(), dict[str, None]()
    for problem in problems:
        if problem.id in seen:
            raise RunError(
                f"problem id {problem.id!r} occurs twice; ids must be unique, check the data with `r3v data check`"
            )
        seen[problem.id] = None
        digest.update(f"{problem.id}\n{words.question_text(problem)}\n{problem.answer}\n".encode())
    return list(seen), digest.hexdigest()[:16]


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    found = shard_settings(path) or {}
    different = [name for name in settings if found.get(name) != settings[name]]
    if different:
        listed = "; ".join(f"{n} found {found.get(n)!r}, now {settings[n]!r}" for n in different)
        raise RunError(
            f"{path}: this shard was sampled with other settings ({listed}). Run with the old settings, "
            "or use another folder"
        )


def sampling_params(sample: SampleConfig) -> SamplingParams:
    """The part of a SampleConfig that a Policy takes."""
    return SamplingParams(sample.temperature, sample.top_p, sample.top_k, sample.max_new_tokens, sample.noise)


def _sweep(out: Path) -> None:
    """Remove the files of shards that were never finished."""
    for half in out.glob(f".{SHARD.split('{')[0]}*.tmp"):
        half.unlink(missing_ok=True)


def bootstrap(
    policy: Policy,
    problems: Sequence[Problem],
    out: str | Path,
    *,
    sample: SampleConfig,
    style: Style,
    seed: int,
    round: int = 0,
    prompts: MakePrompt = words.solve,
    purpose: str = "solve",
    first_index: int = 0,
    notes: Notes | None = None,
    progress: bool = True,
    attempts: int = 2,
    pause: float = 1.0,
) -> RolloutStats:
    """Sample `sample.k` candidates for each problem, grade them, and write them as shards in `out`.

    One process at a time works on a folder. Finished shards are kept, half-written files are removed; shards
    with UNAVAILABLE candidates are sampled again, so running the command once more fills the gaps an engine
    left. Shards that another grader judged are judged anew from their texts. `purpose` names `prompts` in the settings
    stored in every shard. `notes` are shown to the solver; they go with
    the plain solve prompt only.

    Raises RunError for shards of other settings, damaged shards, and repeated problem ids; ConfigError for
    sizes below 1, and for notes with other prompts.
    """
    if notes is not None and prompts is not words.solve:
        raise ConfigError(f"found notes for the {purpose!r} prompts, expected the plain solve prompt")
    if min(sample.k, sample.shard_size, attempts) < 1:
        raise ConfigError(
            f"found sample.k {sample.k}, sample.shard_size {sample.shard_size}, attempts {attempts}; "
            "expected at least 1 of each"
        )
    ids, digest = _ids(problems)
    out = make_folder(out).absolute()
    settings = _settings(policy, len(ids), digest, sample, style, purpose, seed, round, first_index)
    settings["notes"] = None if notes is None else notes.name
    wanted = {SHARD.format(index=i) for i in range(-(-len(ids) // sample.shard_size))}
    for path in shard_paths(out):
        _check_settings(path, settings)
        if path.name not in wanted:
            raise RunError(f"{path}: found a shard beyond the {len(wanted)} expected ones; use another folder")
    _sweep(out)
    regrade_folders([out], problems)
    write_json(out / SETTINGS, settings)
    job = Job(sampling_params(sample), sample.k, seed, round, first_index, attempts, pause)
    lazy = problems if isinstance(problems, Problems) else None
    shards = Shards(job, out, settings, lazy, prompts, style)
    tally, start, resumed = Tally(), time.monotonic(), 0
    with task(f"sample round {round}", len(ids) * sample.k, "answer", shown=progress) as told:

        def count(found: Tally) -> None:
            tally.merge(found)
            answers = sum(tally.count.values())
            told.reach(answers, tally.new_tokens, right=tally.share(Outcome.CORRECT))

        def missing() -> Iterator[Part]:
            nonlocal resumed
            for number in range(len(wanted)):
                rows = range(number * sample.shard_size, len(ids))[: sample.shard_size]
                if (found := done(out / SHARD.format(index=number))) is not None:
                    resumed += 1
                    told.skip(sum(found.count.values()))
                    count(found)
                    continue
                chunk = None if lazy is not None and notes is None else [problems[i] for i in rows]
                asked = None if notes is None or chunk is None else words.solve_all(chunk, style, notes)
                yield Part(number, rows, chunk, asked)

        for _, found in made(policy, shards, missing()):
            count(found)
    _sweep(out)  # workers that were killed
    stats = tally.stats(len(ids), time.monotonic() - start, resumed)
    tell_cut(stats.truncated, stats.candidates - stats.unavailable, "sample.max_new_tokens", sample.max_new_tokens)
    return stats


def never_solved(problems: Sequence[Problem], pool: Mapping[str, Sequence[Graded]]) -> list[Problem]:
    """Problems with candidates of which none is correct."""
    return [p for p in problems if p.id in pool and not any(item.verdict.correct for item in pool[p.id])]


def first_part(text: str, share: float = 0.5) -> str:
    """The first sentences of a rationale: at most `share` of them, at least one, never the answer line.

    Sentences end at a line break or at a full stop followed by a space; text of one sentence is cut at a
    word.
    """
    body = text.rsplit("Answer:", 1)[0].strip()
    pieces = [piece for line in body.splitlines() for piece in line.replace(". ", ".\n").splitlines() if piece]
    if len(pieces) < 2:
        tokens = body.split()
        return " ".join(tokens[: max(1, int(len(tokens) * share))])
    return "\n".join(pieces[: max(1, int(len(pieces) * share))])


def prefix_prompts(pool: Mapping[str, Sequence[Graded]], share: float = 0.5) -> MakePrompt:
    """Prompts that show the first part of the newest wrong rationale through the refine prompt.

    A Policy takes no half-written answer, so the model is asked to go on from (and correct) the part shown;
    what it writes is trained under the plain prompt.
    """

    def prompt(problem: Problem, style: Style) -> Prompt:
        wrong = [item.candidate.text for item in pool[problem.id] if item.verdict.wrong]
        return words.refine(problem, style, first_part(words.shown(style, wrong[-1]), share))

    return prompt


def rescue(
    policy: Policy,
    problems: Sequence[Problem],
    pool: Mapping[str, Sequence[Graded]],
    out: str | Path,
    *,
    build: BuildConfig,
    sample: SampleConfig,
    style: Style,
    seed: int,
    round: int = 0,
    progress: bool = True,
) -> Pool | None:
    """Sample never-solved problems again, with the answer as a hint (`build.hint`, STaR's rationalisation,
    arXiv 2203.14465) and from the first part of a wrong rationale (`build.prefix`), into `out/hint` and
    `out/prefix`.

    The pool returned goes to `build_examples(..., rescued=...)`, which trains its positives under the plain
    prompt; None if neither is switched on.
    """
    folders, lost = [], never_solved(problems, pool)
    if build.hint:
        folders.append(Path(out) / "hint")
        bootstrap(
            policy, lost, folders[-1], sample=sample, style=style, seed=seed, round=round, progress=progress,
            prompts=words.solve_with_hint, purpose="hint", first_index=HINT_INDEX,
        )  # fmt: skip
    if build.prefix:
        begun = [p for p in lost if any(item.verdict.wrong for item in pool[p.id])]
        folders.append(Path(out) / "prefix")
        bootstrap(
            policy, begun, folders[-1], sample=sample, style=style, seed=seed, round=round, progress=progress,
            prompts=prefix_prompts(pool), purpose="prefix", first_index=PREFIX_INDEX,
        )  # fmt: skip
    return Pool(folders) if folders else None
