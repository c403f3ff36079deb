"""Token ids that a server returns: used where they are shown to be those of the model to be trained."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fake_server import END, FakeServer

from r3v.errors import ModelError
from r3v.policies.base import SamplingParams
from r3v.policies.server.own_ids import OwnIds
from r3v.policies.server.policy import OpenAIPolicy
from r3v.policies.server.wire import Reply
from r3v.records import Message, Prompt
from r3v.settings.config import ModelConfig
from r3v.settings.server import ServerConfig

PARAMS = SamplingParams(temperature=0.7, max_new_tokens=64)
ASKED = Prompt("p", (Message("user", "How many?"),))


class Letters:
    """The fake server's tokenizer and template: a character is its code point, turns are "u:...<end>\\n"."""

    fingerprint, stop_ids = "letters", frozenset({END})

    def __init__(self, opening: str = "a:", before: int = 0) -> None:
        self.opening, self.before = opening, before

    def prompt(self, prompt: Prompt) -> Any:
        text = prompt.messages[0].text
        return SimpleNamespace(ids=tuple(ord(c) + self.before for c in f"u:{text}\x00\n{self.opening}"))

    def decode(self, ids: Any) -> str:
        return "".join(chr(i) for i in ids)


def sampled(load: Callable[[], Any], server: FakeServer, said: list[str], params: SamplingParams = PARAMS) -> list[Any]:
    with OpenAIPolicy(ServerConfig(url=server.url, model="base")) as policy:
        policy.own = OwnIds(load, said.append)
        return [c for _ in range(2) for c in policy.generate([ASKED], 2, params)[0]]


def test_ids_of_our_own_tokenizer_are_used_and_compared_once() -> None:
    said: list[str] = []
    with FakeServer() as server:
        found = sampled(Letters, server, said)
        assert [c.tokenizer for c in found] == ["letters"] * 4
        assert all(c.token_ids == (*(ord(x) for x in c.text), END) for c in found), "the end as it was sampled"
        assert sum(body["max_tokens"] == 1 for body in server.chats) == 1, "one prompt is asked for by its ids"
        (cut, *_) = sampled(Letters, server, said, SamplingParams(temperature=0.7, max_new_tokens=5))
        assert (cut.stop, cut.token_ids, cut.tokenizer) == ("length", tuple(ord(x) for x in cut.text), "letters")
    assert said == []


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (lambda: Letters(opening="a:<think>\n"), "has another tokenizer or chat template"),
        (lambda: Letters(before=1), "has another tokenizer or chat template"),
    ],
)
def test_another_template_or_tokenizer_is_said_once_and_the_texts_are_taught(load: Any, why: str) -> None:
    said: list[str] = []
    with FakeServer() as server:
        found = sampled(load, server, said)
    assert {(c.tokenizer, len(c.token_ids) > 0) for c in found} == {("", True)}
    (line,) = said
    assert why in line
    assert "taught as their text tokenised anew" in line


def test_a_model_that_is_not_here_is_no_reason_to_stop() -> None:
    def missing() -> Any:
        raise ModelError("cannot load model 'elsewhere'")

    said: list[str] = []
    with FakeServer() as server:
        assert {c.tokenizer for c in sampled(missing, server, said)} == {""}
    assert "cannot be compared with the model to be trained (cannot load model 'elsewhere')" in said[0]


def test_a_server_without_ids_is_not_asked_for_any() -> None:
    with FakeServer("openai") as server:
        found = sampled(lambda: pytest.fail("nothing to compare"), server, [])
    assert {(c.tokenizer, c.token_ids) for c in found} == {("", ())}


def test_ids_must_be_all_that_the_model_wrote() -> None:
    """An end that the server keeps to itself, a thought that it puts elsewhere, a text that the ids do not make."""
    letters: Any = Letters
    own = OwnIds(letters)
    own.check("server", ASKED, lambda: Letters().prompt(ASKED).ids)
    ids = tuple(map(ord, "5 cm"))
    assert own.fingerprint(Reply("5 cm", "eos", ids=(*ids, END))) == "letters"
    assert own.fingerprint(Reply("5 cm", "eos", ids=ids)) == "", "stopped by a word, or the end is not told"
    assert own.fingerprint(Reply("5 cm", "length", ids=ids)) == "letters"
    assert own.fingerprint(Reply("6 cm", "eos", ids=(*ids, END))) == ""
    thought = tuple(map(ord, "a b\n</think>\n\n5 cm"))
    assert own.fingerprint(Reply("5 cm", "eos", ids=(*thought, END), thought="a b")) == "letters"


def test_runs_compare_with_the_model_that_they_train() -> None:
    """geoworld-tiny's own tokenizer has no ids that are characters; outside of a run nothing is compared."""
    with FakeServer() as server:
        config, said = ServerConfig(url=server.url, model="base"), []
        with OpenAIPolicy.from_config(config, ModelConfig(), said.append, taught=True) as policy:
            assert policy.generate([ASKED], 1, PARAMS)[0][0].tokenizer == ""
        assert "has another tokenizer or chat template than the model to be trained" in said[0]
        with OpenAIPolicy.from_config(config, ModelConfig()) as policy:
            assert policy.own is None


def test_thinking_is_switched_by_the_server() -> None:
    with FakeServer() as server:
        config = ServerConfig(url=server.url, model="base")
        with OpenAIPolicy.from_config(config, ModelConfig(thinking=False)) as policy:
            policy.generate([ASKED], 1, PARAMS)
        assert server.chats[-1]["chat_template_kwargs"] == {"enable_thinking": False}
