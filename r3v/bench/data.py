"""`r3v bench data`: 100,000 problems against 1,000. Neither memory nor time per problem may grow with the file.

Both visit 100,000 problems in all (the small file again and again) and decode 1,000 pictures, each in a fresh process.
The ratio is the small file's figure over the large one's: 1 is flat, which is also the limit.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path

from r3v.bench.harness import BenchError, Growth, Result, Settings, compared, in_fresh_process

SMALL, LARGE, VISITS, PICTURES = 1_000, 100_000, 100_000, 1_000
WITHIN = 1.10
"""Memory and time per problem may be this much larger."""
GROWING = (1_000, 10_000, 100_000)
PEER = f"the same with {SMALL:,} problems"


def data(settings: Settings, *, large: int = LARGE, visits: int = VISITS) -> dict[str, Result]:
    """Cases `memory` and `time`."""
    with tempfile.TemporaryDirectory() as folder:
        files = {n: write(Path(folder), n) for n in (SMALL, large)}
        rounds = [{n: _visit(path, n, visits) for n, path in files.items()} for _ in range(settings.pairs)]
    shared = {"peer": PEER, "limit": 1.0, "goal": 1 / WITHIN, "check": f"both visited {visits:,} problems"}
    memory = [found[SMALL][1] / found[large][1] for found in rounds]
    seconds = [found[SMALL][0] / found[large][0] for found in rounds]
    ours, peer = _middle(rounds, large), _middle(rounds, SMALL)
    return {
        "memory": compared(memory, details={"peak_bytes": ours[1], "peak_bytes_small": peer[1]}, **shared),
        "time": compared(seconds, ours_s=ours[0], peer_s=peer[0], **shared),
    }


def growth(settings: Settings) -> tuple[Growth, ...]:
    """Seconds for each problem of a file once (a part of 100,000 visits), and peak memory, against their number."""
    points = []
    with tempfile.TemporaryDirectory() as folder:
        for n in GROWING:
            seconds, peak = _visit(write(Path(folder), n), n, VISITS)
            points.append((float(n), n * seconds, peak))
    return (Growth("problems", tuple(points)),)


def write(folder: Path, n: int) -> Path:
    """A JSON Lines file of n problems that share one picture."""
    from r3v.data import load

    picture = folder / "figure.png"
    picture.write_bytes(load("geoworld:test", limit=1)[0].images[0].read())
    path = folder / f"{n}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            question = f"In triangle ABC, angle A = {i % 89 + 1} degrees and angle B = 60 degrees. " * 5
            row = {"id": f"p{i:07}", "question": question, "answer": str(120 - i % 89), "image": picture.name}
            file.write(json.dumps(row) + "\n")
    return path


def visit(path: str, passes: int, pictures: int) -> tuple[int, float, int]:
    """Read every problem of the file `passes` times and decode `pictures` of the figures on the way.

    Problems visited, CPU seconds (index and passes; other processes do not count), and peak resident bytes.
    """
    from r3v.data import load
    from r3v.data.images import decode

    decode(load(f"jsonl:{path}")[0].images[0])  # what is imported on first use is not the cost of a problem
    start, visited = time.process_time(), 0
    step = 0
    for _ in range(passes):
        problems = load(f"jsonl:{path}")
        step = step or max(1, passes * len(problems) // pictures)
        for problem in problems:
            if visited % step == 0:
                decode(problem.images[0])
            visited += 1
    return visited, time.process_time() - start, _peak()


def _peak() -> int:
    """VmHWM belongs to this program alone; `ru_maxrss` begins with the memory of the process that started it."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    if found is None:
        raise BenchError("found no VmHWM in /proc/self/status, expected Linux's")
    return int(found.group(1)) * 1024


def _visit(path: Path, n: int, visits: int) -> tuple[float, float]:
    """CPU seconds per problem and peak bytes."""
    (visited, seconds, peak), _ = in_fresh_process(
        "r3v.bench.data:visit", path=str(path), passes=max(1, visits // n), pictures=min(PICTURES, visits)
    )
    if visited != max(1, visits // n) * n:
        raise BenchError(f"visited {visited} problems of {path.name}, expected {max(1, visits // n) * n}")
    return seconds / visited, float(peak)


def _middle(rounds: list[dict[int, tuple[float, float]]], n: int) -> tuple[float, float]:
    ordered = [sorted(found[n][i] for found in rounds)[len(rounds) // 2] for i in (0, 1)]
    return ordered[0], ordered[1]
