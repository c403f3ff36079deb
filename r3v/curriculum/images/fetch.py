"""Downloads that a hostile server cannot turn against us.

http and https only. A name is resolved once, every address it has must be public, and the connection goes to an
address that was checked, so a second answer of the name server (DNS rebinding) plays no part. Redirects are followed
by hand with the same checks. Time, bytes and pixels have limits that hold whatever the headers say; the type of a
picture is read from its first bytes. No proxy, no cookies, no credentials in addresses, no compressed transfers.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from r3v.curriculum.images.sniff import image_type
from r3v.errors import DataError, ImageError
from r3v.records import BytesImage

AGENT = "r3v-curriculum/0.1"
_CHUNK = 65_536
_REDIRECTS = (301, 302, 303, 307, 308)
# Address ranges that `is_global` calls public although they reach other addresses: NAT64, 6to4, Teredo.
_TRANSLATED = tuple(ipaddress.ip_network(n) for n in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]


class FetchError(DataError):
    """An address that is not allowed, or an answer that is too slow, too large, damaged or not what was asked for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download may cost. `allow` lists networks (CIDR) that may be reached although they are not public."""

    seconds: float = 20.0
    """For everything together: name, connection, redirects, headers, body."""
    bytes: int = 20_000_000
    pixels: int = 40_000_000
    redirects: int = 4
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer. `url` is where it came from after redirects, `address` the address connected to."""

    url: str
    status: int
    data: bytes = field(repr=False)
    address: str
    asked: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, from the system's resolver. Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def permitted(address: str, allow: Sequence[str] = ()) -> bool:
    """Whether an address is public unicast, or in one of the networks `allow`. Addresses that only wrap another one
    (IPv4 in IPv6) are judged by what they wrap, tunnels are refused."""
    ip: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip in ipaddress.ip_network(network, strict=False) for network in allow):
        return True
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in n for n in _TRANSLATED)


def fetch(
    url: str,
    limits: Limits | None = None,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    resolver: Resolver = resolve,
) -> Fetched:
    """Get (or post to) an address. Raises FetchError for everything that goes wrong, naming the address.

    Only GET requests follow redirects, without the caller's `headers` once the host changes.
    """
    limits = limits or Limits()
    deadline = time.monotonic() + limits.seconds
    here, extra = url, dict(headers or {})
    for _ in range(limits.redirects + 1):
        target = _parse(here)
        hop = _Hop(here, target, deadline, limits, resolver)
        status, location, data = hop.run(method, body, extra)
        if status not in _REDIRECTS or not location:
            return Fetched(here, status, data, hop.address, url)
        if method != "GET":
            raise FetchError(f"found a redirect to {location[:200]!r} of a {method} request", file=here)
        new = urljoin(here, location)
        after = _parse(new, came_from=here)
        if target.scheme == "https" and after.scheme == "http":
            raise FetchError(f"found a redirect from https to {new[:200]!r}", file=here)
        if (after.hostname, after.port) != (target.hostname, target.port):
            extra = {}
        here = new
    raise FetchError(f"found more than {limits.redirects} redirects", file=url)


def fetch_image(url: str, limits: Limits | None = None, *, resolver: Resolver = resolve) -> BytesImage:
    """Download a picture, known by its first bytes and decoded once within the pixel limit. Raises FetchError."""
    from r3v.data.images import decode

    limits = limits or Limits()
    got = fetch(url, limits, resolver=resolver, headers={"Accept": "image/*"})
    if got.status != 200:
        raise FetchError(f"found status {got.status}, expected 200", file=got.url)
    if image_type(got.data) is None:
        raise FetchError(f"found {got.data[:16]!r}, expected a PNG, JPEG, GIF, WEBP, BMP or TIFF picture", file=got.url)
    image = BytesImage(got.data, got.url)
    try:
        decode(image, limits.pixels)
    except ImageError as error:
        raise FetchError(f"found a picture that cannot be used: {error.what}", file=got.url) from error
    return image


def fetch_json(
    url: str,
    limits: Limits | None = None,
    *,
    post: Any = None,
    headers: Mapping[str, str] | None = None,
    resolver: Resolver = resolve,
) -> Any:
    """Get JSON, or post JSON and get JSON. Raises FetchError for another status than 200 or a body that is no JSON."""
    body = None if post is None else json.dumps(post).encode()
    sent = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {}), **(headers or {})}
    got = fetch(url, limits, method="POST" if body else "GET", body=body, headers=sent, resolver=resolver)
    if got.status != 200:
        raise FetchError(f"found status {got.status}, expected 200: {got.data[:200]!r}", file=got.url)
    try:
        return json.loads(got.data)
    except (ValueError, RecursionError) as error:
        raise FetchError(f"found {got.data[:80]!r}, expected JSON ({error})", file=got.url) from error


