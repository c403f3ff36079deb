"""`r3v harness`: a data set as a task of lmms-eval, and two of its runs in pairs. Only argparse at import."""

from __future__ import annotations

import argparse
from typing import Any

from r3v.app.parser import positive


def register(commands: Any) -> None:
    """Add `harness` to the subparsers of the command line."""
    text = "lmms-eval: write a data set as one of its tasks, compare two of its runs in pairs"
    inner = commands.add_parser("harness", help=text, description=text, allow_abbrev=False).add_subparsers(
        dest="harness_command", required=True, metavar="COMMAND"
    )
    p = inner.add_parser("task", help="write a data set as a task for `lmms-eval --include_path DIR`")
    p.set_defaults(handler=task, takes_fields=False)
    p.add_argument("spec", help="data spec, such as geoqa:data/geoqa?split=test")
    p.add_argument("--out", required=True, metavar="DIR", help="folder of the task's two files")
    p.add_argument("--name", help="name of the task (default: the reader's, such as geoqa)")
    p.add_argument("--limit", type=positive, help="the first problems only")
    p.add_argument("--open", action="store_true", help="ask without choices")
    p.add_argument("--grader", help="your own grader, FILE.py:FUNCTION")
    p.add_argument("--skip-bad", action="store_true", help="go on without rows that cannot be used")
    p.add_argument("--max-new-tokens", type=positive, default=384, help="longest answer (default 384)")
    p = inner.add_parser("pairs", help="two models on one task: difference, 95 %% interval, exact sign test")
    p.set_defaults(handler=pairs, takes_fields=False)
    p.add_argument("base", help="samples_TASK.jsonl of the base, as `lmms-eval --log_samples` writes")
    p.add_argument("other", help="the same of the other model")
    p.add_argument("--metric", help="field of the samples (default: the first that says right or wrong)")
    p.add_argument("--out", metavar="FILE", help="write the comparison to this JSON file")


def task(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data import load
    from r3v.harness.task import write_task
    from r3v.spec import parse_spec

    problems = load(args.spec, limit=args.limit, skip_bad=args.skip_bad, open=args.open, grader=args.grader)
    name = args.name or parse_spec(args.spec).reader
    path = write_task(problems, args.spec, name, args.out, tokens=args.max_new_tokens)
    print(f"wrote {path}: {len(problems)} problems; lmms-eval --include_path {args.out} --tasks {name} --model r3v ...")
    return 0


def pairs(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.harness.pairs import compare
    from r3v.io import write_json

    metric, found = compare(args.base, args.other, args.metric)
    figure = found.accuracy + found.difference
    print(
        f"{metric}, n {found.n}: base {100 * found.accuracy:.1f} %, other {100 * figure:.1f} %, difference "
        f"{100 * found.difference:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}), {found.wins} won, "
        f"{found.losses} lost, p {found.p:.2g}"
    )
    if args.out:
        write_json(args.out, {"schema": 1, "base": args.base, "other": args.other, **found.to_dict()})
    return 0
