"""The HTTP side of `r3v serve`: who may ask, how much, how long, and what is answered when something is wrong.

`POST /v1/chat/completions`, `GET /v1/models`, `GET /health`. Errors have the form of OpenAI's API, so that its clients
raise their own exceptions. Nothing is read of a request that is turned away for its size, its key or a full queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from r3v.errors import ConfigError, DataError, EngineError, ModelError, R3VError
from r3v.policies.base import SamplingParams
from r3v.serve.address import has_key, names_this_machine
from r3v.serve.answer import Head, chunks, completion, event, opening
from r3v.serve.asked import Asked
from r3v.serve.config import METHODS, ServeConfig
from r3v.serve.engine import Engine, StoppedError
from r3v.serve.request import Refused, read
from r3v.serve.solve import Done

log = logging.getLogger(__name__)
BODY_TIME = 60.0
"""Seconds in which the body of a request must have arrived."""
DRAIN_TIME = 5.0
"""Seconds in which the body of a request that was refused may still arrive."""
ALIVE = 10.0
"""Seconds between two comments of a stream whose answer is not there yet, which keep gateways from cutting it."""


@dataclass
class Served:
    """What the routes work with. `defaults`: how candidates are drawn where a request does not say. `key`: what clients
    must send, None for nobody."""

    config: ServeConfig
    engine: Engine[Asked, Done]
    defaults: SamplingParams
    key: str | None = None
    started: int = 0
    reading: int = 0
    """Requests whose body is being read; they count as taken, because bodies fill the memory."""


def make_app(served: Served) -> FastAPI:
    """The application; `served.engine` is started and closed by whoever runs it."""

    async def allowed(request: Request) -> None:
        check_sender(request, served)

    own: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None}
    app = FastAPI(title="r3v serve", dependencies=[Depends(allowed)], **own)
    served.started = int(time.time())

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        await drained(request, served.config.max_body)
        return refusal(error)

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> Response:
        return refusal(Refused(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}"))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": served.config.name, "requests": served.engine.load}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model_row(name, served) for name in model_names(served.config)]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name not in model_names(served.config):
            raise Refused(404, f"found no model {name[:200]!r}", param="model", code="model_not_found")
        return model_row(name, served)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await answer(request, served)

    return app


def model_names(config: ServeConfig) -> list[str]:
    """The model under its own name, which selects by default, and under the name of each method."""
    return [config.name, *(f"{method}-{config.name}" for method in METHODS)]


def model_row(name: str, served: Served) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": served.started, "owned_by": "r3v"}


def check_sender(request: Request, served: Served) -> None:
    """Raises Refused for a missing or wrong key, and without a key for a foreign host name: a page in a browser could
    otherwise reach a server on loopback under a name of its own."""
    if served.key is not None:
        if request.url.path == "/health":
            return
        if not has_key(request.headers.get("authorization", ""), served.key):
            raise Refused(401, "found no valid key in the header Authorization: Bearer KEY", code="invalid_api_key")
        return
    host = request.headers.get("host", "")
    if not names_this_machine(host):
        raise Refused(403, f"found Host {host[:100]!r}, expected this machine's own name such as 127.0.0.1")


async def answer(request: Request, served: Served) -> Response:
    """The answer to one chat request."""
    if served.reading + served.engine.load >= served.config.max_requests:
        raise Refused(429, f"found {served.config.max_requests} requests in work already; ask again later", code="busy")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "found another type of body, expected Content-Type: application/json, not compressed")
    began = time.monotonic()
    served.reading += 1
    try:
        data = await body_of(request, served.config.max_body)
        # Images are decoded here to see that they are images, which must not hold up every other request.
        asked = await asyncio.to_thread(read, data, served.config, served.defaults)
        future = asyncio.wrap_future(submit(served, asked))
    finally:
        served.reading -= 1
    head = Head(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), asked.model)
    left = served.config.timeout - (time.monotonic() - began)
    if asked.stream:
        return StreamingResponse(streamed(head, asked, future, left), media_type="text/event-stream")
    try:
        done = await finished(request, future, left)
    except Refused:
        raise
    except Exception as error:
        raise refusal_of(error) from None
    return JSONResponse(completion(head, asked, done))


def submit(served: Served, asked: Asked) -> Any:
    try:
        return served.engine.submit(asked)
    except StoppedError as error:
        raise refusal_of(error) from None


async def body_of(request: Request, limit: int) -> bytes:
    """The body. Raises Refused where it is larger than `limit` bytes, or does not arrive."""
    too_large = Refused(413, f"found a body of more than {limit} bytes; send fewer or smaller images")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIME):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {BODY_TIME:.0f} s") from None
    except ClientDisconnect:
        raise Refused(499, "the client went away") from None
    return b"".join(parts)


async def drained(request: Request, limit: int) -> None:
    """Reads the rest of a body and throws it away, for a while: a client that is still sending when the connection is
    closed sees a broken connection, not the answer."""
    size, length = 0, request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > 4 * limit:
        return
    with contextlib.suppress(TimeoutError, RuntimeError, ClientDisconnect):  # read already, late, or gone
        async with asyncio.timeout(DRAIN_TIME):
            async for part in request.stream():
                size += len(part)
                if size > 4 * limit:
                    return


async def finished(request: Request, future: asyncio.Future[Done], left: float) -> Done:
    """The answer, waited for at most `left` seconds and no longer than the client waits."""
    gone = asyncio.ensure_future(departed(request))
    try:
        await asyncio.wait({future, gone}, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        raise Refused(499, "the client went away") if gone.done() else too_late(left)
    finally:
        gone.cancel()
        future.cancel()


async def departed(request: Request) -> None:
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        continue


def too_late(left: float) -> Refused:
    return Refused(504, "no answer in the time the server allows; ask for fewer candidates or tokens", code="timeout")


async def streamed(head: Head, asked: Asked, future: asyncio.Future[Done], left: float) -> AsyncIterator[str]:
    """The events of a stream. An error after its beginning is an event of its own, as OpenAI's clients expect."""
    end = time.monotonic() + left
    try:
        for one in opening(head, asked):
            yield event(one)
        while not future.done() and (now := time.monotonic()) < end:
            await asyncio.wait({future}, timeout=min(ALIVE, end - now))
            if not future.done():
                yield ": in work\n\n"
        try:
            if not future.done():
                raise too_late(left)
            done = future.result()
        except Exception as error:
            yield event(error_value(error if isinstance(error, Refused) else refusal_of(error)))
            return
        for chunk in chunks(head, asked, done):
            yield event(chunk)
        yield "data: [DONE]\n\n"
    finally:
        future.cancel()  # of a client that went away nothing is left in the queue


