"""Files that are whole or absent (written under a temporary name, fsynced, renamed), or held by one process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from r3v.errors import RunError

_UMASK = os.umask(0o077)
os.umask(_UMASK)
"""Temporary files are made for their owner alone; they get the rights a plain file would have with their name. The mask
can only be read by setting it, which is done once, before there are threads."""


def _fsync_dir(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: str | Path) -> Path:
    """The folder `path`, made where it is missing. Raises RunError where it cannot be made."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return Path(path)


def _unwritable(path: str | Path, error: OSError) -> RunError:
    return RunError(f"{path}: cannot be written ({error.strerror or error}); make room for it or choose another place")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`; when the block ends without an error, it is fsynced and takes its name.

    Raises RunError where nothing can be written there."""
    target = Path(path)
    make_folder(target.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    os.fchmod(handle, 0o666 & ~_UMASK)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        _take_name(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _take_name(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    _fsync_dir(target.parent)


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Write bytes or UTF-8 text so that a reader sees the old file or the whole new one."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: str | Path, value: Any) -> None:
    """Indented JSON with a final newline; NaN and infinities are errors."""
    atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic_dir(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path`; its files are fsynced and it takes the name, replacing an older folder.

    Raises RunError where nothing can be written there, or a file has the name."""
    target = Path(path)
    make_folder(target.parent)
    if target.exists() and not target.is_dir():
        raise RunError(f"{target}: found a file, expected a folder or nothing; choose another place")
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            # What other libraries write (safetensors) is for its owner alone.
            os.chmod(file, (0o777 if file.is_dir() else 0o666) & ~_UMASK)
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        os.chmod(temporary, 0o777 & ~_UMASK)
        if target.exists():
            shutil.rmtree(target)
        _take_name(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def claim(file: IO[Any], busy: str) -> None:
    """Hold an open file for this process alone until it is closed. Raises RunError(`busy`) when another one has it.

    Asked twice: whoever looks whether a file is held (`r3v ui`) shares it for a moment."""
    for again in (True, False):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not again:
                raise RunError(busy) from error
            time.sleep(0.05)
        else:
            return
