"""Does the diagnosis find what a model was never taught? Three skills withheld, the rest taught, then diagnosed.

    python -m r3v.recipes.blind_spots --out checkpoints/runs/blind_spots

Hardware: 2 CPU cores, 2 GB of memory. Time: 8 minutes a seed on one core shared with other jobs.
Expect (seed 0 alone): the three rank 1, 4 and 5 of 38, so the seed does not count. They are right in 5, 17 and 45 % of
their answers, all problems in 59 %: geoworld-tiny had learned two of them in its warm-up. Ranks 2 and 3 are taught
skills of 24 and 25 %.

For every seed, three of GeoWorld's skills are drawn; a LoRA on geoworld-tiny imitates right rationales of problems
that need none of them, and is diagnosed on held-out probes. A seed counts where the three are the three weakest of
the ranking. Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r3v import prompts
from r3v.config import Config, ModelConfig, SampleConfig, TrainConfig
from r3v.data.geoworld import item_of, source
from r3v.data.source import open_form
from r3v.io import write_json
from r3v.records import Example, Problem

MODEL = ModelConfig(path="geoworld-tiny", prompt_style="short", lora_r=32, lora_alpha=64)
TRAIN = TrainConfig(loss="nll", lr=2e-3, problems_per_step=8, problems_per_batch=8, max_tokens=512)
SAMPLE = SampleConfig(temperature=0.9, max_new_tokens=96, slots=64)
SPOTS = 3


@dataclass(frozen=True)
class Size:
    """How much one seed takes: problems taught, probes, answers to each probe."""

    taught: int = 2400
    probes: int = 1440
    k: int = 4


def candidates(problems: Sequence[Problem]) -> list[tuple[str, ...]]:
    """Skills that can be withheld, as groups that are always together: on 2 to 15 % of the problems, so that the
    diagnosis can see them and most of the problems stay."""
    on: dict[frozenset[int], list[str]] = {}
    for skill in sorted({s for p in problems for s in p.skills}):
        on.setdefault(frozenset(i for i, p in enumerate(problems) if skill in p.skills), []).append(skill)
    return [tuple(group) for places, group in on.items() if 0.02 <= len(places) / len(problems) <= 0.15]


def plant(seed: int, n: int) -> tuple[list[tuple[str, ...]], list[Problem]]:
    """The groups of skills withheld under this seed, and `n` training problems that need none of them, no two spots
    ever in one problem."""
    drawn = list(source("train", 2 * n, seed=seed))
    groups, rng = candidates(drawn), random.Random(f"blind spots|{seed}")
    spots: list[tuple[str, ...]] = []
    for group in rng.sample(groups, len(groups)):
        if all(not (group[0] in p.skills and other[0] in p.skills) for other in spots for p in drawn):
            spots.append(group)
        if len(spots) == SPOTS:
            break
    hidden = {skill for group in spots for skill in group}
    return spots, [p for p in drawn if not hidden & set(p.skills)][:n]


def lessons(problems: Sequence[Problem]) -> list[Example]:
    """The right rationale of every problem, asked without choices."""
    words = prompts.style("short")
    made = []
    for problem in problems:
        prompt = prompts.solve(open_form(problem), words)
        made.append(Example("answer", problem.id, prompt, item_of(problem).rationale))
    return made


def run_seed(seed: int, out: Path, size: Size, dry_run: bool = False) -> dict[str, Any]:
    """Teach, diagnose, and say where the withheld skills came out."""
    from r3v.curriculum.diagnose_commands import measure
    from r3v.curriculum.probes import probe_set
    from r3v.policies.hf import HFPolicy
    from r3v.policies.loading import load
    from r3v.training.fit import fit

    spots, taught = plant(seed, size.taught)
    fitted = fit(load(MODEL, dry_run=dry_run), lessons(taught), train=TRAIN, model=MODEL, out=out, seed=seed)
    model = replace(MODEL, adapter=str(fitted.adapter))
    config = Config(model=model, sample=SAMPLE)
    policy = HFPolicy.from_config(model, slots=SAMPLE.slots, dry_run=dry_run)
    probes = [open_form(p) for p in probe_set("geoworld:gate", size.probes, 0, seed)]
    found = measure(policy, probes, out / "diagnosis", config, variants=(), k=size.k, seed=seed, data="geoworld:gate")
    rank = [found.skills[group[0]].rank if group[0] in found.skills else None for group in spots]
    hidden = {skill for group in spots for skill in group}
    row = {
        "seed": seed,
        "spots": [" = ".join(group) for group in spots],
        "ranks": rank,
        "top": sorted(r or 10**6 for r in rank) == list(range(1, SPOTS + 1)),
        "weak": all(group[0] in found.weak for group in spots),
        "weak_besides": [name for name in found.weak if name not in hidden],
        "ranked": len({found.skills[name].rank for name in found.ranking}),
        "taught": len(taught),
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
    parser.add_argument("--taught", type=int, default=Size.taught, help="training problems")
    parser.add_argument("--probes", type=int, default=Size.probes)
    parser.add_argument("--k", type=int, default=Size.k, help="answers per probe")
    parser.add_argument("--dry-run", action="store_true", help="random tiny weights instead of geoworld-tiny")
    args = parser.parse_args(words)
    rows = []
    for seed in map(int, args.seeds.split(",")):
        folder = args.out / f"seed_{seed}"
        rows.append(run_seed(seed, folder, Size(args.taught, args.probes, args.k), args.dry_run))
        print(json.dumps(rows[-1]), flush=True)
    print(told(rows))


if __name__ == "__main__":
    main()
