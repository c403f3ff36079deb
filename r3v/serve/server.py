"""The server of `r3v serve`: an engine for a policy, and the application in front of it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from r3v.policies.base import Policy
from r3v.prompts import Notes
from r3v.selection.selector import selector_of
from r3v.serve.app import Served, make_app
from r3v.serve.asked import Asked, defaults_of
from r3v.serve.config import ServeConfig
from r3v.serve.engine import Engine, Work
from r3v.serve.hosting import Hosted
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


class Server(Hosted):
    """The server of an engine; see `Hosted`. `key`: what clients must send."""

    def __init__(
        self, engine: Engine[Asked, Done], config: Config, serve: ServeConfig, bound: socket.socket, key: str | None
    ) -> None:
        self.served = Served(serve, engine, defaults_of(config), key)
        super().__init__(make_app(self.served), bound, grace=serve.grace, most=serve.max_requests + 512)
        host = f"[{serve.host}]" if ":" in serve.host else serve.host
        self.url = f"http://{host}:{self.port}/v1"
