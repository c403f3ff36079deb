"""Image search over a pool and over the web (servers on loopback that speak SearXNG's and Serper's JSON)."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hostile_server import redirect, reply, reply_json, serve
from PIL import Image, ImageDraw
from places import SHARED_DATA

from r3v.curriculum.images.fetch import FetchError, Limits
from r3v.curriculum.images.pool import FolderPool, PoolItem, open_pool
from r3v.curriculum.images.search import PoolIndex
from r3v.curriculum.images.web import SearXNG, Serper, WebHit, download
from r3v.embedding.lexical import Lexical
from r3v.embedding.plain import PlainEmbedder, hashed_words
from r3v.embedding.protocol import Asked, Part, Vectors
from r3v.errors import ConfigError, RunError
from r3v.records import BytesImage

GEOQA = SHARED_DATA / "geoqa" / "images"
LOCAL = Limits(allow=("127.0.0.1/32",))


def picture(colour: str, shape: str) -> bytes:
    image = Image.new("RGB", (48, 40), "white")
    pen = ImageDraw.Draw(image)
    draw = pen.ellipse if shape == "circle" else pen.rectangle
    draw([10, 8, 36, 30], outline=colour, fill=None if shape == "circle" else colour, width=4)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def folder(path: Path) -> Path:
    path.mkdir()
    for colour in ("red", "green", "blue"):
        for shape in ("circle", "square"):
            (path / f"{colour}_{shape}.png").write_bytes(picture(colour, shape))
    (path / "red_square.txt").write_text("bar chart of monthly rainfall")
    (path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return path


def test_pictures_are_found_by_name_caption_and_looks(tmp_path: Path) -> None:
    pool = FolderPool(folder(tmp_path / "pool"))
    with PoolIndex(tmp_path / "index", pool, PlainEmbedder(), "p") as index:
        assert index.build() == 6
        assert [key for key, _ in index.bad] == ["broken.png"]
        assert index.search("green circle", k=1)[0].key == "green_circle.png"
        assert index.search("rainfall charts", k=1)[0].key == "red_square.png"
        hits = index.search(image=BytesImage(picture("blue", "square")), k=6)
        assert hits[0].key == "blue_square.png"
        assert hits[0].image.read() == picture("blue", "square")
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
        assert len(hits) == 6


class Interrupted(PlainEmbedder):
    """Fails like a kill after so many pictures."""

    left = 0

    def embed_problems(self, problems: Sequence[Asked], part: Part = "text") -> Vectors:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().embed_problems(problems, part)


def test_an_interrupted_build_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r3v.curriculum.images.search._BATCH", 2)
    pool = FolderPool(folder(tmp_path / "pool"))
    embedder = Interrupted()
    embedder.left = 4
    with PoolIndex(tmp_path / "a", pool, embedder, "p") as index, pytest.raises(KeyboardInterrupt):
        index.build()
    with open(tmp_path / "a/vectors.f16", "ab") as file:
        file.write(b"torn")
    embedder.left = 100
    with (
        PoolIndex(tmp_path / "a", pool, embedder, "p") as index,
        PoolIndex(tmp_path / "b", pool, embedder, "p") as other,
    ):
        assert 0 < len(index) < 6
        assert index.build() == other.build() == 6
        assert embedder.left > 100 - 14, "pictures indexed before are not read again"
        assert (tmp_path / "a/vectors.f16").read_bytes() == (tmp_path / "b/vectors.f16").read_bytes()
        assert [h.key for h in index.search("red circle")] == [h.key for h in other.search("red circle")]
        assert index.bad == other.bad


def test_search_runs_over_all_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r3v.curriculum.images.search._BLOCK", 2)
    with PoolIndex(tmp_path / "i", FolderPool(folder(tmp_path / "pool")), PlainEmbedder(), "p") as index:
        assert index.search("red") == []
        index.build()
        assert index.search("circle red", k=2)[0].key == "red_circle.png"
        index.build(limit=3)
        assert len(index) == 6


def test_an_index_of_another_embedder_is_refused(tmp_path: Path) -> None:
    pool = FolderPool(folder(tmp_path / "pool"))
    PoolIndex(tmp_path / "i", pool, PlainEmbedder(), "p").close()
    with pytest.raises(RunError, match="Choose another folder"):
        PoolIndex(tmp_path / "i", pool, PlainEmbedder(looks=False), "p")
    with pytest.raises(RunError, match="Choose another folder"):
        PoolIndex(tmp_path / "i", pool, PlainEmbedder(), "other")


def test_any_embedder_of_the_notebook_makes_an_index(tmp_path: Path) -> None:
    with PoolIndex(tmp_path / "i", FolderPool(folder(tmp_path / "pool")), Lexical(64), "p") as index:
        index.build()
        assert index.search("green circle", k=1)[0].key == "green_circle.png"
        assert json.loads((tmp_path / "i/index.json").read_text())["embedder"] == "lexical@1.64/text"


def test_words_share_letters_and_nothing_is_nothing() -> None:
    a, b, c = (hashed_words(t, 512) for t in ("triangles", "triangle", "rainfall"))
    assert a @ b > 0.4 > 0.2 > a @ c
    assert not hashed_words("...", 512).any()


@pytest.mark.skipif(not GEOQA.exists(), reason="real GeoQA pictures are not here")
def test_real_geoqa_pictures_find_themselves(tmp_path: Path) -> None:
    pool = open_pool(f"folder:{GEOQA}")
    with PoolIndex(tmp_path / "i", pool, PlainEmbedder(), "geoqa") as index:
        index.build(limit=120)
        items: list[PoolItem] = [item for item, _ in zip(pool, range(120), strict=False)]
        found = [index.search(image=item.image, k=1)[0] for item in items[::6]]
        assert (
            sum(
                hit.score > 0.69 and hit.image.read() == item.image.read()
                for hit, item in zip(found, items[::6], strict=True)
            )
            >= 19
        )


def test_searxng(tmp_path: Path) -> None:
    rows = [
        {"title": "A", "img_src": "http://a.example/a.png", "url": "http://a.example/"},
        {"title": "again", "img_src": "http://a.example/a.png", "url": "x"},
        {"title": "B", "img_src": "//b.example/b.png", "url": "http://b.example/"},
        {"title": "C", "img_src": "data:image/png;base64,xx"},
        "no row",
    ]
    with serve({"/search": reply_json({"results": rows})}) as (address, seen):
        hits = SearXNG(address, LOCAL).images("parallel lines & angles", 5)
        assert hits == [
            WebHit("A", "http://a.example/a.png", "http://a.example/"),
            WebHit("B", "https://b.example/b.png", "http://b.example/"),
        ]
        asked = parse_qs(urlsplit(seen[0][0]).query)
        assert asked == {"q": ["parallel lines & angles"], "categories": ["images"], "format": ["json"]}
        with pytest.raises(FetchError, match="not public"):
            SearXNG(address).images("x")


def test_serper() -> None:
    rows = [{"title": "A", "imageUrl": "https://a.example/a.png", "link": "https://a.example/"}]
    with serve({"/images": reply_json({"images": rows})}) as (address, seen):
        engine = Serper("secret", f"{address}/images", LOCAL)
        assert engine.images("charts", 3) == [WebHit("A", "https://a.example/a.png", "https://a.example/")]
        assert (seen[0][1]["X-API-KEY"], seen[0][2]) == ("secret", b'{"q": "charts", "num": 3}')
        assert "secret" not in repr(engine)
    with pytest.raises(ConfigError, match="no Serper key"):
        Serper(" ")


def test_search_servers_that_fail() -> None:
    routes = {"/search": reply_json({}, 403), "/odd/search": reply_json([1]), "/html/search": reply(b"<html>")}
    with serve(routes) as (address, _):
        with pytest.raises(FetchError, match=r"search\.formats"):
            SearXNG(address, LOCAL).images("x")
        with pytest.raises(FetchError, match="no list 'results'"):
            SearXNG(f"{address}/odd", LOCAL).images("x")
        with pytest.raises(FetchError, match="expected JSON"):
            SearXNG(f"{address}/html", LOCAL).images("x")


def test_downloads_keep_what_is_good_and_say_why_the_rest_is_not() -> None:
    routes = {
        "/a.png": reply(picture("red", "circle")),
        "/b.png": reply(b"<html>"),
        "/c.png": redirect("file:///etc/x"),
    }
    with serve(routes) as (address, _):
        hits = [WebHit(n, f"{address}/{n}.png", "") for n in "abc"]
        got, failed = download(hits, LOCAL)
        assert [(h.title, i.data) for h, i in got] == [("a", picture("red", "circle"))]
        assert [h.title for h, _ in failed] == ["b", "c"]
        assert "expected a PNG" in failed[0][1]
        assert "file" in failed[1][1]
