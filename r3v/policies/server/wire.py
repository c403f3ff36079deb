"""The form of requests and answers of OpenAI-compatible chat completions, and what each server adds to it.

Suffixes: T tokens of an answer.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from r3v.errors import ConfigError
from r3v.policies.base import SamplingParams
from r3v.policies.server.client import BadAnswerError, as_json
from r3v.records import ImageSource, Prompt
from r3v.settings.server import Kind, ServerConfig

TOP = 20
"""Alternatives asked for at each token, the most that OpenAI and vLLM give unless told otherwise."""
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer as text, its log-probability, and the likeliest alternatives with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `tokens` and `ids` are empty where the server does not give them."""

    text: str
    stop: Literal["eos", "length"]
    tokens: tuple[Token, ...] = ()
    ids: tuple[int, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        tokens = [[t.text, t.logprob, [list(pair) for pair in t.top]] for t in self.tokens]
        return {
            "text": self.text, "stop": self.stop, "tokens": tokens, "ids": list(self.ids),
            "usage": [self.tokens_in, self.tokens_out],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Reply:
        tokens = tuple(Token(t, p, tuple((a, b) for a, b in top)) for t, p, top in value["tokens"])
        return cls(value["text"], value["stop"], tokens, tuple(value["ids"]), *value["usage"])


def request_seed(seed: int, problem_id: str, index: int) -> int:
    """A 31-bit seed that stands for one sample of one problem, so that the same call asks the same thing."""
    digest = hashlib.sha256(f"{seed}\0{problem_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


def data_url(image: ImageSource) -> str:
    """The image as a data URL: PNG, JPEG, GIF and WebP as they are, anything else as PNG. Raises ImageError."""
    data = image.read()
    kind = next((name for magic, name in _MAGIC if data.startswith(magic)), None)
    if kind is None and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "webp"
    if kind is None:
        from r3v.data.images import decode

        buffer = io.BytesIO()
        decode(image).save(buffer, format="PNG")
        data, kind = buffer.getvalue(), "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The messages of a prompt, images before the text as in training; text alone stays a plain string."""
    found = []
    for m in prompt.messages:
        parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": data_url(i)}} for i in m.images]
        content: Any = [*parts, {"type": "text", "text": m.text}] if parts else m.text
        found.append({"role": m.role, "content": content})
    return found


def prompt_key(prompt: Prompt) -> list[Any]:
    """What identifies the messages of a prompt in the cache: roles, texts, and the sha256 of each image."""
    return [[m.role, m.text, [hashlib.sha256(i.read()).hexdigest() for i in m.images]] for m in prompt.messages]


def sampling_fields(
    config: ServerConfig, kind: Kind, params: SamplingParams, seed: int, top: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Every field of a request but model and messages.

    All filters are named, because servers otherwise take those of the model's generation config. `top`:
    alternatives wanted at each token. Raises ConfigError for a `top_k` that the server cannot be told, and for
    arithmetic noise, which it cannot make.
    """
    if params.noise != "independent" and params.temperature > 0:
        raise ConfigError(
            f"found noise {params.noise}, expected independent: a server draws by noise of its own. Set sample.noise "
            "and select.noise to independent"
        )
    body: dict[str, Any] = {
        "temperature": params.temperature,
        "top_p": params.top_p,
        config.token_limit: params.max_new_tokens,
        "seed": seed,
    }
    if kind in ("vllm", "sglang"):
        body |= {"top_k": params.top_k or -1, "min_p": 0.0, "repetition_penalty": 1.0}
    elif kind == "transformers":
        # The server samples only where a generation config says so, whatever the temperature.
        choice: dict[str, Any] = {"do_sample": params.temperature > 0, "repetition_penalty": 1.0}
        if params.temperature > 0:
            choice |= {"top_k": params.top_k, "temperature": params.temperature, "top_p": params.top_p}
        body["generation_config"] = json.dumps({**choice, "max_new_tokens": params.max_new_tokens})
        if params.temperature == 0:
            del body["top_p"]
    elif params.top_k and "top_k" not in config.extra:
        raise ConfigError(
            f"found top_k {params.top_k}, which is no field of OpenAI's API; set it to 0, set server.kind if the "
            "server is vLLM or SGLang, or put top_k into server.extra"
        )
    if config.logprobs and kind != "transformers":
        body |= {"logprobs": True} | ({"top_logprobs": top} if top else {})
    if kind == "vllm":
        body["return_token_ids"] = True
    if config.stream:
        body["stream"] = True
        if kind != "transformers":
            body["stream_options"] = {"include_usage": True}
    return {**body, **config.extra}


def read_reply(data: bytes, content_type: str = "") -> Reply:
    """The first choice of an answer, whole or as server-sent events. Raises BadAnswerError."""
    if "event-stream" in content_type:
        return _read_choice(*_join_events(_events(data)))
    value = as_json(data)
    if not isinstance(value, dict) or value.get("error"):
        raise BadAnswerError(f"an error instead of an answer: {str(value)[:200]}")
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadAnswerError(f"found {str(value)[:200]}, expected `choices` with at least one")
    return _read_choice(choices[0], value.get("usage") or {})


def _read_choice(choice: Mapping[str, Any], usage: Mapping[str, Any]) -> Reply:
    try:
        content = choice["message"].get("content")
        logprobs = ((choice.get("logprobs") or {}).get("content")) or []
        tokens = tuple(_token(t) for t in logprobs)
        ids = tuple(int(i) for i in choice.get("token_ids") or ())
        counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or len(tokens))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadAnswerError(f"{type(error).__name__} {error} in {str(choice)[:200]}") from error
    if not isinstance(content, str | None):
        raise BadAnswerError(f"found content of type {type(content).__name__}, expected text")
    reason = choice.get("finish_reason")
    if reason in (None, "abort", "error"):
        raise BadAnswerError(f"finish_reason {reason!r}: the server broke the answer off")
    # A filter of the host ends an answer before the model does, so it is unfinished like one that grew too long.
    stop = "length" if reason in ("length", "content_filter") else "eos"
    if tokens and ids and len(tokens) != len(ids):
        ids = ()  # training needs ids and log-probabilities side by side
    return Reply(content or "", stop, tokens, ids, *counts)


def _token(value: Mapping[str, Any]) -> Token:
    top = tuple((str(t["token"]), _finite(t["logprob"])) for t in value.get("top_logprobs") or ())
    return Token(str(value["token"]), _finite(value["logprob"]), top)


def _finite(value: Any) -> float:
    """Servers write minus infinity as -9999, as -Infinity or not at all; JSON of the cache knows only numbers."""
    number = float(value) if value is not None else -9999.0
    if math.isnan(number):
        raise ValueError("found NaN, expected a log-probability")
    return max(number, -9999.0)


def _events(data: bytes) -> Iterable[Mapping[str, Any]]:
    for line in data.decode("utf-8", "replace").split("\n"):  # splitlines() would cut at separators inside a text
        text = line.removeprefix("data:").strip()
        if not line.startswith("data:") or not text or text == "[DONE]":
            continue
        event = as_json(text.encode())
        if not isinstance(event, dict) or event.get("error"):
            raise BadAnswerError(f"an error inside the stream: {str(event)[:200]}")
        yield event


def _join_events(events: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pieces of a streamed answer as one choice, and its usage. A stream that was cut has no finish reason."""
    text, logprobs, ids, usage, reason = [], [], [], {}, None
    for event in events:
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            if choice.get("index", 0) != 0:
                continue
            text.append((choice.get("delta") or {}).get("content") or "")
            logprobs += (choice.get("logprobs") or {}).get("content") or []
            ids += choice.get("token_ids") or []
            reason = choice.get("finish_reason") or reason
    joined = {"message": {"content": "".join(text)}, "logprobs": {"content": logprobs}, "token_ids": ids}
    return {**joined, "finish_reason": reason}, usage
