"""The evaluation on a scripted policy: same candidates for every selector, failures as rows, resuming, breakdowns."""

from __future__ import annotations

from pathlib import Path

import pytest

from r3v.errors import ConfigError, EngineError, RunError
from r3v.policies.scripted import ScriptedPolicy
from r3v.prompts import STYLES
from r3v.records import Problem
from r3v.run.evaluation import accuracy_by_problem, breakdown, cell, evaluate, read_rows, tokens_per_problem
from r3v.settings.config import SelectConfig

STYLE = STYLES["short"]
SELECT = SelectConfig(n=3, max_new_tokens=40)


def problems(n: int = 4) -> list[Problem]:
    """Problem i asks for i + 1 and has the skills `even` or `odd`, and `all`."""
    return [
        Problem(
            f"p{i}", f"What is {i} + 1?", str(i + 1), "number",
            skills=("odd" if i % 2 else "even", "all"), meta={"family": "sums", "level": 1 + i // 2},
        )
        for i in range(n)
    ]  # fmt: skip


def scripted(fail: str = "", name: str = "scripted") -> ScriptedPolicy:
    """Samples 0 and 1 are right on even problems, sample 2 on odd ones; p3 always names nothing. Greedy is sample 0."""

    def answer(prompt, index: int) -> str:
        if prompt.problem_id == fail:
            raise EngineError("out of memory")
        number = int(prompt.problem_id[1:])
        if number == 3:
            return "I do not know."
        right = (number % 2 == 0) == (index < 2)
        return f"Answer: {number + 1 if right else 99}"

    return ScriptedPolicy(answer, name=name)


def test_literal_numbers(tmp_path: Path) -> None:
    """p0 and p2: votes 2 of 3 right, so greedy and majority are right. p1: one of three right (index 2), greedy and
    majority wrong, oracle right. p3: unparsed, wrong for all. Greedy 2/4, majority 2/4, oracle 3/4, unparsed 1/4."""
    block = evaluate(
        scripted(), problems(), ("greedy", "majority", "oracle"), SELECT, STYLE, 0, out=tmp_path / "e.parquet"
    )
    assert list(block) == ["greedy", "majority@3", "oracle@3"]
    assert [c["accuracy"] for c in block.values()] == [0.5, 0.5, 0.75]
    assert {c["n"] for c in block.values()} == {4}
    assert {c["unparsed"] for c in block.values()} == {0.25}
    assert block["greedy"]["ci95"] == pytest.approx([0.1500, 0.8500], abs=1e-3)  # Wilson, 2 of 4


def test_every_problem_has_a_row_for_every_selector_and_sample(tmp_path: Path) -> None:
    out = tmp_path / "e.parquet"
    evaluate(scripted(), problems(), ("greedy", "majority"), SELECT, STYLE, 0, out=out)
    rows = read_rows(out)
    assert len(rows) == 4 * (3 + 2)
    right = accuracy_by_problem(rows, "majority@3")
    assert right == {"p0": True, "p1": False, "p2": True, "p3": False}
    row = next(r for r in rows if r["problem_id"] == "p1" and r["selector"] == "majority")
    assert (row["outcome"], row["answer"], row["gold"], row["index"]) == ("wrong", "99", "2", 0)


def test_candidates_are_sampled_once_for_all_selectors(tmp_path: Path) -> None:
    policy = scripted()
    evaluate(policy, problems(), ("majority", "likelihood", "oracle"), SELECT, STYLE, 0, out=tmp_path / "e.parquet")
    assert [call for call in policy.calls if call[0] == "generate"] == [("generate", 4)]


def test_an_engine_that_fails_on_one_problem_leaves_a_row_and_the_denominator(tmp_path: Path) -> None:
    """p1 is UNAVAILABLE: n is 3, and of p0, p2, p3 two are right."""
    out = tmp_path / "e.parquet"
    block = evaluate(scripted(fail="p1"), problems(), ("greedy", "majority"), SELECT, STYLE, 0, out=out)
    assert [(c["n"], c["accuracy"]) for c in block.values()] == [(3, 2 / 3), (3, 2 / 3)]
    lost = [r for r in read_rows(out) if r["problem_id"] == "p1"]
    assert [(r["selector"], r["outcome"]) for r in lost] == [("greedy", "unavailable"), ("majority", "unavailable")]
    assert "out of memory" in lost[0]["reason"]


def test_a_killed_evaluation_goes_on_with_whole_shards(tmp_path: Path) -> None:
    """Shards of one problem; the first call dies on the third, the second asks only for the last two."""
    out = tmp_path / "e.parquet"

    class Died(Exception):
        pass

    def mortal(prompt, index: int) -> str:
        if prompt.problem_id == "p2":
            raise Died
        return "Answer: 1"

    with pytest.raises(Died):
        evaluate(ScriptedPolicy(mortal), problems(), ("greedy",), SELECT, STYLE, 0, out=out, shard=1)
    assert not out.exists()
    policy = ScriptedPolicy(lambda prompt, index: "Answer: 1")
    evaluate(policy, problems(), ("greedy",), SELECT, STYLE, 0, out=out, shard=1)
    assert policy.calls == [("generate", 1)] * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.parquet"]
    assert len(read_rows(out)) == 4


def test_shards_give_the_rows_of_one_piece(tmp_path: Path) -> None:
    for shard in (1, 3, 64):
        evaluate(
            scripted(),
            problems(),
            ("greedy", "fused"),
            SELECT,
            STYLE,
            0,
            out=tmp_path / f"{shard}.parquet",
            shard=shard,
        )

    def key(row):
        return row["problem_id"], row["metric"], row["index"] or 0

    found = [sorted(read_rows(tmp_path / f"{shard}.parquet"), key=key) for shard in (1, 3, 64)]
    assert found[0] == found[1] == found[2]


def test_a_finished_file_of_other_settings_is_an_error(tmp_path: Path) -> None:
    out = tmp_path / "e.parquet"
    evaluate(scripted(), problems(), ("greedy",), SELECT, STYLE, 0, out=out)
    for policy, seed in ((scripted(name="other"), 0), (scripted(), 1)):
        with pytest.raises(RunError, match="written with another model, data or settings"):
            evaluate(policy, problems(), ("greedy",), SELECT, STYLE, seed, out=out)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "e.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(RunError, match="not a whole Parquet file"):
        read_rows(tmp_path / "e.parquet")
    with pytest.raises(RunError, match="file not found"):
        read_rows(tmp_path / "absent.parquet")


@pytest.mark.parametrize("names", [(), ("greedy", "greedy"), ("majorty",)])
def test_selectors_are_checked_before_anything_is_asked(tmp_path: Path, names: tuple[str, ...]) -> None:
    policy = scripted()
    with pytest.raises(ConfigError, match="did you mean majority" if "majorty" in names else "found selectors"):
        evaluate(policy, problems(), names, SELECT, STYLE, 0, out=tmp_path / "e.parquet")
    assert policy.calls == []


def test_breakdown_by_skill_family_and_level(tmp_path: Path) -> None:
    """Even problems are right, odd ones wrong; levels 1 (p0, p1) and 2 (p2, p3) are half right each."""
    out = tmp_path / "e.parquet"
    evaluate(scripted(), problems(), ("greedy",), SELECT, STYLE, 0, out=out)
    found = breakdown(read_rows(out))
    shares = {
        k: {v: (c["greedy"]["accuracy"], c["greedy"]["n"]) for v, c in values.items()} for k, values in found.items()
    }
    assert shares == {
        "skill": {"all": (0.5, 4), "even": (1.0, 2), "odd": (0.0, 2)},
        "family": {"sums": (0.5, 4)},
        "level": {"1": (0.5, 2), "2": (0.5, 2)},
    }


def test_tokens_count_the_candidates(tmp_path: Path) -> None:
    """`Answer: 1` is 9 characters and an end token: greedy 10 tokens, the vote over three candidates 30."""
    out = tmp_path / "e.parquet"
    policy = ScriptedPolicy(lambda prompt, index: "Answer: 1")
    evaluate(policy, problems(2), ("greedy", "majority"), SELECT, STYLE, 0, out=out)
    assert tokens_per_problem(read_rows(out)) == {"greedy": 10, "majority@3": 30}


def test_a_cell_of_nothing_available() -> None:
    assert cell(["unavailable"]) == {"accuracy": 0.0, "n": 0, "ci95": [0.0, 1.0], "unparsed": 0.0}
