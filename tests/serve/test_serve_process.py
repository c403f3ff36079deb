"""The command `r3v serve` as a process with geoworld-tiny: the docs' blocks, repeatable answers, a graceful end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer
from openai import OpenAI
from places import ROOT
from served import asked, data_url, listening, wait_for

from r3v.app.cli import main
from r3v.data.geoworld import source

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "serve.md").read_text(), re.DOTALL | re.MULTILINE)
PROBLEMS = [next(iter(source("test", 5, seed))) for seed in range(2)]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(address, process) of a server, which the last test stops."""
    command = [sys.executable, "-W", "ignore", "-m", "r3v.app.cli", "serve", "--model", "geoworld-tiny", "--port", "0"]
    server = subprocess.Popen([*command, "--n", "2"], stderr=subprocess.PIPE, text=True)
    assert server.stderr
    url, said = None, []
    while url is None:
        said.append(server.stderr.readline())
        assert said[-1], f"the server ended with {server.wait()}: {''.join(said)[-3000:]}"
        url = re.search(r"http://\S+/v1", said[-1])
    try:
        yield url.group(), server
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def question(number: int) -> Any:
    problem = PROBLEMS[number]
    return asked(problem.question, data_url(problem.images[0].read()))


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_of_the_docs_runs(process: tuple[str, Any], code: str, tmp_path: Path) -> None:
    (tmp_path / "figure.png").write_bytes(PROBLEMS[0].images[0].read())
    assert "http://127.0.0.1:8000/v1" in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace("http://127.0.0.1:8000/v1", process[0])],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()


def test_there_are_blocks_to_run() -> None:
    assert len(BLOCKS) == 2


def test_the_same_seed_gives_the_same_answer_beside_any_others(process: tuple[str, Any]) -> None:
    with OpenAI(base_url=process[0], api_key="none", timeout=300) as client:

        def ask(number: int, seed: int) -> tuple[Any, Any]:
            found = client.chat.completions.create(
                model="majority@2-geoworld-tiny", messages=question(number), seed=seed, max_tokens=24, logprobs=True
            )
            assert found.choices[0].logprobs
            assert found.choices[0].logprobs.content
            text = "".join(token.token for token in found.choices[0].logprobs.content)
            assert text == found.choices[0].message.content
            assert found.usage
            assert found.usage.prompt_tokens > 36  # the image alone is 36 tokens
            return [c["text"] for c in found.r3v["candidates"]], found.usage.completion_tokens  # type: ignore[attr-defined]

        alone = ask(0, 7)
        with ThreadPoolExecutor(8) as pool:
            crowd = [pool.submit(ask, i % 2, 7 + i // 2) for i in range(8)]
            assert crowd[0].result() == alone
            assert len({str(f.result()) for f in crowd}) > 2


def test_sigterm_finishes_what_is_in_work_and_ends_well(process: tuple[str, Any]) -> None:
    url, server = process
    with OpenAI(base_url=url, api_key="none", timeout=300) as client, ThreadPoolExecutor(1) as pool:
        stream = client.chat.completions.create(
            model="sample@8-geoworld-tiny", messages=question(1), stream=True, max_tokens=60
        )
        events = iter(stream)
        next(events)  # the opening comes when the request is taken, before there is an answer
        rest = pool.submit(lambda: [e.choices[0].finish_reason for e in events])
        server.send_signal(signal.SIGTERM)
        assert rest.result()[-1] in ("stop", "length")
    assert server.wait(120) == 0
    assert server.stderr.read().splitlines()[-1] == "r3v serve: stopped"


def test_the_command_in_front_of_a_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found: list[Any] = []

    def ask() -> None:
        wait_for(lambda: listening(port))
        try:
            with OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k" * 9, timeout=60) as client:
                found.append(client.chat.completions.create(model="base", messages=asked("Hi?")))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setenv("R3V_TEST_KEY", "k" * 9)
    with FakeServer("other", say=lambda body: "Answer: 4") as fake:
        client = threading.Thread(target=ask, daemon=True)
        client.start()
        command = ["serve", "--server.url", fake.url, "--port", str(port), "--method", "majority", "--n", "3"]
        assert main([*command, "--api-key-env", "R3V_TEST_KEY"]) == 0
        client.join(60)
        assert [chat["messages"][0]["content"] for chat in fake.chats] == ["Hi?"] * 3
    assert found[0].choices[0].message.content == "Answer: 4"
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"r3v serve: model base (base, majority@3 in front of {fake.url}) at http://127.0.0.1:")
    assert said[-1] == "r3v serve: stopped"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--method", "oracle"], "found --method 'oracle', expected one of fused, self_select"),
        (["--n", "0"], "found n 0"),
        (["--n", "65"], "at most max_n 64"),
        (["--timeout", "nan"], "found timeout nan"),
        (["--name", " m"], "found model name"),
        (["--images", "no/such/folder"], "--images no/such/folder, expected a folder"),
        (["--api-key-env", "R3V_TEST_UNSET"], "R3V_TEST_UNSET, which is not set"),
        (["--host", "0.0.0.0"], "without a key"),
        (["--top-k", "3"], "without --notebook"),
    ],
)
def test_flags_that_cannot_be_used_are_named_before_a_model_is_loaded(
    flags: list[str], named: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*args: object, **how: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("r3v.reflection.stages.make_policy", loads)
    try:
        code = main(["serve", *flags])
    except SystemExit as end:  # argparse's own way
        code = end.code
    assert code == 2
    assert named in capsys.readouterr().err
