"""The transport by itself, and the parts of requests and answers that are worked out without a server."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from fake_server import FakeServer, events
from hypothesis import given, settings
from hypothesis import strategies as st

from r3v.errors import EngineError, RunError
from r3v.policies.server import client as openai_client
from r3v.policies.server import response_cache
from r3v.policies.server.client import BadAnswerError, Client, ServerError, retry_after, server_message
from r3v.policies.server.cost import Cost, CostMeter
from r3v.policies.server.response_cache import ResponseCache, cache_key
from r3v.policies.server.wire import Reply, Token, data_url, messages, read_reply, request_seed
from r3v.records import BytesImage, Message, Prompt
from r3v.settings.server import ServerConfig


def test_retry_after_in_seconds_and_as_a_date() -> None:
    assert retry_after("2.5") == 2.5
    assert retry_after(None) is None
    assert retry_after("soon") is None
    later = datetime.now(UTC) + timedelta(seconds=3600)
    assert 3500 < (retry_after(format_datetime(later, usegmt=True)) or 0) <= 3600
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"error": {"message": "too long", "code": 400}}', "too long"),
        (b'{"object": "error", "message": "no such model"}', "no such model"),
        (b'{"detail": [{"loc": ["body"], "msg": "bad"}]}', '[{"loc": ["body"], "msg": "bad"}]'),
        (b'{"success": false, "error_message": "rank"}', "rank"),
        (b"<html>502</html>", "<html>502</html>"),
        (b"x" * 2000, "x" * 500),
        (b"", ""),
    ],
)
def test_the_message_of_an_error_answer(data: bytes, message: str) -> None:
    assert server_message(data) == message


def test_pauses_grow_to_the_limit_and_honour_the_server() -> None:
    client = Client(ServerConfig(url="http://127.0.0.1:9/v1", max_wait=4.0), 1)
    for attempt, mean in ((0, 0.5), (1, 1.0), (2, 2.0)):
        waits = [client._wait(attempt, None) for _ in range(200)]
        assert all(w is not None and mean / 2 <= w <= mean * 1.5 for w in waits)
        assert len(set(waits)) > 100  # spread, so that clients do not come back together
    assert max(client._wait(20, None) or 0 for _ in range(50)) == 4.0
    assert (client._wait(0, 3.0) or 0) >= 3.0
    assert client._wait(0, 5.0) is None


def test_a_closed_door_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "FIRST_WAIT", 0.001)
    with FakeServer() as server:
        url = server.url
    with pytest.raises(EngineError, match=r"connection failed .*; 3 attempts made\. Check that the server runs"):
        Client(ServerConfig(url=url, retries=2), 1).get("/models")


def test_the_address_is_used_as_clients_of_openai_do() -> None:
    with FakeServer("sglang") as server:
        bare = server.url.removesuffix("/v1")
        for url in (bare, f"{bare}/", server.url, f"{server.url}/"):
            with closing(Client(ServerConfig(url=url), 1)) as client:
                assert client.get("/models") == {"data": [{"id": "base", "owned_by": "sglang"}]}
                with pytest.raises(ServerError, match="status 404: no /elsewhere"):
                    client.get("/elsewhere", root=True)


def reply_with(logprob: float) -> bytes:
    choice = {"message": {"content": "x"}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice | {"logprobs": {"content": [{"token": "x", "logprob": logprob}]}}]}).encode()


@pytest.mark.parametrize(
    ("said", "read"), [(-0.25, -0.25), (0.0, 0.0), (0.004, 0.0), (-math.inf, -9999.0), (-9999.0, -9999.0)]
)
def test_log_probabilities_are_at_most_zero(said: float, read: float) -> None:
    assert read_reply(reply_with(said)).tokens[0].logprob == read


@pytest.mark.parametrize("said", [0.7, math.inf, math.nan])
def test_what_is_no_log_probability_makes_no_answer(said: float) -> None:
    with pytest.raises(BadAnswerError, match="expected a log-probability"):
        read_reply(reply_with(said))


def test_a_redirect_is_not_followed() -> None:
    with FakeServer() as server:
        server.faults = [{"status": 307, "value": {"message": "elsewhere"}}]
        with (
            closing(Client(ServerConfig(url=server.url), 1)) as client,
            pytest.raises(ServerError, match="status 307: elsewhere") as caught,
        ):
            client.post("/chat/completions", {})
        assert caught.value.status == 307


def test_stop_ends_the_pauses() -> None:
    with FakeServer() as server:
        stop = threading.Event()
        client = Client(ServerConfig(url=server.url, max_wait=60.0), 1, retried=lambda line: stop.set())
        server.faults = [{"status": 429, "retry_after": "50"}] * 2
        with closing(client), pytest.raises(EngineError):
            client.post("/chat/completions", {}, stop=stop)
        assert len(server.chats) == 1


def test_abort_breaks_off_what_is_under_way() -> None:
    with FakeServer() as server:
        arrived, stop, errors = threading.Event(), threading.Event(), []
        server.before = arrived.set
        server.faults = [{"delay": 30}]
        client = Client(ServerConfig(url=server.url), 1)

        def call() -> None:
            try:
                client.post("/chat/completions", {}, stop=stop)
            except EngineError as error:
                errors.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        assert arrived.wait(20)
        stop.set()
        client.abort()
        thread.join(20)
        assert not thread.is_alive()
        assert len(errors) == 1


def test_an_image_of_another_type_becomes_png() -> None:
    pil = pytest.importorskip("PIL.Image")
    import io

    buffer = io.BytesIO()
    pil.new("RGB", (2, 2), (255, 0, 0)).save(buffer, format="BMP")
    assert data_url(BytesImage(buffer.getvalue())).startswith("data:image/png;base64,iVBOR")
    assert data_url(BytesImage(b"\xff\xd8\xff\xe0rest")).startswith("data:image/jpeg;base64,")
    assert data_url(BytesImage(b"RIFF0000WEBPrest")).startswith("data:image/webp;base64,")


def test_messages_keep_roles_and_plain_text() -> None:
    prompt = Prompt("p", (Message("system", "Be brief."), Message("user", "Why?", (BytesImage(b"GIF89a"),))))
    assert messages(prompt) == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlh"}},
                {"type": "text", "text": "Why?"},
            ],
        },
    ]


@settings(max_examples=50)
@given(st.text(max_size=60), st.integers(1, 9))
def test_a_stream_reads_as_the_whole_answer(text: str, piece: int) -> None:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop", "token_ids": [ord(c) for c in text]}
    choice["logprobs"] = {"content": [{"token": c, "logprob": -0.5} for c in text]}
    value = {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": len(text)}}
    whole = read_reply(json.dumps(value).encode())
    assert read_reply(b"".join(events(value, piece)), "text/event-stream") == whole
    assert read_reply(json.dumps(value, ensure_ascii=False).encode()) == whole
    assert Reply.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_a_stream_with_raw_line_separators() -> None:
    event = {"choices": [{"index": 0, "delta": {"content": "a\u2028b"}, "finish_reason": "stop"}]}
    assert (
        read_reply(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode(), "text/event-stream").text
        == "a\u2028b"
    )


@pytest.mark.parametrize("value", [[], {}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}, "text", None])
def test_answers_of_another_form(value: object) -> None:
    with pytest.raises(BadAnswerError):
        read_reply(json.dumps(value).encode())


def test_ids_without_as_many_logprobs_are_left_out() -> None:
    choice = {"message": {"content": "ab"}, "finish_reason": "content_filter", "token_ids": [1, 2, 3]}
    choice["logprobs"] = {
        "content": [{"token": "ab", "logprob": None, "top_logprobs": [{"token": "x", "logprob": -1}]}]
    }
    reply = read_reply(json.dumps({"choices": [choice]}).encode())
    assert reply == Reply("ab", "length", (Token("ab", -9999.0, (("x", -1.0),)),), (), 0, 1)


def test_seeds_differ_and_stay() -> None:
    seeds = {request_seed(s, p, i) for s in range(5) for p in ("a", "b") for i in range(10)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    # sha256(b"0\0a\0" + b"0") begins with these four bytes, little-endian, top bit off
    import hashlib

    assert request_seed(0, "a", 0) == int.from_bytes(hashlib.sha256(b"0\0a\x000").digest()[:4], "little") % 2**31


def test_the_meter_adds_up_across_threads() -> None:
    meter = CostMeter({"input": 2.0, "output": 10.0, "image": 0.5})
    meter.answered(1_000_000, 100_000, images=2)  # 2 + 1 + 1
    start = meter.snapshot()
    assert start == Cost(1, 0, 0, 1_000_000, 100_000, 2, 4.0)
    threads = [threading.Thread(target=lambda: [meter.answered(1, 1) for _ in range(200)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    meter.retried()
    meter.from_cache()
    spent = meter.since(start)
    assert (spent.calls, spent.cached, spent.retries, spent.tokens_in) == (1000, 1, 1, 1000)
    assert spent.money == pytest.approx(0.012)
    with pytest.raises(ValueError, match="inputs"):
        CostMeter({"inputs": 1.0})


def test_the_cache_keeps_values_over_threads_and_processes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.sqlite"
    cache = ResponseCache(path)

    def write(part: int) -> None:
        for i in range(20):
            cache.put(cache_key("chat", {"part": part, "i": i}), {"text": f"ü{part}", "i": i})

    threads = [threading.Thread(target=write, args=(p,)) for p in range(4)]
    code = (
        "import sys; from r3v.policies.server.response_cache import ResponseCache, cache_key\n"
        "c = ResponseCache(sys.argv[1])\n"
        "for i in range(20): c.put(cache_key('chat', {'part': 'other', 'i': i}), i)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(path)])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.wait(60) == 0
    assert len(cache) == 100
    assert cache.get(cache_key("chat", {"i": 7, "part": 2})) == {"text": "ü2", "i": 7}
    assert cache.get(cache_key("score", {"i": 7, "part": 2})) is None
    cache.close()


def test_a_damaged_value_is_absent_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    cache = ResponseCache(path)
    cache.put("k", "value")
    with sqlite3.connect(path) as other:
        (blob,) = other.execute("SELECT value FROM answers").fetchone()
        other.execute("UPDATE answers SET value = ?", (blob[:-1] + bytes([blob[-1] ^ 1]),))
    other.close()
    assert cache.get("k") is None
    cache.put("k", "again")
    assert cache.get("k") == "again"
    cache.close()
    path.write_bytes(b"not a database, but long enough to be read as one" * 10)
    with pytest.raises(RunError, match=r"answers\.sqlite: cannot be used as a cache .* server\.cache"):
        ResponseCache(path)


@pytest.mark.parametrize(("safe_from", "journal"), [((0,), "wal"), ((99,), "delete")])
def test_a_write_ahead_log_is_used_only_where_sqlite_keeps_it_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safe_from: tuple[int, ...], journal: str
) -> None:
    monkeypatch.setattr(response_cache, "WAL_SAFE", safe_from)
    ResponseCache(tmp_path / "c").close()
    with closing(sqlite3.connect(tmp_path / "c")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (journal,)
