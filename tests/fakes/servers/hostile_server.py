"""A server on loopback that misbehaves in every way the download tests need; and one that speaks JSON."""

from __future__ import annotations

import contextlib
import json
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handler = Callable[[BaseHTTPRequestHandler], None]


class Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up, which is what the tests make them do; every other error is printed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve(routes: dict[str, Handler], host: str = "127.0.0.1") -> Iterator[tuple[str, list[tuple[str, dict, bytes]]]]:
    """(address, requests so far as (path, headers, body)) of a server with a handler for each path."""
    seen: list[tuple[str, dict, bytes]] = []

    class Server(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.path, dict(self.headers), body))
            self.body = body
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                routes[self.path.partition("?")[0]](self)

        do_GET = do_POST = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = Quiet((host, 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(data: bytes, type: str = "image/png", status: int = 200, **headers: str) -> Handler:
    """An ordinary answer."""

    def handler(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", type)
        if "Content_Length" not in headers:
            request.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(data)

    return handler


def reply_json(value: Any, status: int = 200) -> Handler:
    return reply(json.dumps(value).encode(), "application/json", status)


def redirect(to: str, status: int = 302) -> Handler:
    return reply(b"", status=status, Location=to)


def drip(first: bytes, stop: threading.Event, headers: bool = False) -> Handler:
    """A byte at a time until `stop`: of the body, or of a header that never ends."""

    def handler(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"X-Slow: " if headers else b"\r\n") + first)
        while not stop.wait(0.02):
            request.wfile.write(b"a")
            request.wfile.flush()

    return handler


def endless(request: BaseHTTPRequestHandler) -> None:
    """Zeros without end and without a length."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        request.wfile.write(bytes(65_536))


def cut_chunks(request: BaseHTTPRequestHandler) -> None:
    """A chunked body that ends inside a chunk."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nonly this")


def bomb_png(width: int, height: int) -> bytes:
    """A small PNG file that says it has width x height grey pixels, and has them, packed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(width // 8 + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
