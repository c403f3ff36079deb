"""Does the diagnosis find what a model was never taught? Three skills withheld, the rest taught, then diagnosed.

    python -m r3v.recipes.blind_spots --out checkpoints/runs/blind_spots

Hardware: 2 CPU cores, 2 GB of memory. Time: 8 minutes a seed on one core shared with other jobs.
Expect (seed 0 alone): the three rank 1, 2 and 5 of 38, so the seed does not count. They are right in 1, 3 and 21 % of
their answers, all problems in 56 %. Ranks 3 and 4 are skills that stayed at 18 and 23 % though they were taught.

The base is measured once: a spot is drawn among skills that it gets right in at most `RARELY` of its answers, because
withholding what a model knows plants nothing. For every seed, three such groups of skills are drawn; a LoRA on
geoworld-tiny imitates right rationales of problems that need none of them, first of all families alike, then most of
those that it still gets wrong, and is diagnosed on held-out probes. A seed counts where the three are the three weakest
of the ranking. Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r3v import prompts
from r3v.config import Config, ModelConfig, SampleConfig, SelectConfig, TrainConfig
from r3v.curriculum.mixture import largest_remainder
from r3v.data.geoworld import item_of, source
from r3v.data.source import open_form
from r3v.errors import DataError
from r3v.io import write_json
from r3v.records import Example, Problem

if TYPE_CHECKING:
    from r3v.curriculum.findings import Diagnosis

MODEL = ModelConfig(path="geoworld-tiny", prompt_style="short", lora_r=32, lora_alpha=64)
TRAIN = TrainConfig(loss="nll", lr=2e-3, problems_per_step=8, problems_per_batch=8, max_tokens=512)
SAMPLE = SampleConfig(temperature=0.9, max_new_tokens=96, slots=64)
SPOTS = 3
BASE_SEED = 1000
RARELY = 0.2
"""Largest share of right answers of the base to problems of a skill that can be withheld."""


@dataclass(frozen=True)
class Size:
    """How much one seed takes: problems taught at first and after that, problems asked in between to see what is still
    wrong, probes, answers to each probe. The base is asked half of the probes."""

    taught: int = 1600
    again: int = 1200
    asked: int = 240
    probes: int = 960
    k: int = 3


def candidates(problems: Sequence[Problem]) -> list[tuple[str, ...]]:
    """Skills that can be withheld, as groups that are always together: on 2 to 15 % of the problems, so that the
    diagnosis can see them and most of the problems stay."""
    on: dict[frozenset[int], list[str]] = {}
    for skill in sorted({s for p in problems for s in p.skills}):
        on.setdefault(frozenset(i for i, p in enumerate(problems) if skill in p.skills), []).append(skill)
    return [tuple(group) for places, group in on.items() if 0.02 <= len(places) / len(problems) <= 0.15]


def _alone(groups: Sequence[tuple[str, ...]], problems: Sequence[Problem]) -> list[tuple[str, ...]]:
    """The groups that can be withheld without another skill going with them: with straight lines would go linear pairs
    and vertical angles, which would rank as low and are not among the spots."""
    every = {s for p in problems for s in p.skills}
    taught = {group: {s for p in problems if group[0] not in p.skills for s in p.skills} for group in groups}
    return [group for group in groups if taught[group] | set(group) == every]


def plant(seed: int, n: int, known: Mapping[str, float] | None = None) -> tuple[list[tuple[str, ...]], list[Problem]]:
    """The groups of skills withheld under this seed, and `n` training problems that need none of them, no two spots
    ever in one problem. `known`: share of right answers of the base by skill; a group is drawn only where all of its
    skills are right in at most `RARELY` (None: any group)."""
    drawn = list(source("train", 2 * n, seed=seed))
    groups, rng = _alone(candidates(drawn), drawn), random.Random(f"blind spots|{seed}")
    if known is not None:
        groups = [group for group in groups if all(known.get(skill, 1.0) <= RARELY for skill in group)]
    spots: list[tuple[str, ...]] = []
    for group in rng.sample(groups, len(groups)):
        if all(not (group[0] in p.skills and other[0] in p.skills) for other in spots for p in drawn):
            spots.append(group)
        if len(spots) == SPOTS:
            break
    if len(spots) < SPOTS:
        raise DataError(
            f"found {len(spots)} skills apart from each other that the base gets right in at most {100 * RARELY:.0f} % "
            f"of its answers, expected {SPOTS}",
            fix="Ask the base more probes (--probes)",
        )
    hidden = {skill for group in spots for skill in group}
    return spots, [p for p in drawn if not hidden & set(p.skills)][:n]


def again(problems: Sequence[Problem], right: Mapping[str, float], n: int) -> list[Problem]:
    """`n` of the problems, each family in proportion to its share of wrong answers, first come first. A family takes
    no more than there are."""
    wanted = largest_remainder({family: 1 - share for family, share in right.items()}, n)
    found = []
    for problem in problems:
        family = problem.meta["family"]
        if wanted.get(family, 0) > 0:
            wanted[family] -= 1
            found.append(problem)
    return found


def lessons(problems: Sequence[Problem]) -> list[Example]:
    """The right rationale of every problem, asked without choices."""
    words = prompts.style("short")
    made = []
    for problem in problems:
        prompt = prompts.solve(open_form(problem), words)
        made.append(Example("answer", problem.id, prompt, item_of(problem).rationale))
    return made


def known_of(out: Path, size: Size, dry_run: bool = False) -> dict[str, float]:
    """Share of right answers of the base to problems of each skill; measured once, on probes that no seed has."""
    found = diagnosed(MODEL, out / "base", replace(size, probes=size.probes // 2), BASE_SEED, dry_run)
    return {name: cell.raw for name, cell in found.skills.items()}


def diagnosed(model: ModelConfig, out: Path, size: Size, seed: int, dry_run: bool) -> Diagnosis:
    """The diagnosis of a model on probes of this seed, asked without choices."""
    from r3v.curriculum.diagnose_commands import measure
    from r3v.curriculum.probes import probe_set
    from r3v.policies.hf import HFPolicy

    policy = HFPolicy.from_config(model, slots=SAMPLE.slots, dry_run=dry_run)
    probes = [open_form(p) for p in probe_set("geoworld:gate", size.probes, 0, seed)]
    config = Config(model=model, sample=SAMPLE)
    return measure(policy, probes, out, config, variants=(), k=size.k, seed=seed, data="geoworld:gate")


def right_of(model: ModelConfig, problems: Sequence[Problem], out: Path, seed: int, dry_run: bool) -> dict[str, float]:
    """Share of right greedy answers by family, one half of an answer right and one wrong added to each."""
    from r3v.evaluation import accuracy_by_problem, evaluate, read_rows
    from r3v.policies.hf import HFPolicy

    policy = HFPolicy.from_config(model, slots=SAMPLE.slots, dry_run=dry_run)
    words, select = prompts.style("short"), SelectConfig(selectors=("greedy",), max_new_tokens=SAMPLE.max_new_tokens)
    evaluate(policy, [open_form(p) for p in problems], ("greedy",), select, words, seed, out=out)
    right = accuracy_by_problem(read_rows(out), "greedy")
    by_family: dict[str, list[bool]] = {}
    for problem in problems:
        by_family.setdefault(problem.meta["family"], []).append(right[problem.id])
    return {family: (sum(found) + 0.5) / (len(found) + 1) for family, found in by_family.items()}


def run_seed(seed: int, out: Path, size: Size, known: Mapping[str, float], dry_run: bool = False) -> dict[str, Any]:
    """Teach, see what is still wrong, teach that, diagnose, and say where the withheld skills came out."""
    from r3v.policies.loading import load
    from r3v.training.fit import fit

    spots, every = plant(seed, size.taught + size.asked + 3 * size.again, known)
    taught, asked, rest = every[: size.taught], every[size.taught :][: size.asked], every[size.taught + size.asked :]
    base = load(MODEL, dry_run=dry_run)
    first = fit(base, lessons(taught), train=TRAIN, model=MODEL, out=out / "first", seed=seed)
    right = right_of(replace(MODEL, adapter=str(first.adapter)), asked, out / "asked.parquet", seed, dry_run)
    second = fit(
        base, lessons(again(rest, right, size.again)), train=TRAIN, model=MODEL, out=out / "again", seed=seed,
        adapter=first.adapter,
    )  # fmt: skip
    found = diagnosed(replace(MODEL, adapter=str(second.adapter)), out / "diagnosis", size, seed, dry_run)
    rank = [found.skills[group[0]].rank if group[0] in found.skills else None for group in spots]
    hidden = {skill for group in spots for skill in group}
    row = {
        "seed": seed,
        "spots": [" = ".join(group) for group in spots],
        "known": [known[group[0]] for group in spots],
        "ranks": rank,
        "top": sorted(r or 10**6 for r in rank) == list(range(1, SPOTS + 1)),
        "weak": all(group[0] in found.weak for group in spots),
        "weak_besides": [name for name in found.weak if name not in hidden],
        "ranked": len({found.skills[name].rank for name in found.ranking}),
        "taught": size.taught + size.again,
        "accuracy": found.accuracy,
        "accuracy_spots": [found.skills[group[0]].raw if group[0] in found.skills else None for group in spots],
    }
    write_json(out / "result.json", row)
    return row


def told(rows: Sequence[dict[str, Any]]) -> str:
    """One line per seed, then how many seeds went well."""
    lines = []
    for row in rows:
        pairs = zip(row["spots"], row["ranks"], row["accuracy_spots"], strict=True)
        spots = ", ".join(f"{s} rank {r} ({100 * (a or 0):.0f} % right)" for s, r, a in pairs)
        besides = ", ".join(row["weak_besides"]) or "none"
        lines.append(f"seed {row['seed']}: {100 * row['accuracy']:.1f} % right; {spots}; weak besides: {besides}")
    top, weak, n = sum(r["top"] for r in rows), sum(r["weak"] for r in rows), len(rows)
    fewest = min((r["ranked"] for r in rows), default=0)
    lines.append(f"all {SPOTS} at the top of at least {fewest} ranked skills: {top} of {n} seeds; called weak: {weak}")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("checkpoints/runs/blind_spots"))
    parser.add_argument("--seeds", default="0,1,2,3,4", help="comma-separated (default 0,1,2,3,4)")
    parser.add_argument("--taught", type=int, default=Size.taught, help="training problems, all families alike")
    parser.add_argument("--again", type=int, default=Size.again, help="further ones, of what is still wrong")
    parser.add_argument("--probes", type=int, default=Size.probes)
    parser.add_argument("--k", type=int, default=Size.k, help="answers per probe")
    parser.add_argument("--dry-run", action="store_true", help="random tiny weights instead of geoworld-tiny")
    args = parser.parse_args(words)
    size, rows = Size(args.taught, args.again, probes=args.probes, k=args.k), []
    known = known_of(args.out, size, args.dry_run)
    for seed in map(int, args.seeds.split(",")):
        rows.append(run_seed(seed, args.out / f"seed_{seed}", size, known, args.dry_run))
        print(json.dumps(rows[-1]), flush=True)
    print(told(rows))


if __name__ == "__main__":
    main()
