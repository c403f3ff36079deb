"""`r3v notebook ui`: a page on this machine for reading and changing a notebook.

It listens on loopback unless told otherwise; on any other address it asks for a token. Requests under a foreign host
name are refused (DNS rebinding), and so is every change that does not carry the secret of this server's own pages.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from r3v.errors import ConfigError, DataError, R3VError, RunError
from r3v.notebook.exchange.people import whoami
from r3v.notebook.page import pages as ui_pages
from r3v.notebook.page.actions import GET, POST, Page, Site
from r3v.notebook.store.store import Notebook
from r3v.pages.kit import POLICY
from r3v.settings.server import is_loopback

MAX_BODY = 1 << 20
LINGER = 5.0  # seconds at most that what is still being sent after the answer is read and thrown away
COOKIE = "r3v_notebook"
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass
class Refused(Exception):
    """A request that is turned away."""

    status: HTTPStatus
    reason: str


class Server(ThreadingHTTPServer):
    """`url` is what to open; it carries the token where one is needed."""

    daemon_threads = True

    def __init__(
        self, path: str | Path, host: str = "127.0.0.1", port: int = 0, *, token: str | None = None, author: str = ""
    ) -> None:
        """Raises RunError when there is no such notebook, ConfigError when the address cannot be used."""
        if token is not None and not token:
            raise ConfigError("found an empty token, expected some characters, or none at all")
        self.notebook = Notebook.open(path)
        self.token = token if token is not None or is_loopback(host) else secrets.token_urlsafe(24)
        self.site = Site(self.notebook, author or whoami(), secrets.token_urlsafe(24))
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            self.notebook.close()
            raise ConfigError(f"cannot listen on {host} port {port}: {error}; choose another --port") from error
        self.name = f"[{host}]" if ":" in host else host
        self.loopback = is_loopback(host)

    @property
    def url(self) -> str:
        secret = f"?token={quote(self.token)}" if self.token else ""
        return f"http://{self.name}:{self.server_port}/{secret}"

    def hosts(self) -> set[str]:
        """What a browser may call this server while it listens on loopback."""
        return {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost", "[::1]", self.name)}

    def server_close(self) -> None:
        super().server_close()
        self.notebook.close()


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version = "r3v"
    sys_version = ""
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: the addresses would hold the token."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, work: Callable[[], None]) -> None:
        try:
            self._let_in()
            work()
        except Refused as error:
            self._fail(error.status, error.reason)
        except (DataError, ConfigError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except RunError as error:
            self._fail(HTTPStatus.CONFLICT, str(error))
        except R3VError as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def finish(self) -> None:
        """Having answered, take in what is still being sent. A socket closed with bytes unread resets the line, and
        who sends a form that was refused half-way would see that in place of the answer."""
        super().finish()
        until = time.monotonic() + LINGER
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while (left := until - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(1 << 16):
                    return
        except OSError:
            return  # the other side is gone or slow; nobody is owed more

    def _let_in(self) -> None:
        """Raises Refused for a foreign host name, a foreign origin, or a missing token."""
        host = self.headers.get("Host", "")
        if self.server.loopback and host not in self.server.hosts():
            raise Refused(HTTPStatus.FORBIDDEN, f"found host {host!r}, expected the address this server printed")
        origin = self.headers.get("Origin")
        if self.command == "POST" and origin is not None and origin != f"http://{host}":
            raise Refused(HTTPStatus.FORBIDDEN, "the request comes from another page")
        if self.server.token is None:
            return
        try:
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        given = cookies[COOKIE].value if COOKIE in cookies else ""
        asked = self._query().get("token", "")
        if not any(_same(value, self.server.token) for value in (given, asked)):
            raise Refused(HTTPStatus.UNAUTHORIZED, "open the address that `r3v notebook ui` printed; it has the token")

    def _query(self) -> dict[str, str]:
        return _first(urlsplit(self.path).query)

    def _get(self) -> None:
        path, query = urlsplit(self.path).path, self._query()
        if "token" in query and self.server.token is not None:
            self._cookie(path, {name: value for name, value in query.items() if name != "token"})
            return
        if path == "/blob":
            self._send(HTTPStatus.OK, *self.server.site.picture(query))
        elif path in GET:
            self._page(GET[path](self.server.site, query))
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "no such page")

    def _cookie(self, path: str, query: Mapping[str, str]) -> None:
        """Take the token out of the address, where it would stay in the browser's history."""
        target = path if path in GET else "/"
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", f"{target}?{urlencode(query)}" if query else target)
        self.send_header("Set-Cookie", f"{COOKIE}={self.server.token}; Path=/; HttpOnly; SameSite=Lax")
        self._end(0)

    def _post(self) -> None:
        path = urlsplit(self.path).path
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()) or int(length) > MAX_BODY:
            self.close_connection = True
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a form of at most {MAX_BODY:,} bytes")
        body = self.rfile.read(int(length))
        try:
            fields = _first(body.decode("ascii"))
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "expected a form") from error
        if not _same(fields.get("csrf", ""), self.server.site.csrf):
            raise Refused(HTTPStatus.FORBIDDEN, "the form is not from this server, or from before it was restarted")
        if path not in POST:
            raise Refused(HTTPStatus.NOT_FOUND, "no such action")
        found = POST[path](self.server.site, fields)
        if isinstance(found, Page):
            self._page(found)
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", found.to)
        self._end(0)

    def _page(self, found: Page) -> None:
        self._html(found.status, found.title, found.body)

    def _html(self, status: HTTPStatus, title: str, body: str) -> None:
        text = ui_pages.page(title, body, self.server.notebook.path.name, self.server.site.where.nav())
        self._send(status, text.encode("utf-8", "replace"), "text/html; charset=utf-8")

    def _fail(self, status: HTTPStatus, reason: str) -> None:
        self._html(status, status.phrase, f'<p class="error">{escape(reason)}</p>')

    def _send(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self._end(len(data))
        self.wfile.write(data)

    def _end(self, length: int) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _first(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True, max_num_fields=100).items()}
