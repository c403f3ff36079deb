"""Downloads against a hostile server on loopback. Its network is allowed by name where an answer should arrive."""

from __future__ import annotations

import contextlib
import io
import threading
import time

import pytest
from hostile_server import bomb_png, cut_chunks, drip, endless, redirect, reply, reply_json, serve
from PIL import Image

from r3v.curriculum.images.fetch import FetchError, Limits, fetch, fetch_image, fetch_json, permitted
from r3v.curriculum.images.sniff import image_type

LOCAL = ("127.0.0.1/32",)
ALLOWED = Limits(seconds=10, allow=LOCAL)


def picture(format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(buffer, format)
    return buffer.getvalue()


def test_a_picture_arrives_whole_whatever_the_header_calls_it() -> None:
    with serve({"/a.png": reply(picture(), "text/html"), "/b": redirect("/a.png")}) as (address, seen):
        image = fetch_image(f"{address}/a.png", ALLOWED)
        assert image.data == picture()
        moved = fetch(f"{address}/b", ALLOWED)
        assert (moved.url, moved.asked) == (f"{address}/a.png", f"{address}/b")
        assert (moved.address, moved.status) == ("127.0.0.1", 200)
        assert seen[0][1]["Accept-Encoding"] == "identity"


def test_private_addresses_are_refused_before_anything_is_sent() -> None:
    with serve({"/": reply(picture())}) as (address, seen):
        with pytest.raises(FetchError, match=r"address 127\.0\.0\.1, which is not public"):
            fetch(address)
        assert seen == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1", "198.18.0.1", "192.0.2.1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not permitted(address)


def test_public_addresses_and_allowed_networks() -> None:
    assert permitted("93.184.216.34")
    assert permitted("2606:2800:220:1:248:1893:25c8:1946")
    assert permitted("::ffff:93.184.216.34")
    assert permitted("10.1.2.3", ("10.0.0.0/8",))
    assert permitted("::ffff:10.1.2.3", ("10.0.0.0/8",))
    assert not permitted("10.1.2.3", ("10.2.0.0/16",))


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost"])
def test_other_spellings_of_loopback(host: str) -> None:
    with pytest.raises(FetchError, match="not public"):
        fetch(f"http://{host}:9/")


@pytest.mark.parametrize(
    "to",
    ["http://127.0.0.1:{port}/secret", "http://169.254.169.254/latest/meta-data/", "http://[::1]:{port}/secret",
     "//127.0.0.1:{port}/secret", "http://localhost:{port}/secret"],
)  # fmt: skip
def test_a_redirect_to_a_private_address_is_refused(to: str) -> None:
    """The first server is on 127.0.0.2, the only address allowed; the redirect leads elsewhere."""
    with serve({"/secret": reply(b"secret")}) as (inside, seen):
        port = inside.rpartition(":")[2]
        first = serve({"/": redirect(to.format(port=port))}, "127.0.0.2")
        with first as (address, _), pytest.raises(FetchError, match="not public"):
            fetch(address, Limits(allow=("127.0.0.2/32",)))
        assert seen == []


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://example.org/a", "gopher://127.0.0.1/", "data:,x"])
def test_a_redirect_to_another_scheme_is_refused(to: str) -> None:
    with serve({"/": redirect(to)}) as (address, _), pytest.raises(FetchError, match="expected http or https"):
        fetch(address, ALLOWED)


def test_redirects_end() -> None:
    with serve({"/": redirect("/")}) as (address, seen):
        with pytest.raises(FetchError, match="more than 4 redirects"):
            fetch(address, ALLOWED)
        assert len(seen) == 5


def test_one_private_address_among_several_is_enough_to_refuse() -> None:
    with pytest.raises(FetchError, match=r"10\.0\.0\.1"):
        fetch("http://mixed.example/", resolver=lambda host, port: ["93.184.216.34", "10.0.0.1"])


def test_a_name_that_changes_its_address_is_asked_once() -> None:
    """DNS rebinding: the answer that was checked is the one connected to; a second answer never comes into play."""
    answers = iter([["127.0.0.1"], ["127.0.0.3"]])
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    with serve({"/": reply(b"here")}) as (address, seen):
        port = address.rpartition(":")[2]
        got = fetch(f"http://rebind.example:{port}/", ALLOWED, resolver=resolver)
        assert (got.address, got.data) == ("127.0.0.1", b"here")
        assert asked == ["rebind.example"]
        assert seen[0][1]["Host"] == f"rebind.example:{port}"


@pytest.mark.parametrize("headers", [False, True])
def test_a_slow_drip_runs_out_of_time(headers: bool) -> None:
    """Each byte comes soon after the last, so a limit on single reads alone would never end."""
    stop = threading.Event()
    with serve({"/": drip(picture()[:20], stop, headers)}) as (address, _):
        started = time.monotonic()
        with pytest.raises(FetchError, match=r"longer than 0\.5 s"):
            fetch(address, Limits(seconds=0.5, allow=LOCAL))
        stop.set()
        assert time.monotonic() - started >= 0.5


def test_a_slow_name_server_runs_out_of_time() -> None:
    stop = threading.Event()
    with pytest.raises(FetchError, match=r"longer than 0\.2 s"):
        fetch("http://slow.example/", Limits(seconds=0.2), resolver=lambda *_: ["1.1.1.1"] if stop.wait(30) else [])
    stop.set()


def test_bodies_beyond_the_limit_are_not_read() -> None:
    small = Limits(bytes=1000, allow=LOCAL)
    with serve({"/said": reply(bytes(2000)), "/endless": endless, "/fits": reply(bytes(1000))}) as (address, _):
        with pytest.raises(FetchError, match="2000 bytes, more than the limit of 1000"):
            fetch(f"{address}/said", small)
        with pytest.raises(FetchError, match="more than 1000 bytes"):
            fetch(f"{address}/endless", small)
        assert len(fetch(f"{address}/fits", small).data) == 1000


def test_truncated_bodies_are_errors() -> None:
    cut = reply(picture()[:30], Content_Length="4000")
    with serve({"/length": cut, "/chunks": cut_chunks, "/half.png": reply(picture()[:40])}) as (address, _):
        with pytest.raises(FetchError, match="30 of 4000"):
            fetch(f"{address}/length", ALLOWED)
        with pytest.raises(FetchError, match="the transfer failed"):
            fetch(f"{address}/chunks", ALLOWED)
        with pytest.raises(FetchError, match="cannot be used"):
            fetch_image(f"{address}/half.png", ALLOWED)


@pytest.mark.parametrize("body", [b"<html>not a picture</html>", b"<svg xmlns='a'/>", b"%!PS-Adobe", b"%PDF-1.4", b""])
def test_what_is_no_picture_is_refused_whatever_the_header_says(body: bytes) -> None:
    with serve({"/x.png": reply(body)}) as (address, _), pytest.raises(FetchError, match="expected a PNG"):
        fetch_image(f"{address}/x.png", ALLOWED)


def test_a_decompression_bomb_is_known_from_its_header() -> None:
    bomb = bomb_png(8_000, 6_000)
    assert len(bomb) < 20_000
    with serve({"/bomb.png": reply(bomb), "/zip": reply(b"\x1f\x8b", Content_Encoding="gzip")}) as (address, _):
        with pytest.raises(FetchError, match="48,000,000 pixels"):
            fetch_image(f"{address}/bomb.png", ALLOWED)
        with pytest.raises(FetchError, match="'gzip'"):
            fetch(f"{address}/zip", ALLOWED)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a/b", "http://", "http://u:p@example.org/", "http://example.org/a b",
     "http://example.org/\r\nX: y", "http://a:b/", "example.org", "http://exämple.org/"],
)  # fmt: skip
def test_addresses_that_are_not_addresses(url: str) -> None:
    with pytest.raises(FetchError):
        fetch(url)


