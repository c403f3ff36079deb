"""Where a server listens, and who may reach it there. Standard library only, so that it is known at once."""

from __future__ import annotations

import base64
import binascii
import hmac
import socket
from urllib.parse import urlsplit

from r3v.errors import ConfigError
from r3v.settings.server import is_loopback, key_in


def names_this_machine(host: str) -> bool:
    """Whether the Host header of a request is a name of this machine: a page in a browser could otherwise reach a
    server on loopback under a name of its own."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def has_key(authorization: str, key: str) -> bool:
    """Whether the Authorization header of a request carries the key: as a bearer's, or as the password that a browser
    asks for."""
    kind, _, given = authorization.partition(" ")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode("utf-8", "replace").partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif kind.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode("utf-8", "replace"), key.encode())


def listen(host: str, port: int) -> socket.socket:
    """The socket, bound; port 0 takes a free one. Raises ConfigError where the address cannot be had."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        told = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen on {host} port {port}: {told}; choose another --port") from error
    return made


def key_of(host: str, variable: str) -> str | None:
    """The key clients must send, from the environment `variable`. Raises ConfigError for a server that others can reach
    and that asks for none."""
    key = key_in(variable, "--api-key-env")
    if key is None and not is_loopback(host):
        raise ConfigError(
            f"found --host {host} without a key: whoever reaches this address could use the server. Export a "
            "key and name its variable with --api-key-env, or listen on 127.0.0.1"
        )
    return key
