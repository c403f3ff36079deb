"""`r3v serve` in this process, on a free port of loopback, for tests with the real `openai` client."""

from __future__ import annotations

import base64
import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from openai import OpenAI
from PIL import Image

from r3v.policies.base import Policy
from r3v.serve.address import key_of, listen
from r3v.serve.config import ServeConfig, check
from r3v.serve.server import Server, engine_of
from r3v.settings.config import Config
from r3v.settings.tree import set_field


def png(width: int = 8, height: int = 8, colour: tuple[int, int, int] = (200, 0, 0)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def data_url(data: bytes, type: str = "image/png") -> str:
    return f"data:{type};base64,{base64.b64encode(data).decode()}"


def asked(text: str = "How many corners?", *urls: str) -> Any:
    """The messages of one question, with images."""
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]


@contextlib.contextmanager
def serving(
    policy: Policy, *, remote: bool = False, notes: Any = contextlib.nullcontext, fields: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Server]:  # fmt: skip
    """A running server; `settings` are those of ServeConfig, `fields` those of Config by dotted name."""
    config = Config()
    for name, value in (fields or {}).items():
        config = set_field(config, name, value)
    serve = ServeConfig(**{"name": "m", "port": 0, "n": 3, "method": "majority", "grace": 5.0, **settings})
    check(serve)
    key = key_of(serve.host, serve.api_key_env)
    with listen(serve.host, serve.port) as bound, engine_of(policy, config, serve, notes, remote=remote) as engine:
        server = Server(engine, config, serve, bound, key)
        thread = threading.Thread(target=server.serve)
        thread.start()
        wait_for(lambda: server.ready)
        try:
            yield server
        finally:
            server.stop()
            thread.join(30)
            assert not thread.is_alive()


@contextlib.contextmanager
def client_of(server: Server, **settings: Any) -> Iterator[OpenAI]:
    """The real client, which does not ask again by itself unless told to."""
    with OpenAI(base_url=server.url, **{"api_key": "none", "max_retries": 0, **settings}) as client:
        yield client


def listening(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def wait_for(happened: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"it did not happen within {seconds} s"
        time.sleep(0.005)
