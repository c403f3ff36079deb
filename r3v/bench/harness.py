"""How every benchmark of `r3v bench` measures: ours and a peer in turn, on work that is checked to be the same.

A benchmark is a function `(Settings) -> dict[str, Result]`, named in `bench_commands.BENCHMARKS` as
`"module:function"` and imported only when it runs. For each of its cases ("G4", "K8") it builds a `Case` and
calls `measure`:

    def sampler(settings: Settings) -> dict[str, Result]:
        ...build model, prompts...
        case = Case(
            ours=lambda: sample_with_r3v(),       # returns the units of work done: here, samples
            peer=lambda: sample_with_generate(),  # the same unit
            check=lambda: same_greedy_text(),     # says what agreed, raises BenchError when it does not
            peer_name="transformers generate",
            limit=lambda: peer_seconds / (prefill + steps * one_step),  # best possible ratio; a number, a
            goal=2.5,                             # function called after the pairs, or None
        )
        return {"K8": measure(case, settings)}

`measure` runs `check` once, warms both up, then times A B A B (ours, peer, ours, peer, at least 5 pairs). The
ratio of a pair is ours' units per second over the peer's, so above 1 is faster; the result is the median of
the ratios with the smallest and the largest. Neighbours in time share the machine's mood, which is why the
ratio is taken pair by pair and not between two averages.

Peak memory is only comparable between fresh processes: `in_fresh_process("module:function", **arguments)`
calls a function that returns a JSON value in a new interpreter and gives back that value and the peak resident
memory of the process in bytes. Where a ratio is of memory or of something else that is not timed, build the
`Result` with `compared`.

How our own cost grows with size is another question, without a peer: `--growth` asks the functions in
`bench_commands.GROWTH`, `(Settings) -> tuple[Growth, ...]`, mostly by `grown`.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r3v.errors import R3VError


class BenchError(R3VError):
    """Ours and the peer did not compute the same thing, or a benchmark could not run."""


@dataclass(frozen=True)
class Settings:
    """What the command line says. `device` is cpu or cuda; `pairs` A B pairs after `warmup` unmeasured ones."""

    device: str = "cpu"
    pairs: int = 5
    warmup: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """One comparison. `ours` and `peer` return the units of work they did, in the same unit.

    check: compares what both compute before anything is timed, says what agreed, raises BenchError if not.
    limit: the best ratio that the arithmetic allows, or a function that gives it after the pairs were timed
    (it gets the median seconds per unit of ours and of the peer), or None.
    goal: ratio aimed at; goal_of_limit: share of the limit aimed at.
    """

    ours: Callable[[], float]
    peer: Callable[[], float]
    check: Callable[[], str]
    peer_name: str
    limit: float | Callable[[float, float], float] | None = None
    goal: float | None = None
    goal_of_limit: float | None = None


@dataclass(frozen=True)
class Growth:
    """Cost against size: points (x, seconds, peak bytes or None), in order of x. `axis` names x and its unit."""

    axis: str
    points: tuple[tuple[float, float, float | None], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"axis": self.axis, "points": [list(p) for p in self.points]}

    @classmethod
    def of_json(cls, plain: Mapping[str, Any]) -> Growth:
        """What `as_json` wrote. Raises KeyError or ValueError where it is something else."""
        return cls(plain["axis"], tuple((x, s, m) for x, s, m in plain["points"]))

    def law(self) -> str:
        """The power of x by which the seconds grow, by least squares in logarithms."""
        return f"seconds grow as {self.axis} to the power {exponent([(x, s) for x, s, _ in self.points]):.2f}"


@dataclass(frozen=True)
class Result:
    """What was found. ratio, min, max: ours over peer, above 1 is better for ours.

    limit: best possible ratio; of_limit: ratio / limit. ours_s, peer_s: median seconds per unit of work.
    details: further figures by name, for example peak memory in bytes.
    """

    ratio: float
    min: float
    max: float
    peer: str
    limit: float | None = None
    of_limit: float | None = None
    ours_s: float | None = None
    peer_s: float | None = None
    pairs: int = 0
    check: str = ""
    goal: float | None = None
    goal_of_limit: float | None = None
    details: Mapping[str, float | str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values, without what is unknown."""
        plain = {k: v for k, v in vars(self).items() if v not in (None, "") and k != "details"}
        return {**plain, "details": dict(self.details)} if self.details else plain

    @classmethod
    def of_json(cls, plain: Mapping[str, Any]) -> Result:
        """What `as_json` wrote. Raises TypeError where it is something else."""
        return cls(**plain)


def compared(ratios: Sequence[float], peer: str, *, limit: float | None = None, **more: Any) -> Result:
    """A result from ratios that were found without `measure`. Raises BenchError when there are none."""
    if not ratios:
        raise BenchError("found no ratio to report, expected at least one")
    ratio = statistics.median(ratios)
    of_limit = None if limit is None else ratio / limit
    return Result(ratio, min(ratios), max(ratios), peer, limit, of_limit, pairs=len(ratios), **more)


