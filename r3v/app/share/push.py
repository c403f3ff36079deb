"""`r3v push` and `r3v export --push`: an adapter or a merged model with its card. Only argparse at import."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Add `push` to the subparsers of the command line."""
    text = "send the accepted adapter of a run to the Hugging Face hub, with a model card"
    p = commands.add_parser("push", help=text, description=text)
    p.set_defaults(handler=run, takes_fields=False)
    p.add_argument("run", help="run folder")
    p.add_argument("name", help="OWNER/NAME on the hub")
    p.add_argument("--out", metavar="DIR", help="keep the folder that is sent (default with --dry-run: NAME)")
    push_flags(p)


def push_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("--private", action="store_true", help="make a new repository private")
    p.add_argument("--dry-run", action="store_true", help="write folder and card, say what would be sent, ask nobody")
    p.add_argument("--license", metavar="ID", help="licence, such as apache-2.0 (default: the base's, where known)")


def run(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.app.commands.common import note
    from r3v.app.share.folder import write_run
    from r3v.app.share.hub import check_name, check_ready

    check_name(args.name)
    token = None if args.dry_run else check_ready()
    with tempfile.TemporaryDirectory() as scratch:
        kept = args.out or (args.name.rpartition("/")[2] if args.dry_run else None)
        folder = write_run(args.run, args.name, kept or Path(scratch) / "sent", args.license, note)
        deliver(folder, args, token, f"Adapter of {Path(args.run).resolve().name}")
    return 0


def deliver(folder: Path, args: argparse.Namespace, token: str | None, message: str, name: str | None = None) -> None:
    """Say what is sent and, unless `token` is None, send it."""
    from r3v.app.share.folder import files_of
    from r3v.app.share.hub import send

    target: str = name or args.name
    found = files_of(folder)
    total = sum(size for _, size in found)
    kind = "private" if args.private else "public"
    head = "would be sent" if token is None else "to send"
    print(f"{len(found)} files, {total:,} bytes, {head} to {target} ({kind} where it is new):")
    for file, size in found:
        print(f"  {size:>15,}  {file}")
    if token is None:
        print(f"nothing was sent; the folder is {folder}")
        return
    print(f"sent: {send(folder, target, token, private=args.private, message=message)}")


def export_flags(p: argparse.ArgumentParser) -> None:
    """`--push` of `r3v export`."""
    p.add_argument("--push", metavar="OWNER/NAME", help="also send the merged model to the hub, with a card")
    push_flags(p)


def ready_to_push(args: argparse.Namespace) -> str | None:
    """The token of an export that is to be pushed, before hours are spent on it. Raises ConfigError for flags of
    `--push` given alone, and where the hub cannot be asked."""
    from r3v.app.share.hub import check_name, check_ready
    from r3v.errors import ConfigError

    if not args.push:
        alone = [flag for flag, on in (("--private", args.private), ("--license", args.license)) if on]
        alone += ["--dry-run"] if args.dry_run else []
        if alone:
            raise ConfigError(f"found {', '.join(alone)} without --push OWNER/NAME")
        return None
    check_name(args.push)
    return None if args.dry_run else check_ready()


def push_merged(args: argparse.Namespace, config: Any, token: str | None) -> None:
    """Write the card of a merged model and send its folder."""
    from r3v.app.share.folder import add_card

    add_card(args.out, args.push, config, args.license)
    deliver(Path(args.out), args, token, "Merged model", args.push)
