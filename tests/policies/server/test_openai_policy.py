"""OpenAIPolicy over real HTTP: candidates, seeds, cache, concurrency, faults, a killed server."""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_server import FakeServer
from places import FAKES

from r3v.errors import ConfigError, EngineError
from r3v.policies.base import SamplingParams
from r3v.policies.server import client as openai_client
from r3v.policies.server.policy import OpenAIPolicy, runs_of
from r3v.policies.server.wire import request_seed
from r3v.records import BytesImage, Message, Prompt
from r3v.settings.config import ModelConfig
from r3v.settings.server import ServerConfig

PNG = b"\x89PNG\r\n\x1a\n not decoded by anyone here"
PARAMS = SamplingParams(temperature=0.7, top_p=0.9, max_new_tokens=64)


def prompt(name: str = "p", text: str = "How many?", image: bytes = PNG) -> Prompt:
    return Prompt(name, (Message("user", text, (BytesImage(image),)),))


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "FIRST_WAIT", 0.01)


def policy(server: FakeServer, **settings) -> OpenAIPolicy:
    return OpenAIPolicy(ServerConfig(url=server.url, **{"model": "base", **settings}))


def test_candidates_carry_what_the_server_says() -> None:
    with FakeServer() as server, policy(server) as p:
        rows = p.generate([prompt("a"), prompt("b")], 2, PARAMS, seed=3, round=4, first_index=5)
        assert p.kind == "vllm"
        assert [[(c.problem_id, c.round, c.index, c.seed) for c in row] for row in rows] == [
            [("a", 4, 5, 3), ("a", 4, 6, 3)],
            [("b", 4, 5, 3), ("b", 4, 6, 3)],
        ]
        first = rows[0][0]
        asked = request_seed(3, "a", 5)
        assert first.text == f"9 characters, seed {asked}.\nAnswer: {asked % 7}"
        assert first.token_ids == (*(ord(c) for c in first.text), 0)
        assert first.logprobs[:3] == (0.0, -0.125, -0.25)
        assert len(first.logprobs) == len(first.token_ids)
        assert (first.stop, first.model, first.prompt_hash) == ("eos", "base", prompt("a").hash)


def test_the_request_has_image_text_and_every_filter() -> None:
    with FakeServer() as server, policy(server, extra={"chat_template_kwargs": {"x": 1}}) as p:
        p.generate([prompt()], 1, PARAMS)
        (body,) = server.chats
    image, text = body["messages"][0]["content"]
    assert base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,")) == PNG
    assert text == {"type": "text", "text": "How many?"}
    expected = {"model": "base", "temperature": 0.7, "top_p": 0.9, "top_k": -1, "min_p": 0.0, "max_tokens": 64}
    expected |= {"repetition_penalty": 1.0, "seed": request_seed(0, "p", 0), "return_token_ids": True}
    expected |= {"logprobs": True, "chat_template_kwargs": {"x": 1}}
    assert {k: v for k, v in body.items() if k != "messages"} == expected


def test_a_long_answer_stops_at_the_limit() -> None:
    with FakeServer() as server, policy(server) as p:
        ((cut,),) = p.generate([prompt()], 1, SamplingParams(max_new_tokens=5))
    assert (cut.text, cut.stop, len(cut.token_ids)) == ("9 cha", "length", 5)


def test_a_server_without_tokens_gives_empty_ones() -> None:
    with FakeServer("other") as server, policy(server, logprobs=False) as p:
        assert p.kind == "openai"
        ((found,),) = p.generate([prompt()], 1, PARAMS)
    assert found.text.startswith("9 characters")
    assert (found.token_ids, found.logprobs) == ((), ())


def test_samples_depend_on_problem_and_index_alone() -> None:
    with FakeServer() as server, policy(server) as p:
        together = p.generate([prompt("a"), prompt("b")], 3, PARAMS, seed=1)
        alone = p.generate([prompt("b")], 1, PARAMS, seed=1, first_index=2)
        other = p.generate([prompt("b")], 1, PARAMS, seed=2, first_index=2)
    assert alone[0][0] == together[1][2]
    assert other[0][0].text != alone[0][0].text


