"""Does the spiral train blind spots away, and does it matter how practice is shared out? A quarter of the skills is
withheld from a model, then the spiral goes on from it with each mixture.

    python -m r3v.recipes.research.spiral_blind_spots --out checkpoints/runs/spiral_blind_spots

Hardware: 2 CPU cores, 3 GB of memory. Time: 23 minutes a seed for three mixtures on one core shared with other jobs.
Expect (seeds 1, 2, 3): learnability minus uniform +0.6 points (-0.8 to +2.0) on all skills, n = 3,000, and -0.3 (-2.3
to +1.8) on the weakest quarter, n = 1,481; minus dpe-paper +2.6 (+1.2 to +4.0) and +2.7 (+0.5 to +4.9). The weakest
quarter of the gate problems rises from 34.7 to 51.5, 57.0 and 52.6 %, n = 435; no iteration loses significantly.

For every seed, groups of GeoWorld's skills are drawn until they are a quarter of all; a LoRA on geoworld-tiny imitates
right rationales of problems that need none of them. `r3v evolve recipes/geoworld_tiny_evolve.yaml` goes on from that
adapter, once with each mixture, at the recipe's budget of samples, with the settings `SPIRAL`. Nothing is asked with
choices, so that a guess is worth nothing. The iteration that a run accepts last is measured greedily on test problems
of the seed's own, and the mixtures are compared problem by problem: on all, and on those that need one of the weakest
quarter of skills, as the diagnosis before the first iteration ranks them. Interrupted, the same command goes on where
it stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.data.geoworld import source
from r3v.io import atomic_dir, write_json
from r3v.recipes.research.blind_spots import MODEL, TRAIN, candidates, lessons
from r3v.records import Problem
from r3v.run.evaluation import accuracy_by_problem, read_rows
from r3v.stats import mcnemar_exact, paired_bootstrap

RECIPE = "geoworld_tiny_evolve.yaml"
MIXTURES = ("learnability", "uniform", "dpe-paper")
SPIRAL = (
    *("--data.open", "true", "--probe.n", "384", "--probe.k", "2"),
    *("--practice.score_k", "0", "--learn.samples", "1024"),
)
"""Where the runs differ from the recipe. Twice the probes with half the answers cost the same and tell more of a skill,
because answers to one problem are alike. Scoring is left out: of four answers to an item of a blind spot none is right
as a rule, and the item would be dropped as too hard, whatever the mixture wants. Half the answers to learn from,
because with more every mixture comes to what this model can learn."""
METRIC = "greedy"


@dataclass(frozen=True)
class Size:
    """How much one seed takes: problems taught, and test problems at the end."""

    taught: int = 1600
    test: int = 1000


# ---- the start -----------------------------------------------------------------------------------


def plant(seed: int, n: int) -> tuple[list[tuple[str, ...]], list[Problem]]:
    """The groups of skills withheld under this seed, drawn until they hold a quarter of all skills, and `n` training
    problems that need none of them."""
    drawn = list(source("train", 4 * n, seed=seed))
    groups, rng = candidates(drawn), random.Random(f"spiral blind spots|{seed}")
    every = {skill for p in drawn for skill in p.skills}
    spots: list[tuple[str, ...]] = []
    for group in rng.sample(groups, len(groups)):
        if 4 * sum(map(len, spots)) >= len(every):
            break
        spots.append(group)
    hidden = {skill for group in spots for skill in group}
    return spots, [p for p in drawn if not hidden & set(p.skills)][:n]


def teach(seed: int, out: Path, size: Size, dry_run: bool = False) -> Path:
    """The adapter of the start."""
    from r3v.policies.model.loading import load
    from r3v.training.fit import fit

    _, taught = plant(seed, size.taught)
    return fit(load(MODEL, dry_run=dry_run), lessons(taught), train=TRAIN, model=MODEL, out=out, seed=seed).adapter


# ---- the spirals ---------------------------------------------------------------------------------


def run_seed(
    seed: int, out: Path, mixtures: Sequence[str], size: Size, flags: Sequence[str] = (), dry_run: bool = False
) -> dict[str, Any]:
    """Teach, run a spiral with each mixture, measure; writes `result.json`."""
    adapter = teach(seed, out / "start", size, dry_run).absolute()
    row: dict[str, Any] = {"seed": seed, "spots": [" = ".join(group) for group in plant(seed, size.taught)[0]]}
    row["runs"] = {}
    for mixture in mixtures:
        folder = out / mixture
        _first_turn(out / mixtures[0], folder)
        value = spiral(seed, mixture, folder, adapter, size, flags, dry_run)
        quarter = value["final"]["weakest_quarter"]["skills"]
        row["weakest_quarter"] = quarter
        row["runs"][mixture] = {
            "accepted": value["accepted_round"],
            "gate": [turn["gate"][METRIC]["accuracy"] for turn in value["rounds"]],
            "samples": value["spent"]["samples"],
            "aimed": [round(sum(turn["mixture"]["weights"][s] for s in quarter), 3) for turn in value["rounds"][1:]],
        }
    write_json(out / "result.json", row)
    return row


def spiral(
    seed: int, mixture: str, folder: Path, adapter: Path, size: Size, flags: Sequence[str] = (), dry_run: bool = False
) -> dict[str, Any]:
    """One run from the adapter; then the accepted iteration on the test problems, in `final.parquet`. Returns
    `run.json`."""
    from r3v.app.commands.evolve import effective
    from r3v.curriculum.spiral.parts import real_parts
    from r3v.curriculum.spiral.spiral import evolve
    from r3v.curriculum.spiral.state import Standing

    named = [
        *("--run.dir", str(folder), "--run.seed", str(seed), "--model.adapter", str(adapter)),
        *("--mixture.kind", mixture, "--data.gate", f"geoworld:gate?seed={seed}"),
        *("--data.eval", f"geoworld:test?seed={seed}"),
    ]
    words = [*named, *SPIRAL, *flags]
    parts = real_parts(dry_run)
    # The accepted iteration alone is measured on all test problems, so the run itself has few.
    value = evolve(effective(RECIPE, [*words, "--data.n_eval", "24"], dry_run), parts, recipe=RECIPE)
    if not (folder / "final.parquet").exists():
        config = effective(RECIPE, [*words, "--data.n_eval", str(size.test)], dry_run)
        end = Standing.from_dict(value["rounds"][value["accepted_round"]]["standing"], folder)
        with parts.solver(config, end) as solver:
            parts.evaluate(solver, parts.held(config).eval, (METRIC,), folder / "final.parquet", config)
    return value


def _first_turn(source: Path, folder: Path) -> None:
    """The turn before any practice is the same for every mixture: it is taken from the first run."""
    if folder == source or folder.exists():
        return
    with atomic_dir(folder) as temporary:
        shutil.copytree(source / "round_00", temporary / "round_00")
        text = (source / "config.yaml").read_text()
        (temporary / "config.yaml").write_text(text.replace(f"kind: {source.name}\n", f"kind: {folder.name}\n"))


# ---- what is told --------------------------------------------------------------------------------


def answers(path: Path, skills: Sequence[str] | None = None) -> dict[str, bool]:
    """Problem -> right or wrong, of the problems that need one of `skills` (None: of all)."""
    rows = read_rows(path)
    wanted = {r["problem_id"] for r in rows if skills is None or set(skills) & set(r["skills"])}
    return {i: right for i, right in accuracy_by_problem(rows, METRIC).items() if i in wanted}


def difference(pairs: Sequence[tuple[Mapping[str, bool], Mapping[str, bool]]]) -> dict[str, Any]:
    """After minus before over the problems of all seeds together, with the 95 % paired bootstrap interval over problems
    and McNemar's p; then every seed alone."""
    both = [[(float(after[i]), float(before[i])) for i in before if i in after] for after, before in pairs]
    a, b = zip(*(pair for seed in both for pair in seed), strict=True)
    mean, low, high = paired_bootstrap(a, b)
    seeds = [sum(x - y for x, y in seed) / len(seed) for seed in both]
    told = {"before": sum(b) / len(b), "after": sum(a) / len(a), "difference": mean, "ci95": [low, high]}
    return {**told, "n": len(a), "p": mcnemar_exact(a, b), "seeds": seeds}