def _parse(url: str, came_from: str | None = None) -> SplitResult:
    def refuse(what: str) -> FetchError:
        fix = f"The redirect came from {came_from}" if came_from else "Give an http or https address"
        return FetchError(what, file=url[:300], fix=fix)

    if any(c <= " " or c == "\x7f" or ord(c) > 126 for c in url):
        raise refuse("found characters that an address cannot hold, expected them percent-encoded")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise refuse(f"found no valid address: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise refuse(f"found scheme {parts.scheme!r}, expected http or https")
    if not parts.hostname:
        raise refuse("found no host")
    if parts.username is not None or parts.password is not None:
        raise refuse("found a user name or password in the address")
    return parts


class _Hop:
    """One request to one address, until `deadline`."""

    def __init__(self, url: str, target: SplitResult, deadline: float, limits: Limits, resolver: Resolver) -> None:
        self.url, self.target, self.deadline, self.limits, self.resolver = url, target, deadline, limits, resolver
        self.host = target.hostname or ""
        self.port = target.port or (443 if target.scheme == "https" else 80)
        self.address = ""

    def run(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, str | None, bytes]:
        """(status, Location, body)."""
        addresses = self._addresses()
        try:
            return self._exchange(self._connect(addresses), method, body, headers)
        except FetchError:
            raise
        except TimeoutError as error:
            raise self._late() from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FetchError(f"the transfer failed: {type(error).__name__}: {error}", file=self.url) from error

    def _late(self) -> FetchError:
        return FetchError(f"took longer than {self.limits.seconds:g} s", file=self.url)

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _addresses(self) -> list[str]:
        """Every address of the host, all permitted. The lookup runs beside, because it cannot be interrupted."""
        found: list[str] = []
        failed: list[BaseException] = []

        def look_up() -> None:
            try:
                found.extend(self.resolver(self.host, self.port))
            except (OSError, UnicodeError) as error:
                failed.append(error)

        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(max(0.0, self.deadline - time.monotonic()))
        if thread.is_alive():
            raise self._late()
        if failed or not found:
            raise FetchError(
                f"host {self.host!r} has no address: {failed[0] if failed else 'none found'}", file=self.url
            )
        for address in found:
            if not permitted(address, self.limits.allow):
                raise FetchError(
                    f"host {self.host!r} has the address {address}, which is not public",
                    file=self.url,
                    fix="Add its network to `allow` if you run that server yourself",
                )
        return list(dict.fromkeys(found))

    def _connect(self, addresses: Sequence[str]) -> socket.socket:
        error: OSError | None = None
        for address in addresses:
            try:
                sock = socket.create_connection((address, self.port), timeout=self._left())
            except TimeoutError:
                raise
            except OSError as caught:
                error = caught
                continue
            self.address = address
            if self.target.scheme == "http":
                return sock
            try:
                return ssl.create_default_context().wrap_socket(sock, server_hostname=self.host)
            except BaseException:
                sock.close()
                raise
        raise error or OSError("no address could be reached")

    def _exchange(
        self, sock: socket.socket, method: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, str | None, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port)
        guarded = _Guarded(sock, self._left)
        connection.sock = guarded  # type: ignore[assignment]
        try:
            path = (self.target.path or "/") + (f"?{self.target.query}" if self.target.query else "")
            sent = {"User-Agent": AGENT, "Accept-Encoding": "identity", "Connection": "close", **headers}
            connection.request(method, path, body=body, headers={"Host": self.target.netloc, **sent})
            response = connection.getresponse()
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                return response.status, location, b""
            coding = response.getheader("Content-Encoding", "identity").lower()
            if coding != "identity":
                raise FetchError(f"found content encoding {coding!r}, which was not asked for", file=self.url)
            return response.status, None, self._body(response)
        finally:
            connection.close()
            sock.close()

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        most = self.limits.bytes
        stated = response.getheader("Content-Length")
        if stated is not None and stated.isdecimal() and int(stated) > most:
            raise FetchError(f"the body has {stated} bytes, more than the limit of {most}", file=self.url)
        parts, size = [], 0
        while chunk := response.read1(_CHUNK):
            size += len(chunk)
            if size > most:
                raise FetchError(f"the body has more than {most} bytes", file=self.url)
            parts.append(chunk)
        whole = stated is None or not stated.isdecimal() or response.chunked or size == int(stated)
        if not whole:
            raise FetchError(f"the body ended after {size} of {stated} bytes", file=self.url)
        return b"".join(parts)


class _Guarded:
    """A socket whose every read and write gets only the time that is left, so that a drip of bytes runs out of it."""

    def __init__(self, sock: socket.socket, left: Callable[[], float]) -> None:
        self._sock, self._left = sock, left

    def sendall(self, data: Any) -> None:
        self._sock.settimeout(self._left())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._left))

    def close(self) -> None:
        """Nothing: http.client closes its side before the body is read; the owner closes the socket at the end."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, left: Callable[[], float]) -> None:
        self._sock, self._left = sock, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._left())
        return self._sock.recv_into(buffer)
