"""A request of the chat-completions API, checked field by field, as what the engine is asked.

Fields that would change the answer and cannot be honoured are refused by name, never ignored.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r3v.errors import ConfigError, DataError
from r3v.policies.base import SamplingParams
from r3v.records import LETTERS, Message, Problem
from r3v.serve.asked import Asked, drawn, params_of, problem_of, selects
from r3v.serve.config import GREEDY, Kind, PromptMode, ServeConfig, check_method
from r3v.serve.pictures import picture

Text = Annotated[str, Field(max_length=1_000_000)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Refused(Exception):
    """A request that is turned away. `param` is the field at fault, `code` OpenAI's word for the fault."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ImageURL(_Strict):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class TextPart(_Strict):
    type: Literal["text"]
    text: Text


class ImagePart(_Strict):
    type: Literal["image_url"]
    image_url: ImageURL | str


class Turn(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart | ImagePart], Field(max_length=256)]
    name: str | None = None


class Own(_Strict):
    """The field `r3v`: how candidates are drawn and chosen."""

    method: str | None = None
    n: Count | None = None
    choices: Annotated[list[Text], Field(min_length=2, max_length=len(LETTERS))] | None = None
    kind: Kind | None = None
    prompt: PromptMode | None = None


class StreamOptions(_Strict):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class TextFormat(_Strict):
    type: Literal["text"]


class Body(_Strict):
    """What may be asked. Fields that are accepted and change nothing are those that say nothing about the answer."""

    model: str
    messages: Annotated[list[Turn], Field(min_length=1, max_length=256)]
    n: Count | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=16)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    logprobs: bool | None = None
    top_logprobs: Literal[0] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    r3v: Own | None = None
    # Values that ask for nothing beyond what is done anyway.
    frequency_penalty: Literal[0] | Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Literal[0] | Annotated[float, Field(ge=0, le=0)] | None = None
    response_format: TextFormat | None = None
    # About the account, not the answer.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


