"""`r3v serve`: the flags, and the server of a run, a model or another server. Only argparse at import."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from r3v.app.commands.recall import recall_of, retrieval_flags
from r3v.app.parser import model_flags
from r3v.app.trees import fields_help
from r3v.errors import ConfigError
from r3v.serve.config import METHODS, PROMPT_MODES, ServeConfig, check

HELP = {
    "name": "model name clients ask for (default: the run, the model, or the model of the server behind)",
    "host": "address to listen on; any but this machine's own needs --api-key-env",
    "port": "0 takes a free one",
    "method": "selector of requests that name none",
    "n": "candidates of requests that name no number",
    "prompt": "solve: in the words of training; chat: messages as they are (default chat with --server.url)",
    "images": "folder whose files a request may name as images (default: data URLs only)",
    "api_key_env": "environment variable that holds the key clients must send",
    "max_body": "bytes of a request",
    "max_images": "images of a request",
    "max_pixels": "pixels of an image",
    "max_tokens": "tokens a request may ask for",
    "max_n": "candidates a request may ask for",
    "max_requests": "requests taken at once; further ones get status 429",
    "batch": "requests handed to the model together",
    "timeout": "seconds a request may take",
    "grace": "seconds to finish what is in work when told to stop",
}
CHOICES = {"method": METHODS, "prompt": PROMPT_MODES}
OPEN = ("name", "prompt")
"""Flags whose default depends on what is served."""


def register(commands: Any) -> None:
    """Add `serve` to the subparsers of the command line."""
    text = "serve a run, a model or another server as an OpenAI-compatible one that selects among several answers"
    p = commands.add_parser("serve", help=text, description=text, add_help=False)
    fields_help(p, "train", listed=False)
    p.set_defaults(handler=run, takes_fields=True)
    model_flags(p)
    for f in fields(ServeConfig):
        default = None if f.name in OPEN else f.default
        shown = "" if f.name in OPEN or default == "" else f" (default {default})"
        flag = f"--{f.name.replace('_', '-')}"
        kind: Any = type(f.default)
        p.add_argument(flag, type=kind, default=default, choices=CHOICES.get(f.name), help=HELP[f.name] + shown)
    retrieval_flags(p)


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    from r3v.app.commands.common import model_config, note
    from r3v.serve.address import key_of, listen

    serve = serve_config(args)
    key = key_of(serve.host, serve.api_key_env)
    if args.notebook is None:
        with recall_of(args, None, None):
            pass  # flags of notes without a notebook are refused here, before a model is loaded
    try:
        from r3v.serve.server import Server, engine_of
    except ModuleNotFoundError as error:
        raise ConfigError(f"r3v serve needs {error.name}, which is not installed: pip install 'r3v[serve]'") from error
    from r3v.reflection.stages import make_policy

    config = model_config(args, rest)
    remote = bool(config.server.url)
    serve = replace(serve, prompt=args.prompt or ("chat" if remote else "solve"))
    with listen(serve.host, serve.port) as bound:
        policy = make_policy(config.model, config, say=note)
        serve = replace(serve, name=args.name or name_of(args, config, policy))
        opened: Any = closing(cast(Any, policy)) if hasattr(policy, "close") else nullcontext(policy)

        def notes() -> AbstractContextManager[Any]:
            return recall_of(args, policy, config)

        alone = remote and args.notebook is None
        with opened, engine_of(policy, config, serve, notes, remote=alone) as engine:
            server = Server(engine, config, serve, bound, key)
            how = f"{policy.name}, {serve.method}@{serve.n}" + (f" in front of {config.server.url}" if remote else "")
            note(f"r3v serve: model {serve.name} ({how}) at {server.url}; stop with Ctrl-C or SIGTERM")
            server.serve()
    note("r3v serve: stopped")
    return 0


def serve_config(args: argparse.Namespace) -> ServeConfig:
    """The settings of the flags, looked at. Raises ConfigError."""
    given = {f.name: getattr(args, f.name) for f in fields(ServeConfig) if f.name not in OPEN}
    found = ServeConfig(**given, name="r3v" if args.name is None else args.name)
    check(found)
    if found.images and not Path(found.images).is_dir():
        raise ConfigError(f"found --images {found.images}, expected a folder")
    return found


def name_of(args: argparse.Namespace, config: Any, policy: Any) -> str:
    """The run's folder, the model of the server behind, or the last part of the model's path."""
    if args.run:
        return Path(args.run).resolve().name
    path = getattr(policy, "model", "") if config.server.url else config.model.path
    return str(path) if config.server.url else Path(str(path)).name
