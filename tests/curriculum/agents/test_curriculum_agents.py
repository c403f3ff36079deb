"""Agents with scripted models: typed messages, one repair, agreement, a journal that a killed run goes on from."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hostile_server import reply, reply_json, serve
from PIL import Image, ImageDraw

from r3v.curriculum.agents.agents import AgentGenerator
from r3v.curriculum.agents.config import AgentConfig
from r3v.curriculum.agents.messages import MessageError, Pick, Plan, Question, describe, parse, to_dict
from r3v.curriculum.agents.roles import ROLES, Role
from r3v.curriculum.images.fetch import FetchError, Limits
from r3v.curriculum.images.finders import PoolFinder, WebFinder
from r3v.curriculum.images.pool import FolderPool
from r3v.curriculum.images.remote_edit import ImageEditEndpoint
from r3v.curriculum.images.search import PoolIndex
from r3v.curriculum.images.web import SearXNG
from r3v.curriculum.practice.item import Target, provenance_of
from r3v.embedding.plain import PlainEmbedder
from r3v.errors import ConfigError, EngineError, RunError
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import BytesImage, Problem, Prompt
from r3v.run.journal import Journal, key_of

TARGET = Target("theorem:midline", 2)
PLAN = {"skill": "count", "kind": "number", "summary": "count shapes", "queries": ["red circle"]}
PICK = {"picture": 1, "reason": "readable"}
QUESTION = {"question": "How many shapes are there?", "kind": "number", "answer": "1", "solution": "I see one."}
LOCAL = Limits(allow=("127.0.0.1/32",))


def picture(colour: str) -> bytes:
    image = Image.new("RGB", (40, 40), "white")
    ImageDraw.Draw(image).ellipse([10, 10, 28, 28], outline=colour, width=3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SEED = Problem(
    "seed-1", "Find DE.", "4", "number", (BytesImage(picture("black")),), skills=("theorem:midline",), meta={"level": 2}
)


def script(**changes: object) -> Callable[[Prompt, int], str]:
    """Answers for every role; a change may be a JSON value, a text, or a function of (prompt, index)."""
    replies: dict[str, object] = {"plan": PLAN, "pick": PICK, "write": QUESTION, "solve": "One.\nAnswer: 1", **changes}

    def answer(prompt: Prompt, index: int) -> str:
        stage = prompt.problem_id.partition("/")[2] or "solve"
        value = replies[stage]
        if callable(value):
            return cast(str, value(prompt, index))
        return value if isinstance(value, str) else json.dumps(value)

    return answer


def roles(policy: ScriptedPolicy) -> dict[str, Role]:
    return {name: Role(policy, price=2.0) for name in ROLES}


def agents(folder: Path, policy: ScriptedPolicy, **options: object) -> AgentGenerator:
    return AgentGenerator(roles(policy), [SEED], folder, **options)  # type: ignore[arg-type]


def pool(folder: Path) -> PoolIndex:
    (folder / "pool").mkdir()
    for colour in ("red", "green", "blue"):
        (folder / f"pool/{colour}_circle.png").write_bytes(picture(colour))
    index = PoolIndex(folder / "index", FolderPool(folder / "pool"), PlainEmbedder(), "p")
    index.build()
    return index


def test_an_item_with_everything_that_went_into_it(tmp_path: Path) -> None:
    policy = ScriptedPolicy(script(plan={**PLAN, "edit": "noise"}), name="model-a")
    with pool(tmp_path) as index, agents(tmp_path / "run", policy, finders=[PoolFinder(index)]) as source:
        made = list(source.generate(TARGET, 2, seed=1))
        assert len(made) == 2
        problem = made[0]
        assert (problem.question, problem.answer, problem.skills) == (QUESTION["question"], "1", ("theorem:midline",))
        assert problem.meta["level"] == 2
        found = provenance_of(problem)
        assert (found.generator, found.answer, found.seed_item) == ("agents", "agreed", "seed-1")
        assert found.source == "pool:red_circle.png"
        assert found.plan["summary"] == "count shapes"
        assert found.edits[0]["op"] == "noise"
        assert problem.images[0].read() != picture("red")
        assert found.models == dict.fromkeys(ROLES, "model-a")
        assert found.target == {"skill": "theorem:midline", "level": 2}
        assert found.checks[0]["reasoning"] == "I see one."
        assert found.checks[1] == {"by": "checker", "correct": 5, "counted": 5, "reasoning": "One.\nAnswer: 1"}
        assert source.check(problem).state == "right"
        assert source.check(replace(problem, meta={})).state == "unknown"
        assert [source.meters[r].calls for r in ROLES] == [2, 2, 2, 2]
        assert source.meters["checker"].tokens == 2 * 5 * (len("One.\nAnswer: 1") + 1)
        assert source.meters["checker"].cost == pytest.approx(source.meters["checker"].tokens * 2e-6)


def test_without_a_finder_the_seed_item_lends_its_picture(tmp_path: Path) -> None:
    with agents(tmp_path, ScriptedPolicy(script())) as source:
        (problem,) = source.generate(TARGET, 1)
    assert problem.images[0].read() == picture("black")


def test_the_checker_does_not_see_the_stated_answer(tmp_path: Path) -> None:
    seen: list[str] = []

    def solve(prompt: Prompt, index: int) -> str:
        seen.append(" ".join(m.text for m in prompt.messages))
        return "Answer: 77"

    with agents(tmp_path, ScriptedPolicy(script(write={**QUESTION, "answer": "77"}, solve=solve))) as source:
        assert len(list(source.generate(TARGET, 1))) == 1
    assert len(seen) == 5
    assert not any("77" in text or "I see one" in text for text in seen)


@pytest.mark.parametrize(
    ("changes", "stage", "reason"),
    [
        ({"solve": "Answer: 2"}, "checker", "0 of 5"),
        ({"solve": lambda p, i: "Answer: 1" if i < 3 else "Answer: 2"}, "checker", "3 of 5"),
        ({"plan": "no JSON", "plan/repair": "still none"}, "planner", "0 JSON objects"),
        ({"pick": {"picture": 0, "reason": "blurred"}}, "selector", "blurred"),
        ({"pick": {"picture": 9, "reason": "?"}}, "selector", "9 of 1"),
        ({"plan": {**PLAN, "edit": "teleport"}}, "editor", "teleport"),
        ({"plan": {**PLAN, "edit": "mirror"}}, "editor", "mirror writing"),
        ({"write": {**QUESTION, "kind": "choice", "choices": ["1", "2"]}}, "writer", "2 choices"),
        ({"write": {**QUESTION, "kind": "choice", "answer": "E", "choices": ["1", "2", "3"]}}, "writer", "'E'"),
        ({"write": {**QUESTION, "answer": "a few"}}, "writer", "ungradable"),
        ({"write": {**QUESTION, "question": " "}}, "writer", "non-empty"),
    ],
)  # fmt: skip
def test_what_is_not_good_enough_is_rejected_with_its_reason(
    tmp_path: Path, changes: dict[str, object], stage: str, reason: str
) -> None:
    with agents(tmp_path, ScriptedPolicy(script(**changes)), config=AgentConfig(attempts=2)) as source:
        assert list(source.generate(TARGET, 1)) == []
        assert source.counts == {stage: 2}
        assert reason in source.rejected[0][2]


def test_one_repair_that_says_what_was_wrong(tmp_path: Path) -> None:
    def repair(prompt: Prompt, index: int) -> str:
        assert "missing fields ['solution']" in prompt.messages[-1].text
        assert prompt.messages[-2].role == "assistant"
        return json.dumps(QUESTION)

    broken = {k: v for k, v in QUESTION.items() if k != "solution"}
    policy = ScriptedPolicy(script(write=broken, **{"write/repair": repair}))
    with agents(tmp_path, policy) as source:
        assert len(list(source.generate(TARGET, 1))) == 1
        assert source.meters["writer"].repairs == 1
        assert source.meters["writer"].calls == 2


def test_a_run_that_was_killed_asks_nothing_twice(tmp_path: Path) -> None:
    """The engine dies at the 11th call; the next run takes ten from the journal and ends like one in peace."""
    calls = 0

    def dying(prompt: Prompt, index: int) -> str:
        nonlocal calls
        calls += index == 0
        if calls > 10:
            raise EngineError("the server is gone")
        return script()(prompt, index)

    with agents(tmp_path / "a", ScriptedPolicy(dying)) as source, pytest.raises(EngineError):
        list(source.generate(TARGET, 4))
    with open(tmp_path / "a/calls.jsonl", "ab") as file:
        file.write(b'{"key": "torn')
    policy = ScriptedPolicy(script())
    with agents(tmp_path / "a", policy) as source, agents(tmp_path / "b", ScriptedPolicy(script())) as whole:
        assert list(source.generate(TARGET, 4)) == list(whole.generate(TARGET, 4))
        assert sum(m.cached for m in source.meters.values()) == 10
        assert len(policy.calls) == 16 - 10
    with agents(tmp_path / "a", ScriptedPolicy(dying)) as again:
        assert len(list(again.generate(TARGET, 4))) == 4


def test_many_workers_make_the_same_items_and_ask_no_more(tmp_path: Path) -> None:
    """Some jobs are rejected, four calls each. However many work on them, items and calls are the same, because no more
    jobs are begun than items are missing."""

    def solve(prompt: Prompt, index: int) -> str:
        time.sleep(0.001 * (int(prompt.problem_id[-2:], 16) % 7))
        return "Answer: 1" if int(prompt.problem_id[-4:], 16) % 3 else "Answer: 2"

    made, calls = [], []
    for workers in (1, 6):
        policy = ScriptedPolicy(script(solve=solve))
        with agents(tmp_path / str(workers), policy, config=AgentConfig(workers=workers)) as source:
            made.append([(p.id, p.answer) for p in source.generate(TARGET, 6, seed=2)])
            made.append(source.rejected)
            calls.append(len(policy.calls))
            assert source.spent["tokens"] == sum(source.meters[r].tokens for r in ROLES)
    assert made[:2] == made[2:]
    assert made[1], "some are rejected"
    assert calls == [4 * (6 + len(made[1]))] * 2


def test_a_closed_generator_begins_nothing_new(tmp_path: Path) -> None:
    """Three jobs are under way when the first is taken and the generator closed, and the planners of the others answer
    only then: these answers are kept, nobody is asked more, and the same call made again asks for the rest alone."""

    def plan(prompt: Prompt, index: int) -> str:
        if not prompt.problem_id.startswith(jobs[0]):
            source._desk.stop.wait(10)
        return json.dumps(PLAN)

    policy = ScriptedPolicy(script(plan=plan))
    with agents(tmp_path, policy, config=AgentConfig(workers=3)) as source:
        jobs = [name for name, _ in source._jobs(TARGET, 3, 0)]
        making = cast("Generator[Problem]", source.generate(TARGET, 3))
        first = next(making)
        making.close()
        assert len(policy.calls) == 4 + 2, "four calls of the first job, a plan of each other"
        again = list(source.generate(TARGET, 3))
    assert again[0] == first
    assert len(policy.calls) == 3 * 4


def test_what_is_spent_is_known_after_a_restart(tmp_path: Path) -> None:
    """Four roles, 2.0 for a million tokens; the checker answers five times. The second process pays nothing."""
    for _ in range(2):
        with agents(tmp_path, ScriptedPolicy(script())) as source:
            list(source.generate(TARGET, 1))
            told = [json.dumps(PLAN), json.dumps(PICK), json.dumps(QUESTION), *["One.\nAnswer: 1"] * 5]
            tokens = sum(len(text) + 1 for text in told)
            assert source.spent == {"tokens": tokens, "money": pytest.approx(tokens * 2e-6)}
    assert sum(meter.cost for meter in source.meters.values()) == 0


def test_another_model_is_asked_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        policy = ScriptedPolicy(script(), name=name)
        with agents(tmp_path, policy) as source:
            list(source.generate(TARGET, 1))
        assert len(policy.calls) == 4


def test_the_journal_has_one_writer_and_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.put("a", {"x": 1})
        with pytest.raises(RunError, match="another process"):
            Journal(path)
    path.write_bytes(b"rubbish\n" + path.read_bytes())
    with pytest.raises(RunError, match="line 1 is damaged"):
        Journal(path)
    assert key_of("a", {"b": 1, "c": 2}) == key_of("a", {"c": 2, "b": 1}) != key_of("a", {"b": 1})


def test_pictures_from_the_web_are_downloaded_once(tmp_path: Path) -> None:
    routes = {"/red.png": reply(picture("red")), "/bad.png": reply(b"<html>")}
    with serve(routes) as (address, seen):
        rows = [{"title": n, "img_src": f"{address}/{n}.png", "url": "p"} for n in ("bad", "red")]
        routes["/search"] = reply_json({"results": rows})
        finder = WebFinder(SearXNG(address, LOCAL), tmp_path / "pictures", LOCAL)
        with agents(tmp_path / "run", ScriptedPolicy(script()), finders=[finder]) as source:
            (problem,) = source.generate(TARGET, 1)
        assert provenance_of(problem).source == f"{address}/red.png"
        asked = len(seen)
    with agents(tmp_path / "run", ScriptedPolicy(script()), finders=[finder]) as source:
        assert list(source.generate(TARGET, 1)) == [problem]
        assert (source.meters["search"].cached, source.meters["search"].calls) == (1, 0)
    assert len(seen) == asked == 3


def test_a_search_engine_that_is_down_rejects_the_job(tmp_path: Path) -> None:
    with serve({}) as (address, _):
        pass
    finder = WebFinder(SearXNG(address, LOCAL), tmp_path / "pictures", LOCAL)
    with agents(tmp_path, ScriptedPolicy(script()), finders=[finder], config=AgentConfig(attempts=1)) as source:
        assert list(source.generate(TARGET, 1)) == []
        assert source.counts == {"search": 1}


def test_an_image_edit_endpoint(tmp_path: Path) -> None:
    sent = {"data": [{"b64_json": base64.b64encode(picture("blue")).decode()}]}
    plan = {**PLAN, "edit": "endpoint", "instruction": "make it blue"}
    with serve({"/v1/images/edits": reply_json(sent)}) as (address, seen):
        editor = ImageEditEndpoint(f"{address}/v1", "edit-model", key="k", limits=LOCAL)
        with agents(tmp_path, ScriptedPolicy(script(plan=plan)), editor=editor) as source:
            (problem,) = source.generate(TARGET, 1)
        headers, body = seen[0][1], seen[0][2]
        assert headers["Authorization"] == "Bearer k"
        assert b'name="prompt"\r\n\r\nmake it blue\r\n' in body
        assert b'name="model"\r\n\r\nedit-model\r\n' in body
        assert picture("black") in body
    assert problem.images[0].read() == picture("blue")
    edit = provenance_of(problem).edits[0]
    assert (edit["op"], edit["model"], edit["instruction"]) == ("endpoint", "edit-model", "make it blue")
    with agents(tmp_path, ScriptedPolicy(script(plan=plan)), editor=editor) as source:
        assert list(source.generate(TARGET, 1)) == [problem]
        assert source.meters["editor"].cached == 1


@pytest.mark.parametrize(
    "answer", [{"data": []}, {"data": [{"b64_json": "%%%"}]}, {"data": [{"b64_json": "aGVsbG8="}]}, [],
               {"data": [{"url": "file:///etc/passwd"}]}, {"data": [{"url": "http://169.254.169.254/x"}]}],
)  # fmt: skip
def test_an_image_edit_endpoint_that_answers_rubbish(answer: object) -> None:
    with serve({"/images/edits": reply_json(answer)}) as (address, _):
        editor = ImageEditEndpoint(address, "m", limits=LOCAL)
        with pytest.raises(FetchError):
            editor.edit(BytesImage(picture("red")), "x")


def test_roles_and_seeds_are_checked_at_once(tmp_path: Path) -> None:
    policy = ScriptedPolicy(script())
    with pytest.raises(ConfigError, match="expected exactly planner"):
        AgentGenerator({"planner": Role(policy)}, [SEED], tmp_path)
    with pytest.raises(ConfigError, match="no seed items"):
        AgentGenerator(roles(policy), [], tmp_path)
    with pytest.raises(ConfigError, match="'test'"):
        AgentGenerator(roles(policy), [replace(SEED, split="test")], tmp_path)
    with pytest.raises(ConfigError, match="agreement"):
        AgentConfig(agreement=0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "0 JSON objects"),
        ("{'picture': 1}", "0 JSON objects"),
        ('{"picture": 1, "reason": "a"} {"picture": 2, "reason": "b"}', "2 JSON objects"),
        ('{"picture": 1, "picture": 2, "reason": "a"}', "given twice"),
        ('{"picture": 1}', "missing fields ['reason']"),
        ('{"picture": 1, "reason": "a", "extra": 0}', "unknown fields ['extra']"),
        ('{"picture": "1", "reason": "a"}', "expected a whole number"),
        ('{"picture": true, "reason": "a"}', "expected a whole number"),
        ('{"picture": 1.0, "reason": "a"}', "expected a whole number"),
        ('{"picture": 1, "reason": null}', "expected a text"),
        ("[" * 100_000, "0 JSON objects"),
        ('{"a":' * 5_000, "broken JSON"),
        ('{"x": {"picture": 1, "reason": "a"},}', "broken JSON"),
    ],
)
def test_replies_that_are_no_message(text: str, complaint: str) -> None:
    with pytest.raises(MessageError) as caught:
        parse(Pick, text)
    assert complaint in str(caught.value)


def test_messages_are_read_from_fences_and_prose_and_go_back() -> None:
    assert parse(Pick, 'I choose:\n```json\n{"picture": 2, "reason": "has {braces}"}\n```') == Pick(2, "has {braces}")
    question = parse(Question, json.dumps({**QUESTION, "kind": "choice", "choices": ["1", "2", "3"], "unit": None}))
    assert question.choices == ("1", "2", "3")
    assert parse(Question, json.dumps(to_dict(question))) == question
    for field, value in (("kind", "essay"), ("choices", ["1", 2]), ("choices", "123"), ("answer", 4)):
        with pytest.raises(MessageError, match=f"Question.{field}"):
            parse(Question, json.dumps({**QUESTION, field: value}))
    assert '"queries": a list of texts' in describe(Plan)
    assert '"edit": a text (may be left out: "none")' in describe(Plan)
