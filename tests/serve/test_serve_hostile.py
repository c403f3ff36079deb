"""What `r3v serve` does with requests that are too large, wrong or in bad faith, and with clients that go away."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import openai
import pytest
from served import asked, client_of, data_url, png, serving, wait_for

from r3v.errors import ConfigError
from r3v.policies.scripted import ScriptedPolicy
from r3v.serve.server import Server

LIMITS = {"max_body": 100_000, "max_images": 2, "max_pixels": 10_000, "max_tokens": 50, "max_n": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, with secrets beside it and links to them inside."""
    root = tmp_path_factory.mktemp("served")
    (root / "secret.png").write_bytes(png())
    inside = root / "images"
    inside.mkdir()
    (inside / "good.png").write_bytes(png())
    (inside / "link.png").symlink_to(root / "secret.png")
    (inside / "up").symlink_to(root)
    (inside / "text.png").write_text("root:x:0:0")
    (inside / "pipe").mkdir()
    return inside


def four() -> ScriptedPolicy:
    return ScriptedPolicy(lambda prompt, index: "4")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(ScriptedPolicy(lambda p, i: "Answer: 4"), images=str(folder), **cast(Any, LIMITS)) as server:
        yield server


def post(server: Server, body: bytes | str | dict[str, Any], **headers: str) -> tuple[int, Any]:
    """(status, JSON) of a raw request."""
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        own = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection.request("POST", "/v1/chat/completions", data, own)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": asked("How many?"), **more}


def still_works(server: Server) -> None:
    assert post(server, ask())[0] == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b'{"model": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b"[]", "valid dictionary"),
        (b"null", "valid dictionary"),
        ({}, "model"),
        ({"model": "m"}, "messages"),
        (ask(messages=[]), "messages"),
        (ask(messages="hello"), "messages"),
        (ask(messages=[{"role": "user"}]), "messages.0.content"),
        (ask(messages=[{"role": "user", "content": ""}]), "without text"),
        (ask(messages=[{"role": "user", "content": 5}]), "messages.0.content"),
        (ask(messages=[{"role": "tool", "content": "x"}]), "messages.0.role"),
        (ask(messages=[{"role": "assistant", "content": "x"}]), "role assistant, expected user"),
        (ask(messages=[{"role": "user", "content": [{"type": "input_audio"}]}]), "messages.0.content"),
        (ask(messages=[{"role": "system", "content": asked("x", data_url(png()))[0]["content"]}]), "role system"),
        (ask(messages=[{"role": "user", "content": "\ud800"}]), "messages.0.content"),
        (ask(model=5), "model"),
        (ask(n="3"), "n:"),
        (ask(n=True), "n:"),
        (ask(n=0), "n:"),
        (ask(n=9), "at most 8 candidates"),
        (ask(model="fused@999999-m"), "at most 8 candidates"),
        (ask(model="greedy@2-m"), "at most 1 candidates by method greedy"),
        (ask(model="fused@3-m", r3v={"n": 4}), "found n 3 in the model name and 4"),
        (ask(model="oracle-m"), "found method 'oracle'"),
        (ask(r3v={"method": "best"}), "found method 'best'"),
        (ask(r3v={"choices": ["one"]}), "r3v.choices"),
        (ask(r3v={"kind": "choice"}), "without r3v.choices"),
        (ask(r3v={"kind": "number", "choices": ["1", "2"]}), "r3v.choices with r3v.kind number"),
        (ask(r3v={"extra": 1}), "r3v.extra"),
        (ask(max_tokens=51), "at most 50"),
        (ask(max_tokens=5, max_completion_tokens=6), "different values"),
        (ask(temperature=-1), "temperature"),
        (ask(temperature=float("nan")), "temperature"),
        (ask(top_p=0), "top_p"),
        (ask(seed=2**70), "seed"),
        (ask(seed=1.5), "seed"),
        (ask(stop=""), "stop"),
        (ask(stop=["a"] * 17), "stop"),
        (ask(logprobs=True, top_logprobs=5), "top_logprobs"),
        (ask(tools=[]), "tools"),
        (ask(response_format={"type": "json_object"}), "response_format"),
        (ask(frequency_penalty=0.5), "frequency_penalty"),
        (ask(messages=asked("x", *[data_url(png())] * 3)), "3 images, expected at most 2"),
    ],
)
def test_a_wrong_request_is_refused_by_name(server: Server, body: Any, named: str) -> None:
    status, value = post(server, body)
    assert status == 400, value
    assert named in value["error"]["message"]
    assert value["error"]["type"] == "invalid_request_error"
    assert len(value["error"]["message"]) < 1000


