"""vLLM as a run's own engine, with a program that takes its command line: started, asked, lost, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_vllm import program

from r3v.app.cli import main
from r3v.errors import ConfigError, EngineGoneError
from r3v.policies.base import SamplingParams
from r3v.policies.engine import policy as held
from r3v.policies.engine import process
from r3v.policies.engine.command import command
from r3v.policies.engine.policy import ServedChooser, let_go, vllm_policy
from r3v.policies.engine.process import Engine
from r3v.policies.server import client as http
from r3v.policies.server.policy import OpenAIPolicy
from r3v.records import Message, Prompt
from r3v.settings.config import ModelConfig
from r3v.settings.engine import VllmConfig, check
from r3v.settings.server import ServerConfig

PARAMS = SamplingParams(temperature=1.0, max_new_tokens=64)
PROMPTS = [Prompt(name, (Message("user", f"What is {name}?"),)) for name in ("a", "b", "c")]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.01)
    yield
    let_go()


@pytest.fixture
def config(tmp_path: Path) -> VllmConfig:
    return VllmConfig(
        command=str(program(tmp_path)), logs=str(tmp_path / "logs"), env={"FAKE_ARGS": f"{tmp_path}/args"}
    )


@pytest.fixture
def model(tmp_path: Path) -> ModelConfig:
    (tmp_path / "model").mkdir()
    return ModelConfig(path=str(tmp_path / "model"))


def adapter(folder: Path, name: str) -> str:
    path = folder / name
    path.mkdir()
    (path / "adapter_config.json").write_text("{}")
    (path / "adapter_model.safetensors").write_text(name)
    return str(path)


def running(pid: int) -> bool:
    """Whether the process lives; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    for _ in range(600):
        if not running(pid):
            return True
        time.sleep(0.05)
    return False


