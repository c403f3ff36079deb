"""A real Ray cluster of two nodes on this machine: same candidates whatever dies, and clear errors."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from places import FOLDERS

from r3v import prompts as words
from r3v.data import load
from r3v.errors import ConfigError, EngineError, RunError
from r3v.policies.base import SamplingParams, Spread
from r3v.policies.cluster.policy import RayPolicy, ray_policy
from r3v.records import FileImage
from r3v.rollout.rollout import bootstrap
from r3v.rollout.shards import read_shards
from r3v.settings.cluster import RayConfig, check
from r3v.settings.config import SampleConfig

missing = importlib.util.find_spec("ray") is None
with_ray = pytest.mark.skipif(missing, reason="ray is not installed (extra `ray`)")
SHORT = words.style("short")
SAMPLE = SampleConfig(k=3, shard_size=2)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (RayConfig(actors=0), "actors 0"),
        (RayConfig(gpus=1.5), "gpus 1.5"),
        (RayConfig(gpus=0.0, cpus=0.0), "policy.ray.cpus 0"),
        (RayConfig(wait=0.0), "wait 0"),
        (RayConfig(retries=-1), "retries -1"),
    ],
)
def test_settings_that_cannot_be_used_are_named(config: RayConfig, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check(config)
    check(RayConfig(actors=128, gpus=0.5))


def test_a_missing_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'r3v\[ray\]'"):
        ray_policy(lambda: pytest.fail("nothing is loaded"), RayConfig(address="auto"))


@with_ray
@pytest.mark.slow
@pytest.mark.parametrize(("address", "kind"), [("nowhere", ConfigError), ("127.0.0.1:1", EngineError)])
def test_a_wrong_address_is_an_error_at_once(address: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=address):
        ray_policy(lambda: pytest.fail("nothing is loaded"), RayConfig(address=address))


def _port() -> int:
    """A free port outside the range that Ray gives to its workers (10002 to 19999)."""
    for port in range(7100, 7900):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two nodes with two cores each, on loopback; ended by their process group, so that no other cluster is hit."""
    import ray  # type: ignore[import-not-found]

    folder = Path("/tmp") / f"r3v-ray-{os.getpid()}"  # Ray's socket paths must be short
    path = os.pathsep.join([*(p for p in sys.path if p), *map(str, FOLDERS)])
    env = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    address = f"127.0.0.1:{_port()}"
    size = ["--num-cpus=2", "--object-store-memory=80000000", "--block"]
    head = ["--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}"]
    nodes = []
    try:
        for own in (["--node-ip-address=127.0.0.1", *head], [f"--address={address}"]):
            command = [sys.executable, "-W", "ignore", "-m", "ray.scripts.scripts", "start", *own, *size]
            log = (Path("/tmp") / f"r3v-ray-{os.getpid()}-{len(nodes)}.log").open("w")
            nodes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True))
            log.close()
            _until(lambda: _answers(address), nodes[-1])
        yield address
    finally:
        if ray.is_initialized():
            ray.shutdown()
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            try:
                node.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
                node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0


def _until(true, process: subprocess.Popen | None = None, seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process is None or process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.1)


@pytest.fixture
def policy(cluster: str, tmp_path: Path) -> Iterator[RayPolicy]:
    import ray  # type: ignore[import-not-found]
    import ray_world

    (tmp_path / "pids").mkdir()
    make = partial(ray_world.slow_policy, 0.02, str(tmp_path / "pids"))
    with ray_policy(make, RayConfig(address=cluster, actors=4, wait=600.0)) as made:
        _until(lambda: sum(node["Alive"] for node in ray.nodes()) == 2)
        yield made
    _until(lambda: ray.available_resources().get("CPU") == 4.0)  # closing gives every core back


def _run(policy, out: Path, problems, sample: SampleConfig = SAMPLE):
    return bootstrap(policy, problems, out, sample=sample, style=SHORT, seed=0, progress=False, pause=0.0)


def test_shards_made_elsewhere_are_the_same_and_nothing_half_written_stays(tmp_path: Path) -> None:
    """Workers without Ray: what they are sent is pickled, the last shard comes first, one died while it wrote.

    5 problems in shards of 2: the third holds one. What travels is a shard's row numbers, not its problems.
    """
    import ray_world

    (tmp_path / "pids").mkdir()
    alone = ray_world.slow_policy(0.0, str(tmp_path / "pids"))
    rows = [json.dumps({"id": f"p{i}", "question": f"Find C of {i}.", "answer": "60"}) for i in range(5)]
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    problems, out = load(f"jsonl:{tmp_path / 'd.jsonl'}"), tmp_path / "there"
    sizes: list[int] = []

    class Elsewhere:
        name, generate, score = alone.name, alone.generate, alone.score

        def spread(self, work, items):
            sent = pickle.dumps(work)
            for item in reversed(list(items)):
                sizes.append(len(pickle.dumps(item)))
                yield pickle.loads(sent)(alone, pickle.loads(pickle.dumps(item)))
            (out / ".shard-00001.parquet.killed.tmp").write_bytes(b"half")

    expected = _run(alone, tmp_path / "here", problems)
    found = _run(Elsewhere(), out, problems)
    assert list(read_shards(out)) == list(read_shards(tmp_path / "here"))
    assert (found.problems, found.candidates, found.correct) == (5, 15, expected.correct)
    assert not list(out.glob(".shard-*.tmp"))
    assert len(sizes) == 3
    assert max(sizes) < 300, "the problems themselves would be larger"


