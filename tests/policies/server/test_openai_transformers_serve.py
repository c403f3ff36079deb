"""A real server: `transformers serve` with geoworld-tiny on the CPU, killed and started again while commands run.
Needs transformers' extra `serving`."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_server import MODEL, START, RealServer, wait_for

from r3v.app.cli import main
from r3v.data import load
from r3v.errors import EngineError
from r3v.notebook.store.store import Notebook
from r3v.policies.base import SamplingParams
from r3v.policies.server.policy import OpenAIPolicy
from r3v.prompts import STYLES, solve
from r3v.rollout.shards import read_shard, shard_paths
from r3v.settings.config import ModelConfig
from r3v.settings.server import ServerConfig

NEEDED = ("fastapi", "uvicorn", "openai", "rich", "accelerate")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"`transformers serve` needs {', '.join(missing)}"),
    pytest.mark.skipif(not MODEL.is_dir(), reason="geoworld-tiny is not trained yet"),
]
STYLE = ["--model.prompt_style=short"]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = RealServer(tmp_path_factory.mktemp("serve"))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(life: RealServer) -> RealServer:
    """Running, whatever the test before did to it."""
    if life.process is None:
        life.start()
    return life


def disturbed(server: RealServer, work: Callable[[], object], after: int = 2) -> object:
    """What `work` returns when the server is killed after so many answers to it, and started again."""
    found: list[object] = []
    before = server.answers()
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    wait_for(lambda: server.answers() >= before + after or not thread.is_alive())
    assert thread.is_alive(), "the work was over, or had failed, before the server was killed"
    server.kill()
    server.start()
    thread.join(START)
    assert found, "the work failed or did not end"
    return found[0]


def test_the_policy_gives_what_the_model_gives_here(server: RealServer) -> None:
    from r3v.policies.sampling.hf import HFPolicy

    prompts = [solve(problem, STYLES["short"]) for problem in load("geoworld:test", limit=3)]
    greedy, drawn = SamplingParams(temperature=0.0, max_new_tokens=48), SamplingParams(0.9, max_new_tokens=24)
    config = ServerConfig(url=server.url, model=str(MODEL), retries=300, max_wait=2.0)
    here = HFPolicy.from_config(ModelConfig(path="geoworld-tiny", dtype="float32", prompt_style="short"))
    expected = [row[0].text for row in here.generate(prompts, 1, greedy)]
    with OpenAIPolicy(config) as policy:
        assert (policy.kind, policy.concurrency) == ("transformers", 1)
        assert [row[0].text for row in policy.generate(prompts, 1, greedy)] == expected
        undisturbed = policy.generate(prompts, 3, drawn, seed=5)
        assert len({c.text for row in undisturbed for c in row}) > len(prompts), "the server did not sample"
        assert policy.meter.snapshot().tokens_out > 0
        with pytest.raises(EngineError, match="cannot score"):
            policy.score(prompts[:1], [["a"]])
        assert disturbed(server, lambda: policy.generate(prompts, 3, drawn, seed=5)) == undisturbed


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """Every candidate of every shard, in order: one lost or doubled would show."""
    graded = [item for path in shard_paths(folder) for item in read_shard(path)]
    return [(g.candidate.problem_id, g.candidate.index, g.candidate.text, g.verdict.outcome) for g in graded]


@pytest.mark.parametrize("temperature", ["0.0", "0.9"])
def test_sample(server: RealServer, tmp_path: Path, temperature: str) -> None:
    """6 problems x 2 in shards of 2 problems; the server is killed in mid-run. Once the command waits for it, once it
    gives up and is run again."""

    def sample(folder: Path, *flags: str) -> int:
        argv = ["sample", "--data", "geoworld:test", "--limit", "6", "--k", "2", "--out", str(folder), *STYLE]
        argv += [f"--sample.temperature={temperature}", "--sample.shard_size=2", "--sample.max_new_tokens=20"]
        return main([*argv, *server.flags, *flags])

    assert sample(tmp_path / "a") == 0
    expected = rows(tmp_path / "a")
    assert len({row[:2] for row in expected}) == len(expected) == 12
    assert disturbed(server, lambda: sample(tmp_path / "b"), after=5) == 0
    assert rows(tmp_path / "b") == expected
    assert [p.name for p in shard_paths(tmp_path / "b")] == [p.name for p in shard_paths(tmp_path / "a")]

    codes: list[int] = []
    before = server.answers()
    hasty = threading.Thread(target=lambda: codes.append(sample(tmp_path / "c", "--server.retries=0")), daemon=True)
    hasty.start()
    wait_for(lambda: server.answers() >= before + 5 or not hasty.is_alive())
    server.kill()
    hasty.join(START)
    kept = [row for row in rows(tmp_path / "c") if row[3].value != "unavailable"]
    assert len(kept) < 12, "the server was killed too late"
    assert set(kept) < set(expected)
    server.start()
    assert sample(tmp_path / "c") == 0
    assert rows(tmp_path / "c") == expected


def test_eval(server: RealServer, tmp_path: Path) -> None:
    def evaluate(name: str) -> Any:
        out = tmp_path / f"{name}.json"
        argv = ["eval", "--data", "geoworld:test", "--limit", "3", "--n", "2", "--out", str(out), *STYLE]
        argv += ["--selectors", "greedy,majority,self_select", "--select.max_new_tokens=20", "--server.votes=2"]
        assert main([*argv, *server.flags]) == 0
        found = json.loads(out.read_text())["eval"]
        return {k: {n: v for n, v in row.items() if "second" not in n} for k, row in found.items()}

    expected = evaluate("a")
    assert {row["n"] for row in expected.values()} == {3}
    assert disturbed(server, lambda: evaluate("b"), after=4) == expected


def test_select(server: RealServer, tmp_path: Path) -> None:
    def select(name: str) -> list[str]:
        out = tmp_path / f"{name}.jsonl"
        argv = ["select", "--data", "geoworld:test", "--limit", "3", "--n", "2", "--method", "self_select", *STYLE]
        argv += ["--out", str(out), "--select.max_new_tokens=20", "--server.votes=2", *server.flags]
        assert main(argv) == 0
        return out.read_text().splitlines()

    expected = select("a")
    assert [len(json.loads(line)["candidates"]) for line in expected] == [2, 2, 2]
    assert disturbed(server, lambda: select("b"), after=4) == expected


@pytest.mark.parametrize("kind", ["symbolic", "policy"])
def test_notebook_evolve(server: RealServer, tmp_path: Path, kind: str) -> None:
    """The recipe, scaled down, with a server as the solver: the same notebook though the server died in mid-run."""

    def evolve(name: str) -> Any:
        path, out = tmp_path / f"{name}.db", tmp_path / f"{name}.json"
        argv = ["notebook", "evolve", "recipes/geoworld_tiny_notebook.yaml", "--evolve.steps=1", "--evolve.batch=6"]
        argv += ["--gate.reserve=1", "--gate.max_pairs=8", "--data.n_train=6", "--data.n_pool=12", "--solver.slots=4"]
        argv += ["--solver.max_new_tokens=32", f"--evolve.notebook={path}", "--out", str(out), *server.flags]
        argv += [f"--supervisor.kind={kind}"]
        assert main(argv) == 0
        found = json.loads(out.read_text())
        with Notebook.open(path) as notebook:
            notes = {note.subject: note.guidance for note in notebook.notes().values()}
            events = [event.kind for event in notebook.events()]
        return notes, events, found["accepted"], found["refused"]

    expected = evolve("a")
    assert "proposed" in expected[1]
    assert expected[2] + expected[3] > 0
    assert disturbed(server, lambda: evolve("b"), after=4) == expected
