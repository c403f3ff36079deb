"""`r3v bench NAME`: ours against a named peer on the same work. Only argparse at import."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError

BENCHMARKS: dict[str, str] = {
    "train-step": "r3v.bench.train_step:train_step",
    "sampler": "r3v.bench.sampler:sampler",
    "selector": "r3v.bench.selector:selector",
    "grpo-step": "r3v.bench.grpo_step:grpo_step",
    "loss-head": "r3v.bench.loss_head:loss_head",
    "data": "r3v.bench.data:data",
    "store": "r3v.bench.store:store",
    "round": "r3v.bench.round:round_",
}
"""Each benchmark is a function (Settings) -> dict[str, Result] of the module; see `r3v.bench.harness`."""


def register(commands: Any) -> None:
    """Add `bench` to the subparsers of the command line."""
    text = "measure this library against its peers, in pairs, on work that is checked to be the same"
    p = commands.add_parser("bench", help=text, description=text, allow_abbrev=False)
    p.set_defaults(handler=run, takes_fields=False)
    p.add_argument("name", choices=[*BENCHMARKS, "all"], help="what to measure")
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where (default cpu)")
    p.add_argument("--json", metavar="FILE", help="write the figures here, and charts beside it; a file is added to")
    p.add_argument("--pairs", type=int, default=5, metavar="N", help="pairs of ours and peer, at least 5 (default 5)")
    p.add_argument("--growth", action="store_true", help="also measure how time and memory grow with size (slow)")


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """The handler. A benchmark that fails is reported and the others go on; exit code 1 then."""
    from r3v.bench.harness import Result, Settings, resolve
    from r3v.bench.table import table, write_charts
    from r3v.commands import note

    if args.pairs < 5:
        raise ConfigError(f"found --pairs {args.pairs}, expected at least 5: fewer say nothing about the spread")
    settings = Settings(device=args.device, pairs=args.pairs, growth=args.growth)
    if args.json:  # a file that cannot be added to is found out before anything is measured
        _kept(Path(args.json), args.device)
    results: dict[str, dict[str, Result]] = {}
    failed: dict[str, str] = {}
    for name in BENCHMARKS if args.name == "all" else [args.name]:
        note(f"bench {name} on {args.device}")
        try:
            results[name] = resolve(BENCHMARKS[name])(settings)
        except Exception as error:
            if args.name != "all":
                raise
            failed[name] = f"{type(error).__name__}: {error}"
            note(f"bench {name} failed: {failed[name]}")
            continue
        if args.json:
            _write(Path(args.json), args.device, results)
    print(table(results))
    if args.json and results:
        for path in write_charts(_read(Path(args.json)), Path(args.json), args.device):
            print(f"chart: {path}")
    return 1 if failed else 0


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """All results of a bench file: this command's and those it was added to."""
    import json

    from r3v.bench.harness import Result

    found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    return {name: {case: Result.of_json(r) for case, r in cases.items()} for name, cases in found.items()}


def _write(path: Path, device: str, results: Mapping[str, Mapping[str, Any]]) -> None:
    """The figures so far, on top of those of other benchmarks that the file holds."""
    from r3v.io import write_json

    now = {name: {case: r.as_json() for case, r in cases.items()} for name, cases in results.items()}
    write_json(path, {**_head(device), "benchmarks": {**_kept(path, device), **now}})


def _head(device: str) -> dict[str, Any]:
    from r3v.bench.harness import processor, versions

    return {"device": _device_name(device), "cpu": processor(), "versions": versions()}


def _kept(path: Path, device: str) -> dict[str, Any]:
    """The benchmarks that a file holds already. Raises ConfigError unless they are of this machine and version."""
    import json

    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same = all(found.get(k) == v for k, v in _head(device).items())
        kept = found["benchmarks"]
    except (ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is there and no bench file ({error}); name another one") from error
    if not same:
        raise ConfigError(
            f"{path} holds figures of another machine or other versions; name another file or move that one away"
        )
    return kept


def _device_name(device: str) -> str:
    if device != "cuda":
        return device
    import torch

    return f"cuda: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cuda"
