"""The run's own engine against real vLLM (`make vllm` makes its environment; `make test-full` runs this)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from places import ROOT

from r3v.errors import EngineGoneError, ModelError
from r3v.policies.base import SamplingParams
from r3v.policies.engine import policy as held
from r3v.policies.engine.policy import let_go, vllm_policy
from r3v.policies.server.client import ServerError
from r3v.policies.server.policy import OpenAIPolicy
from r3v.rollout.shards import read_shard
from r3v.settings.config import ModelConfig
from r3v.settings.engine import VllmConfig
from r3v.settings.server import ServerConfig

VLLM = Path(os.environ.get("R3V_VLLM", ROOT / ".venv-vllm/bin/vllm"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VLLM.exists(), reason=f"no {VLLM}; `make vllm` installs it"),
]
# The CPU worker of vLLM 0.32 ends at a prompt that is prefilled in pieces and sampled with a seed of its own.
ARGS = {"enforce-eager": True, "limit-mm-per-prompt": {"image": 1}, "max-num-seqs": 32, "enable-chunked-prefill": False}
ENV = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}
CONFIG = VllmConfig(str(VLLM), dtype="bfloat16", max_len=1024, args=ARGS, env=ENV)
FLAGS = [
    "--policy.engine", "vllm", "--policy.vllm.command", str(VLLM), "--policy.vllm.dtype", "bfloat16",
    "--policy.vllm.max_len", "1024", "--policy.vllm.args", json.dumps(ARGS), "--policy.vllm.env", json.dumps(ENV),
]  # fmt: skip


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield str(tmp_path_factory.mktemp("engine"))
    let_go()


def policy(logs: str, **model: str) -> OpenAIPolicy:
    found = vllm_policy(replace(CONFIG, logs=logs), ModelConfig(**model), ServerConfig())  # pyright: ignore[reportArgumentType]
    assert isinstance(found, OpenAIPolicy)
    return found


def r3v(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "r3v.app.cli", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_candidates_carry_the_ids_and_the_log_probabilities_of_the_engine(logs: str) -> None:
    """What vLLM says of a sample in bf16 is what the model says of it in float32, but for rounding."""
    from r3v import prompts
    from r3v.data import load
    from r3v.policies.sampling.hf import HFPolicy

    problems = list(load("geoworld:test", limit=8))
    asked = [prompts.solve(problem, prompts.STYLES["short"]) for problem in problems]
    rows = policy(logs).generate(asked, 2, SamplingParams(temperature=1.0, max_new_tokens=96), seed=3)
    sampled = [row[0] for row in rows]
    assert all(len(c.token_ids) == len(c.logprobs) > 0 for c in sampled)
    own = HFPolicy.from_config(ModelConfig())
    differences = []
    for prompt, candidate in zip(asked, sampled, strict=True):
        ((score,),) = own.score([prompt], [[candidate.text]])
        if score.token_ids == candidate.token_ids:
            differences += [abs(a - b) for a, b in zip(score.logprobs, candidate.logprobs, strict=True)]
    assert len(differences) > 100
    assert sum(differences) / len(differences) < 0.05


def test_a_bad_adapter_is_refused_and_the_engine_goes_on(logs: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"]}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"not what it says")
    with pytest.raises((ServerError, ModelError), match="adapter"):
        policy(logs, adapter=str(tmp_path))
    from r3v.records import Message, Prompt

    again = policy(logs).generate([Prompt("p", (Message("user", "Hello"),))], 1, SamplingParams(max_new_tokens=4))
    assert len(again[0][0].token_ids) == 4 or again[0][0].stop == "eos"


def test_an_engine_killed_in_the_middle_ends_the_call_with_its_last_lines(logs: str) -> None:
    from r3v.records import Message, Prompt

    found = policy(logs)
    engine = held._Held.engine
    assert engine is not None
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(engine._process.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    with pytest.raises(EngineGoneError, match="the engine ended with code"):
        found.generate([Prompt("p", (Message("user", "Hello"),))], 1, SamplingParams(max_new_tokens=4))
    assert policy(logs).generate([Prompt("p", (Message("user", "Hello"),))], 1, SamplingParams(max_new_tokens=4))


def test_a_run_samples_fits_and_measures_with_the_engine(tmp_path: Path) -> None:
    """One round: vLLM samples, is stopped for the fit, serves the new adapter and measures it; then it chooses."""
    run = tmp_path / "run"
    let_go()
    small = ["--data.n_train", "16", "--data.n_gate", "8", "--data.n_eval", "8", "--run.rounds", "1", "--sample.k", "4"]
    small += ["--select.n", "3", "--train.max_steps", "2", "--run.dir", str(run)]
    done = r3v("train", "recipes/geoworld_tiny.yaml", *small, *FLAGS)
    report = json.loads((run / "round_01" / "report.json").read_text())
    assert report["pool"]["problems"] == 16
    assert report["eval"]["greedy"]["n"] == 8
    assert len(list((run / "engine").glob("*.log"))) == 2, "once before the fit, once after it"
    assert report["fit"]["drift"]["mean"] < 0.05, "nats a token between vLLM in bf16 and the model that is trained"
    (shard, *_) = sorted((run / "round_01" / "candidates").glob("*.parquet"))
    assert all(graded.candidate.tokenizer for graded in read_shard(shard)), "its ids are those of the model trained"
    assert "the engine answers after" in done.stderr
    out = tmp_path / "select.jsonl"
    adapter = str(run / "round_01" / "adapter")
    asked = ["--data", "geoworld:test", "--limit", "4", "--n", "3", "--method", "self_select", "--out", str(out)]
    r3v("select", *asked, "--adapter", adapter, "--select.adapter", adapter, *FLAGS)
    assert len(out.read_text().splitlines()) == 4
