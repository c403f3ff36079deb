"""The gate: exact boundaries, what it asks, what it refuses, and its receipt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from r3v.errors import ConfigError, DataError
from r3v.notebook.gate.gate import GateConfig, decide
from r3v.notebook.gate.receipt import Pair, Receipt, measured_effect, regressed
from r3v.notebook.gate.sequential import Boundary, Plan, run
from r3v.records import Outcome, Problem, Verdict

RIGHT, WRONG, LOST = (Verdict(o) for o in (Outcome.CORRECT, Outcome.WRONG, Outcome.UNAVAILABLE))


def problems(name: str, count: int, subjects: int = 1) -> list[Problem]:
    return [Problem(f"{name}{i}", "?", "0", "number", meta={"family": f"s{i % subjects}"}) for i in range(count)]


class Outcomes:
    """Without the edit `base`, with it `edited`, unless an id is listed; remembers what was asked."""

    def __init__(self, base: Verdict = WRONG, edited: Verdict = WRONG, **listed: tuple[Verdict, Verdict]) -> None:
        self.default, self.listed = (base, edited), listed
        self.asked: list[tuple[str, str, int]] = []

    def __call__(self, asked: Sequence[Problem], arm: str, repeat: int) -> list[Verdict]:
        self.asked += [(p.id, arm, repeat) for p in asked]
        return [self.listed.get(p.id, self.default)[arm == "with"] for p in asked]


def test_boundary_of_one_look_is_the_binomial_tail() -> None:
    assert Boundary(0.05).look([1] * 4, 1.0) is None  # 1/16 is more than 0.05
    five = Boundary(0.05)
    assert five.look([1, 0, 1, 1, 0, 1, 1], 1.0) == 5  # 1/32; a sum of 3 or more has 6/32
    assert five.spent == 1 / 32


def test_boundary_counts_sizes() -> None:
    """Of 2 + 1 + 1 + 1 + 1 the sum 6 has one way of 32; 4 has four more (one of the ones is negative)."""
    assert Boundary(0.05).look([2, 1, 1, 1, 1], 1.0) == 6
    assert Boundary(0.16).look([2, 1, 1, 1, 1], 1.0) == 4


def test_an_early_look_spends_a_part_of_the_error_and_its_paths_are_gone_later() -> None:
    b = Boundary(0.05)
    assert b.look([1] * 7, 0.5) == 7  # 1/128 is within 0.05 / 4, 8/128 is not
    assert b.spent == 1 / 128
    assert b.look([1], 1.0) == 6  # 7/256: a sum of 5 before, then a win; 8 is reached through 7 only
    assert b.spent == 1 / 128 + 7 / 256


def test_error_spent_never_exceeds_alpha() -> None:
    b = Boundary(0.05)
    for number in range(1, 9):
        b.look([1, 2, 1, 1, 0, 2, 1], number / 8)
        assert b.spent <= 0.05 * (number / 8) ** 2 + 1e-9


def test_run_repeats_flipped_items_only_and_keeps_to_the_budget() -> None:
    asked: list[tuple[int, int]] = []

    def differences(items: Sequence[int], repeat: int) -> list[int]:
        asked.extend((item, repeat) for item in items)
        return [1 if item % 5 == 0 else -1 if item % 5 == 1 else 0 for item in items]

    trial = run(Plan(budget=40, looks=2), 1000, differences)
    assert trial.pairs == len(asked) <= 40
    assert len(set(asked)) == len(asked)
    assert {item % 5 for item, repeat in asked if repeat} == {0, 1}
    assert max(repeat for _, repeat in asked) == 1
    assert not trial.crossed


def test_run_stops_early_for_a_clear_win_and_for_a_clear_loss() -> None:
    win = run(Plan(), 1000, lambda items, repeat: [1] * len(items))
    assert win.crossed
    assert win.pairs == 32
    loss = run(Plan(), 1000, lambda items, repeat: [-1] * len(items))
    assert (loss.crossed, loss.pairs, loss.end) == (False, 32, "stopped for lack of promise")


def test_unavailable_pairs_have_no_score() -> None:
    trial = run(Plan(budget=8, looks=1, repeats=0), 8, lambda items, repeat: [None if i < 3 else 1 for i in items])
    assert trial.unavailable == 3
    assert trial.scores == {3: 1, 4: 1, 5: 1, 6: 1, 7: 1}


def test_paper_gate_asks_for_more_wins_than_losses_on_the_same_batch() -> None:
    batch, config = problems("b", 4), GateConfig(kind="m2note-paper")
    won = decide(config, Outcomes(b0=(WRONG, RIGHT), b1=(WRONG, RIGHT), b2=(RIGHT, WRONG)), batch, quoted={"b0"})
    assert won.accepted
    assert (won.wins, won.losses, won.items) == (2, 1, ("b0", "b1", "b2", "b3"))
    assert won.effect == 0.25
    assert not decide(config, Outcomes(b0=(WRONG, RIGHT), b2=(RIGHT, WRONG)), batch).accepted


def test_paired_gate_accepts_a_clear_gain() -> None:
    receipt = decide(GateConfig(), Outcomes(WRONG, RIGHT), problems("b", 16), pool=problems("p", 64))
    assert receipt.accepted
    assert receipt.effect == 1.0
    assert len(receipt.pairs) == 32


def test_paired_gate_refuses_an_edit_that_does_nothing() -> None:
    receipt = decide(GateConfig(), Outcomes(RIGHT, RIGHT), problems("b", 16), pool=problems("p", 400))
    assert not receipt.accepted
    assert "not shown to help: 0 won and 0 lost of" in receipt.reason
    assert len(receipt.pairs) <= 128


def test_paired_gate_uses_reserved_and_pool_never_quoted_nor_the_rest_of_the_batch() -> None:
    batch, pool, solve = problems("b", 16), problems("p", 20), Outcomes(WRONG, RIGHT)
    decide(GateConfig(), solve, batch, reserved=batch[:4], pool=pool, quoted={"b1", "p3"})
    asked = {problem for problem, _, _ in solve.asked}
    assert asked == ({"b0", "b2", "b3"} | {p.id for p in pool}) - {"p3"}


def test_both_arms_are_asked_for_the_same_items_and_repeats() -> None:
    solve = Outcomes(WRONG, RIGHT)
    decide(GateConfig(), solve, problems("b", 4), pool=problems("p", 30))
    arms = {arm: [(i, r) for i, a, r in solve.asked if a == arm] for arm in ("with", "without")}
    assert arms["with"] == arms["without"]


def test_untouched_items_are_ties_that_cost_nothing() -> None:
    solve = Outcomes(WRONG, RIGHT)
    pool = problems("p", 60)
    receipt = decide(
        GateConfig(), solve, problems("b", 4), pool=pool, touched=lambda ps: [int(p.id[1:]) % 10 == 0 for p in ps]
    )
    assert {i for i, _, _ in solve.asked} == {f"p{i}" for i in range(0, 60, 10)}
    assert receipt.untouched == 54
    assert receipt.accepted  # six wins, none lost: 1/64


def test_nothing_touched_is_refused_without_a_solve() -> None:
    solve = Outcomes(WRONG, RIGHT)
    receipt = decide(
        GateConfig(), solve, problems("b", 4), pool=problems("p", 9), touched=lambda ps: [False for _ in ps]
    )
    assert not receipt.accepted
    assert solve.asked == []
    assert receipt.reason == "the edit changes the prompt of none of 9 items"


def test_too_few_items_cannot_accept() -> None:
    receipt = decide(GateConfig(), Outcomes(WRONG, RIGHT), problems("b", 4), pool=problems("p", 4))
    assert not receipt.accepted
    assert "the edit touches 4 items" in receipt.reason


@pytest.mark.parametrize("kind", ["paired", "m2note-paper"])
def test_an_outage_is_never_a_mistake_and_too_little_coverage_refuses(kind: str) -> None:
    """A third of the solves without the edit is lost; counted as mistakes they would be wins."""
    batch, pool = problems("b", 16), problems("p", 48)
    lost = {p.id: (LOST, RIGHT) for p in [*batch[::3], *pool[::3]]}
    config = replace(GateConfig(), kind=kind)
    receipt = decide(config, Outcomes(RIGHT, RIGHT, **lost), batch, pool=pool)
    assert not receipt.accepted
    assert (receipt.wins, receipt.losses) == (0, 0)
    assert "too little coverage" in receipt.reason
    few = decide(config, Outcomes(WRONG, RIGHT, b0=(LOST, RIGHT), p0=(LOST, RIGHT)), batch, pool=pool)
    assert few.accepted


@pytest.mark.parametrize(("pool", "won", "judged"), [(4, 4, False), (12, 3, False), (12, 0, True), (400, 2, True)])
def test_only_evidence_speaks_against_a_lesson(pool: int, won: int, judged: bool) -> None:
    """Few items, or few that lean the right way, leave it open; ties or a long trial do not."""
    items = problems("p", pool)
    solve = Outcomes(RIGHT, RIGHT, **{p.id: (WRONG, RIGHT) for p in items[:won]})
    receipt = decide(GateConfig(), solve, [], pool=items)
    assert (receipt.accepted, receipt.judged) == (False, judged)


def test_a_subject_that_regresses_is_a_veto() -> None:
    """Subject s0 of four loses its items, the others win: better on average, and refused."""
    pool = problems("p", 120, subjects=4)
    solve = Outcomes(WRONG, RIGHT, **{p.id: (RIGHT, WRONG) for p in pool if p.meta["family"] == "s0"})
    receipt = decide(GateConfig(), solve, problems("b", 4), pool=pool)
    assert not receipt.accepted
    assert "these subjects regress: s0 (0 won" in receipt.reason
    assert decide(replace(GateConfig(), veto=0.0), solve, problems("b", 4), pool=pool).accepted


def test_regression_needs_evidence() -> None:
    pairs = [Pair(f"x{i}", "pool", "a", 0, "correct", "wrong") for i in range(4)]
    assert regressed(pairs, 0.05) == []  # 1/16
    assert regressed([*pairs, Pair("x4", "pool", "a", 0, "correct", "unparsed")], 0.05) == ["a (0 won, 5 lost)"]


def test_margin_refuses_a_gain_too_small_to_matter() -> None:
    """Ten wins in a thousand: significant, and one point."""
    pool = problems("p", 1000)
    solve = Outcomes(RIGHT, RIGHT, **{p.id: (WRONG, RIGHT) for p in pool[::100]})
    config = GateConfig(max_pairs=2000, looks=1)
    assert not decide(replace(config, margin=0.02), solve, problems("b", 1), pool=pool).accepted
    assert "below gate.margin 2.0" in decide(replace(config, margin=0.02), solve, [], pool=pool).reason
    assert decide(replace(config, margin=0.0), solve, problems("b", 1), pool=pool).accepted


def test_effect_leaves_repeats_and_lost_pairs_out() -> None:
    rows = [("correct", "correct", 0), ("wrong", "correct", 0), ("wrong", "correct", 1), ("unavailable", "wrong", 0)]
    pairs = [Pair(str(i), "pool", "a", repeat, a, b) for i, (a, b, repeat) in enumerate(rows)]
    mean, (low, high) = measured_effect(pairs)
    assert mean == 0.5
    assert low < 0.5 <= high
    assert measured_effect([]) == (0.0, (-1.0, 1.0))


def test_pool_order_depends_on_the_seed_alone() -> None:
    pool, orders = problems("p", 30), []
    for shown, seed in ((pool, 1), (pool[::-1], 1), (pool, 2)):
        orders.append(decide(GateConfig(), Outcomes(WRONG, RIGHT), [], pool=shown, seed=seed).items)
    assert orders[0] == orders[1] != orders[2]


def test_receipt_survives_json() -> None:
    totals = iter([{"tokens": 5.0}, {"tokens": 12.0}])
    receipt = decide(
        GateConfig(),
        Outcomes(WRONG, RIGHT),
        problems("b", 4),
        pool=problems("p", 12),
        quoted={"b2"},
        versions={"base": "abc"},
        meter=lambda: next(totals),
    )
    assert receipt.costs == {"pairs": len(receipt.pairs), "tokens": 7.0}
    assert Receipt.from_dict(json.loads(json.dumps(receipt.to_dict()))) == receipt
    with pytest.raises(DataError, match="schema 9"):
        Receipt.from_dict({"schema": 9})
    with pytest.raises(DataError, match="not a receipt"):
        Receipt.from_dict({"schema": 1, "gate": "paired"})


def test_impossible_requests_are_named() -> None:
    for bad in ({"alpha": 0.0}, {"kind": "coin"}, {"coverage": 1.5}, {"looks": 0}, {"max_pairs": 2}):
        with pytest.raises(ConfigError, match="gate"):
            decide(replace(GateConfig(), **bad), Outcomes(), [])
    with pytest.raises(DataError, match="row b1"):
        decide(GateConfig(), Outcomes(), problems("b", 2), pool=problems("b", 3)[1:])
