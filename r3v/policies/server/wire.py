"""The form of requests and answers of OpenAI-compatible chat completions, and what each server adds to it.

Suffixes: T tokens of an answer.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from r3v.errors import ConfigError
from r3v.policies.base import SamplingParams
from r3v.policies.server.client import BadAnswerError, as_json
from r3v.policies.server.events import events, is_stream
from r3v.records import ImageSource, Prompt
from r3v.settings.server import Kind, ServerConfig

TOP = 20
"""Alternatives asked for at each token, the most that OpenAI and vLLM give unless told otherwise."""
THINK, THOUGHT = "<think>", "</think>"
"""How a thought is marked where it is joined with the text again."""
UNFINISHED = frozenset(
    {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
    | {"content_filter", "safety"}
)
"""Finish reasons, in small letters, of an answer that ended before the model ended it: by a limit, or by a filter of
the host."""
BROKEN_OFF = frozenset({"abort", "error"})
ROUNDED = 0.01
"""How far above 0 rounding may bring a log-probability."""
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer as text, its log-probability, and the likeliest alternatives with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `tokens` and `ids` are empty where the server does not give them. `thought` is what a server that
    parses reasoning has taken out of `text`."""

    text: str
    stop: Literal["eos", "length"]
    tokens: tuple[Token, ...] = ()
    ids: tuple[int, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0
    thought: str = ""

    @property
    def whole(self) -> str:
        """Thought and text as the model wrote them; a thought that was cut off stays open."""
        if not self.thought:
            return self.text
        cut = self.stop == "length" and not self.text.strip()
        return f"{THINK}\n{self.thought}" + ("" if cut else f"\n{THOUGHT}\n\n{self.text}")

    def to_dict(self) -> dict[str, Any]:
        tokens = [[t.text, t.logprob, [list(pair) for pair in t.top]] for t in self.tokens]
        return {
            "text": self.text, "stop": self.stop, "tokens": tokens, "ids": list(self.ids),
            "usage": [self.tokens_in, self.tokens_out], "thought": self.thought,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Reply:
        tokens = tuple(Token(t, p, tuple((a, b) for a, b in top)) for t, p, top in value["tokens"])
        tokens_in, tokens_out = value["usage"]
        return cls(
            value["text"], value["stop"], tokens, tuple(value["ids"]), tokens_in, tokens_out, value.get("thought", "")
        )


def request_seed(seed: int, problem_id: str, index: int) -> int:
    """A 31-bit seed that stands for one sample of one problem, so that the same call asks the same thing."""
    digest = hashlib.sha256(f"{seed}\0{problem_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


def following_seed(seed: int, problem_id: str, index: int) -> int:
    """As `request_seed`, for servers that draw `n` samples with the seeds that follow the one they are given (vLLM):
    a sample is the same whatever others the request asks for."""
    return (request_seed(seed, problem_id, 0) + index) & 0x7FFFFFFF


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
    """The first choice of an answer, whole or as server-sent events, whatever its content type says. Raises
    BadAnswerError."""
    if is_stream(data, content_type):
        return _read_choice(*_join_events(events(data)))
    value = as_json(data)
    if not isinstance(value, dict) or value.get("error"):
        raise BadAnswerError(f"an error instead of an answer: {str(value)[:200]}")
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadAnswerError(f"found {str(value)[:200]}, expected `choices` with at least one")
    # An answer of several choices need not list them in order.
    first = next((c for c in choices if isinstance(c, dict) and c.get("index") == 0), choices[0])
    return _read_choice(first, value.get("usage"))


def read_replies(n: int) -> Callable[[bytes, str], list[Reply]]:
    """A reader of answers with `n` choices, in the order of their indices, each with its own share of the tokens.
    Raises BadAnswerError where one is missing."""

    def read(data: bytes, content_type: str = "") -> list[Reply]:
        if n == 1:
            return [read_reply(data, content_type)]
        value = as_json(data)
        if not isinstance(value, dict) or value.get("error"):
            raise BadAnswerError(f"an error instead of an answer: {str(value)[:200]}")
        choices = [c for c in value.get("choices") or () if isinstance(c, dict)]
        by_index = {c.get("index"): c for c in choices}
        if any(i not in by_index for i in range(n)):
            raise BadAnswerError(f"found choices {list(by_index)}, expected {n} of them")
        usage = value.get("usage")
        read_in, written = {"prompt_tokens": _count(usage, "prompt_tokens", 0)}, _count(usage, "completion_tokens", 0)
        found = [_read_choice(by_index[i], read_in) for i in range(n)]
        return [replace(r, tokens_out=len(r.ids) or r.tokens_out or written // n) for r in found]

    return read


def _read_choice(choice: Mapping[str, Any], usage: Any) -> Reply:
    if choice.get("error"):
        raise BadAnswerError(f"an error inside the answer: {str(choice['error'])[:200]}")
    try:
        text, thought = _said(choice["message"])
        logprobs = ((choice.get("logprobs") or {}).get("content")) or []
        tokens = tuple(_token(t) for t in logprobs)
        ids = tuple(int(i) for i in choice.get("token_ids") or ())
        counts = _count(usage, "prompt_tokens", 0), _count(usage, "completion_tokens", len(tokens))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadAnswerError(f"{type(error).__name__} {error} in {str(choice)[:200]}") from error
    reason = choice.get("finish_reason")
    said = str(reason).lower()
    if reason is None or said in BROKEN_OFF:
        raise BadAnswerError(f"finish_reason {reason!r}: the server broke the answer off")
    if not text.strip() and not thought and choice["message"].get("tool_calls"):
        raise BadAnswerError("the server took the answer for the call of a tool; start it without its tool-call parser")
    if tokens and ids and len(tokens) != len(ids):
        ids = ()  # training needs ids and log-probabilities side by side
    return Reply(text, "length" if said in UNFINISHED else "eos", tokens, ids, *counts, thought)


def _said(message: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a message (or of a piece of one) and its thought, from all the fields that servers put them into.

    Raises BadAnswerError for content that is neither text nor parts with text.
    """
    content = message.get("content")
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        thought = thought or "".join(_text_of(part.get("thinking")) for part in parts)
        content = "".join(_text_of(part.get("text")) for part in parts)
    if not isinstance(content, str | None):
        raise BadAnswerError(f"found content of type {type(content).__name__}, expected text")
    if not isinstance(thought, str):
        raise BadAnswerError(f"found reasoning of type {type(thought).__name__}, expected text")
    refusal = message.get("refusal")
    return content or (refusal if isinstance(refusal, str) else ""), thought


def _text_of(value: Any) -> str:
    """Text, or the text of nested parts; nothing for anything else."""
    if isinstance(value, list):
        return "".join(_text_of(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _count(usage: Any, name: str, otherwise: int) -> int:
    """A count of the usage block, in which an answer that is good by itself may hold anything."""
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return int(value) if isinstance(value, int | float) and value > 0 else otherwise


def _token(value: Mapping[str, Any]) -> Token:
    top = tuple((str(t["token"]), _finite(t["logprob"])) for t in value.get("top_logprobs") or ())
    return Token(str(value["token"]), _finite(value["logprob"]), top)


def _finite(value: Any) -> float:
    """Servers write minus infinity as -9999, as -Infinity or not at all; JSON of the cache knows only numbers."""
    number = float(value) if value is not None else -9999.0
    if math.isnan(number) or number > ROUNDED:
        raise ValueError(f"found {number}, expected a log-probability")
    return min(max(number, -9999.0), 0.0)


def _join_events(stream: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], Any]:
    """The pieces of a streamed answer as one choice, and its usage. A stream that was cut has no finish reason.

    A `message` in place of a `delta` is a further piece, unless it repeats all that was said so far.
    """
    text, thought, logprobs, ids, usage, reason, pieces = [], [], [], [], {}, None, False
    for event in stream:
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            try:
                if choice.get("index", 0) != 0:
                    continue
                message = choice.get("message")
                said, thinks = _said(message or choice.get("delta") or {})
                logprobs += (choice.get("logprobs") or {}).get("content") or []
            except (TypeError, AttributeError) as error:
                raise BadAnswerError(f"{error} in {str(event)[:200]}") from error
            if choice.get("error"):
                raise BadAnswerError(f"an error inside the stream: {str(choice['error'])[:200]}")
            if message and _repeats(said, "".join(text), pieces):
                text, thought = [], [] if thinks else thought
            pieces = pieces or not message
            text.append(said)
            thought.append(thinks)
            ids += choice.get("token_ids") or []
            reason = choice.get("finish_reason") or reason
    joined = {"content": "".join(text), "reasoning_content": "".join(thought)}
    return {"message": joined, "logprobs": {"content": logprobs}, "token_ids": ids, "finish_reason": reason}, usage


def _repeats(message: str, before: str, pieces: bool) -> bool:
    """Whether a whole message begins with what was said `before`: in `pieces`, or in shorter messages."""
    return message.startswith(before) and (pieces or len(message) > len(before))
