"""Runs the application with uvicorn: one socket, a graceful end."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import uvicorn

from r3v.policies.base import Policy
from r3v.prompts import Notes
from r3v.selection.selector import selector_of
from r3v.serve.app import Served, make_app
from r3v.serve.asked import Asked, defaults_of
from r3v.serve.config import ServeConfig
from r3v.serve.engine import Engine, Work
from r3v.serve.solve import Done, Solver
from r3v.serve.tokens import tokens_of
from r3v.settings.config import Config

OpenNotes = Callable[[], AbstractContextManager[Notes | None]]
"""Opens the notes of one thread, as `r3v.notebook.retrieval.inject.open_recall` does."""


@contextmanager
def engine_of(
    policy: Policy, config: Config, serve: ServeConfig, notes: OpenNotes, *, remote: bool = False
) -> Iterator[Engine[Asked, Done]]:
    """The engine that answers with `policy`. `remote`: the policy asks a server, which batches by itself, so that many
    threads take one request each; the notes of a notebook keep to one thread."""
    tokens = tokens_of(policy)

    @contextmanager
    def opened() -> Iterator[Work[Asked, Done]]:
        with notes() as found:
            yield Solver(selector_of(policy, config, found), tokens)

    made: Engine[Asked, Done] = Engine(
        opened, batch=1 if remote else serve.batch, threads=min(serve.max_requests, 16) if remote else 1
    )
    try:
        yield made
    finally:
        made.close(serve.grace)


class Server:
    """A server in work or to come; `serve` runs it until it is told to stop. `bound` is the socket of
    `r3v.serve.address.listen`, `key` what clients must send."""

    def __init__(
        self, engine: Engine[Asked, Done], config: Config, serve: ServeConfig, bound: socket.socket, key: str | None
    ) -> None:
        self.served = Served(serve, engine, defaults_of(config), key)
        self._socket = bound
        self.port: int = bound.getsockname()[1]
        host = f"[{serve.host}]" if ":" in serve.host else serve.host
        self.url = f"http://{host}:{self.port}/v1"
        options = uvicorn.Config(
            make_app(self.served), log_level="warning", access_log=False, lifespan="off", server_header=False,
            timeout_keep_alive=30, timeout_graceful_shutdown=int(serve.grace) + 1, backlog=512,
            limit_concurrency=serve.max_requests + 512, h11_max_incomplete_event_size=65536, ws="none",
        )  # fmt: skip
        self._server = uvicorn.Server(options)

    def serve(self) -> None:
        """Answer until `stop`, SIGTERM or SIGINT; requests in work are finished first."""
        old = None
        if threading.current_thread() is threading.main_thread():
            # uvicorn raises the signal again when it has ended; to end so is what was wanted.
            old = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            for number, handler in (old or {}).items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """May be called from any thread."""
        self._server.should_exit = True

    @property
    def ready(self) -> bool:
        return self._server.started
