"""Do a notebook, an adapter and a selector add up? Every combination on the same problems, paired.

    python -m r3v.recipes.research.notebook_compose --notebook checkpoints/notebooks/geoworld_tiny.db \\
        --adapter checkpoints/runs/geoworld_tiny/round_02/adapter --selector majority --n 3 \\
        --data "geoworld:novel?seed=9" --limit 1000 --open --out checkpoints/compose --embedder lexical \\
        --threshold 0.9 --model.path geoworld-tiny --model.prompt_style short --select.max_new_tokens 96

Each arm is one `r3v eval` (with and without --notebook, with and without --adapter), which measures greedy answers and
the selector on the same candidates; without --adapter the table has two arms. Flags that are not of this recipe go to
every `r3v eval` as they are. Files of finished arms are kept, so the same command goes on after a kill.
The notebook is read only: no retrieval is logged in it.

Hardware: 2 CPU cores. Time: four evaluations; about 4 x 2 minutes for geoworld-tiny, 1,000 problems and n = 3.
Writes OUT/compose.md and OUT/compose.json: accuracy of every cell with its 95 % Wilson interval, and, for every two
parts, what both together gain over each alone with a 95 % paired bootstrap interval.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r3v.app.cli import main as r3v
from r3v.app.commands.recall import retrieval_flags
from r3v.errors import RunError
from r3v.io import atomic_write, write_json
from r3v.run.evaluation import accuracy_by_problem, metric_name, read_rows
from r3v.stats import mcnemar_exact, paired_bootstrap, wilson

PARTS = ("notebook", "adapter", "selector")
Cell = frozenset[str]
"""Which of `PARTS` are used; the empty one is the plain model, greedy."""
Outcomes = Mapping[Cell, Mapping[str, bool]]
"""Cell -> problem id -> right or not."""


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Own flags, and the rest for `r3v eval`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, help="problems that neither notes nor adapter were learnt from")
    parser.add_argument("--limit", type=int, help="use the first problems only")
    parser.add_argument("--adapter", help="LoRA folder; without it, notebook and selector alone are combined")
    parser.add_argument("--selector", default="majority", help="selector beside greedy (default majority)")
    parser.add_argument("--n", type=int, default=3, help="candidates per problem (default 3)")
    parser.add_argument("--out", required=True, help="folder of the arms and the table")
    retrieval_flags(parser)
    args, rest = parser.parse_known_args(argv)
    if args.notebook is None:
        parser.error("--notebook FILE is required")
    if args.selector == "greedy":
        parser.error("--selector greedy is measured anyway; name another one")
    return args, rest


def arms(args: argparse.Namespace) -> list[Cell]:
    """One `r3v eval` each: every combination of the parts that are not the selector."""
    parts = ["notebook"] + (["adapter"] if args.adapter else [])
    return [frozenset(some) for k in range(len(parts) + 1) for some in itertools.combinations(parts, k)]


def command(args: argparse.Namespace, rest: Sequence[str], arm: Cell) -> list[str]:
    """The arguments of `r3v eval` for an arm."""
    argv = ["eval", "--data", args.data, "--selectors", f"greedy,{args.selector}", "--n", str(args.n)]
    argv += ["--out", str(file_of(args.out, arm)), *rest]
    if args.limit is not None:
        argv += ["--limit", str(args.limit)]
    if "adapter" in arm:
        argv += ["--adapter", args.adapter]
    if "notebook" in arm:
        flags = argparse.ArgumentParser(allow_abbrev=False)
        retrieval_flags(flags)
        for name in vars(flags.parse_args([])):
            value = getattr(args, name)
            if value is not None and not isinstance(value, bool):
                argv += [f"--{name.replace('_', '-')}", str(value)]
        # An adapter makes another model; what the notes do with it is measured here.
        argv += ["--no-events", "--unqualified"]
    return argv


def file_of(out: str | Path, arm: Cell) -> Path:
    return Path(out) / f"{'_'.join(part for part in PARTS if part in arm) or 'plain'}.json"


def outcomes_of(args: argparse.Namespace, measured: Sequence[Cell]) -> dict[Cell, dict[str, bool]]:
    """Every cell of the table from the rows of the arms."""
    found = {}
    for arm in measured:
        rows = read_rows(file_of(args.out, arm).with_suffix(".parquet"))
        found[arm] = accuracy_by_problem(rows, "greedy")
        found[arm | {"selector"}] = accuracy_by_problem(rows, metric_name(args.selector, args.n))
    return found


def gain(outcomes: Outcomes, better: Cell, than: Cell) -> dict[str, Any]:
    """One cell minus another on the problems both were measured on. Raises RunError where there is none."""
    ids = sorted(outcomes[better].keys() & outcomes[than].keys())
    if not ids:
        raise RunError(f"{label(better)} and {label(than)} have no measured problem in common")
    a, b = ([float(outcomes[cell][name]) for name in ids] for cell in (better, than))
    mean, low, high = paired_bootstrap(a, b)
    return {
        "cell": label(better), "than": label(than), "n": len(ids), "gain": mean, "ci95": [low, high],
        "p_mcnemar": mcnemar_exact(a, b),
    }  # fmt: skip


def label(cell: Cell) -> str:
    return " + ".join(part for part in PARTS if part in cell) or "plain"


def comparisons(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Each part against the plain model, then for every combination what it gains over itself without one part."""
    cells = sorted(outcomes, key=lambda cell: (len(cell), [PARTS.index(p) for p in PARTS if p in cell]))
    return [gain(outcomes, cell, cell - {part}) for cell in cells for part in PARTS if part in cell]