def test_several_samples_in_one_request_send_the_picture_once(tmp_path: Path) -> None:
    """Five samples of two prompts, three a request: 3 + 2 for each. They are those asked for one by one; what the cache
    holds is not asked again, and what it lacks is asked in runs of neighbours. Prompts have 16 tokens (see below)."""
    settings = {"samples": 3, "cache": str(tmp_path / "answers.sqlite")}
    with FakeServer() as server, policy(server, **settings) as p:
        together = p.generate([prompt("a"), prompt("b")], 5, PARAMS, seed=1)
        assert sorted(body["n"] for body in server.chats) == [2, 2, 3, 3]
        spent = p.meter.snapshot()
        tokens = sum(len(c.token_ids) for row in together for c in row)
        assert (spent.calls, spent.images, spent.tokens_in, spent.tokens_out) == (4, 4, 64, tokens)
        assert [c.index for c in together[1]] == [0, 1, 2, 3, 4]
        assert len({c.text for row in together for c in row}) == 10
        with policy(server, samples=3) as other:
            alone = [other.generate([prompt("b")], 1, PARAMS, seed=1, first_index=i)[0][0] for i in range(5)]
        assert alone == together[1]
        assert "n" not in server.chats[-1]
        before = len(server.chats)
        assert p.generate([prompt("b")], 8, PARAMS, seed=1)[0][:5] == together[1]
        assert sorted(body.get("n", 1) for body in server.chats[before:]) == [1, 2]
        greedy = SamplingParams(temperature=0, max_new_tokens=9)
        p.generate([prompt("b")], 2, greedy)
        assert [body.get("n") for body in server.chats[-2:]] == [None, None], "vLLM draws no two greedy samples"


def test_an_answer_with_too_few_choices_is_asked_for_again() -> None:
    one = {"index": 1, "message": {"content": "x"}, "finish_reason": "stop"}
    with FakeServer() as server, policy(server, samples=2, retries=1) as p:
        server.faults = [{"raw": {"choices": [one]}}]
        assert len(p.generate([prompt()], 2, PARAMS)[0]) == 2
        assert p.meter.snapshot().retries == 1


def test_other_servers_are_asked_for_one_at_a_time() -> None:
    with FakeServer("other") as server, policy(server, samples=4, logprobs=False) as p:
        p.generate([prompt()], 3, SamplingParams())
    assert ["n" in body for body in server.chats] == [False] * 3


@pytest.mark.parametrize(
    ("indices", "most", "runs"),
    [([0, 1, 2, 5], 2, [[0, 1], [2], [5]]), ([0, 1, 2], 8, [[0, 1, 2]]), ([3], 4, [[3]]), ([], 4, [])],
)
def test_runs_of_neighbours(indices: list[int], most: int, runs: list[list[int]]) -> None:
    assert runs_of(indices, most) == runs


def test_streamed_answers_are_the_same() -> None:
    with FakeServer() as server, policy(server) as p, policy(server, stream=True) as streamed:
        assert streamed.generate([prompt()], 2, PARAMS) == p.generate([prompt()], 2, PARAMS)
        assert server.chats[0]["stream"] is True
        assert server.chats[0]["stream_options"] == {"include_usage": True}


