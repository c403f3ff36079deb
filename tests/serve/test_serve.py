"""`r3v serve` asked by the real `openai` client: what is answered, and how it was chosen.

The scripted policy answers by the index of a candidate; each character is a token, and the end of the turn one more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from fake_server import FakeServer
from served import asked, client_of, data_url, png, serving, wait_for

from r3v.errors import EngineError
from r3v.policies.scripted import ScriptedPolicy
from r3v.policies.server.policy import OpenAIPolicy
from r3v.prompts import STYLES
from r3v.records import Prompt
from r3v.settings.server import ServerConfig

SAID = ("Two. Answer: 5", "Three. Answer: 7", "Four. Answer: 7")


def scripted() -> ScriptedPolicy:
    return ScriptedPolicy(lambda prompt, index: SAID[index % 3])


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    """Of a server that answers with `scripted`, by majority of three."""
    with serving(scripted()) as server, client_of(server) as client:
        yield client


def test_the_majority_is_answered_and_the_candidates_are_told(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(model="m", messages=asked(), seed=4)
    (choice,) = found.choices
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (SAID[1], "assistant", "stop")
    assert (found.object, found.model, found.id[:9]) == ("chat.completion", "m", "chatcmpl-")
    own: dict[str, Any] = found.r3v  # type: ignore[attr-defined]
    assert {k: own[k] for k in ("method", "n", "answer", "seed", "prompt")} == {
        "method": "majority", "n": 3, "answer": "7", "seed": 4, "prompt": "solve",
    }  # fmt: skip
    assert [(c["text"], round(c["score"], 3)) for c in own["candidates"]] == [
        (SAID[0], 0.333), (SAID[1], 0.667), (SAID[2], 0.667),
    ]  # fmt: skip
    assert found.usage
    # 14 + 16 + 15 characters and three ends
    assert found.usage.completion_tokens == 48


@pytest.mark.parametrize(
    ("model", "own", "method", "n"),
    [
        ("m", {}, "majority", 3),
        ("likelihood-m", {}, "likelihood", 3),
        ("likelihood@5-m", {}, "likelihood", 5),
        ("m", {"method": "tournament", "n": 2}, "tournament", 2),
        ("fused-m", {"n": 4}, "fused", 4),
        ("greedy-m", {}, "greedy", 1),
        ("sample-m", {}, "sample", 1),
    ],
)
def test_method_and_number_by_model_name_by_field_or_by_default(
    client: openai.OpenAI, model: str, own: dict[str, Any], method: str, n: int
) -> None:
    found = client.chat.completions.create(model=model, messages=asked(), extra_body={"r3v": own})
    told: dict[str, Any] = found.r3v  # type: ignore[attr-defined]
    assert (told["method"], told["n"], len(told["candidates"])) == (method, n, n)


def test_n_choices_come_best_first(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(model="m", messages=asked(), n=3)
    drawn = client.chat.completions.create(model="sample-m", messages=asked(), n=3)
    assert [c.message.content for c in found.choices] == [SAID[1], SAID[2], SAID[0]]
    assert [c.index for c in found.choices] == [0, 1, 2]
    assert [c.message.content for c in drawn.choices] == list(SAID)


def test_self_selection_scores_on_the_server() -> None:
    """Three answers, one vote each; the select target of 9 is the likeliest by far."""

    def score(prompt: Prompt, text: str) -> float:
        return 0.0 if "9" in text else -20.0

    policy = ScriptedPolicy(lambda prompt, index: f"Answer: {(5, 9, 7)[index]}", score)
    with serving(policy) as server, client_of(server) as client:
        found = client.chat.completions.create(model="fused@3-m", messages=asked())
    assert found.choices[0].message.content == "Answer: 9"
    own: dict[str, Any] = found.r3v  # type: ignore[attr-defined]
    assert own["how"] == "scores"
    assert own["candidates"][1]["score"] == pytest.approx(0.5 / 3 + 0.5)


def test_images_and_words_reach_the_policy(tmp_path: Path) -> None:
    seen: list[Prompt] = []

    def answer(prompt: Prompt, index: int) -> str:
        seen.append(prompt)
        return "Answer: 4"

    first, second = png(), png(9, 9)
    (tmp_path / "a b.png").write_bytes(second)
    urls = (data_url(first), "a b.png", (tmp_path / "a b.png").as_uri())
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        *asked("How many?", *urls),
    ]
    with serving(ScriptedPolicy(answer), images=str(tmp_path)) as server, client_of(server) as client:
        client.chat.completions.create(model="greedy-m", messages=messages)
        client.chat.completions.create(model="greedy-m", messages=messages, extra_body={"r3v": {"prompt": "chat"}})
        choices = {"choices": ["3", "4"]}
        found = client.chat.completions.create(model="majority-m", messages=asked("Pick."), extra_body={"r3v": choices})
    solved, plain, chosen = seen[0], seen[1], seen[2]
    assert [(m.role, m.text) for m in solved.messages[:3]] == [
        ("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi."),
    ]  # fmt: skip
    assert solved.messages[3].text == f"How many?\n{STYLES['full'].solve}"
    assert plain.messages[3].text == "How many?"
    assert [image.read() for image in solved.images] == [first, second, second]
    assert chosen.messages[0].text == f"Pick.\nChoices: (A) 3 (B) 4\n{STYLES['full'].solve}"
    assert found.r3v["answer"] == "B"  # type: ignore[attr-defined]


def test_answers_in_words_are_told_apart_as_words() -> None:
    policy = ScriptedPolicy(lambda prompt, index: f"Answer: {('blue', 'The blue', 'red')[index]}")
    with serving(policy) as server, client_of(server) as client:
        found = client.chat.completions.create(model="m", messages=asked("Which colour?"))
    assert found.r3v["answer"] == "blue"  # type: ignore[attr-defined]


def test_a_seed_gives_the_same_answer_and_none_another() -> None:
    ids: list[str] = []

    def answer(prompt: Prompt, index: int) -> str:
        ids.append(prompt.problem_id)
        return "Answer: 4"

    with serving(ScriptedPolicy(answer), n=1) as server, client_of(server) as client:
        for seed in (1, 1, 2, None, None):
            more: Any = {} if seed is None else {"seed": seed}
            client.chat.completions.create(model="m", messages=asked(), **more)
        for temperature in (0, 0):
            client.chat.completions.create(model="m", messages=asked(), temperature=temperature)
    # The noise of a candidate depends on its problem's id: the same for the same seed, of its own without one.
    assert ids[0] == ids[1]
    assert len(set(ids[1:5])) == 4
    assert ids[5] == ids[6]


def test_sampling_parameters_reach_the_policy() -> None:
    seen: list[Any] = []

    class Watched(ScriptedPolicy):
        def generate(self, prompts: Any, n: int, params: Any, **how: Any) -> Any:
            seen.append(params)
            return super().generate(prompts, n, params, **how)

    with serving(Watched(lambda p, i: SAID[i % 3])) as server, client_of(server) as client:
        ask = client.chat.completions.create
        ask(model="m", messages=asked(), temperature=0.3, top_p=0.5, max_tokens=7, extra_body={"top_k": 5})
        ask(model="m", messages=asked(), max_completion_tokens=8)
        ask(model="m", messages=asked(), temperature=0)
        found = ask(model="greedy-m", messages=asked(), temperature=1.5, max_tokens=6)
    assert [(p.temperature, p.top_p, p.top_k, p.max_new_tokens) for p in seen] == [
        (0.3, 0.5, 5, 7), (0.9, 1.0, 0, 8), (0.9, 1.0, 0, 384), (0.0, 1.0, 0, 6),
    ]  # fmt: skip
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("Two. A", "length")


def test_stop_texts_end_every_candidate(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(model="sample-m", messages=asked(), n=2, stop=[". A", "Thr"])
    assert [c.message.content for c in found.choices] == ["Two", ""]
    assert [c.finish_reason for c in found.choices] == ["stop", "stop"]


def test_a_stream_says_the_same_as_the_whole_answer() -> None:
    text = "First line.\n\n  Then a rather long sentence with many words in it.  \nAnswer: 7"
    with serving(ScriptedPolicy(lambda p, i: text)) as server, client_of(server) as client:
        ask = client.chat.completions.create
        events = list(ask(model="m", messages=asked(), n=2, stream=True, stream_options={"include_usage": True}))
        alone = list(ask(model="m", messages=asked(), stream=True))
    parts: dict[int, str] = {0: "", 1: ""}
    for event in events:
        for choice in event.choices:
            parts[choice.index] += choice.delta.content or ""
    assert parts == {0: text, 1: text}
    assert [c.finish_reason for e in events for c in e.choices if c.finish_reason] == ["stop", "stop"]
    assert events[-1].usage
    assert events[-1].usage.completion_tokens == 3 * (len(text) + 1)
    assert events[-2].r3v["answer"] == "7"  # type: ignore[attr-defined]
    assert alone[-1].usage is None
    assert len({e.id for e in events}) == 1


def test_models_are_listed_and_found() -> None:
    with serving(scripted(), name="org/model-1") as server, client_of(server) as client:
        names = [m.id for m in client.models.list()]
        assert client.models.retrieve("fused-org/model-1").owned_by == "r3v"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("other")
        client.chat.completions.create(model="fused@2-org/model-1", messages=asked())
    assert names[:2] == ["org/model-1", "fused-org/model-1"]
    assert len(names) == 9


def test_64_clients_at_once_are_answered_in_batches() -> None:
    first, go = threading.Event(), threading.Event()

    def answer(prompt: Prompt, index: int) -> str:
        first.set()
        assert go.wait(60)
        return f"Answer: {prompt.messages[0].text.split()[0]}"

    policy = ScriptedPolicy(answer)
    with serving(policy, n=2, batch=32) as server, client_of(server, timeout=60) as client:

        def ask(number: int) -> str | None:
            found = client.chat.completions.create(model="m", messages=asked(f"{number} is what?"))
            return found.choices[0].message.content

        with ThreadPoolExecutor(64) as pool:
            futures = [pool.submit(ask, i) for i in range(64)]
            assert first.wait(60)
            wait_for(lambda: server.served.engine.load == 64)
            go.set()
            assert [f.result() for f in futures] == [f"Answer: {i}" for i in range(64)]
    sizes = [count for kind, count in policy.calls if kind == "generate"]
    assert sum(sizes) == 64
    assert len(sizes) <= 4  # what came before the first batch began, then 32 and the rest
    assert max(sizes) == 32


def test_one_request_that_fails_takes_no_other_with_it() -> None:
    hold = threading.Event()

    class Refusing(ScriptedPolicy):
        def generate(self, prompts: Any, n: int, params: Any, **how: Any) -> Any:
            assert hold.wait(60)
            if any("LONG" in p.messages[0].text for p in prompts):
                raise EngineError("prompt too long")
            if any("BUG" in p.messages[0].text for p in prompts):
                raise ZeroDivisionError("a fault of ours")
            return super().generate(prompts, n, params, **how)

    with serving(Refusing(lambda p, i: SAID[i % 3])) as server, client_of(server, timeout=60) as client:

        def ask(text: str) -> Any:
            try:
                return client.chat.completions.create(model="m", messages=asked(text)).choices[0].message.content
            except openai.APIStatusError as error:
                return error.status_code, error.message

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(ask, text) for text in ("a", "LONG", "BUG", "d")]
            wait_for(lambda: server.served.engine.load == 4)
            hold.set()
            a, long, bug, d = [f.result() for f in futures]
    assert a == d == SAID[1]
    assert (long[0], "prompt too long" in long[1]) == (502, True)
    assert (bug[0], "ZeroDivisionError" in bug[1]) == (500, True)


def behind(server: FakeServer, **settings: Any) -> OpenAIPolicy:
    return OpenAIPolicy(ServerConfig(url=server.url, model="base", retries=0, **settings))


def test_in_front_of_a_server_it_selects_and_counts_what_the_server_says() -> None:
    with FakeServer(say=lambda body: f"Answer: {body['seed'] % 2}") as fake, behind(fake) as policy:
        with serving(policy, remote=True, prompt="chat") as server, client_of(server) as client:
            messages = [{"role": "system", "content": "S"}, *asked("Hi?", data_url(png()))]
            found = client.chat.completions.create(model="majority@3-m", messages=messages, logprobs=True, seed=1)
        assert [m["role"] for m in fake.chats[0]["messages"]] == ["system", "user"]
        image, text = fake.chats[0]["messages"][1]["content"]
        assert image["image_url"]["url"] == data_url(png())
        assert text["text"] == "Hi?"
        votes = [body["seed"] % 2 for body in fake.chats]
    assert len(votes) == 3
    most = max((0, 1), key=votes.count)
    assert found.choices[0].message.content == f"Answer: {most}"
    assert found.usage
    # system: role 2, text 1, end 2; user: role 2, image 1, text 3, end 2; 2 for the generation prompt
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (15, 3 * 10)
    assert found.choices[0].logprobs
    listed = found.choices[0].logprobs.content or []
    assert "".join(t.token for t in listed) == f"Answer: {most}"
    assert [t.logprob for t in listed[:3]] == [0.0, -0.125, -0.25]


def test_what_the_server_behind_refuses_is_told_as_a_fault_of_the_request() -> None:
    with FakeServer() as fake, behind(fake) as policy, serving(policy, remote=True) as server:
        fake.refuse = lambda body: "context length 64 exceeded"
        with client_of(server) as client, pytest.raises(openai.BadRequestError, match="context length 64"):
            client.chat.completions.create(model="m", messages=asked())
        fake.refuse = lambda body: ""
        fake.faults = [{"status": 503}] * 3
        with client_of(server) as client, pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="m", messages=asked())
        assert caught.value.status_code == 502


def test_a_thinking_model_behind_keeps_its_thought() -> None:
    with FakeServer("other", say=lambda body: "Answer: 4") as fake:
        thought = b'{"choices": [{"index": 0, "message": {"content": "Answer: 4", "reasoning_content": "Hm."}, '
        fake.faults = [{"raw": thought + b'"finish_reason": "stop"}]}'}]
        with behind(fake) as policy, serving(policy, remote=True) as server, client_of(server) as client:
            found = client.chat.completions.create(model="sample-m", messages=asked())
    assert found.choices[0].message.content == "<think>\nHm.\n</think>\n\nAnswer: 4"


def test_logprobs_of_a_policy_that_has_none_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="m", messages=asked(), logprobs=True)
    assert "no logprobs can be given" in caught.value.message
