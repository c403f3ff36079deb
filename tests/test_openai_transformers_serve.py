"""A real server: `transformers serve` with geoworld-tiny on the CPU. Needs transformers' extra `serving`."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from r3v.config import ModelConfig
from r3v.data import load
from r3v.errors import EngineError
from r3v.policies.base import SamplingParams
from r3v.policies.openai import OpenAIPolicy
from r3v.policies.openai_config import ServerConfig
from r3v.prompts import STYLES, solve

MODEL = Path(__file__).resolve().parent.parent / "checkpoints" / "geoworld-tiny"
NEEDED = ("fastapi", "uvicorn", "openai", "rich", "typer")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"`transformers serve` needs {', '.join(missing)}"),
    pytest.mark.skipif(not MODEL.is_dir(), reason="geoworld-tiny is not trained yet"),
]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def serve(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`transformers serve`, answering by the time the block begins."""
    code = "from transformers.cli.transformers import main; main()"
    # As in the tests: processors ask for torchvision, which the CPU environment lacks, and work without it.
    code = f"from tiny_models import torchvision_missing; torchvision_missing(); {code}"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--device", "cpu", "--dtype", "float32", "--port", str(port)],
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        end = time.monotonic() + 900
        while True:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            assert time.monotonic() < end, "the server did not start within 900 s"
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_real_server_killed_and_restarted(tmp_path: Path) -> None:
    from r3v.policies.hf import HFPolicy

    problems = load("geoworld:test", limit=3)
    prompts = [solve(problem, STYLES["short"]) for problem in problems]
    greedy, drawn = SamplingParams(temperature=0.0, max_new_tokens=48), SamplingParams(0.9, max_new_tokens=24)
    port = free_port()
    config = ServerConfig(url=f"http://127.0.0.1:{port}/v1", model=str(MODEL), retries=200, max_wait=2.0)

    here = HFPolicy.from_config(ModelConfig(path="geoworld-tiny", dtype="float32", prompt_style="short"))
    expected = [row[0].text for row in here.generate(prompts, 1, greedy)]
    with serve(port) as server, OpenAIPolicy(config) as policy:
        assert (policy.kind, policy.concurrency) == ("transformers", 1)
        assert [row[0].text for row in policy.generate(prompts, 1, greedy)] == expected
        undisturbed = policy.generate(prompts, 3, drawn, seed=5)
        assert len({c.text for row in undisturbed for c in row}) > len(prompts), "the server did not sample"
        assert policy.meter.snapshot().tokens_out > 0
        with pytest.raises(EngineError, match="cannot score"):
            policy.score(prompts[:1], [["a"]])

        found, cached = [], ServerConfig(**{**vars(config), "cache": str(tmp_path / "answers.sqlite")})
        with OpenAIPolicy(cached) as disturbed:
            run = threading.Thread(target=lambda: found.append(disturbed.generate(prompts, 3, drawn, seed=5)))
            run.start()
            end = time.monotonic() + 900
            while disturbed.meter.snapshot().calls < 2:
                assert time.monotonic() < end
                time.sleep(0.005)
            server.kill()
            server.wait()
            with serve(port):
                run.join(600)
        assert found == [undisturbed]