def test_the_cache_makes_no_request_and_outlives_the_server(tmp_path: Path) -> None:
    settings = {"cache": str(tmp_path / "answers.sqlite"), "kind": "vllm", "prices": {"input": 1.0}}
    with FakeServer() as server:
        with policy(server, **settings) as p:
            first = p.generate([prompt("a"), prompt("b")], 2, PARAMS)
            spent = p.meter.snapshot()
            # 4 calls, each of the image, 9 characters, role (2), end (2), generation prompt (2): 16 tokens
            assert (spent.calls, spent.cached, spent.tokens_in, spent.images) == (4, 0, 64, 4)
            assert spent.money == pytest.approx(64e-6)
        seen = len(server.requests)
        with policy(server, **settings) as p:
            assert p.generate([prompt("a"), prompt("b")], 2, PARAMS, round=0) == first
            assert (p.meter.snapshot().calls, p.meter.snapshot().cached) == (0, 4)
        assert len(server.requests) == seen
    with policy(server, **settings, retries=0) as p:
        assert p.generate([prompt("b")], 2, PARAMS) == [first[1]]


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": prompt("a", "How much?")},
        {"prompt": prompt("a", image=PNG + b".")},
        {"params": SamplingParams(temperature=0.8, top_p=0.9, max_new_tokens=64)},
        {"seed": 1},
        {"first_index": 1},
        {"model": "other"},
    ],
)
def test_whatever_changes_an_answer_is_asked_again(tmp_path: Path, change: dict) -> None:
    with FakeServer() as server:
        server.models.append("other")
        cache = str(tmp_path / "answers.sqlite")
        with policy(server, cache=cache) as p:
            p.generate([prompt("a")], 1, PARAMS)
        with policy(server, cache=cache, model=change.get("model", "base")) as p:
            where = {k: change[k] for k in ("seed", "first_index") if k in change}
            p.generate([change.get("prompt", prompt("a"))], 1, change.get("params", PARAMS), **where)
        assert len(server.chats) == 2


def test_as_many_requests_as_allowed_and_no_more() -> None:
    with FakeServer() as server:
        together = threading.Barrier(3)
        # Each request waits until three are in flight; fewer would break the barrier, more would be counted.
        server.before = lambda: together.wait(20) and None
        with policy(server, concurrency=3) as p:
            p.generate([prompt(str(i)) for i in range(6)], 2, PARAMS)
        assert server.most == 3
        assert server.connections <= 4


def test_connections_are_kept() -> None:
    with FakeServer() as server, policy(server, concurrency=1, kind="vllm") as p:
        p.generate([prompt()], 5, PARAMS)
        p.generate([prompt()], 5, PARAMS, first_index=5)
        assert (len(server.chats), server.connections) == (10, 1)


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        ({"status": 429, "retry_after": "0.02"}, False),
        ({"status": 500}, False),
        ({"status": 503, "value": b"<html>busy</html>"}, False),
        ({"reset": True}, False),
        ({"cut": True}, False),
        ({"cut": True}, True),
        ({"raw": b"{malformed"}, False),
        ({"raw": b'{"error": {"message": "worker died"}}'}, False),
        ({"raw": b'{"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}'}, False),
        ({"raw": b'{"choices": [{"message": {"content": "x"}, "finish_reason": "abort"}]}'}, False),
    ],
)
def test_what_passes_is_asked_again(fault: dict, stream: bool) -> None:
    with FakeServer() as server:
        with policy(server) as p:
            whole = p.generate([prompt()], 2, PARAMS)
        server.faults = [fault, fault, fault]
        with policy(server, stream=stream, concurrency=1) as p:
            assert p.generate([prompt()], 2, PARAMS) == whole
            # A kept connection that breaks is replaced at once, which is no attempt of its own.
            assert p.meter.snapshot().retries == (2 if "reset" in fault else 3)


def test_a_slow_answer_is_given_up_and_asked_again() -> None:
    with FakeServer() as server, policy(server, timeout=0.3) as p:
        server.faults = [{"delay": 2.0}]
        ((found,),) = p.generate([prompt()], 1, PARAMS)
        assert found.text.startswith("9 characters")
        assert p.meter.snapshot().retries == 1


