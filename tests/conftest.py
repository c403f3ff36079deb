"""Shared fixtures: where the real data lives, and one thread so that parallel test workers do not fight.

Property tests run under one profile without limits of time: how long an example takes says how busy the machine is.
"""

from __future__ import annotations

import os
import socket
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


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing here may reach out: what tried to is listed, and fails. Other processes of this machine may be asked."""
    tried: list[str] = []

    def refuse(what: str) -> Callable[..., None]:
        def refused(*args: object, **_: object) -> None:
            tried.append(f"{what} {args[-1] if what == 'connect' else args[0]}")
            raise OSError(f"this test has no network, and {tried[-1]} was asked for")

        return refused

    monkeypatch.setattr(socket, "getaddrinfo", refuse("getaddrinfo"))
    monkeypatch.setattr(socket.socket, "connect", refuse("connect"))
    monkeypatch.setattr(socket.socket, "connect_ex", refuse("connect"))
    return tried
