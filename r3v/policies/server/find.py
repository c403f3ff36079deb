"""What kind of server answers, which model it serves, and how a person is told of trouble with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from r3v.errors import ConfigError, EngineError
from r3v.policies.server.adapters_http import model_names
from r3v.policies.server.client import Client, ServerError
from r3v.policies.server.cost import CostMeter
from r3v.settings.server import Kind, ServerConfig

QUIET = 5.0
"""Seconds between two lines about attempts that are made again."""


def find(client: Client, config: ServerConfig) -> tuple[Kind, str]:
    """Kind and model of the server, as configured or by asking it. Raises ConfigError, EngineError."""
    if config.kind != "auto" and config.model:
        return config.kind, config.model
    listed = _models(client, config)
    kind = _kind(client, listed) if config.kind == "auto" else config.kind
    return kind, config.model or _only(model_names(listed), client.shown)


def _models(client: Client, config: ServerConfig) -> dict[str, Any]:
    if not config.model:
        found = client.get("/models")
    else:
        try:
            # A server without a list is no reason not to use a model that is named (`transformers serve` answers
            # 500 where it has no download folder), but one that is still starting is waited for.
            found = client.get("/models", again=())
        except ServerError as error:
            if error.status in (None, 401, 403):
                raise
            return {}
    return found if isinstance(found, dict) else {}


def _kind(client: Client, listed: Mapping[str, Any]) -> Kind:
    """vLLM and SGLang sign the models they list; `transformers serve` is known by its own route."""
    rows = listed.get("data") or ()
    owners = {str(row.get("owned_by", "")).lower() for row in rows if isinstance(row, dict)}
    for kind in ("vllm", "sglang"):
        if kind in owners:
            return kind
    try:
        paths: Iterable[str] = client.get("/openapi.json", root=True, retries=0).get("paths", ())
    except (EngineError, AttributeError):
        return "openai"
    return "transformers" if "/load_model" in paths and "/v1/responses" in paths else "openai"


def _only(names: Sequence[str], shown: str) -> str:
    if len(names) != 1:
        listed = ", ".join(names[:10]) or "none"
        raise ConfigError(f"{shown}: found models {listed}; name one in server.model")
    return names[0]


class Teller:
    """Counts attempts that are made again and speaks of them, and of votes once, without a flood of lines."""

    def __init__(self, meter: CostMeter, say: Callable[[str], None] | None) -> None:
        self._meter, self._say = meter, say
        self._next, self._voted, self._thought = 0.0, False, False

    def retried(self, line: str) -> None:
        self._meter.retried()
        if self._say and time.monotonic() > self._next:
            self._next = time.monotonic() + QUIET
            self._say(line)

    def thought_only(self, shown: str) -> None:
        """Said once: an answer that had ended held nothing but a thought."""
        if self._say and not self._thought:
            self._thought = True
            self._say(
                f"{shown}: found a finished answer with all its text in reasoning_content and none in content; it is "
                "kept as a thought, in which no answer is looked for. If the model does not think, start the server "
                "without its reasoning parser (vLLM: leave --reasoning-parser out)"
            )

    def votes(self, shown: str, prompts: int, votes: int) -> None:
        if self._say and not self._voted:
            self._voted = True
            self._say(
                f"{shown}: no usable top_logprobs for {prompts} select prompts; self-selection counts {votes} "
                "sampled answers for each instead"
            )
