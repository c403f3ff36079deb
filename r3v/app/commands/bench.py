"""`r3v bench NAME`: ours against a named peer on the same work. Only argparse at import."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
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
GROWTH: dict[str, str] = {
    "train-step": "r3v.bench.train_step:growth",
    "sampler": "r3v.bench.sampler:growth",
    "data": "r3v.bench.data:growth",
}
"""What `--growth` measures: functions (Settings) -> tuple[Growth, ...]."""


def register(commands: Any) -> None:
    """Add `bench` to the subparsers of the command line."""
    text = "measure this library against its peers, in pairs, on work that is checked to be the same"
    p = commands.add_parser("bench", help=text, description=text, allow_abbrev=False)
    p.set_defaults(handler=run, takes_fields=False)
    p.add_argument("name", choices=[*BENCHMARKS, "all"], help="what to measure")
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where (default cpu)")
    p.add_argument("--json", metavar="FILE", help="write the figures here, and charts beside it; a file is added to")
    p.add_argument("--pairs", type=int, default=5, metavar="N", help="pairs of ours and peer, at least 5 (default 5)")
    text = f"how our own time and memory grow with size, in place of pairs ({', '.join(GROWTH)}; CPU)"
    p.add_argument("--growth", action="store_true", help=text)


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """The handler. A benchmark that fails is reported and the others go on; exit code 1 then."""
    from r3v.app.commands.common import note
    from r3v.bench.harness import Settings, resolve
    from r3v.bench.table import laws, table

    _check(args)
    settings = Settings(device=args.device, pairs=args.pairs)
    if args.json:  # a file that cannot be added to is found out before anything is measured
        _kept(Path(args.json), args.device)
    targets = GROWTH if args.growth else BENCHMARKS
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name in targets if args.name == "all" else [args.name]:
        note(f"bench {name}{' --growth' if args.growth else ''} on {args.device}")
        try:
            found[name] = resolve(targets[name])(settings)
        except Exception as error:
            if args.name != "all":
                raise
            failed[name] = f"{type(error).__name__}: {error}"
            note(f"bench {name} failed: {failed[name]}")
            continue
        if args.json:
            _write(Path(args.json), args.device, **{"growth" if args.growth else "benchmarks": found})
    print(laws(found) if args.growth else table(found))
    if args.json and found:
        for path in _draw(Path(args.json), args.device):
            print(f"chart: {path}")
    return 1 if failed else 0


def _check(args: argparse.Namespace) -> None:
    """Raise ConfigError for flags that say nothing or contradict each other."""
    if args.pairs < 5:
        raise ConfigError(f"found --pairs {args.pairs}, expected at least 5: fewer say nothing about the spread")
    if args.growth and args.name not in (*GROWTH, "all"):
        raise ConfigError(f"found {args.name} --growth, expected one of {', '.join(GROWTH)} or all")
    if args.growth and args.device != "cpu":
        raise ConfigError(f"found --growth --device {args.device}: growth is measured on the CPU; leave --device away")


def _draw(path: Path, device: str) -> list[Path]:
    """Charts of all that a bench file holds: this command's figures and those it was added to."""
    from r3v.bench.harness import Growth, Result
    from r3v.bench.table import write_charts

    kept = _kept(path, device)
    results = {n: {case: Result.of_json(r) for case, r in cases.items()} for n, cases in kept["benchmarks"].items()}
    growth = {name: [Growth.of_json(g) for g in several] for name, several in kept["growth"].items()}
    return write_charts(results, growth, path, device)


def _write(
    path: Path,
    device: str,
    *,
    benchmarks: Mapping[str, Mapping[str, Any]] | None = None,
    growth: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """The figures so far, on top of those of other benchmarks that the file holds."""
    from r3v.io import write_json

    kept = _kept(path, device)
    now = {name: {case: r.as_json() for case, r in cases.items()} for name, cases in (benchmarks or {}).items()}
    grown = {name: [g.as_json() for g in several] for name, several in (growth or {}).items()}
    both = {"benchmarks": {**kept["benchmarks"], **now}, "growth": {**kept["growth"], **grown}}
    write_json(path, {**_head(device), **both})


def _head(device: str) -> dict[str, Any]:
    from r3v.bench.harness import versions
    from r3v.machine import processor

    return {"device": _device_name(device), "cpu": processor(), "versions": versions()}


def _kept(path: Path, device: str) -> dict[str, Any]:
    """The `benchmarks` and the `growth` that a file holds already. Raises ConfigError unless they are of this machine
    and version."""
    import json

    if not path.exists():
        return {"benchmarks": {}, "growth": {}}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same = all(found.get(k) == v for k, v in _head(device).items())
        kept = {"benchmarks": found["benchmarks"], "growth": found.get("growth", {})}
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
