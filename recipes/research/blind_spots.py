"""Does the diagnosis find what a model was never taught? Three skills withheld, the rest taught, then diagnosed.

    python -m r3v.recipes.research.blind_spots --out checkpoints/runs/blind_spots

Hardware: 2 CPU cores, 2 GB of memory. Time: 3 minutes of one core a seed, and 15 before the first one.
Expect (seeds 0 to 4): ranks 2, 3, 1; 1, 2, 3; 2, 1, 3; 1, 3, 2; 2, 3, 1 of 31, five seeds of five; the spots are right
in 3 to 27 % of the answers. In no seed are all three called weak: in a world of 23 kinds of problem most skills share
their problems with one other, so effects are not known well enough for that.

A blind spot is planted only where what is taught gets learned, and what is withheld was not known and does not come
by itself. So three things are measured once, on problems that no seed has. The world: nothing is withheld, a LoRA on
geoworld-tiny imitates right rationales of all kinds of problems (a kind is a family with one rule or with two), and a
kind stays in the world where at least `LEARNED` of this model's answers to it are right. The base: a spot is drawn
among theorems that it gets right in at most `RARELY` of its answers (reading and calculating carry over from other
problems, most theorems do not). The pilots: models are taught the world without up to three of these theorems each;
one that is right in more than `RARELY` of the answers to problems of a theorem it was not taught strikes that theorem
out.

For every seed, three are drawn; the LoRA learns problems of the world that need none of them, first of all families
alike, then most of those that it still gets wrong, and is diagnosed on held-out probes of the world. A seed counts
where the three are the three weakest of the ranking. Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r3v import prompts
from r3v.curriculum.spiral.mixture import largest_remainder
from r3v.data.geoworld import item_of, source
from r3v.data.source import open_form
from r3v.errors import DataError
from r3v.io import write_json
from r3v.records import Example, Outcome, Problem
from r3v.settings.config import Config, ModelConfig, SampleConfig, SelectConfig, TrainConfig

if TYPE_CHECKING:
    from r3v.curriculum.diagnosis.findings import Diagnosis

MODEL = ModelConfig(path="geoworld-tiny", prompt_style="short", lora_r=32, lora_alpha=64)
TRAIN = TrainConfig(loss="nll", lr=2e-3, problems_per_step=8, problems_per_batch=8, max_tokens=512)
SAMPLE = SampleConfig(temperature=0.9, max_new_tokens=96, slots=64)
SPOTS = 3
BASE_SEED = 1000
LEARNED = 0.7
"""Smallest share of right answers to a kind of problem, once all kinds were taught, with which it is in the world."""
RARELY = LEARNED / 2
"""Largest share of right answers to problems of a skill that can be withheld: of the base, and of a model that was
taught the rest."""
ONE_RULE = 3
"""GeoWorld's last level whose problems need one rule."""
MOST = 40_000
"""Training problems of a seed that are looked through."""

Kind = tuple[str, str]
"""Family, and "one rule" or "two rules"."""
World = frozenset[Kind]


@dataclass(frozen=True)
class Size:
    """How much one seed takes: problems taught at first and after that, problems asked in between to see what is still
    wrong, probes, answers to each probe. The base is asked half of the probes; the kinds of problem are judged on as
    many problems as there are probes, one answer each."""

    taught: int = 900
    again: int = 500
    asked: int = 240
    probes: int = 720
    k: int = 2


EVERY_KIND = Size(taught=1600, again=1200, probes=960)
"""Size of the measurement of the world: there are twice as many kinds of problem as in it."""


def kind_of(problem: Problem) -> Kind:
    return problem.meta["family"], "two rules" if problem.meta["level"] > ONE_RULE else "one rule"


def training(seed: int, n: int, world: World | None = None) -> list[Problem]:
    """The first `n` training problems of this seed that are of the world (None: of any kind)."""
    every = source("train", MOST, seed=seed)
    return list(islice((p for p in every if world is None or kind_of(p) in world), n))


def candidates(problems: Sequence[Problem]) -> list[tuple[str, ...]]:
    """Skills that can be withheld, as groups that are always together: on 2 to 15 % of the problems, so that the
    diagnosis can see them and most of the problems stay."""
    on: dict[frozenset[int], list[str]] = {}
    for skill in sorted({s for p in problems for s in p.skills}):
        on.setdefault(frozenset(i for i, p in enumerate(problems) if skill in p.skills), []).append(skill)
    return [tuple(group) for places, group in on.items() if 0.02 <= len(places) / len(problems) <= 0.15]


def _alone(groups: Sequence[tuple[str, ...]], problems: Sequence[Problem]) -> bool:
    """Whether these groups can be withheld without another skill going with them: with linear pairs and vertical angles
    would go straight lines, which would rank as low and are not among the spots."""
    hidden = {skill for group in groups for skill in group}
    taught = {s for p in problems if not hidden & set(p.skills) for s in p.skills}
    return taught | hidden == {s for p in problems for s in p.skills}