def measure(
    case: Case,
    settings: Settings,
    *,
    details: Mapping[str, float | str] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Check, warm up, time `settings.pairs` A B pairs. Raises BenchError when the check fails or no work is done."""
    agreed = case.check()
    for _ in range(settings.warmup):
        case.ours()
        case.peer()
    ours, peer = [], []
    for _ in range(settings.pairs):
        ours.append(_seconds_per_unit(case.ours, "ours", settings, clock))
        peer.append(_seconds_per_unit(case.peer, case.peer_name, settings, clock))
    ours_s, peer_s = statistics.median(ours), statistics.median(peer)
    limit = case.limit(ours_s, peer_s) if callable(case.limit) else case.limit
    return compared(
        [b / a for a, b in zip(ours, peer, strict=True)],
        case.peer_name,
        limit=limit,
        ours_s=ours_s,
        peer_s=peer_s,
        check=agreed,
        goal=case.goal,
        goal_of_limit=case.goal_of_limit,
        details=dict(details or {}),
    )


def timed(work: Callable[[], Any], settings: Settings, *, times: int = 5, warmup: int = 1) -> float:
    """Median seconds of `times` calls of `work` after `warmup`: for the parts that a limit is made of."""
    for _ in range(warmup):
        work()
    found = []
    for _ in range(times):
        synchronise(settings.device)
        start = time.perf_counter()
        work()
        synchronise(settings.device)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def _seconds_per_unit(work: Callable[[], float], name: str, settings: Settings, clock: Callable[[], float]) -> float:
    synchronise(settings.device)
    start = clock()
    units = work()
    synchronise(settings.device)
    seconds = clock() - start
    if not units > 0:
        raise BenchError(f"{name} did {units} units of work, expected more than 0")
    return seconds / units


def synchronise(device: str) -> None:
    """Wait for the accelerator, so that a clock sees its work."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope of log y over log x by least squares. Raises BenchError for fewer than two different x."""
    import math

    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / max(len(logs), 1)
    mean_y = sum(y for _, y in logs) / max(len(logs), 1)
    spread = sum((x - mean_x) ** 2 for x, _ in logs)
    if spread <= 0:
        raise BenchError(f"found {len(points)} points at one size, expected at least two sizes to state how cost grows")
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread


def in_fresh_process(
    target: str, *, timeout: float = 1800.0, environment: Mapping[str, str] | None = None, **arguments: Any
) -> tuple[Any, int]:
    """(JSON value of `module:function(**arguments)`, peak resident bytes), in a new interpreter.

    Raises BenchError with the end of the child's errors when it fails or takes longer than `timeout` seconds.
    """
    command = [sys.executable, "-m", "r3v.bench.harness", target, json.dumps(arguments)]
    # The child must find what this process found, also modules that are on the path by way of --target folders.
    paths = os.pathsep.join(p for p in sys.path if p)
    env = {**os.environ, "PYTHONPATH": paths, **(environment or {})}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=env)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{target} took longer than {timeout:g} s in a fresh process") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise BenchError(f"{target} failed in a fresh process ({done.returncode}): {done.stderr.strip()[-800:]}")
    answer = json.loads(lines[-1])
    return answer["value"], int(answer["peak"])


def grown(target: str, *axes: tuple[str, str, Sequence[int], str]) -> tuple[Growth, ...]:
    """Seconds and peak memory of `target`, each size in a process of its own.

    An axis is its name, the argument of `target` that is varied, its values, and the entry of what `target` returns
    that is the size ("": the value itself). `target` returns `seconds`.
    """
    found = []
    for axis, argument, sizes, measured in axes:
        points = []
        for size in sizes:
            value, peak = in_fresh_process(target, timeout=1800.0, environment=None, **{argument: size})
            points.append((float(value[measured] if measured else size), value["seconds"], float(peak)))
        found.append(Growth(axis, tuple(points)))
    return tuple(found)


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes.

    Linux keeps `ru_maxrss` over exec, so that a child would report its parent's peak; VmHWM begins anew.
    """
    try:
        with open("/proc/self/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def versions() -> dict[str, str]:
    """Versions of everything that could move a figure."""
    from importlib import metadata

    found = {"python": platform.python_version()}
    for name in ("r3v", "torch", "transformers", "peft", "trl", "accelerate", "lightning"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def resolve(target: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises BenchError where there is none."""
    module, _, name = target.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        raise BenchError(f"found no function {name!r} in {module}, expected one (the target was {target!r})")
    return found


def _child(target: str, arguments: str) -> None:
    value = resolve(target)(**json.loads(arguments))
    sys.stdout.flush()
    print("\n" + json.dumps({"value": value, "peak": peak_memory()}))


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2])
