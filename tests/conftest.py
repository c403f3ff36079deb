"""Shared fixtures: where the real data lives, and one thread so that parallel test workers do not fight.

Property tests run under one profile without limits of time: how long an example takes says how busy the machine is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# transformers decides once, on import, whether torchvision exists; so it is made importable before any test runs.
from places import SHARED_DATA
from tiny_models import torchvision_missing

torchvision_missing()

settings.register_profile("r3v", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("r3v")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """`real_data("geoqa")` is the folder of that dataset; the test is skipped by name where it is missing."""

    def folder(name: str) -> Path:
        base = Path(os.environ.get("R3V_DATA", SHARED_DATA))
        path = base / name
        if not path.is_dir():
            pytest.skip(f"real data {name!r} not found under {base} (set R3V_DATA)")
        return path

    return folder