def spots_of(
    problems: Sequence[Problem], known: Mapping[str, float] | None = None, untaught: Mapping[str, float] | None = None
) -> list[tuple[str, ...]]:
    """The groups of skills that can be a spot: with a theorem among them, no other skill going with them, right in at
    most `RARELY` of the answers of the base (`known`, None: any) and in at most `BLIND` of those of a model that was
    taught the rest of the world (`untaught`, None: any)."""
    groups = [group for group in candidates(problems) if any(s.startswith("theorem:") for s in group)]
    groups = [group for group in groups if _alone([group], problems)]
    for shares in (known, untaught):
        if shares is not None:
            groups = [group for group in groups if all(shares.get(skill, 1.0) <= RARELY for skill in group)]
    return groups


def _joins(group: tuple[str, ...], spots: Sequence[tuple[str, ...]], problems: Sequence[Problem]) -> bool:
    """Whether a group can be withheld beside these: no two ever in one problem, and no other skill goes with them."""
    apart = all(not (group[0] in p.skills and other[0] in p.skills) for other in spots for p in problems)
    return apart and _alone([*spots, group], problems)


def without(spots: Sequence[tuple[str, ...]], problems: Sequence[Problem], n: int) -> list[Problem]:
    """The first `n` of the problems that need none of the spots."""
    hidden = {skill for group in spots for skill in group}
    return [p for p in problems if not hidden & set(p.skills)][:n]


def plant(
    seed: int,
    n: int,
    known: Mapping[str, float] | None = None,
    world: World | None = None,
    untaught: Mapping[str, float] | None = None,
) -> tuple[list[tuple[str, ...]], list[Problem]]:
    """The groups of skills withheld under this seed, drawn among `spots_of`, and `n` training problems of the world
    that need none of them."""
    drawn = training(seed, 2 * n, world)
    groups, rng = spots_of(drawn, known, untaught), random.Random(f"blind spots|{seed}")
    spots: list[tuple[str, ...]] = []
    for group in rng.sample(groups, len(groups)):
        if len(spots) < SPOTS and _joins(group, spots, drawn):
            spots.append(group)
    if len(spots) < SPOTS:
        raise DataError(
            f"found {len(spots)} skills apart from each other that the base and a model taught the rest get right in "
            f"at most {100 * RARELY:.0f} % of their answers, expected {SPOTS}",
            fix="Ask more probes (--probes)",
        )
    return spots, without(spots, drawn, n)


def pilots_of(groups: Sequence[tuple[str, ...]], problems: Sequence[Problem]) -> list[list[tuple[str, ...]]]:
    """The groups in sets of at most `SPOTS` that can be withheld together; a group goes to the first set it joins."""
    sets: list[list[tuple[str, ...]]] = []
    for group in groups:
        free = (some for some in sets if len(some) < SPOTS and _joins(group, some, problems))
        found = next(free, None)
        if found is None:
            sets.append([group])
        else:
            found.append(group)
    return sets


def untaught_of(
    out: Path, size: Size, world: World, known: Mapping[str, float], dry_run: bool = False
) -> dict[str, float]:
    """Share of right answers to problems of each skill that could be a spot, by models that were taught the world
    without it; measured once, on seeds of their own. Interrupted, it goes on where it stopped."""
    drawn = training(BASE_SEED, 2 * needed(size), world)
    shares: dict[str, float] = {}
    for number, spots in enumerate(pilots_of(spots_of(drawn, known), drawn)):
        seed, folder = BASE_SEED + 1 + number, out / f"untaught_{number}"
        every = without(spots, training(seed, 2 * needed(size), world), needed(size))
        model = taught(seed, every, folder, size, dry_run)
        found = diagnosed(model, folder / "diagnosis", size, world, seed, dry_run)
        shares |= {skill: found.skills[skill].raw for group in spots for skill in group if skill in found.skills}
    write_json(out / "untaught.json", shares)
    return shares


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


