"""Graders and prompt styles that people bring, and verdicts made anew when the grader has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from r3v.data import load
from r3v.errors import ConfigError, RunError
from r3v.grading import answers_equal, extract, grade, grader_name, load_grader, normalise, regrade
from r3v.prompts import answer_line, solve, style
from r3v.records import Candidate, Graded, Outcome, Problem, Verdict
from r3v.rollout.shards import OLD_GRADER, read_shard, regrade_folders, shard_grader, shard_settings, write_shard
from r3v.run.evaluation import unparsed_endings

EXAMPLE = str(Path(__file__).resolve().parents[2] / "recipes" / "grader_example.py")
LIST = Problem("list", "q", "2, 3 and 5", "text", meta={"grader": f"{EXAMPLE}:as_sets"})
EIGHT = Problem("eight", "q", "8", "number")


def test_the_example_grades_lists_in_any_order():
    assert grade(LIST, "We sort.\nAnswer: 5, 2, 3").outcome is Outcome.CORRECT
    assert grade(LIST, "Answer: 5, 2").outcome is Outcome.WRONG
    assert grade(LIST, "no idea at all what that might be").outcome is Outcome.UNPARSED
    assert extract(LIST, "Answer: 5, 2, 3") == extract(LIST, "Answer: 2 and 3 and 5") == "2, 3, 5"
    assert normalise(LIST, "The Nile.") == "nile"
    assert answers_equal(LIST, "2, 3", "2 3")


def test_a_data_spec_names_a_grader_for_its_problems(tmp_path):
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": "1", "question": "primes?", "answer": "2, 3 and 5"}))
    problems = load(f"jsonl:{tmp_path / 'd.jsonl'}?grader={EXAMPLE}:as_sets")
    assert grade(problems[0], "Answer: 5, 3, 2").correct
    assert grade(problems[:1][0], "Answer: 5, 3, 2").correct
    assert not grade(load(f"jsonl:{tmp_path / 'd.jsonl'}")[0], "Answer: 5, 3, 2").correct
    with pytest.raises(ConfigError, match="has no 'nothing'"):
        load(f"jsonl:{tmp_path / 'd.jsonl'}", grader=f"{EXAMPLE}:nothing")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("grader", "expected package.module:function or FILE.py:function"),
        ("nowhere.py:grade", "cannot read nowhere.py"),
        ("no_such_package.graders:grade", "no module 'no_such_package'"),
        (f"{EXAMPLE}:missing", "its functions are"),
        (f"{EXAMPLE}:re", "found module, expected a function"),
    ],
)
def test_what_is_missing_is_named(spec, told):
    with pytest.raises(ConfigError, match=told):
        load_grader(spec)


def test_a_grader_that_fails_or_returns_no_verdict_is_named(tmp_path):
    for body, told in (("1 / 0", "ZeroDivisionError"), ("return True", "returned bool for problem list")):
        path = tmp_path / f"g{len(body)}.py"
        path.write_text(f"def mine(problem, text):\n    {body}\n")
        with pytest.raises(ConfigError, match=told):
            grade(replace(LIST, meta={"grader": f"{path}:mine"}), "x")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(ConfigError, match="cannot be imported"):
        load_grader(f"{tmp_path / 'broken.py'}:mine")


def test_verdicts_of_another_version_are_made_anew_from_the_texts(tmp_path):
    """2^3 was once read as 2; an engine that never answered stays UNAVAILABLE."""
    texts = ("Answer: 2^3", "Answer: 2", "")
    old = (
        Verdict(Outcome.WRONG, "2"),
        Verdict(Outcome.WRONG, "2"),
        Verdict(Outcome.UNAVAILABLE, None, "engine failed"),
    )
    graded = [Graded(Candidate("eight", 0, i, 0, text), v) for i, (text, v) in enumerate(zip(texts, old, strict=True))]
    found, changed = regrade(graded, {"eight": EIGHT})
    assert changed == 1
    assert [item.verdict.outcome.value for item in found] == ["correct", "wrong", "unavailable"]

    path, lines = tmp_path / "shard-00000.parquet", []
    write_shard(path, graded, {"seed": 1}, OLD_GRADER)
    assert regrade_folders([tmp_path], [EIGHT], lines.append) == (3, 1)
    assert lines[0].endswith("judged by r3v 1, now r3v 2: 3 verdicts made anew from the texts, 1 of them changed")
    assert read_shard(path) == found
    assert shard_settings(path) == {"seed": 1}
    assert shard_grader(path) == grader_name() == "r3v 2"
    assert regrade_folders([tmp_path], [EIGHT], lines.append) == (0, 0)
    assert len(lines) == 1
    own = replace(EIGHT, meta=LIST.meta)
    assert regrade_folders([tmp_path], [own], lines.append)[0] == 3
    assert shard_grader(path) == grader_name(own)
    assert grader_name(own).startswith(f"{EXAMPLE}:as_sets ")
    with pytest.raises(RunError, match="'eight' is not among"):
        regrade_folders([tmp_path], [replace(EIGHT, id="other")], lines.append)


def test_a_prompt_style_of_ones_own(tmp_path):
    path = tmp_path / "box.yaml"
    path.write_text("base: full\nsolve: Think, then put the answer in a box.\nanswer: 'In a box: {answer}'\n")
    words = style(str(path))
    assert solve(EIGHT, words).messages[0].text == "q\nThink, then put the answer in a box."
    assert answer_line(words, "8") == "In a box: 8"
    assert words.direct == style("full").direct
    assert words.name.startswith("box-")
    path.with_name("box2.yaml").write_text("base: full\nsolve: Think.\n")
    assert style(str(tmp_path / "box2.yaml")).name != words.name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("solve: x\n", "missing direct, refine"),
        ("base: full\nsolv: x\n", "unknown solv"),
        ("base: middle\n", "found base 'middle'"),
        ("base: full\nanswer: Answer\n", "answer has no {answer}"),
        ("base: full\nanswer: '{answer} {x}'\n", "the braces of answer cannot be filled"),
        ("- a\n", "expected a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_prompt_style_that_lacks_something_says_what(tmp_path, text, told):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        style(str(path))
    with pytest.raises(ConfigError, match="cannot read it"):
        style(str(tmp_path / "absent.yaml"))


def test_the_commonest_endings_of_unparsed_answers():
    rows = [{"outcome": "unparsed", "selector": "greedy", "text": f"Step 1\nso 2 + {i}"} for i in range(3)]
    rows += [
        {"outcome": "correct", "selector": "greedy", "text": "5"},
        {"outcome": "unparsed", "selector": "sample", "text": "x"},
    ]
    assert unparsed_endings(rows) == [("so 0 + 0", 3)]
