"""Settings of `r3v serve`. Plain values only, so that the command line can read them without an import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r3v.errors import ConfigError

PromptMode = Literal["solve", "chat"]
PROMPT_MODES: tuple[PromptMode, ...] = ("solve", "chat")
Kind = Literal["auto", "choice", "number", "text", "expression"]
KINDS: tuple[Kind, ...] = ("auto", "choice", "number", "text", "expression")
SAMPLE = "sample"
"""The method that selects nothing: the candidates as they were drawn."""
GREEDY = "greedy"
METHODS = ("fused", "self_select", "majority", "likelihood", "refine", "tournament", GREEDY, SAMPLE)
"""What a request may choose by. The upper bound `oracle` is none of them: a server has no gold answer."""


@dataclass(frozen=True)
class ServeConfig:
    """Where the server listens, what it does unless a request says otherwise, and what it takes at most."""

    name: str = "r3v"
    """Model name that clients ask for."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    method: str = "fused"
    """Selector of requests that name none."""
    n: int = 8
    """Candidates of requests that name no number."""
    prompt: PromptMode = "solve"
    """`solve` asks in the words of `r3v train` (question, choices, "step by step"); `chat` leaves messages as they
    are."""
    images: str = ""
    """Folder whose images a request may name; empty: images come as data URLs only."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key clients must send; empty asks for none."""
    max_body: int = 20_000_000
    """Bytes of a request."""
    max_images: int = 8
    max_pixels: int = 16_000_000
    """Width x height of one image."""
    max_tokens: int = 4096
    """Tokens a request may ask for."""
    max_n: int = 64
    """Candidates a request may ask for."""
    max_requests: int = 128
    """Requests taken at once, those in work and those that wait; further ones get status 429."""
    batch: int = 32
    """Requests handed to the model together."""
    timeout: float = 600.0
    """Seconds a request may take, its wait included."""
    grace: float = 30.0
    """Seconds that requests in work are given when the server is told to stop."""


def check(config: ServeConfig) -> None:
    """Raises ConfigError for a value that cannot be used."""
    for name in ("n", "max_body", "max_pixels", "max_tokens", "max_n", "max_requests", "batch"):
        if getattr(config, name) < 1:
            raise ConfigError(f"found {name} {getattr(config, name)}, expected at least 1")
    if config.max_images < 0 or not 0 <= config.port < 65536:
        raise ConfigError(f"found max_images {config.max_images} and port {config.port}, expected 0 or more each")
    for name in ("timeout", "grace"):
        if not 0 < getattr(config, name) < float("inf"):
            raise ConfigError(f"found {name} {getattr(config, name)}, expected a number of seconds above 0")
    check_method(config.method)
    if config.n > config.max_n:
        raise ConfigError(f"found n {config.n}, expected at most max_n {config.max_n}")
    if not config.name.strip() or config.name != config.name.strip() or not config.name.isprintable():
        raise ConfigError(f"found model name {config.name!r}, expected printable characters without blanks around them")


def check_method(method: str) -> None:
    """Raises ConfigError for what is no method of the server."""
    if method not in METHODS:
        raise ConfigError(f"found method {method!r}, expected one of {', '.join(METHODS)}")