def test_the_last_failure_names_url_status_and_what_to_do() -> None:
    with FakeServer() as server, policy(server, retries=2) as p:
        server.faults = [{"status": 503, "value": {"error": {"message": "loading"}}}] * 3
        with pytest.raises(EngineError, match=r"/v1/chat/completions: status 503: loading; 3 attempts made. Look at"):
            p.generate([prompt()], 1, PARAMS)


def test_a_refused_request_is_not_repeated() -> None:
    with FakeServer() as server, policy(server) as p:
        server.faults = [{"status": 400, "value": {"error": {"message": "context length 4096 exceeded"}}}]
        with pytest.raises(EngineError, match="status 400: context length 4096 exceeded"):
            p.generate([prompt()], 1, PARAMS)
        assert len(server.chats) == 1


def test_one_failure_ends_the_batch_but_not_what_was_answered(tmp_path: Path) -> None:
    with FakeServer() as server:
        cache = str(tmp_path / "answers.sqlite")
        with policy(server, concurrency=1, cache=cache) as p:
            server.faults = [{}, {}, {"status": 400}]
            with pytest.raises(EngineError, match="status 400"):
                p.generate([prompt()], 8, PARAMS)
            assert len(server.chats) <= 4  # the failed one, and at most one begun before it was cancelled
            kept = len(server.chats) - 1
            p.generate([prompt()], 8, PARAMS)
            assert len(server.chats) - kept - 1 == 8 - kept


def test_a_wait_longer_than_allowed_is_not_waited_for() -> None:
    with FakeServer() as server, policy(server, max_wait=1.0) as p:
        server.faults = [{"status": 429, "retry_after": "3600"}]
        with pytest.raises(EngineError, match="asks to wait 3600 s; 1 attempt made"):
            p.generate([prompt()], 1, PARAMS)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(port: int, log: Path, *more: str) -> subprocess.Popen[bytes]:
    log.touch()
    begun = log.read_text().count("ready")
    process = subprocess.Popen([sys.executable, str(FAKES / "servers" / "fake_server.py"), str(port), log, *more])
    wait_for(lambda: log.read_text().count("ready") > begun)
    return process


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited 60 s"
        time.sleep(0.01)