def test_json_and_its_failures() -> None:
    routes = {"/ok": reply_json({"a": 1}), "/no": reply_json({"error": "key"}, 403), "/html": reply(b"<html>")}
    with serve(routes) as (address, seen):
        assert fetch_json(f"{address}/ok", ALLOWED, post={"q": "x"}, headers={"X-API-KEY": "k"}) == {"a": 1}
        assert (seen[0][2], seen[0][1]["X-API-KEY"]) == (b'{"q": "x"}', "k")
        with pytest.raises(FetchError, match="status 403"):
            fetch_json(f"{address}/no", ALLOWED)
        with pytest.raises(FetchError, match="expected JSON"):
            fetch_json(f"{address}/html", ALLOWED)


def test_secrets_do_not_follow_a_redirect_to_another_host() -> None:
    with contextlib.ExitStack() as stack:
        other, seen_there = stack.enter_context(serve({"/": reply_json(1)}))
        routes = {"/same": redirect("/"), "/": redirect(f"{other}/")}
        address, seen_here = stack.enter_context(serve(routes))
        fetch(f"{address}/same", ALLOWED, headers={"X-API-KEY": "k"})
        assert [h.get("X-API-KEY") for _, h, _ in seen_here] == ["k", "k"]
        assert [h.get("X-API-KEY") for _, h, _ in seen_there] == [None]
        with pytest.raises(FetchError, match="POST request"):
            fetch(f"{address}/same", ALLOWED, method="POST", body=b"x")


def test_nobody_there() -> None:
    with serve({}) as (address, _):
        pass
    with pytest.raises(FetchError, match="the transfer failed"):
        fetch(address, ALLOWED)


def test_types_from_first_bytes() -> None:
    for format in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        assert image_type(picture(format)) == format
    assert image_type(b"RIFF0000WAVE") is None
