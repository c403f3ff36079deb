"""`--model r3v` on a fake of lmms-eval's interfaces; test_lmms_real.py asks lmms-eval itself."""

from __future__ import annotations

import contextlib
import io
import sys
import tomllib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from places import FAKES, ROOT

from r3v.errors import ConfigError, EngineError
from r3v.policies.scripted import ScriptedPolicy
from r3v.prompts import STYLES, solve
from r3v.records import Problem, Prompt

DOCS = [{"question": f"How many is {i}?"} for i in range(5)]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """r3v.harness.chat over the fake, which leaves no module behind."""
    monkeypatch.syspath_prepend(str(FAKES / "lmms"))
    names = [name for name in sys.modules if name.partition(".")[0] == "lmms_eval" or name == "r3v.harness.chat"]
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    import r3v.harness.chat as module

    monkeypatch.setattr(module, "release", lambda: None)
    yield module
    for name in [n for n in sys.modules if n.partition(".")[0] == "lmms_eval" or n == "r3v.harness.chat"]:
        del sys.modules[name]


Make = Callable[..., Any]


@pytest.fixture
def make(chat: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a model that answers with a policy, and tells it the documents of the task `t`."""

    def of(policy: Any, docs: Any = DOCS, **keywords: Any) -> Any:
        monkeypatch.setattr(chat, "make_policy", lambda *args, **how: policy)
        made = chat.R3V(**keywords)
        made.task_dict = {"t": {"test": docs}}
        return made

    return of


def ask(doc: dict[str, Any], **more: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": doc["question"]}]}]


def request(doc: int, to_messages: Any = ask, **gen: Any) -> Any:
    from lmms_eval.api.instance import Instance  # pyright: ignore[reportMissingImports]

    return Instance("generate_until", ("ctx", to_messages, gen, doc, "t", "test"))


def numbers(prompt: Prompt, index: int) -> str:
    """Of question i, candidate 0 says 100, all others i."""
    i = prompt.messages[-1].text.split(" is ")[1][0]
    return "Answer: 100" if index == 0 else f"Answer: {i}"


def test_the_entry_point_names_a_chat_model(chat: ModuleType) -> None:
    from r3v.harness.plugin import manifest

    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["lmms_eval.models"]
    assert told == {"r3v": "r3v.harness.plugin:manifest"}
    found = manifest()
    assert (found.model_id, found.simple_class_path) == ("r3v", None)
    module, _, name = found.chat_class_path.rpartition(".")
    assert getattr(sys.modules[module], name) is chat.R3V
    assert chat.R3V.is_simple is False


def test_every_request_of_a_batch_is_answered_by_the_selector_in_order(make: Make) -> None:
    """Five requests in batches of two; the majority of three is the question's own number."""
    policy = ScriptedPolicy(numbers)
    model = make(policy, method="majority", n=3, batch_size="2")
    found = model.generate_until([request(i, max_new_tokens=30) for i in range(5)])
    assert [one.text for one in found] == [f"Answer: {i}" for i in range(5)]
    assert policy.calls == [("generate", 2), ("generate", 2), ("generate", 1)]
    # "Answer: 100" and twice "Answer: i", an end each
    assert found[0].token_counts.output_tokens == 12 + 2 * 10


def test_greedy_is_the_default_and_the_task_s_words_are_left_alone(make: Make) -> None:
    seen: list[Prompt] = []

    def answer(prompt: Prompt, index: int) -> str:
        seen.append(prompt)
        return "B"

    def to_messages(doc: Any) -> Any:
        picture = Image.new("CMYK", (4, 3))
        return [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "text", "text": "Pick."}, {"type": "image", "url": picture}]},
        ]

    (found,) = make(ScriptedPolicy(answer)).generate_until([request(0, to_messages)])
    (prompt,) = seen
    assert found.text == "B"
    told = [(m.role, m.text, len(m.images)) for m in prompt.messages]
    assert told == [("system", "Be brief.", 0), ("user", "Pick.", 1)]
    with Image.open(io.BytesIO(prompt.images[0].read())) as shown:
        assert (shown.size, shown.mode) == ((4, 3), "RGB")