def test_the_command_line_says_what_the_run_needs(tmp_path: Path) -> None:
    vllm = program(tmp_path)
    config = VllmConfig(
        f"{vllm} --verbose", dtype="bfloat16", max_len=2048, memory=0.8, replicas=2,
        args={"enforce-eager": True, "enable-prefix-caching": False, "limit-mm-per-prompt": {"image": 1}},
    )  # fmt: skip
    found = command(config, ModelConfig(revision="abc", max_pixels=9, lora_r=24), "hub/name", 77)
    assert found[:4] == [str(vllm), "--verbose", "serve", "hub/name"]
    flags = dict(zip(found[4:], [*found[5:], ""], strict=True))
    assert flags["--host"] == "127.0.0.1"
    assert (flags["--port"], flags["--dtype"], flags["--max-model-len"]) == ("77", "bfloat16", "2048")
    assert (flags["--gpu-memory-utilization"], flags["--data-parallel-size"]) == ("0.8", "2")
    assert (flags["--revision"], flags["--mm-processor-kwargs"]) == ("abc", '{"max_pixels": 9}')
    assert flags["--max-lora-rank"] == "32", "the least of vLLM's ranks that holds 24"
    assert flags["--limit-mm-per-prompt"] == '{"image": 1}'
    assert {"--enforce-eager", "--no-enable-prefix-caching", "--enable-lora"} <= set(found)
    assert "--enable-prefix-caching" not in found
    bare = command(VllmConfig(str(vllm), args={"enable-lora": False}), ModelConfig(), "m", 1)
    assert "--no-enable-lora" in bare
    assert not {"--max-loras", "--max-lora-rank"} & set(bare)
    with pytest.raises(ConfigError, match=r"found model.lora_r 600, expected at most 512"):
        command(VllmConfig(str(vllm)), ModelConfig(lora_r=600), "m", 1)
    with pytest.raises(ConfigError, match="there is no program no-such-vllm; install vLLM"):
        command(VllmConfig("no-such-vllm"), ModelConfig(), "m", 1)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (VllmConfig(command=" "), "policy.vllm.command empty"),
        (VllmConfig(command="'vllm"), "No closing quotation"),
        (VllmConfig(replicas=0), "policy.vllm.replicas 0, expected at least 1"),
        (VllmConfig(memory=1.5), "policy.vllm.memory 1.5"),
        (VllmConfig(start=0), "policy.vllm.start 0"),
        (VllmConfig(args={"--enforce_eager": True}), "without its dashes: enforce-eager"),
        (VllmConfig(args={"port": 1}), "policy.vllm.args.port, which the run sets itself"),
    ],
)
def test_values_that_cannot_be_used_are_named(config: VllmConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(config)


def test_one_engine_serves_round_after_round_and_ends_before_the_fit(
    config: VllmConfig, model: ModelConfig, tmp_path: Path
) -> None:
    told: list[str] = []
    first = vllm_policy(config, model, ServerConfig(), say=told.append)
    assert isinstance(first, OpenAIPolicy)
    rows = first.generate(PROMPTS, 2, PARAMS, seed=1)
    assert [len(row) for row in rows] == [2, 2, 2]
    assert rows[0][0].token_ids[-1] == 0, "ids come from the engine, the end of the turn included"
    assert first.concurrency == 128
    engine = held._Held.engine
    assert engine is not None
    # The next round's adapter goes into the engine that runs already.
    trained = ModelConfig(path=model.path, adapter=adapter(tmp_path, "round_01"))
    second = vllm_policy(config, trained, ServerConfig(), say=told.append)
    assert held._Held.engine is engine
    assert second.name.startswith(f"{model.path}+")
    assert second.generate(PROMPTS[:1], 1, PARAMS)[0][0].model == second.name
    # Another precision is another engine.
    half = VllmConfig(config.command, dtype="float16", logs=config.logs, env=config.env)
    vllm_policy(half, model, ServerConfig())
    assert held._Held.engine is not engine
    assert not engine.alive
    last = held._Held.engine
    let_go()
    assert last is not None
    assert not last.alive
    starts = [json.loads(line) for line in (tmp_path / "args").read_text().splitlines()]
    assert [argv[argv.index("--dtype") + 1] for argv in starts] == ["auto", "float16"]
    assert told[0].startswith("starting the engine")
    assert "answers after" in told[1]


def test_two_adapters_of_one_engine_answer_and_choose(config: VllmConfig, model: ModelConfig, tmp_path: Path) -> None:
    answers = ModelConfig(path=model.path, adapter=adapter(tmp_path, "answers"))
    policy = vllm_policy(config, answers, ServerConfig(), chooser=adapter(tmp_path, "chooses"))
    assert isinstance(policy, ServedChooser)
    assert policy.name == f"{policy.answering.name}, chosen by {policy.choosing.name}"
    assert policy.answering.name != policy.choosing.name
    assert policy.generate(PROMPTS[:1], 1, PARAMS)[0][0].model == policy.answering.name
    (choice,) = policy.choose_index(PROMPTS[:1], [["Solution [1] is right.", "Solution [2] is right."]])
    assert sum(choice.shares) == pytest.approx(1.0)
    policy.close()


def test_a_start_that_fails_shows_its_last_lines_and_no_key(model: ModelConfig, tmp_path: Path) -> None:
    failing = VllmConfig(str(program(tmp_path)), logs=str(tmp_path), env={"FAKE_FAILS": "no such architecture"})
    with pytest.raises(EngineGoneError, match="ended with code 1 before it answered") as caught:
        vllm_policy(failing, model, ServerConfig())
    assert "| ValueError: no such architecture (key [key])" in str(caught.value)
    assert "| INFO loading weights" in str(caught.value)
    assert held._Held.engine is None


def test_the_error_is_shown_though_much_is_said_after_it(tmp_path: Path) -> None:
    lines = "print('RuntimeError: no kernel for rank 3'); [print('leaked', i) for i in range(40)]; raise SystemExit(3)"
    with pytest.raises(EngineGoneError, match="ended with code 3") as caught:
        Engine(lambda port: [sys.executable, "-c", lines], tmp_path / "log")
    shown = str(caught.value).splitlines()
    assert shown[1:3] == ["  | RuntimeError: no kernel for rank 3", "  | ..."]
    assert shown[3:-1] == [f"  | leaked {i}" for i in range(28, 40)]


def test_an_engine_that_dies_ends_the_stage_at_once(config: VllmConfig, model: ModelConfig) -> None:
    dying = VllmConfig(config.command, logs=config.logs, env={"FAKE_DIES": "2"}, concurrency=1)
    policy = vllm_policy(dying, model, ServerConfig())
    with pytest.raises(EngineGoneError, match="the engine ended with code 7") as caught:
        policy.generate(PROMPTS, 2, PARAMS)
    assert "EngineDeadError" in str(caught.value)
    assert "goes on from the last finished shard" in str(caught.value)


def test_an_engine_killed_between_two_requests_is_noticed(
    config: VllmConfig, model: ModelConfig, tmp_path: Path
) -> None:
    child = tmp_path / "pid"
    policy = vllm_policy(replace(config, env={"FAKE_PID": str(child)}), model, ServerConfig())
    engine = held._Held.engine
    assert engine is not None
    os.killpg(engine._process.pid, signal.SIGKILL)  # the watcher alone: what it watches is in a group of its own
    engine._process.wait()
    with pytest.raises(EngineGoneError, match="the engine ended with code -9"):
        engine.must_answer(False)
    policy.close()
    assert gone(int(child.read_text())), "it does not stay behind without its watcher"


def test_a_stuck_engine_is_given_up(config: VllmConfig, model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ENDING", 0.01)
    vllm_policy(config, model, ServerConfig())
    engine = held._Held.engine
    assert engine is not None
    engine.must_answer(False)  # it lives: the request is made again
    with pytest.raises(EngineGoneError, match="the engine runs but does not answer"):
        engine.must_answer(True)


def test_nothing_of_the_engine_outlives_a_killed_run(tmp_path: Path) -> None:
    """The run is killed with -9; the engine and the process that it had started itself end."""
    vllm, child = program(tmp_path), tmp_path / "child"
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from r3v.policies.engine.process import Engine\n"
        f"words = [{str(vllm)!r}, 'serve', 'm', '--port']\n"
        f"engine = Engine(lambda port: [*words, str(port)], Path({str(tmp_path / 'log')!r}))\n"
        "print(engine._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "FAKE_CHILD": str(child)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert gone(int(done.stdout)), "the watcher"
    assert gone(int(child.read_text())), "what the engine had started"


def test_stopping_takes_what_the_engine_had_started(tmp_path: Path) -> None:
    vllm, child = program(tmp_path), tmp_path / "child"
    engine = Engine(
        lambda port: [str(vllm), "serve", "m", "--port", str(port)], tmp_path / "log", env={"FAKE_CHILD": str(child)}
    )
    assert running(int(child.read_text()))
    engine.stop()
    assert not engine.alive
    assert gone(int(child.read_text()))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--server.url", "http://x/v1"], "found policy.engine vllm and server.url http://x/v1"),
        (["--policy.ray.address", "auto"], "found policy.engine vllm and policy.ray.address auto"),
        (["--policy.vllm.memory", "7"], "found policy.vllm.memory 7"),
        (["--policy.vllm.command", "no-such-vllm"], "there is no program no-such-vllm"),
    ],
)
def test_what_cannot_be_asked_so_is_refused_before_a_run_begins(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "geoworld_tiny.yaml", "--run.dir", str(run), "--policy.engine", "vllm", *flags]) == 2
    assert said in capsys.readouterr().err
    assert not run.exists()
