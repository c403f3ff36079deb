"""Agents over real HTTP, with pictures searched in a pool of real GeoQA and TabMWP images; the server is killed twice.

The server is a process of its own (`agents_server.py`) that writes a line for every answer it gives, so what was paid
for is counted where it is paid.
"""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from places import FAKES

from r3v.curriculum.agents.agents import AgentGenerator
from r3v.curriculum.agents.roles import ROLES, Role
from r3v.curriculum.images.fetch import Limits
from r3v.curriculum.images.finders import PoolFinder
from r3v.curriculum.images.pool import FolderPool
from r3v.curriculum.images.remote_edit import ImageEditEndpoint
from r3v.curriculum.images.search import PoolIndex
from r3v.curriculum.practice.item import Target, provenance_of
from r3v.curriculum.spiral.config import SpiralConfig
from r3v.curriculum.spiral.dry import scripted_parts
from r3v.curriculum.spiral.parts import practice_maker
from r3v.curriculum.spiral.practice import read_problems
from r3v.curriculum.spiral.spiral import evolve
from r3v.data import load
from r3v.embedding.plain import PlainEmbedder
from r3v.errors import EngineError
from r3v.io import atomic_write
from r3v.policies.server.policy import OpenAIPolicy
from r3v.records import Problem
from r3v.run.journal import Journal
from r3v.settings.server import ServerConfig
from r3v.settings.tree import set_field

PROGRAM = FAKES / "servers" / "agents_server.py"
WANTED = 6


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclass
class Server:
    """The server process on one port; `start` again after `kill`. `log`: one line for each answer it gave."""

    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    def start(self, answers: int = 10**9) -> None:
        ready = self.lines("ready")
        self.process = subprocess.Popen([sys.executable, str(PROGRAM), str(self.port), str(self.log), str(answers)])
        until(lambda: self.lines("ready") > ready)

    def lines(self, *kinds: str) -> int:
        return sum(line in kinds for line in self.log.read_text().splitlines()) if self.log.exists() else 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not what():
        assert time.monotonic() < end, "waited five minutes"
        time.sleep(0.02)


def world(folder: Path, geoqa: Path, tabmwp: Path) -> tuple[list[Problem], PoolIndex]:
    """Four seed items, and an index of 60 real pictures whose names say nothing."""
    seeds = [*load(f"geoqa:{geoqa}?split=train", limit=2), *load(f"tabmwp:{tabmwp}?split=dev", limit=2)]
    seeds = [replace(p, skills=("read",)) for p in seeds]
    for name, source in (("a", geoqa / "images"), ("b", tabmwp / "tables")):
        (folder / "pool" / name).mkdir(parents=True)
        for path in sorted(source.glob("*.png"))[:30]:
            shutil.copyfile(path, folder / "pool" / name / path.name)
    index = PoolIndex(folder / "index", FolderPool(folder / "pool"), PlainEmbedder(), "real")
    index.build()
    return seeds, index


def make(port: int, folder: Path, seeds: list[Problem], index: PoolIndex, retries: int) -> tuple[list, AgentGenerator]:
    """The items of a run, and the generator for its meters."""
    config = ServerConfig(
        url=f"http://127.0.0.1:{port}/v1", model="agents", kind="openai", logprobs=False, retries=retries,
        max_wait=0.5, cache=str(folder / "answers.sqlite"),
    )  # fmt: skip
    local = Limits(allow=("127.0.0.1/32",))
    with ExitStack() as stack:
        policy = stack.enter_context(OpenAIPolicy(config))
        editor = ImageEditEndpoint(f"http://127.0.0.1:{port}/v1", "painter", limits=local)
        roles = {name: Role(policy) for name in ROLES}
        source = stack.enter_context(AgentGenerator(roles, seeds, folder, [PoolFinder(index)], editor))
        return list(source.generate(Target("read"), WANTED)), source


def kill_in_flight(server: Server, answers: int, folder: Path, run: Future) -> None:
    """Kill the server when it has given `answers` answers in all and the client has read them."""

    def read() -> bool:
        try:
            with sqlite3.connect(folder / "answers.sqlite") as db:
                rows = db.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
        except sqlite3.OperationalError:
            return False
        return rows == server.lines("chat")

    until(lambda: run.done() or (server.lines("chat", "edit") >= answers and read()))
    server.kill()


