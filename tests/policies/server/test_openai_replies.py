"""What servers and gateways make of an answer: thoughts in fields of their own, and the many forms of a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_server import FakeServer

from r3v.policies.base import SamplingParams
from r3v.policies.server.client import BadAnswerError
from r3v.policies.server.policy import OpenAIPolicy
from r3v.policies.server.wire import Reply, read_reply
from r3v.records import Message, Prompt
from r3v.settings.server import ServerConfig

ASKED = Prompt("p", (Message("user", "How many?"),))


def whole(message: dict[str, Any], reason: str | None = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": reason}], **more}).encode()


def piece(content: str | None = None, reason: str | None = None, **delta: Any) -> str:
    said = {**delta, **({} if content is None else {"content": content})}
    return json.dumps({"choices": [{"index": 0, "delta": said, "finish_reason": reason}]})


def stream(*events: str, between: str = "\n\n", before: str = "data: ") -> bytes:
    return "".join(f"{before}{event}{between}" for event in (*events, "[DONE]")).encode()


TWO = (piece("Answer: "), piece("4"), piece(None, "stop"))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("empty", [None, ""])
def test_a_thought_beside_an_empty_content_is_kept(field: str, empty: str | None) -> None:
    ended = read_reply(whole({"content": empty, field: "2 + 2. Answer: 4"}))
    assert ended.whole == "<think>\n2 + 2. Answer: 4\n</think>\n\n"
    cut = read_reply(whole({"content": empty, field: "2 + 2 is"}, "length"))
    assert (cut.whole, cut.stop) == ("<think>\n2 + 2 is", "length")


def test_a_thought_beside_an_answer_is_kept_before_it() -> None:
    reply = read_reply(whole({"content": "Answer: 4", "reasoning_content": "Four corners."}))
    assert (reply.text, reply.thought) == ("Answer: 4", "Four corners.")
    assert reply.whole == "<think>\nFour corners.\n</think>\n\nAnswer: 4"
    assert Reply.from_dict(json.loads(json.dumps(reply.to_dict()))) == reply


def test_an_answer_cut_behind_its_thought_has_a_closed_thought() -> None:
    reply = read_reply(whole({"content": "Answ", "reasoning": "Four."}, "length"))
    assert reply.whole == "<think>\nFour.\n</think>\n\nAnsw"


def test_replies_stored_without_thoughts_are_read() -> None:
    stored = {"text": "4", "stop": "eos", "tokens": [], "ids": [], "usage": [5, 1]}
    assert Reply.from_dict(stored) == Reply("4", "eos", tokens_in=5, tokens_out=1)


def test_a_streamed_thought_is_joined() -> None:
    events = (piece(reasoning_content="Four "), piece(reasoning_content="corners."), *TWO)
    assert read_reply(stream(*events), "text/event-stream") == Reply("Answer: 4", "eos", thought="Four corners.")


def test_content_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Four."}]}, {"type": "text", "text": "4"}]
    assert read_reply(whole({"content": parts})) == Reply("4", "eos", thought="Four.")


def test_a_refusal_is_the_text() -> None:
    assert read_reply(whole({"content": None, "refusal": "I can't help"})).text == "I can't help"


def test_an_answer_taken_for_a_tool_is_not_an_empty_one() -> None:
    with pytest.raises(BadAnswerError, match="tool-call parser"):
        read_reply(whole({"content": None, "tool_calls": [{"id": "a"}]}, "tool_calls"))


def test_the_candidate_holds_the_thought_and_a_person_is_told_of_a_server_that_takes_it_all() -> None:
    said: list[str] = []
    swallowed = {"content": None, "reasoning_content": "Answer: 4"}
    with FakeServer("other") as server:
        server.faults = [{"raw": whole(swallowed)}, {"raw": whole(swallowed)}, {"raw": whole(swallowed, "length")}]
        config = ServerConfig(url=server.url, model="base", concurrency=1)
        with OpenAIPolicy(config, say=said.append) as policy:
            (row,) = policy.generate([ASKED], 3, SamplingParams())
    assert [c.text for c in row] == ["<think>\nAnswer: 4\n</think>\n\n"] * 2 + ["<think>\nAnswer: 4"]
    assert len(said) == 1
    assert "--reasoning-parser" in said[0]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        *((r, "length") for r in ("length", "MAX_TOKENS", "max_tokens", "model_length", "content_filter", "SAFETY")),
        ("model_context_window_exceeded", "length"),
        *((r, "eos") for r in ("stop", "STOP", "eos", "end_turn")),
    ],
)
def test_why_an_answer_ended_in_the_words_of_many_hosts(reason: str, stop: str) -> None:
    assert read_reply(whole({"content": "4"}, reason)).stop == stop


@pytest.mark.parametrize("reason", [None, "abort", "error", "ERROR"])
def test_an_answer_that_was_broken_off(reason: str | None) -> None:
    with pytest.raises(BadAnswerError, match="broke the answer off"):
        read_reply(whole({"content": "4"}, reason))


@pytest.mark.parametrize(
    "data",
    [
        stream(*TWO),
        b"\xef\xbb\xbf" + stream(*TWO),
        stream(*TWO, between="\r\n\r\n"),
        stream(*TWO, between="\r\r"),
        stream(*TWO, between="\n"),
        stream(*TWO, before="data:"),
        b": ping\n\n: PROCESSING\n" + stream(*TWO),
        stream(TWO[0], ": keepalive", *TWO[1:]),
        stream(TWO[0], "", *TWO[1:]),
        b"event: message\nid: 1\nretry: 10\n" + stream(*TWO),
        b"\n\n" + stream(*TWO),
        stream(*TWO)[: -len(b"data: [DONE]\n\n")].rstrip(b"\n"),
        b'data: {"choices": [{"index": 0, "delta":\ndata: {"content": "Answer: 4"}, "finish_reason": "stop"}]}\n\n',
    ],
)
@pytest.mark.parametrize("type", ["text/event-stream; charset=utf-8", "application/json"])
def test_every_form_of_a_stream_is_read(data: bytes, type: str) -> None:
    assert read_reply(data, type) == Reply("Answer: 4", "eos")


def test_json_under_the_content_type_of_a_stream() -> None:
    assert read_reply(b"\xef\xbb\xbf\n" + whole({"content": "4"}), "text/event-stream").text == "4"


def told(content: str, reason: str | None = None) -> str:
    return json.dumps({"choices": [{"index": 0, "message": {"content": content}, "finish_reason": reason}]})


@pytest.mark.parametrize(
    "events",
    [
        (told("Answer: 4", "stop"),),
        (told("Answer: "), told("4", "stop")),
        (told("Answer: "), told("Answer: 4", "stop")),
        (piece("Answer: "), piece("4"), told("Answer: 4", "stop")),
    ],
)
def test_a_message_in_place_of_a_delta(events: tuple[str, ...]) -> None:
    """One whole message, messages as pieces, messages that grow, and pieces with the whole at their end."""
    assert read_reply(stream(*events), "text/event-stream") == Reply("Answer: 4", "eos")


@pytest.mark.parametrize(
    "data",
    [
        stream(*TWO[:2]),
        stream(*TWO)[:-60],
        stream(TWO[0], '{"error": {"message": "boom"}}'),
        stream('{"choices": [{"index": 0, "error": "lost", "delta": {"content": "4"}, "finish_reason": "stop"}]}'),
        stream('{"choices": [{"index": 0, "delta": "4", "finish_reason": "stop"}]}'),
        stream('{"choices": ["4"]}'),
        stream("[1]"),
    ],
)
def test_a_stream_that_cannot_be_used_is_an_error(data: bytes) -> None:
    with pytest.raises(BadAnswerError):
        read_reply(data, "text/event-stream")


def test_an_error_inside_a_finished_choice() -> None:
    choice = {"index": 0, "error": {"code": 502}, "message": {"content": "7"}, "finish_reason": "stop"}
    with pytest.raises(BadAnswerError, match="502"):
        read_reply(json.dumps({"choices": [choice]}).encode())


def test_the_first_choice_is_the_one_numbered_so() -> None:
    second = {"index": 1, "message": {"content": "7"}, "finish_reason": "stop"}
    first = {"index": 0, "message": {"content": "4"}, "finish_reason": "stop"}
    assert read_reply(json.dumps({"choices": [second, first]}).encode()).text == "4"


@pytest.mark.parametrize("usage", [None, [], "n/a", {"prompt_tokens": None, "completion_tokens": "3"}])
def test_an_odd_usage_block_spoils_no_answer(usage: object) -> None:
    reply = read_reply(whole({"content": "4"}, usage=usage))
    assert (reply.text, reply.tokens_in, reply.tokens_out) == ("4", 0, 0)