Files = Callable[[Mapping[str, Any]], list[tuple[str, str]]]
"""Row of a seed -> the files after and before, below the folder of the seed."""


def compare(out: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first mixture against each of the others on the test problems; every mixture against the start, and every
    iteration against the one before, on the gate problems. On all problems, and on those of the weakest quarter."""

    def found(files: Files) -> dict[str, Any]:
        value = {}
        for kind in ("all skills", "weakest quarter"):
            pairs = []
            for row in rows:
                folder = out / f"seed_{row['seed']}"
                skills = None if kind == "all skills" else row["weakest_quarter"]
                pairs += [(answers(folder / a, skills), answers(folder / b, skills)) for a, b in files(row)]
            value[kind] = difference(pairs)
        return value

    mixtures = list(rows[0]["runs"])
    first, value = mixtures[0], {}
    for name in mixtures[1:]:
        value[f"{first} minus {name}"] = found(lambda row, n=name: [(f"{first}/final.parquet", f"{n}/final.parquet")])
    for name in mixtures:
        value[f"{name} minus start, gate"] = found(
            lambda row, n=name: [(_gate(n, row["runs"][n]["accepted"]), _gate(n, 0))]
        )
    for turn in range(1, min(len(run["gate"]) for row in rows for run in row["runs"].values())):
        value[f"iteration {turn} minus {turn - 1}, gate, all mixtures"] = found(
            lambda row, t=turn: [(_gate(n, t), _gate(n, t - 1)) for n in mixtures]
        )
    return value


def _gate(mixture: str, turn: int) -> str:
    return f"{mixture}/round_{turn:02d}/gate.parquet"


def told(value: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each comparison."""
    lines = [
        f"seed {row['seed']} {name}: accepted iteration {run['accepted']}, gate "
        f"{', '.join(f'{100 * g:.1f}' for g in run['gate'])} %, {run['samples']:.0f} answers drawn, weight on the "
        f"weakest quarter {', '.join(f'{100 * w:.0f}' for w in run['aimed'])} %"
        for row in rows
        for name, run in row["runs"].items()
    ]
    for name, kinds in value.items():
        for kind, d in kinds.items():
            low, high = d["ci95"]
            lines.append(
                f"{name}, {kind}: {100 * d['before']:.1f} -> {100 * d['after']:.1f} %, {100 * d['difference']:+.1f} "
                f"({100 * low:+.1f} to {100 * high:+.1f}), n {d['n']}; "
                f"by run {', '.join(f'{100 * s:+.1f}' for s in d['seeds'])}"
            )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0], epilog="Further flags go to `r3v evolve`, for every mixture."
    )
    parser.add_argument("--out", type=Path, default=Path("checkpoints/runs/spiral_blind_spots"))
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated (default 1,2,3)")
    parser.add_argument("--mixtures", default=",".join(MIXTURES), help="comma-separated, the one to judge first")
    parser.add_argument("--taught", type=int, default=Size.taught, help="training problems")
    parser.add_argument("--test", type=int, default=Size.test, help="test problems at the end")
    parser.add_argument("--dry-run", action="store_true", help="random tiny weights instead of geoworld-tiny")
    args, flags = parser.parse_known_args(words)
    rows = []
    for seed in map(int, args.seeds.split(",")):
        size = Size(args.taught, args.test)
        folder = args.out / f"seed_{seed}"
        rows.append(run_seed(seed, folder, args.mixtures.split(","), size, flags, args.dry_run))
        print(json.dumps(rows[-1]), flush=True)
    value = compare(args.out, rows)
    write_json(args.out / "result.json", value)
    print(told(value, rows))


if __name__ == "__main__":
    main()
