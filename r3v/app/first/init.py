"""`r3v init`: a commented recipe for a data set and a model, with the plan of its run. Only argparse at import."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r3v.app.parser import positive
from r3v.errors import ConfigError, DataError, RunError

SMALL = 50
"""Fewest problems of which some are held out: a gate on fewer than 5 notices nothing."""


def register(commands: Any) -> None:
    """Add `init` to the subparsers of the command line."""
    text = "write a commented recipe for your data and a model"
    p = commands.add_parser("init", help=text, description=text)
    p.set_defaults(handler=run, takes_fields=False)
    p.add_argument("data", help="a JSON Lines file, or a data spec such as jsonl:mine.jsonl?question=q&answer=gold")
    p.add_argument("--test", help="data spec of the problems to measure on (default: a part of the data)")
    p.add_argument("--model", default="geoworld-tiny", help="folder, hub name, smolgeo or geoworld-tiny (default)")
    p.add_argument("--rounds", type=positive, default=3, help="rounds of self-training (default 3)")
    p.add_argument("--out", default="recipe.yaml", help="file to write (default recipe.yaml)")


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """Read the data once, write the recipe, tell the plan."""
    from r3v.data import load
    from r3v.io import atomic_write
    from r3v.reflection.settings import read
    from r3v.spec import at, parse_spec

    out = Path(args.out)
    if out.exists():
        raise RunError(f"{out}: exists; choose another --out, or delete it")
    spec = args.data if ":" in args.data else f"jsonl:{args.data}"
    here = Path(parse_spec(spec).path).expanduser()
    if here.exists():  # wherever the recipe will lie
        spec = at(spec, str(here.absolute()))
    problems = load(spec)
    if len(problems) < SMALL:
        raise DataError(f"found {len(problems)} problems, expected at least {SMALL}", file=spec, fix="Add more rows")
    first = problems[0]
    train, test = (spec, args.test) if args.test else split(spec, len(problems), out)
    atomic_write(out, recipe(train, test, args.model, args.rounds, len(problems), first, run_folder(out)))
    try:
        read(out)
    except ConfigError:
        out.unlink()
        raise
    print(f"wrote {out}\nlook at the data:  r3v data check {out}\ntry it in small:   r3v train {out} --dry-run")
    print(f"train:             r3v train {out}\nask the result:    r3v chat --run {run_folder(out)}")
    return 0


def run_folder(out: Path) -> str:
    return f"runs/{out.stem}"


def split(spec: str, n: int, out: Path) -> tuple[str, str]:
    """Two files beside the recipe, of nine tenths and one tenth of the rows of a JSON Lines file: the last by the
    sha256 of the row are measured on. Raises ConfigError for data that is no such file."""
    import hashlib

    from r3v.io import atomic_write
    from r3v.spec import at, parse_spec

    path = Path(parse_spec(spec).path)
    if parse_spec(spec).reader != "jsonl" or not path.is_file():
        raise ConfigError(f"{spec}: name the problems to measure on with --test SPEC; only a JSON Lines file is split")
    lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    order = sorted(range(len(lines)), key=lambda i: hashlib.sha256(lines[i].encode()).digest())
    held = set(order[: max(1, len(lines) // 10)])
    places = []
    for name, kept in (("train", [i for i in range(len(lines)) if i not in held]), ("test", sorted(held))):
        place = path.with_name(f"{path.stem}.{name}.jsonl")  # beside it, where its pictures are
        if place.exists():
            raise RunError(f"{place}: exists; delete it, or name the problems to measure on with --test")
        atomic_write(place, "".join(f"{lines[i]}\n" for i in kept))
        places.append(at(spec, str(place.absolute())))
    return places[0], places[1]


def recipe(train: str, test: str, model: str, rounds: int, n: int, first: Any, folder: str) -> str:
    """The text of the recipe."""
    tiny = model in ("geoworld-tiny", "smolgeo")
    tokens, kind = (96, "tiny") if tiny else (384, "full")
    gate = f"{_quoted(train)}  # the same set: a tenth is held out of it, and accepts or refuses each round"
    if train.startswith("geoworld:"):
        gate = "geoworld:gate  # accepts or refuses each round"
    lines: Sequence[str] = (
        f"# Self-training of {model} on {n} problems, such as: {' '.join(first.question.split())[:80]}",
        "# `r3v train --help train.lr` explains a field; all of them are in docs/fields.md.",
        "#",
        f"# plan: {rounds} rounds; in each, 4 rationales are sampled for every training problem, the right ones are",
        "# learned from, and the new model replaces the old one unless it is worse on the gate.",
        "run:",
        f"  dir: {folder}  # where everything goes; the same command goes on where it stopped",
        f"  rounds: {rounds}",
        "data:",
        f"  train: {_quoted(train)}",
        f"  gate: {gate}",
        f"  eval: {_quoted(test)}  # measured after each round; decides nothing",
        "model:",
        f"  path: {_quoted(model)}",
        "  dtype: auto  # bfloat16 where the machine computes it well",
        *(() if tiny else ("  quantization: none  # nf4 where the GPU has less memory than the model in 16 bit",)),
        "sample:",
        "  k: 4  # rationales for each problem",
        f"  max_new_tokens: {tokens}  # longer ones are cut off and count for nothing: raise it if many are",
        "build:",
        "  preset: r3v  # or star, rft, rest-em, r3v-paper: see r3v/reflection/presets.py",
        "train:",
        f"  lr: {'2.0e-3' if tiny else '1.0e-4'}",
        "  epochs: 2",
        "  problems_per_step: 8",
        "  problems_per_batch: 1  # raise it while it fits in memory: faster, and the same result",
        f"  max_tokens: {512 if kind == 'tiny' else 2048}  # of picture, question and rationale together",
        *(() if tiny else ("  gradient_checkpointing: true  # less memory, a third more time",)),
        "select:",
        "  n: 4  # candidates that the selectors choose among",
        f"  max_new_tokens: {tokens}",
    )
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """As YAML takes it whatever is in it."""
    return "'" + text.replace("'", "''") + "'"