def known_of(out: Path, size: Size, world: World, dry_run: bool = False) -> dict[str, float]:
    """Share of right answers of the base to problems of each skill; measured once, on probes that no seed has."""
    found = diagnosed(MODEL, out / "base", replace(size, probes=size.probes // 2), world, BASE_SEED, dry_run)
    return {name: cell.raw for name, cell in found.skills.items()}


def diagnosed(model: ModelConfig, out: Path, size: Size, world: World, seed: int, dry_run: bool) -> Diagnosis:
    """The diagnosis of a model on probes of this seed that are of the world, asked without choices."""
    from r3v.app.commands.diagnose import measure
    from r3v.curriculum.diagnosis.probes import probe_set
    from r3v.policies.sampling.hf import HFPolicy

    policy = HFPolicy.from_config(model, slots=SAMPLE.slots, dry_run=dry_run)
    drawn = [p for p in probe_set("geoworld:gate", 4 * size.probes, 0, seed) if kind_of(p) in world]
    probes = [open_form(p) for p in drawn[: size.probes]]
    config = Config(model=model, sample=SAMPLE)
    return measure(policy, probes, out, config, variants=(), k=size.k, seed=seed, data="geoworld:gate")


def right_of(model: ModelConfig, problems: Sequence[Problem], out: Path, seed: int, dry_run: bool) -> dict[str, float]:
    """Share of right greedy answers by family, one half of an answer right and one wrong added to each."""
    from r3v.policies.sampling.hf import HFPolicy
    from r3v.run.evaluation import accuracy_by_problem, evaluate, read_rows

    policy = HFPolicy.from_config(model, slots=SAMPLE.slots, dry_run=dry_run)
    words, select = prompts.style("short"), SelectConfig(selectors=("greedy",), max_new_tokens=SAMPLE.max_new_tokens)
    evaluate(policy, [open_form(p) for p in problems], ("greedy",), select, words, seed, out=out)
    right = accuracy_by_problem(read_rows(out), "greedy")
    by_family: dict[str, list[bool]] = {}
    for problem in problems:
        by_family.setdefault(problem.meta["family"], []).append(right[problem.id])
    return {family: (sum(found) + 0.5) / (len(found) + 1) for family, found in by_family.items()}


def taught(seed: int, every: Sequence[Problem], out: Path, size: Size, dry_run: bool) -> ModelConfig:
    """The model once these problems were taught: as many as `size` says, then those of what is still wrong."""
    from r3v.policies.model.loading import load
    from r3v.training.fit import fit

    early, asked, rest = every[: size.taught], every[size.taught :][: size.asked], every[size.taught + size.asked :]
    base = load(MODEL, dry_run=dry_run)
    first = fit(base, lessons(early), train=TRAIN, model=MODEL, out=out / "first", seed=seed)
    right = right_of(replace(MODEL, adapter=str(first.adapter)), asked, out / "asked.parquet", seed, dry_run)
    second = fit(
        base, lessons(again(rest, right, size.again)), train=TRAIN, model=MODEL, out=out / "again", seed=seed,
        adapter=first.adapter,
    )  # fmt: skip
    return replace(MODEL, adapter=str(second.adapter))


def needed(size: Size) -> int:
    """Training problems from which `taught` can choose."""
    return size.taught + size.asked + 3 * size.again


def world_of(out: Path, size: Size, dry_run: bool = False) -> World:
    """The kinds of problem that are learned when nothing is withheld; measured once, on training problems of a seed of
    its own. Random weights learn nothing, so with them every kind stays."""
    from r3v.curriculum.diagnosis.ask import ask, probes_of
    from r3v.policies.sampling.hf import HFPolicy

    folder = out / "world"
    if (folder / "world.json").exists():
        told = json.loads((folder / "world.json").read_text())
        return frozenset((kind["family"], kind["rules"]) for kind in told if kind["in"])
    every = training(BASE_SEED, needed(size) + size.probes)
    model = taught(BASE_SEED, every[: needed(size)], folder, size, dry_run)
    problems = [open_form(p) for p in every[needed(size) :]]
    policy = HFPolicy.from_config(model, slots=SAMPLE.slots, dry_run=dry_run)
    records = ask(
        policy, probes_of(problems, ())[0], folder / "answers", sample=replace(SAMPLE, k=1),
        style=prompts.style("short"), seed=BASE_SEED, progress=False,
    )  # fmt: skip
    kinds, right = {p.id: kind_of(p) for p in problems}, dict[Kind, list[bool]]()
    for record in records:
        right.setdefault(kinds[record.problem_id], []).append(record.outcome is Outcome.CORRECT)
    shares = {kind: sum(found) / len(found) for kind, found in sorted(right.items())}
    world = frozenset(kind for kind, share in shares.items() if dry_run or share >= LEARNED)
    told = [
        {"family": kind[0], "rules": kind[1], "right": share, "n": len(right[kind]), "in": kind in world}
        for kind, share in shares.items()
    ]
    write_json(folder / "world.json", told)
    return world


def run_seed(
    seed: int,
    out: Path,
    size: Size,
    known: Mapping[str, float],
    world: World,
    untaught: Mapping[str, float] | None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Teach, see what is still wrong, teach that, diagnose, and say where the withheld skills came out."""
    spots, every = plant(seed, needed(size), known, world, untaught)
    model = taught(seed, every, out, size, dry_run)
    found = diagnosed(model, out / "diagnosis", size, world, seed, dry_run)
    rank = [found.skills[group[0]].rank if group[0] in found.skills else None for group in spots]
    hidden = {skill for group in spots for skill in group}
    row = {
        "seed": seed,
        "spots": [" = ".join(group) for group in spots],
        "known": [known[group[0]] for group in spots],
        "untaught": None if untaught is None else [untaught[group[0]] for group in spots],
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
    world = world_of(args.out, size if args.dry_run else EVERY_KIND, args.dry_run)
    known = known_of(args.out, size, world, args.dry_run)
    # Random weights are right about nothing, taught or not.
    untaught = None if args.dry_run else untaught_of(args.out, size, world, known)
    for seed in map(int, args.seeds.split(",")):
        rows.append(run_seed(seed, args.out / f"seed_{seed}", size, known, world, untaught, args.dry_run))
        print(json.dumps(rows[-1]), flush=True)
    print(told(rows))


if __name__ == "__main__":
    main()
