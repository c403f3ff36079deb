"""Where the server listens, and who may reach it there. Standard library only, so that it is known at once."""

from __future__ import annotations

import ipaddress
import socket

from r3v.errors import ConfigError
from r3v.serve.config import ServeConfig
from r3v.settings.server import key_in


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server under that name."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(config: ServeConfig) -> socket.socket:
    """The socket, bound. Raises ConfigError where the address cannot be had."""
    made = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((config.host, config.port))
    except OSError as error:
        made.close()
        raise ConfigError(
            f"cannot listen on {config.host} port {config.port}: {error.strerror or error}; choose another --port"
        ) from error
    return made


def key_of(config: ServeConfig) -> str | None:
    """The key clients must send. Raises ConfigError for a server that others can reach and that asks for none."""
    key = key_in(config.api_key_env, "--api-key-env")
    if key is None and not is_loopback(config.host):
        raise ConfigError(
            f"found --host {config.host} without a key: whoever reaches this address could use the server. Export a "
            "key and name its variable with --api-key-env, or listen on 127.0.0.1"
        )
    return key