def test_a_killed_server_costs_no_answer_that_was_paid_for(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    """Killed inside the checker's first five answers: the run stops. Killed again while a run waits for its answers
    and started again: that run goes on by itself. What was paid for and what comes out equal an undisturbed run's."""
    seeds, index = world(tmp_path, real_data("geoqa"), real_data("tabmwp"))
    calm, server = Server(tmp_path / "calm.log"), Server(tmp_path / "server.log")
    with index, ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        stack.callback(calm.kill)
        stack.callback(server.kill)
        calm.start()
        wanted, whole = make(calm.port, tmp_path / "calm", seeds, index, 0)

        server.start(answers=6)
        first = pool.submit(make, server.port, tmp_path / "run", seeds, index, 0)
        kill_in_flight(server, 6, tmp_path / "run", first)
        with pytest.raises(EngineError):
            first.result()

        server.start(answers=14)
        second = pool.submit(make, server.port, tmp_path / "run", seeds, index, 10)
        kill_in_flight(server, 20, tmp_path / "run", second)
        assert not second.done()
        server.start()
        made, source = second.result()
        assert server.lines("ready") == 3

    assert made == wanted
    assert len(made) == WANTED
    assert server.lines("chat") == calm.lines("chat"), "an answer was paid for twice, or not asked for"
    assert server.lines("edit") == calm.lines("edit") > 0
    assert source.counts == whole.counts
    assert source.counts.get("checker", 0) >= 1, "the checker reads every third picture differently"
    assert {provenance_of(p).edits[0]["op"] if provenance_of(p).edits else "none" for p in made} >= {"endpoint"}
    cached = sum(source.meters[role].cached for role in ROLES)
    assert cached == 3, "planner, selector and writer of the first job; its checker was under way"


def test_pictures_like_the_seed_items_are_found_in_a_pool_of_two_kinds(
    tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    """Half the pool is geometry, half tables, and no name says which. Words alone find the same pictures whatever the
    seed item is: 10 of 20 of its kind. The picture it comes with makes that more."""
    seeds, index = world(tmp_path, real_data("geoqa"), real_data("tabmwp"))
    with index, Journal(tmp_path / "j.jsonl") as journal:
        right = []
        for finder in (PoolFinder(index, by_looks=False), PoolFinder(index)):
            found = [finder.find("angle", 5, journal, p.images[0])[0] for p in seeds]
            pairs = zip(found, "aabb", strict=True)
            right.append(sum(hit.address.startswith(f"pool:{kind}/") for hits, kind in pairs for hit in hits))
    assert right[0] == 10
    assert right[1] >= 15, right


def spiral(folder: Path, port: int) -> SpiralConfig:
    """One iteration on the built-in world; every role and the editor are at the server, pictures come from a pool."""
    values = {
        "run.dir": str(folder / "run"), "run.iterations": 1, "data.n_gate": 24, "data.n_eval": 12,
        "data.seeds": "geoworld:train", "data.n_seeds": 12, "model.prompt_style": "short", "probe.n": 24, "probe.k": 2,
        "probe.min_problems": 3, "practice.generator": "agents", "practice.items": 14, "practice.score_k": 0,
        "learn.steps": 1, "agents.all.server.url": f"http://127.0.0.1:{port}/v1", "agents.all.server.kind": "openai",
        "agents.all.server.logprobs": False, "agents.all.server.retries": 0, "agents.checker.max_new_tokens": 64,
        "agents.all.server.prices": {"output": 1e6}, "agents.workers": 3,
        "agents.pictures.pool": f"folder:{folder}/pool",
        "agents.editor.url": f"http://127.0.0.1:{port}/v1", "agents.editor.model": "painter",
        "agents.editor.price": 100.0, "agents.editor.allow": ("127.0.0.1/32",),
    }  # fmt: skip
    config = SpiralConfig()
    for name, value in values.items():
        config = set_field(config, name, value)
    return config


def test_a_spiral_practises_what_agents_write(tmp_path: Path) -> None:
    """The server dies after 20 answers: the run stops with its address, and the same command goes on. Every answer has
    5 tokens at 1 each and every edited picture costs 100, over both processes and whatever was asked twice."""
    for i, problem in enumerate(load("geoworld:train?seed=7", limit=30)):
        atomic_write(tmp_path / "pool" / f"{i}.png", problem.images[0].read())
    server = Server(tmp_path / "server.log")
    config = spiral(tmp_path, server.port)
    parts = replace(scripted_parts(0.2), maker=practice_maker())
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start(answers=20)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(evolve, config, parts, say=lambda line: None)
            until(lambda: first.done() or server.lines("chat", "edit") >= 20)
            server.kill()
            with pytest.raises(EngineError, match=str(server.port)):
                first.result()
        server.start()
        value = evolve(config, parts, say=lambda line: None)

    turn = value["rounds"][1]
    made, agents = turn["generate"], turn["generate"]["agents"]
    items = read_problems(tmp_path / "run" / "round_01" / "items.parquet")
    assert len(items) == made["kept"] > 0
    assert {provenance_of(p).answer for p in items} == {"agreed"}
    assert all(str(provenance_of(p).source).startswith("pool:") for p in items)
    assert agents["rejected"]["checker"] >= 1, "the checker reads every third picture differently"
    kept = sum(json.loads(line)["value"].get("cost", 0) for line in journal_lines(tmp_path / "run"))
    edits = len(list((tmp_path / "run/round_01/agents/pictures").iterdir()))
    assert edits > 0
    assert made["money"] == pytest.approx(kept)
    assert made["money"] == pytest.approx(made["tokens"] + 100 * edits)
    assert value["spent"]["money"] == pytest.approx(made["money"])
    assert made["tokens"] >= 5 * (agents["asked"]["planner"] + agents["asked"]["writer"])
    assert turn["practice"]["items"] == made["kept"]


def journal_lines(run: Path) -> list[str]:
    return (run / "round_01/agents/calls.jsonl").read_text().splitlines()
