"""Agents through `OpenAIPolicy` and real HTTP, with real GeoQA pictures where they are here; the server dies midway."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hostile_server import reply_json, serve

from r3v.curriculum.agents import ROLES, AgentGenerator, Role
from r3v.curriculum.embed import PlainEmbedder
from r3v.curriculum.finders import PoolFinder
from r3v.curriculum.pool import FolderPool
from r3v.curriculum.practice import Target, provenance_of
from r3v.curriculum.search import PoolIndex
from r3v.data import load
from r3v.errors import EngineError
from r3v.policies.openai import OpenAIPolicy
from r3v.policies.openai_config import ServerConfig

GEOQA = Path(__file__).resolve().parents[2] / "shared/data/geoqa"


class Model:
    """Answers by what it is asked for, with at least one picture each time; after `lives` answers it is gone."""

    def __init__(self, lives: int) -> None:
        self.lives, self.answered = lives, 0

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        if self.answered >= self.lives:
            request.close_connection = True
            return
        self.answered += 1
        content = json.loads(request.body)["messages"][0]["content"]  # type: ignore[attr-defined]
        assert content[0]["image_url"]["url"].startswith("data:image/png;base64,")
        text = content[-1]["text"]
        if text.startswith("Here is an example"):
            words = {"skill": "angle", "kind": "number", "summary": "read an angle", "queries": ["10", "11"]}
        elif text.startswith("Choose the picture"):
            words = {"picture": 2, "reason": "sharp"}
        elif text.startswith("Write one problem"):
            words = {"question": "How many degrees?", "kind": "number", "answer": "40", "solution": "It says 40."}
        else:
            words = None
        said = "Answer: 40" if words is None else json.dumps(words)
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        reply_json({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 5}})(request)


@pytest.mark.skipif(not GEOQA.exists(), reason="real GeoQA pictures are not here")
def test_a_killed_server_costs_no_answer_that_was_paid_for(tmp_path: Path) -> None:
    seeds = list(load(f"geoqa:{GEOQA}?split=train", limit=3))
    index = PoolIndex(tmp_path / "index", FolderPool(GEOQA / "images"), PlainEmbedder(), "geoqa")
    index.build(limit=40)

    def run(model: Model) -> tuple[list, AgentGenerator]:
        with serve({"/v1/chat/completions": model, "/v1/models": reply_json({"data": [{"id": "m"}]})}) as (address, _):  # type: ignore[dict-item]
            config = ServerConfig(
                url=f"{address}/v1", model="m", kind="openai", retries=0, logprobs=False, concurrency=1
            )
            with OpenAIPolicy(config) as policy:
                roles = {name: Role(policy) for name in ROLES}
                with AgentGenerator(roles, seeds, tmp_path / "run", [PoolFinder(index)]) as source:
                    return list(source.generate(Target("angle"), 2)), source

    with index:
        with pytest.raises(EngineError):
            run(Model(lives=10))
        second = Model(lives=100)
        made, source = run(second)
    assert [p.answer for p in made] == ["40", "40"]
    assert provenance_of(made[0]).source.startswith("pool:")  # type: ignore[union-attr]
    assert provenance_of(made[0]).models["checker"] == "m"
    assert second.answered == 16 - 10, "an item is 3 messages and 5 checks"
    assert sum(m.cached for m in source.meters.values() if m is not source.meters["search"]) == 6