def test_fields_that_ask_for_nothing_are_taken(server: Server) -> None:
    more = {"frequency_penalty": 0, "presence_penalty": 0.0, "response_format": {"type": "text"}, "user": "me"}
    assert post(server, ask(**more, logprobs=False, stop=None, seed=None, stream=False))[0] == 200


def bomb(width: int, height: int) -> bytes:
    """A PNG of one colour whose few bytes stand for many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\0" * width) * min(height, 1000), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("", "does not hold"),
        ("good", "does not hold"),
        ("../secret.png", "does not hold"),
        ("link.png", "does not hold"),
        ("up/secret.png", "does not hold"),
        ("pipe", "does not hold"),
        ("/etc/passwd", "does not hold"),
        ("file:///etc/passwd", "does not hold"),
        ("file://other.host/good.png", "another machine"),
        ("%2e%2e/secret.png", "does not hold"),
        ("good.png\0.txt", "does not hold"),
        ("a" * 5000, "does not hold"),
        ("text.png", "broken, or not an image"),
        ("http://127.0.0.1:1/x.png", "does not fetch"),
        ("https://example.com/x.png", "does not fetch"),
        ("ftp://example.com/x.png", "does not fetch"),
        ("data:image/png;base64", "begins with"),
        ("data:text/html;base64,PGI+", "begins with"),
        ("data:image/png,abc", "begins with"),
        ("data:image/png;base64,!!!", "not base64"),
        (data_url(b""), "0 bytes"),
        (data_url(b"no image"), "broken, or not an image"),
        (data_url(png()[:45]), "broken"),
        (data_url(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "broken, or not an image"),
        (data_url(bomb(60_000, 60_000)), "limit"),
        (data_url(png(101, 100)), "limit of 10,000"),
    ],
)
def test_an_image_in_bad_faith_is_refused(server: Server, url: str, named: str, folder: Path) -> None:
    status, value = post(server, ask(messages=asked("x", url)))
    assert status == 400, value
    assert named in value["error"]["message"]
    assert str(folder) not in value["error"]["message"]


def test_files_of_the_folder_are_taken_in_every_form(server: Server, folder: Path) -> None:
    for url in ("good.png", "./good.png", (folder / "good.png").as_uri(), str(folder / "good.png")):
        assert post(server, ask(messages=asked("x", url)))[0] == 200


def test_without_a_folder_no_file_is_taken() -> None:
    with serving(ScriptedPolicy(lambda p, i: "4")) as server:
        status, value = post(server, ask(messages=asked("x", "/etc/hostname")))
    assert status == 400
    assert "no folder of images" in value["error"]["message"]


def test_a_body_that_is_too_large_is_not_read_to_the_end(server: Server) -> None:
    status, value = post(server, ask(messages=asked("x" * 150_000)))
    assert (status, "more than 100000 bytes" in value["error"]["message"]) == (413, True)
    assert post(server, b"", Content_Length="999999999")[0] == 413
    still_works(server)


def test_a_body_in_chunks_is_counted(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    chunks = iter([b" " * 50_000] * 4)
    connection.request(
        "POST", "/v1/chat/completions", chunks, {"Content-Type": "application/json"}, encode_chunked=True
    )
    assert connection.getresponse().status == 413
    connection.close()
    still_works(server)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Encoding": "gzip"},
    ],
)
def test_a_body_of_another_type_is_refused(server: Server, headers: dict[str, str]) -> None:
    assert post(server, ask(), **headers)[0] == 415


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "[", "10.0.0.1"])
def test_a_foreign_host_name_is_refused_on_loopback(server: Server, host: str) -> None:
    assert post(server, ask(), Host=host)[0] in (400, 403)


def test_what_is_not_there_is_said_so(server: Server) -> None:
    with client_of(server) as client:
        with pytest.raises(openai.NotFoundError, match="expected 'm' or METHOD@N-m"):
            client.chat.completions.create(model="gpt-9", messages=asked())
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="m", input="x")


def test_a_key_is_asked_for_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R3V_TEST_KEY", "sk-right")
    policy = ScriptedPolicy(lambda p, i: "Answer: 4")
    with serving(policy, api_key_env="R3V_TEST_KEY") as server:
        with client_of(server, api_key="sk-right") as client:
            assert client.chat.completions.create(model="m", messages=asked()).choices[0].message.content
        for key in ("sk-wrong", "sk-right2", "sk-ri\u00e4ht".encode().decode("latin-1")):
            with pytest.raises((openai.AuthenticationError, UnicodeEncodeError)), client_of(server, api_key=key) as c:
                c.models.list()
        assert post(server, ask())[0] == 401
        assert post(server, ask(), Authorization="Basic sk-right")[0] == 401
        assert post(server, ask(), Authorization="Bearer sk-right", Host="any.example")[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read()) == {"status": "ok", "model": "m", "requests": 0}
        connection.close()


def test_an_address_that_others_reach_needs_a_key() -> None:
    with (
        pytest.raises(ConfigError, match="without a key"),
        serving(four(), host="0.0.0.0"),
    ):
        pass


def test_a_port_in_use_is_named(server: Server) -> None:
    with (
        pytest.raises(ConfigError, match=f"port {server.port}"),
        serving(four(), port=server.port),
    ):
        pass


class Held(ScriptedPolicy):
    """Begins an answer, and goes on when it is let."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        super().__init__(self.wait)

    def wait(self, prompt: Any, index: int) -> str:
        self.begun.set()
        assert self.go.wait(60)
        return "Answer: 4"


