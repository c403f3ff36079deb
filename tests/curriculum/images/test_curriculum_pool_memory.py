"""A large unlabelled pool is streamed and indexed in bounded memory: folder, tar shards and a table.

R3V_POOL sets the size of the folder and of the shards (default 100,000 pictures), R3V_POOL_REPORT a file to add the
figures to.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from places import FAKES

PROGRAM = FAKES / "notes" / "pool_memory.py"
PICTURES = int(os.environ.get("R3V_POOL", "100000"))
BOUND = 64.0
"""MB that indexing and searching may take beyond what one batch takes, whatever the size of the pool.

A flat folder's names are listed at once, about 0.2 MB for each thousand; the vectors alone of 100,000 pictures would
be 205 MB in single precision."""


def pictures(n: int) -> Iterator[tuple[str, bytes]]:
    """Small pictures, no two alike."""
    for i in range(n):
        image = Image.new("RGB", (24, 24), (i % 251, i // 251 % 251, 80))
        ImageDraw.Draw(image).rectangle([4, 4, 5 + i % 17, 9 + i % 11], fill="white")
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        yield f"square_{i:06d}.png", buffer.getvalue()


def folder(path: Path, n: int) -> str:
    path.mkdir()
    for name, data in pictures(n):
        (path / name).write_bytes(data)
    return f"folder:{path}"


def shards(path: Path, n: int, each: int = 5_000) -> str:
    path.mkdir()
    out = None
    for i, (name, data) in enumerate(pictures(n)):
        if i % each == 0:
            if out is not None:
                out.close()
            out = tarfile.open(path / f"{i // each:03d}.tar", "w")  # noqa: SIM115 - closed with the next or the last
        info = tarfile.TarInfo(name)
        info.size = len(data)
        assert out is not None
        out.addfile(info, io.BytesIO(data))
    if out is not None:
        out.close()
    return f"wds:{path}/*.tar"


def table(path: Path, n: int) -> str:
    datasets = pytest.importorskip("datasets")
    rows = list(pictures(n))
    images = [{"bytes": data, "path": None} for _, data in rows]
    made = datasets.Dataset.from_dict({"image": images, "caption": [name for name, _ in rows]})
    made.cast_column("image", datasets.Image()).to_parquet(path)
    return f"hub:{path}?image=image&caption=caption"


def measure(spec: str, out: Path, limit: int | None = None) -> dict[str, float]:
    words = [sys.executable, str(PROGRAM), spec, str(out), *([] if limit is None else [str(limit)])]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    if report := os.environ.get("R3V_POOL_REPORT"):
        with open(report, "a") as file:
            file.write(json.dumps({"pool": spec.partition(":")[0], **found}) + "\n")
    return found


@pytest.mark.slow
def test_memory_does_not_grow_with_a_folder(tmp_path: Path) -> None:
    spec = folder(tmp_path / "pool", PICTURES)
    sizes = sorted({min(PICTURES, n) for n in (1_000, 10_000, PICTURES)})
    found = [measure(spec, tmp_path / f"index{n}", n) for n in sizes]
    assert [row["n"] for row in found] == sizes
    for row in found:
        assert row["peak"] - row["before"] < BOUND, found
    assert found[-1]["peak"] - found[0]["peak"] < BOUND, found


@pytest.mark.slow
def test_memory_does_not_grow_with_tar_shards(tmp_path: Path) -> None:
    small = measure(shards(tmp_path / "a", 1_000), tmp_path / "ia")
    large = measure(shards(tmp_path / "b", PICTURES), tmp_path / "ib")
    assert (small["n"], large["n"]) == (1_000, PICTURES)
    assert large["peak"] - small["peak"] < BOUND, (small, large)


@pytest.mark.slow
def test_memory_does_not_grow_with_a_table(tmp_path: Path) -> None:
    small = measure(table(tmp_path / "a.parquet", 1_000), tmp_path / "ia")
    large = measure(table(tmp_path / "b.parquet", 5_000), tmp_path / "ib")
    assert (small["n"], large["n"]) == (1_000, 5_000)
    assert large["peak"] - small["peak"] < BOUND, (small, large)
