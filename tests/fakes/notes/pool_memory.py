"""Indexes a pool of unlabelled pictures and says what it took: `python pool_memory.py SPEC FOLDER [LIMIT]`.

A process of its own, so that its peak resident memory is the index's and not a test runner's. Prints one JSON line:
pictures indexed, seconds, resident memory before (after one batch has warmed everything up) and at the peak, in MB.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from r3v.curriculum.images.pool import open_pool
from r3v.curriculum.images.search import PoolIndex
from r3v.embedding.plain import PlainEmbedder


def memory(name: str) -> float:
    """MB: VmRSS is resident now, VmHWM the most so far. `ru_maxrss` would count the process that started this one."""
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(rows[name].split()[0]) / 1024


def main(spec: str, folder: str, limit: int | None) -> None:
    with PoolIndex(folder, open_pool(spec), PlainEmbedder(), spec) as index:
        warm = index.build(limit=512)
        index.search("square", k=5)
        before, started = memory("VmRSS"), time.monotonic()
        n = index.build(limit)
        seconds = time.monotonic() - started
        started = time.monotonic()
        hits = index.search("square 7", k=5)
        searched = time.monotonic() - started
        assert len(hits) == 5
    rate = (n - warm) / seconds if n > warm else 0.0
    print(json.dumps({"n": n, "rate": rate, "before": before, "peak": memory("VmHWM"), "search": searched}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
