"""Where things lie, for tests in any folder."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
TESTS = ROOT / "tests"
FAKES = TESTS / "fakes"
FOLDERS = (FAKES, *(FAKES / name for name in ("models", "families", "servers", "runs", "notes")))
"""Folders of fakes, whose modules are imported by their bare names (`pythonpath` in pyproject.toml)."""
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real data for development, where it lies beside the checkout."""


def python_path(*before: Path) -> str:
    """PYTHONPATH for a process that imports fakes: folders of its own, those of the fakes, and what was set."""
    return os.pathsep.join([*map(str, (*before, *FOLDERS)), os.environ.get("PYTHONPATH", "")])
