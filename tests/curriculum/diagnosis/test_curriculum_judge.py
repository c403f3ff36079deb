"""The judge of failures: what it is asked, what counts as agreement, and that no opinion is paid for twice."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from fake_server import FakeServer

from r3v.app.commands import diagnose as diagnose_commands
from r3v.curriculum.diagnosis.cells import ProbeRecord, tally
from r3v.curriculum.diagnosis.diagnosis import diagnose
from r3v.curriculum.diagnosis.judge import MODES, Judge, Opinion, ask_judge, modes_found, named, sentence, summary
from r3v.curriculum.diagnosis.page import render
from r3v.errors import ConfigError
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Outcome, Problem, Prompt
from r3v.run.journal import Meter
from r3v.settings.config import Config, SampleConfig

RIGHT, WRONG, UNPARSED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNPARSED


def record(problem: str, variant: str, outcome: Outcome, index: int = 0, text: str = "Answer: 7") -> ProbeRecord:
    return ProbeRecord(problem, variant, ("s",), outcome, index=index, text=text)


def case() -> tuple[dict[str, Problem], list[ProbeRecord]]:
    """a: naming the theorem helps. b: nothing helps. c: no aid asked. d: right. e: names no answer."""
    records = [
        record("a", "base", RIGHT), record("a", "base", WRONG, 1, "By Thales.\nAnswer: 8"),
        record("a", "named", RIGHT), record("a", "numbers", WRONG),
        record("b", "base", WRONG), record("b", "named", WRONG),
        record("c", "base", WRONG),
        record("d", "base", RIGHT), record("d", "named", RIGHT),
        record("e", "base", UNPARSED), record("e", "named", RIGHT),
    ]  # fmt: skip
    return {i: Problem(i, f"Find {i}.", "4", "number") for i in "abcde"}, records


def test_the_tests_name_the_mode_whose_aid_helps_most() -> None:
    found = modes_found(tally(case()[1]))
    assert found == {"a": ("knowledge",), "b": ("other",), "c": (), "d": ("other",), "e": ("knowledge",)}
    both = [record("p", v, RIGHT) for v in ("named", "described")] + [record("p", "base", WRONG)]
    assert modes_found(tally(both)) == {"p": ("perception", "knowledge")}


def test_only_wrong_answers_are_judged_and_never_twice(tmp_path: Path) -> None:
    problems, records = case()
    seen: list[str] = []

    def say(prompt: Prompt, index: int) -> str:
        seen.append(prompt.messages[0].text)
        return "Knowledge." if "Find a" in seen[-1] else "arithmetic"

    policy = ScriptedPolicy(say)
    judge = Judge(policy, price=3.0)
    opinions, meter = ask_judge(judge, problems, records, tmp_path)
    assert opinions == [
        Opinion("a", "knowledge", ("knowledge",)),
        Opinion("b", "arithmetic", ("other",)),
        Opinion("c", "arithmetic", ()),
    ]
    assert "By Thales.\nAnswer: 8" in seen[0]
    assert "The right answer: 4" in seen[0]
    assert (meter.calls, meter.cached) == (3, 0)
    assert meter.cost == pytest.approx(meter.tokens * 3e-6) != 0
    again, meter = ask_judge(judge, problems, records, tmp_path)
    assert (again, meter.calls, meter.cached, meter.cost) == (opinions, 0, 3, 0.0)
    assert len(policy.calls) == 3


def test_agreement_and_what_chance_would_give() -> None:
    """4 compared: 2 agree. Chance: knowledge 3 x 2 and other 0 x 2 of 16 pairs."""
    rows = [("knowledge", ("knowledge",)), ("knowledge", ("knowledge", "reading")), ("knowledge", ("other",)),
            (None, ("other",)), ("other", ())]  # fmt: skip
    judge = Judge(ScriptedPolicy(lambda prompt, index: "", name="j"))
    value = summary([Opinion(str(i), said, tested) for i, (said, tested) in enumerate(rows)], Meter(calls=5), judge)
    assert (value["judged"], value["compared"], value["same"], value["unnamed"]) == (5, 4, 2, 1)
    assert value["agreement"] == 0.5
    assert value["by_chance"] == pytest.approx(6 / 16)
    assert "2 of 4 failures (50 %" in sentence(value)
    assert "none to compare" in sentence(summary([], Meter(), judge))


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("arithmetic", "arithmetic"),
        ("It is not reading.\nKNOWLEDGE", "knowledge"),
        ("knowledge, or reading", None),
        ("I do not know", None),
        ("", None),
        ("misreading", None),
        ("The mode is perception.\n\nDone.", "perception"),
    ],
)
def test_a_reply_names_one_mode_or_none(text: str, mode: str | None) -> None:
    assert named(text) == mode


def test_the_page_shows_the_judge_only_where_one_was_asked() -> None:
    _, records = case()
    judge = Judge(ScriptedPolicy(lambda prompt, index: "reading", name="<j>"))
    value = summary([Opinion("a", "reading", ("reading",))], Meter(calls=1), judge)
    text = render(diagnose(records, context={"judge": value}))
    assert "What a judge model says" in text
    assert "Judge &lt;j&gt; names" in text
    assert "What a judge model says" not in render(diagnose(records))


def test_a_judge_on_a_server_is_metered_there(tmp_path: Path) -> None:
    """`measure` with the judge that the flags name: opinions, agreement and money in the diagnosis."""
    from r3v.curriculum.diagnosis.probes import probe_set
    from r3v.data.source import open_form

    problems = [open_form(p) for p in probe_set("geoworld:gate", 12, 0)]
    solver = ScriptedPolicy(lambda prompt, index: "Answer: 12345")
    with FakeServer(say=lambda body: "knowledge") as server:
        flags = ["--data", "geoworld:gate", "--judge", "base", "--judge-url", server.url, "--judge-price", "1000000"]
        judge = diagnose_commands.judge_of(parse(*flags), Config())
        assert judge is not None
        config = Config(sample=SampleConfig(max_new_tokens=96))
        found = diagnose_commands.measure(
            solver, problems, tmp_path, config, variants=("named",), k=1, judge=judge, progress=False
        )
        assert len(server.chats) == 12
    value = found.context["judge"]
    assert (value["judged"], value["modes"]["knowledge"], value["same"]) == (12, 12, 0)
    assert value["server"]["money"] == pytest.approx(12 * (len("knowledge") + 1))
    assert sum(value["modes"].values()) == 12
    assert set(value["modes"]) == set(MODES)


def parse(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    diagnose_commands.register(parser.add_subparsers())
    return parser.parse_args(["diagnose", *flags])


def test_a_judge_is_off_by_default_and_a_server_needs_one() -> None:
    assert diagnose_commands.judge_of(parse("--data", "x"), Config()) is None
    with pytest.raises(ConfigError, match="without --judge"):
        diagnose_commands.judge_of(parse("--data", "x", "--judge-url", "http://localhost:1/v1"), Config())