def test_letters_are_told_apart_where_a_task_asks_for_a_letter(make: Make) -> None:
    policy = ScriptedPolicy(lambda prompt, index: "BCC"[index])
    (found,) = make(policy, method="majority", n=3).generate_until([request(0)])
    assert found.text == "C"


def own_doc(problem: Problem) -> dict[str, Any]:
    from r3v.harness.docs import problem_to

    return {"id": problem.id, "r3v": problem_to(problem), "images": [Image.new("RGB", (4, 4))]}


def test_a_task_of_ours_is_asked_as_r3v_eval_asks(make: Make) -> None:
    """The same prompt and problem id, so the same candidates; the gold is nowhere in it; the option text counts."""
    from r3v.harness import docs

    problem = Problem("p1", "How large?", "B", "choice", choices=("30", "60"))
    doc = own_doc(problem)
    seen: list[Prompt] = []

    def answer(prompt: Prompt, index: int) -> str:
        seen.append(prompt)
        return ("Answer: 60", "Answer: B", "Answer: 30")[index]

    model = make(ScriptedPolicy(answer), [doc], method="majority", n=3, **{"model.prompt_style": "short"})
    (found,) = model.generate_until([request(0, docs.messages)])
    assert seen[0].problem_id == "p1"
    assert seen[0].messages[0].text == solve(problem, STYLES["short"]).messages[0].text
    assert len(seen[0].images) == 1
    assert found.text == "Answer: 60"
    assert docs.results(doc, [found.text]) == {"score": 1.0, "unparsed": 0.0}
    assert docs.results(doc, ["I do not know"]) == {"score": 0.0, "unparsed": 1.0}
    assert docs.target(doc) == "60"
    assert docs.text(doc).endswith(STYLES["full"].solve)


def test_the_same_asked_again_draws_other_candidates_and_another_run_the_same(make: Make) -> None:
    ids: list[str] = []

    def answer(prompt: Prompt, index: int) -> str:
        ids.append(prompt.problem_id)
        return "Answer: 1"

    one = request(0)
    make(ScriptedPolicy(answer), batch_size=4).generate_until([one, one, request(1)])
    make(ScriptedPolicy(answer), batch_size=4).generate_until([one, one, request(1)])
    assert len(set(ids[:3])) == 3
    assert ids[:3] == ids[3:]


def test_an_answer_alone_where_it_is_wanted(make: Make) -> None:
    """As it is written, letters in capitals; a text that names none is given whole."""
    said = ("It is long.\nAnswer: 95.0", "So it is this one.\nAnswer: B", "I cannot tell which of the two it would be.")
    model = make(ScriptedPolicy(lambda p, i: said[int(p.messages[0].text[-2])]), reply="answer", batch_size=3)
    found = model.generate_until([request(0), request(1), request(2)])
    assert [one.text for one in found] == ["95.0", "B", said[2]]


def test_limits_and_stop_texts_of_the_task(make: Make) -> None:
    """`until` of lmms-eval's own making, a blank line, ends nothing; another text does; the task's limit counts."""
    policy = ScriptedPolicy(lambda prompt, index: "One.\n\nTwo. END Three.")
    model = make(policy)
    found = model.generate_until([
        request(0, until=["\n\n"]), request(1, until=["\n\n", " END"]), request(2, max_new_tokens=3),
    ])  # fmt: skip
    assert [one.text for one in found] == ["One.\n\nTwo. END Three.", "One.\n\nTwo.", "One"]
    assert make(policy, max_new_tokens=4).generate_until([request(2, max_new_tokens=3)])[0].text == "One."