def test_more_requests_than_allowed_get_429_and_nobody_else_suffers() -> None:
    policy, waits = Held(), []
    with serving(policy, n=1, max_requests=4, batch=1) as server, client_of(server, timeout=60) as client:

        def one(_: int) -> int:
            try:
                client.chat.completions.create(model="m", messages=asked())
            except openai.RateLimitError as error:
                waits.append(error.response.headers["Retry-After"])
                return 429
            return 200

        with ThreadPoolExecutor(12) as pool:
            futures = [pool.submit(one, i) for i in range(12)]
            wait_for(lambda: sum(f.done() for f in futures) == 8)
            assert server.served.engine.load == 4
            policy.go.set()
            assert sorted(f.result() for f in futures) == [200] * 4 + [429] * 8
        assert waits == ["1"] * 8
        assert one(0) == 200
        # The client's own way: it waits as long as it is told and asks again.
        with client_of(server, max_retries=2) as patient:
            assert patient.chat.completions.create(model="m", messages=asked()).choices


def test_a_client_that_goes_away_leaves_the_queue() -> None:
    policy = Held()
    with serving(policy, n=1, batch=1) as server, client_of(server, timeout=60) as client:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(client.chat.completions.create, model="m", messages=asked())
            assert policy.begun.wait(60)
            for stream in (False, True):
                with socket.create_connection(("127.0.0.1", server.port)) as gone:
                    data = json.dumps(ask(stream=stream)).encode()
                    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    gone.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
                    wait_for(lambda: server.served.engine.load == 2)
                wait_for(lambda: server.served.engine.load == 1)
            policy.go.set()
            assert first.result().choices
        wait_for(lambda: server.served.engine.load == 0)
        assert policy.calls == [("generate", 1)]


def test_a_stream_that_is_cut_by_the_client_harms_nobody(server: Server) -> None:
    with client_of(server) as client:
        for _ in range(5):
            stream = client.chat.completions.create(model="m", messages=asked(), stream=True)
            next(iter(stream))
            stream.close()
    still_works(server)


def test_an_error_in_a_stream_is_an_event_that_the_client_raises() -> None:
    def fails(prompt: Any, index: int) -> str:
        raise ZeroDivisionError

    with serving(ScriptedPolicy(fails)) as server, client_of(server) as client:
        stream = client.chat.completions.create(model="m", messages=asked(), stream=True)
        with pytest.raises(openai.APIError, match="ZeroDivisionError"):
            list(stream)


def test_what_takes_too_long_is_given_up() -> None:
    policy = Held()
    with serving(policy, n=1, timeout=0.2) as server, client_of(server) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="m", messages=asked())
        assert caught.value.status_code == 504
        with pytest.raises(openai.APIError, match="no answer in the time"):
            list(client.chat.completions.create(model="m", messages=asked(), stream=True))
        policy.go.set()
        wait_for(lambda: server.served.engine.load == 0)
    assert policy.calls == [("generate", 1)]  # the second waited behind the first, and left the queue


def test_what_is_in_work_is_finished_when_the_server_stops() -> None:
    policy = Held()
    with (
        serving(policy, n=1, batch=1, grace=60.0) as server,
        client_of(server, timeout=60) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        futures = [pool.submit(client.chat.completions.create, model="m", messages=asked()) for _ in range(2)]
        wait_for(lambda: server.served.engine.load == 2)
        server.stop()
        policy.go.set()
        assert all(f.result().choices for f in futures)
