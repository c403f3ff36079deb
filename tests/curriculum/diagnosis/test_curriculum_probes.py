"""Probe sets that rotate and never meet training, variants that add one aid, and the answers read back as records."""

from __future__ import annotations

from pathlib import Path

import pytest

from r3v.curriculum.diagnosis.ask import ask, probes_of
from r3v.curriculum.diagnosis.cells import AIDS
from r3v.curriculum.diagnosis.probes import (
    describe,
    held_out,
    leaks,
    probe_seed,
    probe_set,
    training_pool,
    variants_of,
)
from r3v.data.geoworld import item_of, make, source
from r3v.errors import ConfigError, DataError, EngineError
from r3v.policies.scripted import ScriptedPolicy
from r3v.prompts import style
from r3v.records import BytesImage, Outcome, Problem, Prompt
from r3v.settings.config import SampleConfig


def write_jsonl(folder: Path, n: int) -> str:
    path = folder / "mine.jsonl"
    rows = [f'{{"id": "q{i}", "question": "What is {i} + 1?", "answer": "{i + 1}"}}' for i in range(n)]
    path.write_text("\n".join(rows) + "\n")
    return f"jsonl:{path}"


def test_a_probe_set_repeats_and_every_iteration_has_another() -> None:
    first = probe_set("geoworld:gate", 24, iteration=0)
    assert [p.id for p in probe_set("geoworld:gate", 24, iteration=0)] == [p.id for p in first]
    second = probe_set("geoworld:gate", 24, iteration=1)
    assert not {p.id for p in first} & {p.id for p in second}
    assert len({probe_seed(s, i) for s in range(5) for i in range(20)}) == 100
    assert len({p.meta["family"] for p in first}) == 24, "a block of 24 holds each family once"


def test_geoworld_probes_share_no_content_with_training() -> None:
    probes = probe_set("geoworld:gate", 48, iteration=3)
    training = list(source("train", 48))
    assert leaks(probes, training) == []
    assert leaks(probes, [*training, probes[5]]) == [probes[5].id]
    assert training_pool([*probes, *training]) == training


@pytest.mark.parametrize("split", ["train", "warmup"])
def test_a_training_split_gives_no_probes(split: str) -> None:
    with pytest.raises(ConfigError, match=f"found split '{split}'.*must not be a source of training"):
        probe_set(f"geoworld:{split}", 4, iteration=0)


def test_other_data_are_set_aside_by_hash_and_drawn_anew(tmp_path: Path) -> None:
    spec = write_jsonl(tmp_path, 200)
    first, second = (probe_set(spec, 10, iteration=i) for i in (0, 1))
    assert all(held_out(p) for p in (*first, *second))
    assert {p.id for p in first} != {p.id for p in second}
    from r3v.data import load

    rest = training_pool(load(spec))
    assert leaks([*first, *second], rest) == []
    assert 120 < len(rest) < 190, "about a fifth is set aside"
    with pytest.raises(DataError, match="set aside for probes of 200, expected at least 150"):
        probe_set(spec, 150, iteration=0)


def test_questions_about_one_picture_fall_on_one_side() -> None:
    pictures = [BytesImage(bytes([i, 7])) for i in range(40)]
    asked = [
        [Problem(f"{i}-{j}", f"Question {j}?", "1", "number", (x,)) for j in range(3)] for i, x in enumerate(pictures)
    ]
    sides = [{held_out(problem) for problem in group} for group in asked]
    assert all(len(side) == 1 for side in sides)
    assert {True} in sides
    assert {False} in sides


def geoworld(family: str, level: int, place: str) -> Problem:
    return next(p for p in (make(family, level, s, "gate").problem for s in range(40)) if p.meta["place"] == place)


def test_each_aid_adds_what_it_says() -> None:
    problem = geoworld("isosceles_base", 2, "figure")
    item = item_of(problem)
    asked = variants_of(problem)
    by_name = {probe.variant: probe for probe in asked.probes}
    assert list(by_name) == ["base", "numbers", "described", "named", "round_numbers"]
    assert asked.missing == {"one_rule": "one rule is enough already"}
    given = item.draft.givens[0].text
    assert given not in problem.question
    assert by_name["numbers"].problem.question == problem.question.replace(". Find", f", {given}. Find")
    assert "marked as equal" in by_name["described"].problem.question
    assert by_name["described"].problem.question.endswith(by_name["numbers"].problem.question)
    assert by_name["named"].notes == (item.note,)
    assert by_name["named"].problem.question == problem.question
    for probe in asked.probes[:4]:
        assert probe.problem.answer == problem.answer, "the aid does not change what is right"
        assert probe.problem.images == problem.images
    easy = by_name["round_numbers"].problem
    assert easy.meta["level"] == 1
    assert easy.meta["family"] == "isosceles_base"
    assert easy.meta["split"] == "gate"
    assert all(str(value) in easy.question for value in easy.meta["givens"].values())
    assert {probe.problem.skills for probe in asked.probes} == {problem.skills}
    assert len({probe.problem.id for probe in asked.probes}) == 5


