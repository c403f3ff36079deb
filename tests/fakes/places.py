"""Where things lie, for tests in any folder."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
TESTS = ROOT / "tests"
FAKES = TESTS / "fakes"
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real data for development, where it lies beside the checkout."""