def parse(data: bytes) -> Body:
    """The body of a request. Raises Refused with status 400, naming the field and what is wrong with it."""
    try:
        return Body.model_validate(_json(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"]
        if first["type"] == "extra_forbidden":
            what = "this server does not know the field, or cannot do what it asks; leave it out"
        raise Refused(400, f"{where}: {what}", param=where) from None


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {str(error)[:200]}") from None


def parse_model(model: str, config: ServeConfig) -> tuple[str | None, int | None]:
    """(method, n) of a model name such as `fused@8-NAME`, None for what it leaves to the server. Raises Refused."""
    if model == config.name:
        return None, None
    found = re.fullmatch(r"([a-z_]+)(?:@([1-9]\d{0,5}))?-(.*)", model, re.DOTALL)
    if found and found[3] == config.name:
        return found[1], int(found[2]) if found[2] else None
    raise Refused(
        404,
        f"found model {model[:200]!r}, expected {config.name!r} or METHOD@N-{config.name} such as "
        f"{config.method}@{config.n}-{config.name}",
        param="model",
        code="model_not_found",
    )


def read(data: bytes, config: ServeConfig, defaults: SamplingParams) -> Asked:
    """The request in `data`. `defaults` are the temperature and limits of requests that name none. Raises Refused."""
    body = parse(data)
    own = body.r3v or Own()
    method, n = parse_model(body.model, config)
    for name, a, b in (("method", method, own.method), ("n", n, own.n)):
        if a is not None and b is not None and a != b:
            raise Refused(400, f"found {name} {a} in the model name and {b} in r3v.{name}; name one", param=name)
    method = method or own.method or config.method
    try:
        check_method(method)
    except ConfigError as error:
        raise Refused(400, str(error), param="r3v.method") from None
    shown = body.n or 1
    n = max(drawn(method, n or own.n, config.n), shown)
    if n > config.max_n or (method == GREEDY and n > 1):
        most = 1 if method == GREEDY else config.max_n
        raise Refused(400, f"found n {n}, expected at most {most} candidates by method {method}", param="n")
    params, seed = _params(body, method, config, defaults)
    before, problem = _problem(body, own, config, seed)
    return Asked(
        problem=problem,
        before=before,
        params=params,
        method=method,
        n=n,
        shown=shown,
        kind="choice" if problem.choices else own.kind or "auto",
        prompt=own.prompt or config.prompt,
        seed=seed,
        stop=_stop(body),
        logprobs=bool(body.logprobs),
        stream=bool(body.stream),
        stream_usage=bool(body.stream_options and body.stream_options.include_usage),
        model=body.model,
    )


def _params(body: Body, method: str, config: ServeConfig, defaults: SamplingParams) -> tuple[SamplingParams, int]:
    """How candidates are drawn, and the seed: a fixed one where a method that selects is asked at temperature 0."""
    if body.max_tokens and body.max_completion_tokens and body.max_tokens != body.max_completion_tokens:
        raise Refused(400, "found max_tokens and max_completion_tokens with different values", param="max_tokens")
    limit = body.max_completion_tokens or body.max_tokens or min(defaults.max_new_tokens, config.max_tokens)
    if limit > config.max_tokens:
        raise Refused(400, f"found max_tokens {limit}, expected at most {config.max_tokens}", param="max_tokens")
    params = params_of(
        method, defaults, limit, temperature=body.temperature, top_p=body.top_p, top_k=body.top_k
    )  # fmt: skip
    cold = (defaults.temperature if body.temperature is None else body.temperature) == 0
    seed = (body.seed or 0) if cold and selects(method) else body.seed
    return params, secrets.randbits(31) if seed is None else seed


def _stop(body: Body) -> tuple[str, ...]:
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if any(not one for one in stop):
        raise Refused(400, "found an empty text in stop", param="stop")
    return tuple(stop)


def _problem(body: Body, own: Own, config: ServeConfig, seed: int) -> tuple[tuple[Message, ...], Problem]:
    messages = [_message(turn, f"messages.{i}.content", config) for i, turn in enumerate(body.messages)]
    last = messages[-1]
    if last.role != "user":
        raise Refused(400, f"found a last message of role {body.messages[-1].role}, expected user", param="messages")
    if not last.text.strip():
        raise Refused(400, "found a last message without text, expected a question", param="messages")
    images = sum(len(m.images) for m in messages)
    if images > config.max_images:
        raise Refused(400, f"found {images} images, expected at most {config.max_images}", param="messages")
    if own.kind == "choice" and not own.choices:
        raise Refused(400, "found r3v.kind choice without r3v.choices", param="r3v.choices")
    if own.choices and own.kind not in (None, "auto", "choice"):
        raise Refused(400, f"found r3v.choices with r3v.kind {own.kind}", param="r3v.kind")
    try:
        return problem_of(messages, own.choices, seed)
    except DataError as error:
        raise Refused(400, str(error), param="messages") from None


def _message(turn: Turn, where: str, config: ServeConfig) -> Message:
    """Images of a message come before its text, as in training."""
    role: Any = "system" if turn.role == "developer" else turn.role
    if isinstance(turn.content, str):
        return Message(role, turn.content)
    texts: Sequence[str] = [part.text for part in turn.content if isinstance(part, TextPart)]
    urls = [part.image_url for part in turn.content if isinstance(part, ImagePart)]
    if urls and turn.role != "user":
        raise Refused(400, f"found an image in a message of role {turn.role}, expected user", param=where)
    if len(urls) > config.max_images:
        raise Refused(400, f"found {len(urls)} images, expected at most {config.max_images}", param=where)
    try:
        images = tuple(picture(url if isinstance(url, str) else url.url, config) for url in urls)
    except DataError as error:
        raise Refused(400, str(error), param=where) from None
    return Message(role, "\n".join(texts), images)