def refusal_of(error: Exception) -> Refused:
    """The refusal that an error in the work means for the client."""
    status = getattr(error, "status", None)
    if isinstance(error, StoppedError):
        return Refused(503, str(error), code="stopping")
    if isinstance(error, EngineError):
        # What the server behind refuses, the client can change; a key or an address it cannot.
        own = isinstance(status, int) and status in (400, 404, 413, 422)
        busy = status == 429
        return Refused(400 if own else 429 if busy else 502, str(error), code="engine")
    if isinstance(error, DataError | ModelError | ConfigError):
        return Refused(400, str(error))
    if isinstance(error, R3VError):
        return Refused(500, str(error))
    log.error("a request failed", exc_info=error)
    return Refused(500, f"the server failed ({type(error).__name__}); its log says more")


def refusal(error: Refused) -> JSONResponse:
    headers = {"Retry-After": "1"} if error.status in (429, 503) else {}
    headers |= {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    # A body that was not read stays on the wire, where it would be taken for the next request.
    headers["Connection"] = "close"
    return JSONResponse(error_value(error), error.status, headers)


def error_value(error: Refused) -> dict[str, Any]:
    kind = "invalid_request_error" if error.status < 500 and error.status != 429 else "server_error"
    message = error.message.encode("utf-8", "replace").decode()
    return {"error": {"message": message, "type": kind, "param": error.param, "code": error.code}}
