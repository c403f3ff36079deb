"""A program with the command line of `vllm serve` that answers as `fake_server` does, for tests of the run's engine.

`program(folder)` writes an executable. Its behaviour comes from environment variables: FAKE_FAILS (a text: printed, and
the start fails), FAKE_DIES (it ends after so many answers), FAKE_PID and FAKE_CHILD (files that take the
numbers of its process and of one that it starts), FAKE_ARGS (a file that takes its arguments, one JSON list a start).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def program(folder: Path) -> Path:
    path = folder / "vllm"
    path.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
                    "import fake_vllm\nfake_vllm.main(sys.argv[1:])\n")  # fmt: skip
    path.chmod(0o755)
    return path


def main(argv: list[str]) -> None:
    from fake_server import FakeServer

    print("INFO loading weights", flush=True)
    if os.environ.get("FAKE_ARGS"):
        with open(os.environ["FAKE_ARGS"], "a") as file:
            file.write(json.dumps(argv) + "\n")
    if os.environ.get("FAKE_PID"):
        Path(os.environ["FAKE_PID"]).write_text(str(os.getpid()))
    if os.environ.get("FAKE_FAILS"):
        sys.exit(f"ValueError: {os.environ['FAKE_FAILS']} (key {os.environ['VLLM_API_KEY']})")
    if os.environ.get("FAKE_CHILD"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["FAKE_CHILD"]).write_text(str(child.pid))
    server = FakeServer(port=int(argv[argv.index("--port") + 1]))
    server.models, server.key = [argv[1]], os.environ["VLLM_API_KEY"]
    left = int(os.environ.get("FAKE_DIES", "1000000"))

    def answered() -> None:
        nonlocal left
        with server.lock:
            left -= 1
        if left <= 0:
            print("EngineDeadError: EngineCore encountered an issue", flush=True)
            os._exit(7)

    server.answered = answered
    server.serve_forever()
