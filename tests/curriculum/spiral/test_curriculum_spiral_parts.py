"""The guard, the choice of practice and its file, by hand-derived numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r3v.curriculum.practice.generate import GeoWorldGenerator
from r3v.curriculum.practice.item import provenance_of
from r3v.curriculum.reinforce.config import UpdateConfig
from r3v.curriculum.spiral.config import GuardGroup, LearnGroup, PracticeGroup, SpiralConfig
from r3v.curriculum.spiral.guard import Judged, final_report, guard, weakest_quarter
from r3v.curriculum.spiral.learners import apart, reflect_config, reinforce_config
from r3v.curriculum.spiral.practice import (
    Rate,
    choose,
    make,
    read_problems,
    replayed,
    skill_of,
    write_problems,
)
from r3v.curriculum.spiral.state import Standing, Task
from r3v.errors import RunError
from r3v.records import Problem
from r3v.run.gate import decide
from r3v.settings.config import TrainConfig


def rows(right: str, skills: dict[int, tuple[str, ...]] | None = None) -> list[dict[str, Any]]:
    """One row for each character: + right, - wrong, ? UNAVAILABLE."""
    outcomes = {"+": "correct", "-": "wrong", "?": "unavailable"}
    tags = skills or {}
    return [
        {"problem_id": f"p{i}", "metric": "greedy", "outcome": outcomes[c], "skills": list(tags.get(i, ("s",)))}
        for i, c in enumerate(right)
    ]


# ---- guard ---------------------------------------------------------------------------------------


def judge(before: list[dict[str, Any]], after: list[dict[str, Any]], config: GuardGroup) -> Judged:
    return guard(decide(before, after, alpha=0.05, against="the start"), before, after, config)


def test_what_the_gate_refuses_stays_refused() -> None:
    """10 lost and none won: p = 1 / 1024. The skill, which the model had to the full, falls with it."""
    found = judge(rows("+" * 20), rows("+" * 10 + "-" * 10), GuardGroup(had=1.0))
    assert not found.accepted
    assert found.reason.startswith("worse than the start on the gate: 100.0 -> 50.0 %")
    told = found.to_dict()
    assert (told["accepted"], told["losses"], told["p"]) == (False, 10, 1 / 1024)
    assert [skill["skill"] for skill in told["lost"]] == ["s"]


def test_a_gain_is_accepted() -> None:
    found = judge(rows("?" + "-" * 10), rows("+" * 10 + "?"), GuardGroup())
    assert (found.accepted, found.lost) == (True, ())


def test_a_lost_skill_is_refused_although_the_whole_gains() -> None:
    """Skill a: 10 of 10 right, then 2 (8 lost, p = 2 / 2^8 = 0.0078 < 0.1 / 1 tested); skill b was never had and gains
    20. A skill that the model did not have, or on too few problems, is not tested."""
    skills = {i: ("a",) if i < 10 else ("b",) for i in range(40)}
    before, after = rows("+" * 10 + "-" * 30, skills), rows("++" + "-" * 8 + "+" * 30, skills)
    found = judge(before, after, GuardGroup())
    assert not found.accepted
    assert [(s.skill, s.n, s.before, s.after) for s in found.lost] == [("a", 10, 1.0, 0.2)]
    assert found.reason.startswith(
        "it lost a 100 -> 20 % (p 0.0078); as a whole it is no worse than the start on the gate"
    )
    assert judge(before, after, GuardGroup(min_problems=11)).accepted
    assert judge(before, after, GuardGroup(skill_alpha=0.005)).accepted


def test_final_report() -> None:
    """Weakest: a is needed by p0..p3. Start 1 of 4 right there, end 3 of 4; over all 3 of 6 and 5 of 6. Iteration 2 was
    refused, so the end is iteration 1."""
    skills = {i: ("a", "b") if i < 4 else ("b",) for i in range(6)}
    start, end, refused = (rows(r, skills) for r in ("+---++", "+++-++", "------"))
    found = final_report({0: start, 1: end, 2: refused}, 1, ["a", "unseen"], seed=0)
    assert found["difference"] == pytest.approx(2 / 6)
    assert (found["start"]["accuracy"], found["end"]["accuracy"]) == (0.5, pytest.approx(5 / 6))
    weak = found["weakest_quarter"]
    assert (weak["start"]["n"], weak["start"]["accuracy"], weak["end"]["accuracy"]) == (4, 0.25, 0.75)
    assert weak["mean_of_skills"] == {"start": 0.25, "end": 0.75}
    assert found["skills"]["b"]["end"]["n"] == 6
    assert [(s["from"], s["to"], s["difference"]) for s in found["steps"]] == [
        (0, 1, pytest.approx(1 / 3)),
        (1, 2, pytest.approx(-5 / 6)),
    ]


def test_weakest_quarter() -> None:
    assert weakest_quarter(["a", "b", "c", "d", "e"]) == ["a", "b"], "5 / 4, rounded up"
    assert weakest_quarter([]) == []


# ---- practice ------------------------------------------------------------------------------------


def items(n: int = 4, seed: int = 1) -> list[Problem]:
    generator = GeoWorldGenerator()
    config = PracticeGroup(overdraw=1.0)
    return make(generator, dict.fromkeys(known_skills(), n), config, seed).items


def known_skills() -> tuple[str, str]:
    from r3v.curriculum.practice.generate import skills_at

    theorems = [name for name in skills_at(1) if name.startswith("theorem:")]
    return theorems[0], theorems[1]


def test_make_counts_what_is_dropped() -> None:
    a, _ = known_skills()
    found = make(GeoWorldGenerator(), {a: 3, "theorem:unheard_of": 2}, PracticeGroup(overdraw=1.5), 1)
    assert found.made == 5, "3 x 1.5, rounded up"
    assert found.dropped["impossible"] == 3
    assert all(skill_of(p) == a for p in found.items)
    again = make(GeoWorldGenerator(), {a: 3}, PracticeGroup(overdraw=1.5), 1, earlier=found.items)
    assert again.items == []
    assert again.dropped == {"duplicate": 5}
    levels = make(GeoWorldGenerator(), {a: 3}, PracticeGroup(score_k=0, levels=(1, 2)), 1)
    assert sorted(p.meta["level"] for p in levels.items) == [1, 1, 2]
    as_open = make(GeoWorldGenerator(), {a: 2}, PracticeGroup(score_k=0), 1, as_open=True)
    assert [p.choices for p in as_open.items] == [None, None]


def test_choose_by_pass_rate() -> None:
    """4 items of each of two skills, 3 and 1 wanted. a: rates 0, 1/2, 1, unanswered, so one is inside; b: all inside.
    a is short of 2, which the surplus of b fills."""
    a, b = known_skills()
    mine = items()
    first, second = [p for p in mine if skill_of(p) == a], [p for p in mine if skill_of(p) == b]
    rates = {p.id: r for p, r in zip(first, (Rate(0, 4), Rate(2, 4), Rate(4, 4), Rate(0, 0)), strict=True)}
    rates |= {p.id: Rate(1, 4) for p in second}
    found = choose(mine, rates, {a: 3, b: 1}, PracticeGroup())
    assert [p.id for p in found.items] == [first[1].id, *(p.id for p in second[:3])]
    assert found.left == {"too_hard": 1, "too_easy": 1, "unanswered": 1, "surplus": 1}
    assert provenance_of(found.items[0]).checks[-1] == {"by": "learner", "correct": 2, "counted": 4}


def test_choose_fills_up_where_asked() -> None:
    """Window 0.3 to 0.8: rates 1/4 and 1 are outside, 1/4 is nearer."""
    a, _ = known_skills()
    mine = [p for p in items() if skill_of(p) == a]
    shares = (Rate(4, 4), Rate(1, 4), Rate(2, 4), Rate(0, 4))
    rates = {p.id: r for p, r in zip(mine, shares, strict=True)}
    paper = PracticeGroup(low=0.3, high=0.8, fill=True)
    found = choose(mine, rates, {a: 2}, paper)
    assert [p.id for p in found.items] == [mine[2].id, mine[1].id]
    assert found.filled == 1
    assert choose(mine, None, {a: 2}, PracticeGroup()).items == mine[:2], "unscored items are all inside"


def test_replay_is_by_skill_and_seed() -> None:
    a, b = known_skills()
    mine = items()
    found = replayed(mine, {a: 2, b: 9}, seed=1)
    assert [skill_of(p) for p in found] == [a] * 2 + [b] * 4
    assert found == replayed(list(reversed(mine)), {a: 2, b: 9}, seed=1)


def test_problems_go_through_their_file(tmp_path: Path) -> None:
    mine = items(2)
    write_problems(tmp_path / "p.parquet", mine)
    found = read_problems(tmp_path / "p.parquet")
    assert [p.images[0].read() for p in found] == [p.images[0].read() for p in mine]
    for one, other in zip(found, mine, strict=True):
        for name in ("id", "question", "answer", "kind", "choices", "unit", "tolerance", "skills", "split", "source"):
            assert getattr(one, name) == getattr(other, name)
        assert dict(one.meta) == dict(other.meta)
        assert GeoWorldGenerator().check(one).state == "right", "the item can be made again from the file"
    (tmp_path / "p.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="cannot be read"):
        read_problems(tmp_path / "p.parquet")


def test_note_pool_keeps_sides() -> None:
    mine = items(8)
    train, pool = apart(mine, 0.5)
    assert sorted(p.id for p in [*train, *pool]) == sorted(p.id for p in mine)
    assert train
    assert pool
    assert apart(list(reversed(mine)), 0.5)[0] == list(reversed(train))


def test_standing_moves_with_its_run(tmp_path: Path) -> None:
    inside = Standing(tmp_path / "a" / "round_01" / "adapter", Path("/elsewhere/notes.db"))
    kept = inside.to_dict(tmp_path / "a")
    assert kept == {"adapter": "round_01/adapter", "notebook": "/elsewhere/notes.db"}
    assert Standing.from_dict(kept, tmp_path / "b").adapter == tmp_path / "b" / "round_01" / "adapter"


def test_the_learning_rate_falls_from_turn_to_turn() -> None:
    """Half of the one before: 0.8, 0.4, 0.2. The other settings stay."""
    config = SpiralConfig(
        learn=LearnGroup(decay=0.5), train=UpdateConfig(lr=0.8, epochs=2), fit=TrainConfig(lr=0.08, max_tokens=7)
    )
    tasks = [Task(config, number, Standing(), (), Path("run"), print) for number in (1, 2, 3)]
    assert [reinforce_config(task).train.lr for task in tasks] == [0.8, 0.4, 0.2]
    assert [reflect_config(task).train.lr for task in tasks] == [0.08, 0.04, 0.02]
    assert reinforce_config(tasks[2]).train.epochs == 2
    assert reflect_config(tasks[2]).train.max_tokens == 7
