"""`r3v ui`: its flags, and the server on this machine. Only argparse at import."""

from __future__ import annotations

import argparse
from typing import Any

from r3v.errors import ConfigError

CONNECTIONS = 64
"""Connections at once; more are answered with 503."""


def register(commands: Any) -> None:
    """Add `ui` to the subparsers of the command line."""
    text = "the runs of a folder in a browser: where they stand, their curves, two compared"
    p = commands.add_parser("ui", help=text, description=text)
    p.set_defaults(handler=run, takes_fields=False)
    p.add_argument(
        "folder", nargs="?", default="checkpoints/runs", help="folder of the runs (default checkpoints/runs)"
    )
    p.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; any but this machine's needs --api-key-env"
    )
    p.add_argument("--port", type=int, default=8766, help="port (default 8766; 0 takes a free one)")
    p.add_argument("--api-key-env", default="", help="environment variable with the password that browsers must give")


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    from r3v.app.commands.common import note
    from r3v.app.ui.folder import Root
    from r3v.serve.address import key_of, listen

    root, key = Root.of(args.folder), key_of(args.host, args.api_key_env)
    try:
        from r3v.app.ui.server import make_app
        from r3v.serve.hosting import Hosted
    except ModuleNotFoundError as error:
        raise ConfigError(f"r3v ui needs {error.name}, which is not installed: pip install 'r3v[serve]'") from error
    with listen(args.host, args.port) as bound:
        server = Hosted(make_app(root, key), bound, grace=2.0, most=CONNECTIONS)
        note(f"r3v ui: {root.path} at {server.root}/; stop with Ctrl-C")
        server.serve()
    note("r3v ui: stopped")
    return 0
