"""LoRA adapters over the endpoints of vLLM and SGLang, spoken by a server on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_server import FakeServer

from r3v.errors import EngineError, ModelError
from r3v.policies.base import SamplingParams
from r3v.policies.server import adapters_http
from r3v.policies.server import client as openai_client
from r3v.policies.server.policy import OpenAIPolicy
from r3v.records import Message, Prompt
from r3v.settings.server import ServerConfig

PROMPTS = [Prompt("p", (Message("user", "Why?"),))]
PARAMS = SamplingParams(max_new_tokens=40)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(adapters_http, "POLL", 0.01)


def adapter(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def policy(server: FakeServer, folder: Path, **settings) -> OpenAIPolicy:
    return OpenAIPolicy(ServerConfig(url=server.url, model="base", **settings), adapter=folder)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_an_adapter_is_loaded_used_and_unloaded(kind: str, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    with FakeServer(kind) as server:
        server.hidden = 2  # it takes a moment to be listed
        with policy(server, folder) as p:
            ((name, path),) = server.adapters.items()
            assert path == str(folder)
            p.generate(PROMPTS, 1, PARAMS)
            assert server.chats[-1]["model"] == (name if kind == "vllm" else f"base:{name}")
            assert p.name == f"base+{adapters_http.adapter_hash(folder)}"
        assert server.adapters == {}
        prefix = "/v1" if kind == "vllm" else ""
        paths = [path for method, path, _ in server.requests if method == "POST" and "lora" in path]
        assert paths == [f"{prefix}/load_lora_adapter", f"{prefix}/unload_lora_adapter"]


def test_names_are_fresh_and_the_cache_goes_by_weights(tmp_path: Path) -> None:
    cache = str(tmp_path / "answers.sqlite")
    with FakeServer() as server:
        names = []
        for folder, calls in (
            (adapter(tmp_path / "a"), 1),
            (adapter(tmp_path / "b"), 1),  # the same weights in another folder
            (adapter(tmp_path / "c", b"trained"), 2),
        ):
            with policy(server, folder, cache=cache) as p:
                names += server.adapters
                p.generate(PROMPTS, 1, PARAMS)
                assert len(server.chats) == calls
        assert len(set(names)) == 3


def test_a_forgotten_policy_gives_its_place_back(tmp_path: Path) -> None:
    with FakeServer() as server:
        p = policy(server, adapter(tmp_path / "a"))
        assert len(server.adapters) == 1
        del p
        assert server.adapters == {}


def test_a_restarted_server_gets_the_adapter_again_once(tmp_path: Path) -> None:
    with FakeServer() as server, policy(server, adapter(tmp_path / "a"), concurrency=4) as p:
        first = p.generate(PROMPTS, 8, PARAMS)
        (old,) = server.adapters
        server.adapters.clear()
        assert p.generate(PROMPTS, 8, PARAMS) == first
        (new,) = server.adapters
        assert new != old
        assert sum(path.endswith("/load_lora_adapter") for _, path, _ in server.requests) == 2


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_refused_adapter(kind: str, tmp_path: Path) -> None:
    with (
        FakeServer(kind) as server,
        pytest.raises(EngineError, match=r"huge was not loaded: .*rank 64 .* Start (vLLM|SGLang) with --ena"),
    ):
        policy(server, adapter(tmp_path / "huge"))


def test_a_server_started_without_adapters(tmp_path: Path) -> None:
    with FakeServer("other") as server:
        with pytest.raises(ModelError, match=r"kind 'openai', expected vLLM or SGLang"):
            policy(server, adapter(tmp_path / "a"))
        with pytest.raises(EngineError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
            policy(server, adapter(tmp_path / "b"), kind="vllm")


def test_an_adapter_that_never_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters_http, "LISTED", 0.05)
    with FakeServer() as server:
        server.hidden = 10**9
        with pytest.raises(EngineError, match="is not among the models after"):
            policy(server, adapter(tmp_path / "a"))
        assert server.adapters == {}


def test_a_folder_without_an_adapter(tmp_path: Path) -> None:
    with FakeServer() as server, pytest.raises(ModelError, match=r"found no adapter, expected adapter_config\.json"):
        policy(server, tmp_path)


def test_a_server_that_is_gone_when_the_adapter_is_unloaded(tmp_path: Path) -> None:
    with FakeServer() as server:
        p = policy(server, adapter(tmp_path / "a"))
    p._client.close()  # its kept connection would still be served by the thread that serves it
    with pytest.warns(RuntimeWarning, match="may still be loaded"):
        p.close()