def test_a_deep_problem_has_a_version_with_one_rule_and_numbers_in_the_same_place() -> None:
    for place in ("figure", "text"):
        problem = geoworld("triangle_sum", 5, place)
        asked = variants_of(problem)
        single = next(probe.problem for probe in asked.probes if probe.variant == "one_rule")
        assert (single.meta["level"], single.meta["place"]) == (3, place)
        assert "need" in asked.missing["round_numbers"]
        assert ("numbers" in asked.missing) == (place == "text")


def test_a_description_names_what_is_drawn() -> None:
    item = make("inscribed_diameter", 1, 0, "gate")
    told = describe(item.draft)
    circle = next(mark for mark in item.draft.marks if mark.kind == "circle")
    assert told.startswith("The figure: ")
    assert f"a circle has centre {circle.points[0]}" in told
    assert told.endswith(f"{item.reading}")
    right = describe(make("pythagoras", 1, 0, "gate").draft)
    assert "is marked as a right angle" in right


def test_variants_of_an_open_problem_are_open() -> None:
    problem = geoworld("triangle_sum", 5, "figure").open()
    assert {probe.problem.kind for probe in variants_of(problem).probes} == {"number"}


def test_other_data_get_the_variants_they_allow_and_reasons_for_the_rest() -> None:
    problem = Problem("q", "What is the total?", "7", "number", skills=("adding",), meta={"description": "Two bars"})
    plain = variants_of(problem)
    assert [probe.variant for probe in plain.probes] == ["base", "described"]
    assert plain.probes[1].problem.question == "Two bars. What is the total?"
    assert set(plain.missing) == {"numbers", "named", "round_numbers", "one_rule"}
    named = variants_of(problem, ["named"], {"adding": "Add all bars."})
    assert named.probes[1].notes == ("Add all bars.",)
    with pytest.raises(ConfigError, match="found variants \\['louder'\\]"):
        variants_of(problem, ["louder"])


def test_answers_become_records_of_their_problem(tmp_path: Path) -> None:
    """The scripted model is right with a note, names nothing without one, and its engine fails on one problem."""
    problems = probe_set("geoworld:gate", 3, iteration=0)
    probes, missing = probes_of(problems, ["named", "one_rule"])
    assert sum(missing.get("one_rule", {}).values()) == sum(p.meta["level"] < 4 for p in problems)
    gold = {probe.problem.id: probe.problem.gold_text for probe in probes}

    def answer(prompt: Prompt, index: int) -> str:
        if prompt.problem_id == problems[2].id:
            raise EngineError("lost")
        told = "Note: " in prompt.messages[0].text
        return f"Answer: {gold[prompt.problem_id]}" if told else "I do not know."

    policy = ScriptedPolicy(answer)
    settings = {"sample": SampleConfig(k=2), "style": style("short"), "seed": 1, "progress": False}
    lost = [probe for probe in probes if probe.base_id != problems[2].id]
    records = ask(policy, lost, tmp_path / "a", **settings)
    assert len(records) == 2 * len(lost)
    assert {r.problem_id for r in records} == {problems[0].id, problems[1].id}
    outcomes = {variant: {r.outcome for r in records if r.variant == variant} for variant in ("base", "named")}
    assert outcomes == {"base": {Outcome.UNPARSED}, "named": {Outcome.CORRECT}}
    assert {r.categories for r in records if r.problem_id == problems[0].id} == {problems[0].skills}
    assert {r.level for r in records if r.problem_id == problems[1].id} == {float(problems[1].meta["level"])}
    calls = len(policy.calls)
    assert ask(policy, lost, tmp_path / "a", **settings) == records
    assert len(policy.calls) == calls, "sampled once, read the second time"


def test_every_aid_is_compared_with_something_that_is_asked() -> None:
    assert all(aid.against[-1] == "base" for aid in AIDS.values())
    assert len({aid.mode for aid in AIDS.values()}) == len(AIDS) == 5
