"""HTTP to one model server: kept-alive connections, one deadline per attempt, retries with growing pauses.

The standard library's `http.client` is enough: a request is one POST with one JSON answer, threads give the
concurrency, and every fault (refused, reset, cut, late, malformed) is seen here as it happened instead of through
the wrappers and the own retries of a client library. Redirects are not followed, so a key goes to no other host.
Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from r3v.errors import EngineError
from r3v.settings.server import ServerConfig, api_key, check

T = TypeVar("T")
RETRIED = frozenset({408, 429, 500, 502, 503, 504, 529})
"""Statuses that may pass by themselves: late, too many requests, server and gateway errors, overloaded."""
FIRST_WAIT = 0.5
"""Mean seconds before the second attempt; each further pause is twice as long."""
CONNECT = 10.0
"""Seconds to wait for a connection."""
SHOWN = 500
"""Characters of the server's own message that are shown."""


class BadAnswerError(ValueError):
    """A 200 answer that cannot be used: not JSON, cut, or without what was asked for. The request is made again."""


class ServerError(EngineError):
    """The server refused a request or did not answer it; `status` is None where there was no HTTP answer."""

    def __init__(self, message: str, status: int | None = None, detail: str = "") -> None:
        super().__init__(message)
        self.status, self.detail = status, detail


class StoppedError(EngineError):
    """The call was given up because another one of the same batch failed."""


