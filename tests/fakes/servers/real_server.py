"""`transformers serve` in a process of its own, which tests kill and start again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from places import ROOT, python_path

MODEL = ROOT / "checkpoints" / "geoworld-tiny"
T = TypeVar("T")
START = 900
"""Seconds a start may take on a busy machine."""


class RealServer:
    """The server with geoworld-tiny on the CPU, always on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def flags(self) -> list[str]:
        """What a command of r3v needs to ask it, and to wait for it while it is down."""
        return [f"--server.url={self.url}", f"--server.model={MODEL}", "--server.retries=300", "--server.max_wait=2"]

    def start(self) -> None:
        """Returns when it takes connections."""
        code = "from transformers.cli.transformers import main; main()"
        # As in the tests: processors ask for torchvision, which the CPU environment lacks, and work without it.
        code = f"from tiny_models import torchvision_missing; torchvision_missing(); {code}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    code,
                    "serve",
                    "--device",
                    "cpu",
                    "--dtype",
                    "float32",
                    "--port",
                    str(self.port),
                ],
                env={**os.environ, "PYTHONPATH": python_path()},
                stdout=log,
                stderr=log,
            )
        process = self.process
        wait_for(lambda: process.poll() is not None or self.listening())
        assert process.poll() is None, self.log.read_text()[-3000:]

    def listening(self) -> bool:
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def answers(self) -> int:
        """Chat completions given so far, over all its lives."""
        return self.log.read_text(errors="replace").count('"POST /v1/chat/completions HTTP/1.1" 200')

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def wait_for(happened: Callable[[], object]) -> None:
    end = time.monotonic() + START
    while not happened():
        assert time.monotonic() < end, f"it did not happen within {START} s"
        time.sleep(0.02)