def table(outcomes: Outcomes, compared: Sequence[Mapping[str, Any]]) -> str:
    """Both tables in Markdown: accuracies, then gains in points."""
    lines = ["| adapter | answers | without notebook | with notebook |", "|---|---|---|---|"]
    for adapter, selector in itertools.product((False, True), repeat=2):
        row = frozenset(["adapter"] * adapter + ["selector"] * selector)
        if row in outcomes:
            cells = [_share(outcomes[row]), _share(outcomes[row | {"notebook"}])]
            names = ["yes" if adapter else "no", "selected" if selector else "greedy"]
            lines.append(f"| {' | '.join([*names, *cells])} |")
    lines += ["", "| with | gain over | points (95 % interval) | n | McNemar p |", "|---|---|---|---|---|"]
    for row in compared:
        low, high = row["ci95"]
        points = f"{100 * row['gain']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        lines.append(f"| {row['cell']} | {row['than']} | {points} | {row['n']} | {row['p_mcnemar']:.4f} |")
    return "\n".join(lines) + "\n"


def _share(right: Mapping[str, bool]) -> str:
    count, n = sum(right.values()), len(right)
    low, high = wilson(count, n)
    return f"{100 * count / max(n, 1):.1f} % ({100 * low:.1f}-{100 * high:.1f}), n {n}"


def main(argv: Sequence[str] | None = None) -> int:
    args, rest = parse(argv)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    measured = arms(args)
    for arm in measured:
        print(f"== {label(arm)}", flush=True)
        code = r3v(command(args, rest, arm))
        if code:
            return code
    outcomes = outcomes_of(args, measured)
    compared = comparisons(outcomes)
    text = table(outcomes, compared)
    atomic_write(Path(args.out) / "compose.md", text)
    cells = {label(cell): {"right": sum(right.values()), "n": len(right)} for cell, right in outcomes.items()}
    settings = {**{k: v for k, v in vars(args).items() if v is not None}, "eval_flags": rest}
    write_json(
        Path(args.out) / "compose.json", {"schema": 1, "settings": settings, "cells": cells, "comparisons": compared}
    )
    print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
