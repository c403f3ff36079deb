"""One file from one address, known by its hash, through the standard library."""

from __future__ import annotations

import hashlib
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from r3v.data.geoqa.sources import COMMAND, Part
from r3v.errors import DataError
from r3v.io import atomic_path

BLOCK = 1 << 20
TIMEOUT = 60


def download(part: Part, target: Path, url: str, *, bar: bool = True) -> None:
    """Write what `url` gives to `target`, whole or not at all. Raises DataError where it cannot be had."""
    from tqdm import tqdm

    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, atomic_path(target) as temporary:
            size = int(answer.headers.get("Content-Length") or 0)
            with (
                temporary.open("wb") as out,
                tqdm(
                    total=size or None, unit="B", unit_scale=True, desc=part.name, disable=not bar, file=sys.stderr
                ) as t,
            ):
                got = 0
                while block := answer.read(BLOCK):
                    out.write(block)
                    got += len(block)
                    t.update(len(block))
            if size and got != size:
                raise DataError(f"the connection ended after {got:,} of {size:,} bytes", file=url, fix="Run it again")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"cannot be downloaded ({reason})",
            file=url,
            fix=f"Without a network, put {part.name} into a folder and run `{COMMAND} --from FOLDER`",
        ) from error


def known(part: Part, path: Path) -> None:
    """Raise DataError where a file is not the one that is pinned. An archive is checked when it is opened."""
    if part.sha256 is None:
        return
    found = sha256(path)
    if found != part.sha256:
        raise DataError(
            f"found sha256 {found}, expected {part.sha256} ({part.repository} at {part.commit})",
            file=path,
            fix="It is damaged or another version; remove it and run the command again",
        )


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def room(folder: Path, wanted: int) -> None:
    """Raise DataError where the disk of a folder has less than `wanted` bytes."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise DataError(
            f"found {free:,} bytes free, needed {wanted:,}", file=folder, fix="Make room, or name another --out"
        )