def test_a_server_killed_and_restarted_changes_nothing(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with FakeServer() as server, policy(server) as p:
        undisturbed = p.generate([prompt("a"), prompt("b")], 4, PARAMS, seed=9)
    first = start(port, log, "3")  # answers 3 of 8 requests and hangs
    second = None
    settings = ServerConfig(
        url=f"http://127.0.0.1:{port}/v1", model="base", kind="vllm", concurrency=2, retries=300, max_wait=0.2,
        cache=str(tmp_path / "answers.sqlite"),
    )  # fmt: skip
    found = []
    with OpenAIPolicy(settings) as p:
        run = threading.Thread(
            target=lambda: found.append(p.generate([prompt("a"), prompt("b")], 4, PARAMS, seed=9))
        )  # fmt: skip
        run.start()
        try:
            wait_for(lambda: log.read_text().count("hangs") == 2)
            first.send_signal(signal.SIGKILL)
            first.wait()
            wait_for(lambda: p.meter.snapshot().retries >= 2)  # it meets a closed door
            second = start(port, log)
            run.join(60)
        finally:
            for process in (first, second):
                if process is not None:
                    process.kill()
                    process.wait()
        assert found == [undisturbed]
        assert log.read_text().count("answered") == 8  # 3 before, 5 after: nothing was asked twice


def test_the_key_is_sent_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, lines = "sk-secret-0123", []
    monkeypatch.setenv("R3V_TEST_KEY", key)
    cache = tmp_path / "answers.sqlite"
    with FakeServer() as server:
        config = ServerConfig(url=server.url, model="base", api_key_env="R3V_TEST_KEY", cache=str(cache), retries=1)
        with OpenAIPolicy(config, say=lines.append) as p:
            p.generate([prompt()], 1, PARAMS)
            assert server.headers[-1]["Authorization"] == f"Bearer {key}"
            for status, text in ((401, f"bad key {key}"), (500, f"{key} failed")):
                server.faults = [{"status": status, "value": {"error": {"message": text}}}] * 2
                with pytest.raises(EngineError) as caught:
                    p.generate([prompt()], 1, PARAMS, seed=status)
                assert "[key]" in str(caught.value)
                assert key not in f"{caught.value}{caught.value.detail}{caught.value.__cause__}"  # type: ignore[attr-defined]
            assert lines
            assert key not in "".join(lines) + repr(p.config)
    assert all(key.encode() not in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"url": "localhost:8000"}, "server.url"),
        ({"url": "http://me:pass@host/v1"}, "api_key_env"),
        ({"api_key_env": "R3V_TEST_UNSET"}, "R3V_TEST_UNSET, which is not set"),
        ({"concurrency": 0}, "server.concurrency 0"),
        ({"timeout": 0.0}, "server.timeout"),
        ({"prices": {"inptu": 1.0}}, "server.prices.inptu"),
        ({"extra": {"seed": 1}}, "server.extra.seed"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        OpenAIPolicy(ServerConfig(**{"url": "http://127.0.0.1:9/v1", **settings}))
    assert "pass@" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R3V_TEST_KEY", "sk-one\nsk-two")
    with pytest.raises(ConfigError, match="R3V_TEST_KEY holds characters that no key has") as caught:
        OpenAIPolicy(ServerConfig(url="http://127.0.0.1:9", api_key_env="R3V_TEST_KEY"))
    assert "sk-" not in str(caught.value)


def test_the_model_is_found_or_must_be_named() -> None:
    with FakeServer() as server:
        with OpenAIPolicy(ServerConfig(url=server.url)) as p:
            assert p.name == "base"
        server.models = ["a", "b"]
        with pytest.raises(ConfigError, match=r"found models a, b; name one in server\.model"):
            OpenAIPolicy(ServerConfig(url=server.url))


def test_a_server_that_cannot_list_its_models_is_used_all_the_same() -> None:
    with FakeServer("transformers") as server:
        server.models = []  # the fake answers 500 then
        with pytest.raises(EngineError, match="/v1/models: status 500"):
            OpenAIPolicy(ServerConfig(url=server.url, retries=1))
        with policy(server, retries=1) as p:
            assert p.kind == "transformers"
            assert [path for _, path, _ in server.requests] == ["/v1/models"] * 3 + ["/openapi.json"]


def test_settings_of_the_model_that_only_the_server_can_have() -> None:
    with pytest.raises(ConfigError, match=r"model\.quantization 'nf4' with a server: start the server with it"):
        OpenAIPolicy.from_config(ServerConfig(url="http://127.0.0.1:9"), ModelConfig(quantization="nf4"))


def test_noise_that_a_server_cannot_make() -> None:
    with FakeServer("vllm") as server, policy(server) as p, pytest.raises(ConfigError, match="noise arithmetic"):
        p.generate([prompt()], 2, SamplingParams(noise="arithmetic"))


def test_top_k_where_the_server_cannot_be_told() -> None:
    with FakeServer("other") as server, policy(server) as p, pytest.raises(ConfigError, match="top_k 5"):
        p.generate([prompt()], 1, SamplingParams(top_k=5))


def test_transformers_serve_is_told_to_sample_and_asked_one_at_a_time() -> None:
    with FakeServer("transformers") as server, policy(server) as p:
        assert (p.kind, p.concurrency) == ("transformers", 1)
        p.generate([prompt()], 1, SamplingParams(temperature=0.7, top_k=3, max_new_tokens=9))
        (body,) = server.chats
    assert body["generation_config"] == (
        '{"do_sample": true, "repetition_penalty": 1.0, "top_k": 3, "temperature": 0.7, "top_p": 1.0, '
        '"max_new_tokens": 9}'
    )
    assert "logprobs" not in body
