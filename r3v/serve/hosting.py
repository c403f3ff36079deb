"""An application under uvicorn: one socket, a graceful end."""

from __future__ import annotations

import signal
import socket
import threading
from typing import Any

import uvicorn


class Hosted:
    """A server in work or to come; `serve` runs it until it is told to stop. `bound` is the socket of
    `r3v.serve.address.listen`. `grace`: seconds that requests in work are given at the end; `most`: connections at
    once."""

    def __init__(self, app: Any, bound: socket.socket, *, grace: float, most: int) -> None:
        self._socket = bound
        address = bound.getsockname()
        self.port: int = address[1]
        name = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.root = f"http://{name}:{self.port}"
        options = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", server_header=False,
            timeout_keep_alive=30, timeout_graceful_shutdown=int(grace) + 1, backlog=512, limit_concurrency=most,
            h11_max_incomplete_event_size=65536, ws="none",
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