@with_ray
@pytest.mark.slow
def test_a_killed_worker_changes_no_candidate(policy: RayPolicy, tmp_path: Path) -> None:
    """24 problems in 12 shards on four workers of two nodes; one worker is killed after the second shard."""
    import ray_world

    problems = load("geoworld:train", limit=24)
    here = tmp_path / "here"
    expected = _run(ray_world.slow_policy(0.0, str(tmp_path)), here, problems)
    out, killed = tmp_path / "there", []

    def kill() -> None:
        _until(lambda: len(list(out.glob("shard-*.parquet"))) >= 2)
        pids = {int(path.name) for path in (tmp_path / "pids").iterdir()}
        victim = min(pids)
        os.kill(victim, signal.SIGKILL)
        killed.append((victim, len(list(out.glob("shard-*.parquet")))))

    killer = threading.Thread(target=kill)
    killer.start()
    found = _run(policy, out, problems)
    killer.join()
    assert killed, "nothing was killed"
    assert killed[0][1] < 12, "killed too late"
    assert list(read_shards(out)) == list(read_shards(here))
    assert len(list(read_shards(out))) == 72
    assert not list(out.glob(".shard-*.tmp"))
    same = ("problems", "candidates", "correct", "wrong", "unparsed", "unavailable", "solved", "tokens")
    assert [getattr(found, name) for name in same] == [getattr(expected, name) for name in same]
    print(f"killed worker {killed[0][0]} after {killed[0][1]} of 12 shards; {found.candidates} candidates, all equal")

    # Resumed without the cluster, because the policy has the same name: only what is missing is sampled.
    (out / "shard-00003.parquet").unlink()
    assert _run(ray_world.slow_policy(0.0, str(tmp_path)), out, problems).resumed_shards == 11
    assert _run(policy, out, problems).resumed_shards == 12
    assert list(read_shards(out)) == list(read_shards(here))


@with_ray
@pytest.mark.slow
def test_prompts_are_divided_and_come_back_in_order(policy: RayPolicy, tmp_path: Path) -> None:
    import ray_world

    alone = ray_world.slow_policy(0.0, str(tmp_path))
    prompts = [words.solve(problem, SHORT) for problem in load("geoworld:test", limit=9)]
    params = SamplingParams(max_new_tokens=64)
    assert policy.name == alone.name == "scripted"
    assert isinstance(policy, Spread)
    assert policy.generate(prompts, 2, params, seed=3, first_index=1) == alone.generate(
        prompts, 2, params, seed=3, first_index=1
    )
    texts = [[f"{i}", f"{i} and more"] for i in range(9)]
    assert policy.score(prompts, texts) == alone.score(prompts, texts)
    assert policy.generate([], 2, params) == []


@with_ray
@pytest.mark.slow
def test_images_go_by_reference_and_errors_come_back(policy: RayPolicy, tmp_path: Path) -> None:
    import ray_world

    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    found = list(policy.spread(ray_world.bytes_are_here, [FileImage(str(path))] * 8))
    assert all(right for _, right in found)
    assert os.getpid() not in {pid for pid, _ in found}

    with pytest.raises(EngineError, match="a worker failed: item 0"):
        list(policy.spread(ray_world.wrong, [0]))
    with pytest.raises(EngineError, match="the same work ended 4 workers"):
        list(policy.spread(ray_world.deadly, [1]))
    first: Any = policy.spread(ray_world.deadly, iter([0, 2, 3, 4]))
    assert next(first) in (0, 2, 3, 4)
    first.close()  # given up in the middle: the next work is not held up
    assert sorted(policy.spread(ray_world.deadly, [5, 6])) == [5, 6]


@with_ray
@pytest.mark.slow
def test_a_folder_the_workers_do_not_see_is_an_error(policy: RayPolicy, tmp_path: Path) -> None:
    out = tmp_path / "out"

    class Unseen:
        """A driver whose folder changes before the workers look, as a folder of another machine would be missing."""

        name = policy.name

        def spread(self, work, items):
            (out / ".settings.json").write_text("{}")
            return policy.spread(work, items)

        generate, score = policy.generate, policy.score

    with pytest.raises(RunError, match="every node sees it"):
        _run(Unseen(), out, load("geoworld:train", limit=4))


@with_ray
@pytest.mark.slow
def test_a_cluster_without_room_says_so(cluster: str, tmp_path: Path) -> None:
    import ray_world

    make = partial(ray_world.slow_policy, 0.0, str(tmp_path))
    with pytest.raises(EngineError, match=r"each asks for 0.5 GPU.*of 0 GPU"):
        ray_policy(make, RayConfig(address=cluster, gpus=0.5, wait=2.0))