def test_rounds_go_on_until_the_task_ends_them(make: Make) -> None:
    """The task of document 0 ends after one round, that of document 1 after two, and hears what was said."""
    heard: list[Any] = []

    def to_messages(doc: Any, round_idx: Any = None, **before: Any) -> Any:
        if round_idx is None:
            return ask(doc)
        said = before["previous_output"]
        heard.append((doc["question"], round_idx, said, before["previous_round_info"]))
        again = [{"role": "user", "content": [{"type": "text", "text": "Sure that it is 7?"}]}]
        return again, round_idx > 1 or doc is DOCS[0], said, f"state {round_idx}"

    model = make(ScriptedPolicy(numbers), method="majority", n=3, batch_size=2)
    found = model.generate_until_multi_round([request(0, to_messages), request(1, to_messages)])
    assert found == [["Answer: 0"], ["Answer: 1", "Answer: 7"]]
    assert heard == [
        (DOCS[0]["question"], 1, ["Answer: 0"], None),
        (DOCS[1]["question"], 1, ["Answer: 1"], None),
        (DOCS[1]["question"], 2, ["Answer: 1", "Answer: 7"], "state 1"),
    ]


def test_notes_are_shown_and_closed_in_the_end(make: Make, chat: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    closed: list[str] = []

    class Notes:
        name = "notes"

        def __call__(self, problems: Any) -> Any:
            return [("Count twice.",) for _ in problems]

    @contextlib.contextmanager
    def opened(given: Any, policy: Any, config: Any, say: Any, *, measures: bool) -> Iterator[Any]:
        assert (given, measures) == ({"notebook": "n.notebook", "threshold": 0.5}, True)
        yield Notes()
        closed.append("notes")

    monkeypatch.setattr(chat, "recall_with", opened)

    def answer(prompt: Prompt, index: int) -> str:
        seen.append(prompt.messages[0].text)
        return "Answer: 1"

    model = make(ScriptedPolicy(answer), notebook="n.notebook", threshold=0.5)
    model.generate_until([request(0)])
    assert "Count twice." in seen[0]
    assert not closed
    model.clean()
    assert closed == ["notes"]
    assert model.cleaned


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"metod": "fused"}, "did you mean method"),
        ({"method": "best"}, "found method 'best'"),
        ({"method": "greedy", "n": 8}, "draws one answer"),
        ({"method": "fused", "n": 0}, "found n 0"),
        ({"prompt": "cot"}, "found prompt 'cot'"),
        ({"reply": "letter"}, "expected one of text, answer"),
        ({"threshold": 0.5}, "without --notebook"),
        ({"batch_size": "auto"}, "found batch_size 'auto'"),
        ({"max_batch_size": 4}, "max_batch_size"),
        ({"select.permutation": 2}, "permutation"),
        ({"run": "no/such/run"}, "no/such/run"),
    ],
)
def test_arguments_that_cannot_be_used_are_named_before_a_model_is_loaded(
    keywords: dict[str, Any], said: str, chat: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from r3v.errors import R3VError

    def loads(*args: object, **how: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(chat, "make_policy", loads)
    with pytest.raises(R3VError, match=said):
        chat.R3V(**keywords)


def test_several_processes_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="several processes"):
        make(ScriptedPolicy(numbers))


@pytest.mark.parametrize(
    ("keywords", "gen", "said"),
    [
        ({}, {"num_beams": 4}, "num_beams 4"),
        ({}, {"repetition_penalty": 1.2}, "repetition_penalty 1.2"),
        ({"prompt": "solve"}, {"max_new_tokens": 16}, "allows 16 tokens"),
    ],
)
def test_what_a_task_asks_in_vain_is_refused_by_name(
    make: Make, keywords: dict[str, Any], gen: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"task t, split test, document 3: .*{said}"):
        make(ScriptedPolicy(numbers), **keywords).generate_until([request(3, **gen)])


def test_a_video_is_refused(make: Make) -> None:
    def to_messages(doc: Any) -> Any:
        return [{"role": "user", "content": [{"type": "video", "url": "a.mp4"}, {"type": "text", "text": "What?"}]}]

    with pytest.raises(ConfigError, match="found video in a message"):
        make(ScriptedPolicy(numbers)).generate_until([request(0, to_messages)])


def test_an_engine_that_fails_ends_the_run_and_log_probabilities_are_refused(make: Make) -> None:
    def answer(prompt: Prompt, index: int) -> str:
        raise EngineError("the engine is gone")

    model = make(ScriptedPolicy(answer))
    with pytest.raises(EngineError, match="document 2: the engine is gone"):
        model.generate_until([request(2)])
    with pytest.raises(ConfigError, match="log-probabilities"):
        model.loglikelihood([request(0)])
