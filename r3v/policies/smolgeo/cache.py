"""Where large files that a user's machine fetches or makes are kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "R3V_HOME"


def home(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """`R3V_HOME` where it is set, otherwise the folder that the platform keeps caches in: `$XDG_CACHE_HOME/r3v` or
    `~/.cache/r3v`, on macOS `~/Library/Caches/r3v`, on Windows `%LOCALAPPDATA%\\r3v`. Not made here."""
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE]).expanduser()
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "r3v"
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "r3v"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "r3v"
