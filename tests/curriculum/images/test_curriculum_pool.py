"""Pools of unlabelled pictures: folder, tar shards and tables give the same pictures, again and from their address."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image

from r3v.curriculum.images.pool import FolderPool, ShardPool, open_pool
from r3v.errors import ConfigError, DataError, ImageError


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (6, 5), shade).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path: Path, files: dict[str, bytes], mode: Literal["w", "w:gz"] = "w") -> None:
    with tarfile.open(path, mode) as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))


def test_a_folder_in_order_with_captions(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name, shade in (("b/2.png", 2), ("a.PNG", 1), ("z.jpg", 3)):
        (tmp_path / name).write_bytes(png(shade))
    (tmp_path / "a.txt").write_text(" a grey square \n")
    (tmp_path / "notes.md").write_text("no picture")
    pool = open_pool(f"folder:{tmp_path}")
    found = list(pool)
    assert [i.key for i in found] == ["a.PNG", "b/2.png", "z.jpg"]
    assert [i.caption for i in found] == ["a grey square", "", ""]
    assert [pool.locate(pool.address(i)).read() for i in found] == [png(1), png(2), png(3)]


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(png(1))
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/in.png").write_bytes(png(2))
    (tmp_path / "pool/link.png").symlink_to(outside)
    (tmp_path / "pool/up").symlink_to(tmp_path)
    pool = FolderPool(tmp_path / "pool")
    assert [i.key for i in pool] == ["in.png"]
    with pytest.raises(ImageError, match="leaves the data folder"):
        pool.locate("../outside.png")


def test_shards_group_members_by_key_and_read_from_their_place(tmp_path: Path) -> None:
    tar(
        tmp_path / "s-0.tar",
        {
            "d/001.png": png(1),
            "d/001.json": json.dumps({"caption": "first"}).encode(),
            "d/002.txt": b"second",
            "d/002.jpg": png(2),
            "d/003.json": b"{not json",
            "d/004.seg.png": png(4),
        },
    )
    tar(tmp_path / "s-1.tar", {"001.png": png(5)})
    pool = open_pool(f"wds:{tmp_path}/s-*.tar")
    found = list(pool)
    assert [(i.key, i.caption) for i in found] == [
        ("s-0.tar/d/001", "first"),
        ("s-0.tar/d/002", "second"),
        ("s-0.tar/d/004", ""),
        ("s-1.tar/001", ""),
    ]
    assert [pool.locate(pool.address(i)).read() for i in found] == [png(1), png(2), png(4), png(5)]
    with pytest.raises(DataError, match="no shard of this pool"):
        pool.locate(json.dumps(["/etc/passwd", 0, 10]))


def test_damaged_and_compressed_shards(tmp_path: Path) -> None:
    tar(tmp_path / "z.tar", {"1.png": png(1)}, "w:gz")
    with pytest.raises(DataError, match="must not be gzipped"):
        list(ShardPool(str(tmp_path / "z.tar")))
    tar(tmp_path / "cut.tar", {"1.png": png(1), "2.png": bytes(5000)})
    data = (tmp_path / "cut.tar").read_bytes()
    pool = ShardPool(str(tmp_path / "cut.tar"))
    address = pool.address(list(pool)[1])
    (tmp_path / "cut.tar").write_bytes(data[:2000])
    with pytest.raises(ImageError, match="ends before"):
        pool.locate(address).read()


def test_headers_of_a_long_shard_do_not_pile_up(tmp_path: Path) -> None:
    tar(tmp_path / "long.tar", {f"{i:05d}.png": b"x" for i in range(800)})
    tracemalloc.start()
    assert sum(1 for _ in ShardPool(str(tmp_path / "long.tar"))) == 800
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400_000, "800 headers kept would be about 1 MB"


@pytest.mark.slow  # importing datasets takes seconds
def test_a_table(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict(
        {"img": [{"bytes": png(1), "path": None}, {"bytes": png(2), "path": None}], "text": ["one", "two"]}
    ).cast_column("img", datasets.Image())
    table.to_parquet(tmp_path / "t.parquet")
    pool = open_pool(f"hub:{tmp_path}/t.parquet?image=img&caption=text")
    found = list(pool)
    assert [i.caption for i in found] == ["one", "two"]
    assert [pool.locate(pool.address(i)).read() for i in found] == [png(1), png(2)]
    with pytest.raises(ImageError, match="expected a picture"):
        list(open_pool(f"hub:{tmp_path}/t.parquet?image=text"))


def test_pools_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder, wds or hub"):
        open_pool("zip:x")
    with pytest.raises(DataError, match="no such folder"):
        open_pool(f"folder:{tmp_path}/nothing")
    with pytest.raises(DataError, match="no such file"):
        open_pool(f"wds:{tmp_path}/*.tar")
