"""Choosing among given replies without scoring them, and scoring them where vLLM can."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from fake_server import END, FakeServer

from r3v.errors import EngineError
from r3v.policies.server.choosing import Paths, by_votes, decided_by, fits, named_by
from r3v.policies.server.policy import OpenAIPolicy
from r3v.policies.server.wire import Token
from r3v.records import Message, Prompt
from r3v.settings.server import ServerConfig

FULL = (
    "Solution [1] is right.\nAnswer: 12",
    "Solution [2] is right.\nAnswer: 5",
    "Solution [3] is right.\nAnswer: 7",
    "None of the solutions is right.",
)
SHORT = ("[1] Answer: 12", "[2] Answer: 5", "None")
ANSWERS = ("Answer: 1", "Answer: 12", "Answer: 1.5")


def prompt(name: str = "p") -> Prompt:
    return Prompt(name, (Message("user", "Which?"),))


def policy(server: FakeServer, **settings) -> OpenAIPolicy:
    return OpenAIPolicy(ServerConfig(url=server.url, model="base", **settings))


def tokens(*rows: tuple[str, dict[str, float]]) -> list[Token]:
    """(taken, probabilities of it and its alternatives) for each token."""
    return [Token(t, math.log(ps[t]), tuple((a, math.log(p)) for a, p in ps.items())) for t, ps in rows]


@pytest.mark.parametrize(
    ("option", "text", "fitting"),
    [
        ("Answer: 1", "", True),
        ("Answer: 1", "Ans", True),
        ("Answer: 1", " Answer: 1", True),
        ("Answer: 1", "Answer: 1<|im_end|>", True),
        ("Answer: 1", "Answer: 1.", True),
        ("Answer: 1", "Answer: 12", False),
        ("Answer: 1", "Answer: 1.5", False),
        ("Answer: 1.5", "Answer: 1.", True),
        ("None", "No, [1]", False),
    ],
)
def test_what_can_still_become_an_option(option: str, text: str, fitting: bool) -> None:
    assert fits(option, text) is fitting


def test_shares_are_those_of_the_index_token() -> None:
    paths = Paths(FULL)
    taken = tokens(
        ("Solution", {"Solution": 0.8, "None": 0.1, "The": 0.1}),
        (" [", {" [": 1.0}),
        ("2", {"2": 0.6, "1": 0.3, "3": 0.1}),
        ("]", {"]": 1.0}),
    )
    assert paths.add(taken)
    shares, even = paths.shares()
    # "The" leads nowhere and is left out: Solution 8/9, None 1/9
    assert shares == pytest.approx([8 / 9 * 0.3, 8 / 9 * 0.6, 8 / 9 * 0.1, 1 / 9])
    assert even == 0.0


def test_tokens_that_join_bracket_and_number() -> None:
    paths = Paths(SHORT)
    assert paths.add(tokens(("[1", {"[1": 0.5, "[2": 0.25, "[": 0.25})))
    shares, even = paths.shares()
    assert shares == pytest.approx([0.5 + 0.125, 0.25 + 0.125, 0.0])  # what follows "[" was never seen
    assert even == pytest.approx(0.25)


def test_an_answer_that_ends_and_one_that_goes_on() -> None:
    paths = Paths(ANSWERS)
    assert paths.add(tokens(("Answer: 1", {"Answer: 1": 1.0}), ("<end>", {"<end>": 0.5, "2": 0.3, ".5": 0.2})))
    assert paths.shares()[0] == pytest.approx([0.5, 0.3, 0.2])


def test_an_answer_of_another_form_decides_nothing() -> None:
    assert not Paths(FULL).add(tokens(("I", {"I": 0.9, "Solution": 0.1}), (" think", {" think": 1.0})))
    assert not Paths(FULL).add(tokens(("Solution", {"Solution": 1.0})))  # it ended before the index


@pytest.mark.parametrize(
    ("text", "options", "named"),
    [
        (FULL[1], FULL, 1),
        (FULL[3], FULL, 3),
        ("None of them.", FULL, 3),
        ("Number 2 is right", FULL, 1),
        ("Neither.", FULL, None),
        ("Solution [3] is right because ...", FULL, 2),
        ("Solution [1] misreads the figure. [2] does not.", FULL, 0),
        ("The right solution is [2].", FULL, 1),
        ("I compared [1] with [2].", FULL, None),
        ("solution 3", FULL, 2),
        (" 2.", FULL, 1),
        ("[21] Answer: 5", SHORT, 1),
        ("It says Answer: 5", SHORT, 1),
        ("It says Answer: 6", SHORT, None),
        ("Answer: 12", ANSWERS, 1),
        ("Answer: 1", ANSWERS, 0),
        ("Answer: 13", ANSWERS, None),
        ("", SHORT, None),
    ],
)
def test_the_option_an_answer_names(text: str, options: tuple[str, ...], named: int | None) -> None:
    assert named_by(text, options) == named


def test_votes() -> None:
    assert by_votes([FULL[0], FULL[0], FULL[2], "?"], FULL) == pytest.approx([2 / 3, 0, 1 / 3, 0])
    assert by_votes(["?", ""], FULL) == [0.25] * 4
    assert decided_by(FULL) == len("Solution [") + 1


def alternatives(text: str) -> list[tuple[str, float]]:
    """A model that says 1, 2, 3 with 0.2, 0.7, 0.1 and "None" with 0.25, character by character."""
    ways = {"": {"S": 0.75, "N": 0.25}, "Solution [": {"2": 0.7, "1": 0.2, "3": 0.1}}
    return [(t, math.log(p)) for t, p in ways.get(text, {}).items()]


def test_choosing_by_top_logprobs_takes_one_short_request() -> None:
    with FakeServer(say=lambda body: FULL[1]) as server, policy(server) as p:
        server.tops = alternatives
        (choice,) = p.choose_index([prompt()], [FULL])
        assert choice.shares == pytest.approx([0.15, 0.525, 0.075, 0.25])
        assert (choice.how, choice.tokens) == ("logprobs", len("Solution [") + 3)
        (body,) = server.chats
        assert (body["temperature"], body["top_logprobs"], body["max_tokens"]) == (0.0, 20, 13)


def test_an_answer_of_none_is_followed_by_sampled_ones() -> None:
    def say(body: dict) -> str:
        return FULL[3] if body["temperature"] == 0 else FULL[0]

    with FakeServer(say=say) as server, policy(server, votes=3) as p:
        server.tops = alternatives
        (choice,) = p.choose_index([prompt()], [FULL])
        assert choice.shares == pytest.approx([0.15, 0.525, 0.075, 0.25])
        assert [body["temperature"] for body in server.chats] == [0.0, 1.0, 1.0, 1.0]


def test_votes_where_there_are_no_alternatives_and_it_is_said() -> None:
    lines: list[str] = []
    said = iter([*[FULL[0]] * 2, FULL[1], FULL[1], FULL[1], "?"] * 2)
    with FakeServer(say=lambda body: next(said)) as server:
        config = ServerConfig(url=server.url, model="base", concurrency=1)
        with OpenAIPolicy(config, say=lines.append) as p:
            (choice,) = p.choose_index([prompt()], [FULL])  # the first, greedy answer brought no alternatives
            p.choose_index([prompt("q")], [FULL])
    assert choice.shares == pytest.approx([1 / 4, 3 / 4, 0, 0])
    assert choice.how == "votes"
    assert len(lines) == 1
    assert "counts 5 sampled answers" in lines[0]


def test_logprobs_that_were_asked_for_and_are_missing() -> None:
    with FakeServer(say=lambda body: "I think 2") as server, policy(server, select="logprobs") as p:
        server.tops = lambda text: [("I", -0.1)]
        with pytest.raises(EngineError, match=r"1 of 1 select answers .* server\.select to votes"):
            p.choose_index([prompt()], [FULL])


def test_scores_are_those_of_the_reply_and_its_end() -> None:
    with FakeServer() as server, policy(server) as p:
        ((score, other),) = p.score([prompt()], [["ab", "a"]])
    # u : W h i c h ? END \n a :  are 12 tokens before the reply; the position decides the log-probability
    assert score.token_ids == (ord("a"), ord("b"), END)
    assert score.logprobs == (-4 / 8, -5 / 8, -6 / 8)
    assert (other.token_ids, other.total) == ((ord("a"), END), pytest.approx(-9 / 8))


def test_scoring_is_cached_and_can_choose(tmp_path: Path) -> None:
    settings = {"cache": str(tmp_path / "answers.sqlite"), "kind": "vllm", "select": "score"}
    with FakeServer() as server, policy(server, **settings) as p:
        (choice,) = p.choose_index([prompt()], [["ab", "a"]])
        a, b = math.exp(-15 / 8), math.exp(-9 / 8)
        assert choice.shares == pytest.approx((a / (a + b), b / (a + b)))
        assert (choice.how, choice.tokens) == ("scores", 5)
        asked = len(server.chats)
        assert asked == 4  # the prompt, two replies, and once a reply left open
        p.choose_index([prompt()], [["ab", "a"]])
        assert len(server.chats) == asked
        # As solutions of 2.5 tokens on average: 3 tokens at -5/8 each and 2 at -4.5/8. The last option is none of them.
        (choice,) = p.choose_index([prompt()], [["ab", "a", "b"]], solutions=True)
        powers = [math.exp(-12.5 / 8), math.exp(-11.25 / 8), math.exp(-9 / 8)]
        assert choice.shares == pytest.approx([x / sum(powers) for x in powers])


def test_a_server_that_cannot_score_says_so() -> None:
    with FakeServer("sglang") as server, policy(server) as p:
        with pytest.raises(EngineError, match="'sglang' cannot score"):
            p.score([prompt()], [["a"]])
        assert not server.chats
        server.kind = "vllm"
    with FakeServer() as server, policy(server) as p:
        server.faults = [{"raw": b'{"choices": [{}], "usage": {}}'}]
        with pytest.raises(EngineError, match="gives no `prompt_token_ids`"):
            p.score([prompt()], [["a"]])
