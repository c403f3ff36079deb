"""Settings of a model server. Plain values only, so that the command line can read them without an import."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from r3v.errors import ConfigError

Kind = Literal["auto", "vllm", "sglang", "transformers", "openai"]
PRICES = ("input", "output", "image")
"""What a price table may name: input and output tokens by the million, images by the piece."""
RESERVED = ("messages", "model", "n", "seed", "stream", "stream_options")
"""Fields of a request that `server.extra` may not set, because seeds, caching and reading depend on them."""


@dataclass(frozen=True)
class ServerConfig:
    """An OpenAI-compatible chat-completions server: vLLM, SGLang, `transformers serve`, or a hosted model."""

    url: str = ""
    """Base address as OpenAI clients take it, such as http://localhost:8000/v1; empty is no server."""
    model: str = ""
    """Model name at the server; empty is the only model the server lists."""
    kind: Kind = "auto"
    """Which extensions the server speaks; `auto` asks it."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key; the key itself is never written down."""
    concurrency: int | None = None
    """Requests in flight at once; None is 16, and 1 for `transformers serve`, whose seed is one for the process."""
    samples: int = 1
    """Answers of one prompt asked for in one request (`n`), so that its picture is sent and read once (vLLM). They
    count as so many of the requests in flight."""
    timeout: float = 300.0
    """Seconds one attempt may take, from connecting to the last byte."""
    retries: int = 10
    """Further attempts after busy answers, server errors, lost connections, cut and malformed answers."""
    max_wait: float = 60.0
    """Longest pause in seconds between two attempts; a server that asks for a longer one is given up."""
    stream: bool = False
    """Ask for answers piece by piece, for gateways that cut connections on which nothing is sent for a while."""
    cache: str = ""
    """SQLite file of answers already paid for; empty is no cache. Use one file per set of weights."""
    logprobs: bool = True
    """Ask for log-probabilities; switch off for hosted models that refuse the field."""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of the field that limits the answer; some hosted models take only the second."""
    select: Literal["auto", "logprobs", "votes", "score"] = "auto"
    """How answers are weighed in self-selection: by `top_logprobs` of the index token, by votes over several
    answers, or by scoring every continuation (vLLM); `auto` takes the first, or votes where there are none."""
    votes: int = 5
    """Select answers drawn where the server gives no `top_logprobs`."""
    prices: dict[str, float] = field(default_factory=dict)
    """`input` and `output` per million tokens, `image` per image, in any currency."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of every request, such as `mm_processor_kwargs` or `chat_template_kwargs`."""


def check(config: ServerConfig) -> None:
    """Raises ConfigError where a value cannot be used, naming the field and what was expected."""
    parts = urlsplit(config.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"found server.url {config.url!r}, expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"found server.url with a user name, query or fragment at {parts.hostname}, expected a plain address; "
            "put the key into an environment variable and name it in server.api_key_env"
        )
    for name, least in (("concurrency", 1), ("samples", 1), ("retries", 0), ("votes", 1)):
        value = getattr(config, name)
        if value is not None and value < least:
            raise ConfigError(f"found server.{name} {value}, expected at least {least}")
    for name in ("timeout", "max_wait"):
        if not 0 < getattr(config, name) < float("inf"):
            raise ConfigError(f"found server.{name} {getattr(config, name)}, expected a number of seconds above 0")
    _check_tables(config.prices, config.extra)


def _check_tables(prices: Mapping[str, float], extra: Mapping[str, Any]) -> None:
    for name, price in prices.items():
        if name not in PRICES or not 0 <= price < float("inf"):
            raise ConfigError(f"found server.prices.{name} {price!r}, expected {', '.join(PRICES)}, at least 0 each")
    taken = sorted(set(extra) & set(RESERVED))
    if taken:
        raise ConfigError(f"found server.extra.{taken[0]}, which r3v sets itself; leave it out")


def api_key(config: ServerConfig) -> str | None:
    """The key from the environment, None where no variable is named. Raises ConfigError if it is not set."""
    return key_in(config.api_key_env, "server.api_key_env")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server under that name."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def key_in(variable: str, field: str) -> str | None:
    """The key in the environment variable that the setting `field` names; None where it names none. Raises ConfigError
    if the variable is not set or holds what is no key."""
    if not variable:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"{field} names {variable}, which is not set; export it, or leave the field empty")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{variable} holds characters that no key has (line breaks, or not ASCII); set it again")
    return key
