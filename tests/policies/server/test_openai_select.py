"""self_select and fused with a server: nothing is scored, and the selection says how it was weighed."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from fake_server import FakeServer
from PIL import Image

from r3v.app.cli import main
from r3v.policies.server.policy import OpenAIPolicy
from r3v.prompts import STYLES, SelectTarget
from r3v.records import Candidate, Problem
from r3v.selection.selector import Selector
from r3v.settings.config import SelectConfig
from r3v.settings.server import ServerConfig

PROBLEM = Problem("p", "How many?", "5", "number")
CANDIDATES = [Candidate("p", 0, i, 0, f"Answer: {a}") for i, a in enumerate((12, 5, 12))]


def place_of_five(body: dict) -> str:
    """The number under which the candidate that says 5 is shown in this order."""
    found = re.search(r"\[(\d)\] Answer: 5", body["messages"][0]["content"])
    assert found
    return found.group(1)


def choose(server: FakeServer, method: str, target: SelectTarget = "index_answer", **settings):
    config = ServerConfig(url=server.url, model="base", concurrency=1, **settings)
    with OpenAIPolicy(config) as policy:
        selector = Selector(policy, STYLES["full"], SelectConfig(permutations=2, fused_weight=0.5, target=target))
        return selector.choose(method, PROBLEM, CANDIDATES)


@pytest.mark.parametrize(("method", "answer"), [("self_select", "5"), ("fused", "5"), ("tournament", "5")])
def test_by_the_index_token_whatever_the_order(method: str, answer: str) -> None:
    with FakeServer(say=lambda body: f"Solution [{place_of_five(body)}] is right.") as server:
        # The model gives the place of 5 a probability of 0.9, and never says "None".
        def tops(text: str) -> list[tuple[str, float]]:
            place = place_of_five(server.chats[-1])
            other = "1" if place == "2" else "2"
            return [(place, math.log(0.9)), (other, math.log(0.1))] if text.endswith("[") else [("S", -0.01)]

        server.tops = tops
        chosen = choose(server, method)
        assert chosen.answer == answer
        if method == "self_select":
            assert chosen.scores == pytest.approx((0.1, 0.9, 0.1))
        if method == "fused":
            assert chosen.scores == pytest.approx((0.5 * 2 / 3 + 0.05, 0.5 / 3 + 0.45, 0.5 * 2 / 3 + 0.05))
        if method != "tournament":
            assert chosen.details["how"] == "logprobs"


def test_by_votes_and_it_says_so() -> None:
    with FakeServer("other", say=lambda body: f"I choose [{place_of_five(body)}].") as server:
        chosen = choose(server, "self_select", votes=3)
    assert (chosen.answer, chosen.scores) == ("5", pytest.approx((0.0, 1.0, 0.0)))
    assert chosen.details["how"] == "votes"


def test_a_solution_told_again_is_weighed_where_the_solutions_part() -> None:
    """ "Answer: 12" and "Answer: 5" part after the space, where the model gives 5 a probability of 0.8."""
    with FakeServer(say=lambda body: "Answer: 5") as server:
        server.tops = lambda text: (
            [("5", math.log(0.8)), ("12", math.log(0.2))] if text == "Answer: " else [("A", -0.01)]
        )
        chosen = choose(server, "self_select", target="solution")
        assert "repeated word for word" in server.chats[-1]["messages"][0]["content"]
    assert (chosen.answer, chosen.details["how"]) == ("5", "logprobs")
    assert chosen.scores == pytest.approx((0.2, 0.8, 0.2))


def test_a_solution_told_again_counts_as_a_vote() -> None:
    with FakeServer("other", say=lambda body: "Answer: 5") as server:
        chosen = choose(server, "self_select", target="solution", votes=3)
    assert (chosen.answer, chosen.details["how"]) == ("5", "votes")


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three problems, of which the second is longer than the server takes."""
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    rows = [
        {"id": i, "image": "1.png", "question": q, "answer": "4"} for i, q in (("0", "a"), ("1", "LONG"), ("2", "c"))
    ]
    path = tmp_path / "three.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refusing(word: str) -> FakeServer:
    """A server that answers 4, and refuses what holds `word`."""
    server = FakeServer("other", say=lambda body: "Answer: 4")
    server.refuse = lambda body: "context length 64 exceeded" if word in json.dumps(body["messages"]) else ""
    return server


def test_a_refused_prompt_loses_its_own_answer_only(three: Path, capsys: pytest.CaptureFixture) -> None:
    out = three.with_name("out.jsonl")
    with refusing("LONG") as server:
        asked = ["select", "--data", f"jsonl:{three}", "--n", "2", "--server.url", server.url]
        assert main([*asked, "--method", "majority", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["problem_id"], row["answer"]) for row in rows] == [("0", "4"), ("1", None), ("2", "4")]
    assert "context length 64 exceeded" in rows[1]["error"]
    assert "1 of 3 problems got no answer" in capsys.readouterr().err


def test_a_server_that_refuses_everything_is_an_error(three: Path, capsys: pytest.CaptureFixture) -> None:
    with refusing("role") as server:
        asked = ["select", "--data", f"jsonl:{three}", "--n", "2", "--server.url", server.url]
        assert main([*asked, "--method", "majority"]) == 2
    assert "context length 64 exceeded" in capsys.readouterr().err


def test_one_question_that_is_refused_is_an_error(three: Path, capsys: pytest.CaptureFixture) -> None:
    with refusing("LONG") as server:
        asked = ["select", "--question", "LONG", "--image", str(three.with_name("1.png"))]
        assert main([*asked, "--server.url", server.url]) == 2
    captured = capsys.readouterr()
    assert "context length 64 exceeded" in captured.err
    assert captured.out == ""