class _PassingError(Exception):
    """A fault that may pass. `wait` is what the server asked for, in seconds."""

    def __init__(self, what: str, fix: str, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(what)
        self.what, self.fix, self.status, self.wait = what, fix, status, wait


def as_json(data: bytes, content_type: str = "") -> Any:
    """A JSON answer. Raises BadAnswerError."""
    try:
        return json.loads(data)
    except ValueError as error:
        raise BadAnswerError(f"not JSON ({error}): {data[:80]!r}") from error


def as_text(data: bytes, content_type: str = "") -> str:
    """Any answer as text."""
    return data.decode("utf-8", "replace")


def server_message(data: bytes) -> str:
    """The message of an error answer, in the forms vLLM, SGLang, FastAPI and hosted models use, or its text."""
    text = data.decode("utf-8", "replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        return text[:SHOWN]
    for _ in range(3):
        if not isinstance(value, dict):
            break
        value = next((value[k] for k in ("error", "message", "error_message", "detail") if value.get(k)), str(value))
    return (value if isinstance(value, str) else json.dumps(value))[:SHOWN]


def retry_after(value: str | None) -> float | None:
    """Seconds a `Retry-After` header asks for: a number, or the time until a date; None where it says neither."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


class Client:
    """Requests to the server of `config`; safe to use from many threads, at most `limit` in flight at once.

    `retried` is called with one line of text for every attempt that failed and is made again. `key` is used in place of
    the one that the config names. `unanswered` is called after every attempt that got no HTTP answer, with whether it
    was the last: who knows the server to be gone raises there.
    """

    def __init__(
        self,
        config: ServerConfig,
        limit: int,
        retried: Callable[[str], None] = lambda line: None,
        *,
        key: str | None = None,
        unanswered: Callable[[bool], None] = lambda last: None,
    ) -> None:
        check(config)
        parts = urlsplit(config.url)
        base = parts.path.rstrip("/") or "/v1"
        self.config, self.base, self.root = config, base, base.removesuffix("/v1")
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self.shown = f"{parts.scheme}://{parts.netloc}{base}"
        self._key = key or api_key(config)
        self._unanswered = unanswered
        self._tls = ssl.create_default_context() if self._https else None
        self._slots = threading.BoundedSemaphore(limit)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._retried = retried

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[bytes, str], T] = as_json,
        *,
        root: bool = False,
        stop: threading.Event | None = None,
        retries: int | None = None,
    ) -> T:
        """POST `body` as JSON and `read` the answer (bytes, content type).

        `root`: the path counts from the server's root instead of the base address. `retries`: instead of the
        configured number. Raises ServerError after the last attempt, or at once for a status that will not
        pass; StoppedError when `stop` is set meanwhile.
        """
        return self._call("POST", path, json.dumps(body).encode(), read, root, stop, retries)

    def get(
        self, path: str, read: Callable[[bytes, str], T] = as_json, *, root: bool = False, retries: int | None = None,
        again: Container[int] = RETRIED,
    ) -> T:  # fmt: skip
        """GET; otherwise as `post`. `again`: the statuses after which it is asked again."""
        return self._call("GET", path, None, read, root, None, retries, again)

    def limit(self, limit: int) -> None:
        """Set how many requests may be in flight; only while none is."""
        self._slots = threading.BoundedSemaphore(limit)

    def close(self) -> None:
        """Close idle connections; the client can still be used."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def abort(self) -> None:
        """Break off every request in flight; the threads that wait for them see a lost connection."""
        with self._lock:
            busy = list(self._busy)
        for connection in busy:
            if connection.sock is not None:
                try:
                    connection.sock.shutdown(2)
                except OSError:
                    continue  # it is gone already, which is what is wanted

    def redact(self, text: str) -> str:
        """`text` without the key."""
        return text.replace(self._key, "[key]") if self._key else text

    def _call(
        self, method: str, path: str, data: bytes | None, read: Callable[[bytes, str], T], root: bool,
        stop: threading.Event | None, retries: int | None, again: Container[int] = RETRIED,
    ) -> T:  # fmt: skip
        target = f"{self.root if root else self.base}{path}"
        url = f"{self.shown.removesuffix(self.base)}{target}"
        last = self.config.retries if retries is None else retries
        stop = stop or threading.Event()
        for attempt in range(last + 1):
            if stop.is_set():
                raise StoppedError(f"{url}: given up, because another request of the same batch failed")
            try:
                return self._attempt(method, target, url, data, read, stop, again)
            except _PassingError as fault:
                wait = self._wait(attempt, fault.wait)
                if fault.status is None and not stop.is_set():
                    self._unanswered(attempt == last)
                if attempt == last or wait is None or stop.is_set():
                    raise self._failure(url, attempt + 1, fault) from fault.__cause__
                self._retried(self.redact(f"{url}: {fault.what}; attempt {attempt + 2} in {wait:.1f} s"))
                stop.wait(wait)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, attempt: int, asked: float | None) -> float | None:
        """Seconds before the next attempt, None where the server asks for more than `max_wait`."""
        if asked is not None and asked > self.config.max_wait:
            return None
        # The spread keeps many clients that failed together from coming back together.
        grown = min(FIRST_WAIT * 2.0 ** min(attempt, 30), self.config.max_wait) * random.uniform(0.5, 1.5)
        return max(asked or 0.0, min(grown, self.config.max_wait))

    def _failure(self, url: str, attempts: int, fault: _PassingError) -> ServerError:
        asked = f", and asks to wait {fault.wait:.0f} s" if fault.wait and fault.wait > self.config.max_wait else ""
        text = f"{url}: {fault.what}{asked}; {attempts} attempt{'s' * (attempts > 1)} made. {fault.fix}"
        return ServerError(self.redact(text), fault.status, self.redact(fault.what))

    def _attempt(
        self, method: str, target: str, url: str, data: bytes | None, read: Callable[[bytes, str], T],
        stop: threading.Event, again: Container[int],
    ) -> T:  # fmt: skip
        with self._slots:
            status, headers, answer = self._exchange(method, target, data, stop)
        if status == 200:
            try:
                return read(answer, headers.get("content-type", ""))
            except BadAnswerError as error:
                fix = "Check the server's log, and that server.url is an OpenAI-compatible server"
                raise _PassingError(f"malformed answer: {self.redact(str(error))}", fix, status) from None
        said = self.redact(server_message(answer))
        if status in again:
            fix = "Lower server.concurrency or raise server.retries" if status == 429 else "Look at the server's log"
            raise _PassingError(f"status {status}: {said}", fix, status, retry_after(headers.get("retry-after")))
        fix = {
            401: "Set server.api_key_env to the variable that holds a valid key",
            403: "Use a key that may use this model",
            404: "Check server.url (it ends in /v1 for most servers) and server.model",
        }.get(status, "The server will not take this request, so it was not repeated; change what it names")
        raise ServerError(f"{url}: status {status}: {said or 'no message'}. {fix}", status, said)

    def _exchange(
        self, method: str, target: str, data: bytes | None, stop: threading.Event
    ) -> tuple[int, dict[str, str], bytes]:
        """One attempt over a kept connection; a kept one that the server has closed meanwhile is replaced once."""
        deadline = time.monotonic() + self.config.timeout
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                return self._over(connection, method, target, data, deadline)
            except (ConnectionError, http.client.BadStatusLine) as error:
                if stop.is_set():
                    raise self._transport(error) from error
                self.close()  # the others are as old
            except _TRANSPORT as error:
                raise self._transport(error) from error
        try:
            return self._over(self._connection(), method, target, data, deadline)
        except _TRANSPORT as error:
            raise self._transport(error) from error

    def _connection(self) -> http.client.HTTPConnection:
        wait = min(CONNECT, self.config.timeout)
        if self._https:
            return http.client.HTTPSConnection(self._host, self._port, timeout=wait, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=wait)

    def _over(
        self, connection: http.client.HTTPConnection, method: str, target: str, data: bytes | None, deadline: float
    ) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self._busy.add(connection)
        whole = False
        try:
            if connection.sock is None:
                connection.connect()
            sock = cast(socket.socket, connection.sock)  # connect() has set it
            headers = {"Accept": "application/json, text/event-stream", "User-Agent": "r3v"}
            headers |= {"Content-Type": "application/json"} if data is not None else {}
            headers |= {"Authorization": f"Bearer {self._key}"} if self._key else {}
            sock.settimeout(_left(deadline))
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            chunks = []
            while chunk := response.read1(65536):
                chunks.append(chunk)
                sock.settimeout(_left(deadline))
            if response.length:
                raise http.client.IncompleteRead(b"".join(chunks), response.length)
            keep = not response.will_close
            response.close()
            whole = keep and connection.sock is not None
            return response.status, {k.lower(): v for k, v in response.getheaders()}, b"".join(chunks)
        finally:
            with self._lock:
                self._busy.discard(connection)
                if whole:
                    self._idle.append(connection)
            if not whole:
                connection.close()

    def _transport(self, error: Exception) -> Exception:
        if isinstance(error, ssl.SSLCertVerificationError):
            return ServerError(f"{self.shown}: certificate refused ({error.verify_message}). Check server.url")
        if isinstance(error, TimeoutError):
            fix = "Raise server.timeout, lower server.concurrency, or look at the server's load"
            return _PassingError(f"no answer within {self.config.timeout:g} s", fix)
        if isinstance(error, http.client.IncompleteRead):
            return _PassingError("the answer was cut off", "Look at the server's log and at gateways in between")
        fix = "Check that the server runs and listens at server.url; raise server.retries if it takes long to start"
        return _PassingError(f"connection failed ({type(error).__name__}: {error})", fix)


_TRANSPORT = (OSError, http.client.HTTPException)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline passed")
    return left
