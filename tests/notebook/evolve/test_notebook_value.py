"""What a note is worth, and what calls cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from r3v.errors import RunError
from r3v.notebook.evolve.meter import Call, Ledger, Prices, Usage, bill, call_key, per_note, prompt_tokens
from r3v.notebook.evolve.value import Value, difference, harmful, values
from r3v.notebook.store.note import Note

NOTE = Note("a", "s", "g")


def rows(shown: tuple[int, int], withheld: tuple[int, int], revision: str = NOTE.revision) -> list[dict[str, object]]:
    """(right, wrong) of each sort, as event data."""
    found: list[dict[str, object]] = []
    for kept, counts in ((False, shown), (True, withheld)):
        for outcome, count in zip(("correct", "wrong"), counts, strict=True):
            found += [{"note": "a", "revision": revision, "withheld": kept, "outcome": outcome}] * count
    return found


def test_difference_is_newcombes() -> None:
    """Newcombe 1998, table II, case (a) of method 10: 56/70 against 48/80."""
    gain, low, high = difference(56, 70, 48, 80)
    assert round(gain, 4) == 0.2
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    with pytest.raises(ValueError, match="at least one"):
        difference(0, 0, 1, 1)


def test_values_count_outcomes_of_the_present_revision() -> None:
    lost = [{"note": "a", "revision": NOTE.revision, "withheld": False, "outcome": "unavailable"}]
    bare = [{"note": "a", "revision": NOTE.revision, "withheld": False}]
    other = [{"note": "gone", "revision": "x", "withheld": False, "outcome": "correct"}]
    unparsed = [{"note": "a", "revision": NOTE.revision, "withheld": True, "outcome": "unparsed"}]
    found = values(
        {"a": NOTE}, [*rows((8, 2), (4, 5)), *rows((0, 50), (50, 0), "old"), *lost, *bare, *other, *unparsed]
    )
    value = found["a"]
    assert (value.shown_right, value.shown, value.withheld_right, value.withheld) == (8, 10, 4, 10)
    assert value.benefit == pytest.approx(0.4)
    assert value.low < 0.4 < value.high


def test_values_of_one_solver() -> None:
    mixed = [{**row, "solver": name} for name, row in zip("ab" * 10, rows((5, 5), (5, 5)), strict=True)]
    assert values({"a": NOTE}, mixed, solver="a")["a"].shown == 5
    assert values({"a": NOTE}, mixed)["a"].shown == 10


def test_value_is_unknown_without_both_sorts() -> None:
    assert values({"a": NOTE}, rows((9, 1), (0, 0)))["a"].benefit is None
    assert values({"a": NOTE}, [])["a"] == Value("a", NOTE.revision)


def test_only_clear_harm_retires() -> None:
    assert harmful(values({"a": NOTE}, rows((2, 28), (25, 5))), 10)
    assert not harmful(values({"a": NOTE}, rows((2, 28), (25, 5))), 31)
    assert not harmful(values({"a": NOTE}, rows((14, 16), (16, 14))), 10)
    assert not harmful(values({"a": NOTE}, rows((25, 5), (2, 28))), 10)


def test_ledger_keeps_first_answers_and_bills_by_stage_and_role(tmp_path: Path) -> None:
    path = tmp_path / "n.calls"
    ledger = Ledger(path)
    ledger.put("run/0/", "solver", {"k1": Call("a", 1000, 200, 1), "k2": Call("b", 0, 0, 0)})
    ledger.put("run/1/", "solver", {"k1": Call("other", 9, 9, 9), "k3": Call("c", 500, 100, 2)})
    ledger.put("run/1/", "supervisor", {"k4": Call("d", 2000, 1000, 0)})
    ledger.close()
    ledger = Ledger(path)
    assert ledger.get(["k1", "missing"]) == {"k1": Call("a", 1000, 200, 1)}
    assert ledger.usage("solver") == Usage(3, 1500, 300, 3)
    assert ledger.usage("solver", "run/1/") == Usage(1, 500, 100, 2)
    prices = {"solver": Prices(2.0, 10.0, 0.01), "supervisor": Prices(100.0, 0.0)}
    assert bill(ledger, prices) == {
        "calls": 4, "tokens_in": 3500, "tokens_out": 1300, "images": 3,
        "money": pytest.approx(0.003 + 0.003 + 0.03 + 0.2),
    }  # fmt: skip
    assert per_note({"calls": 10, "money": 3.0}, 4) == {"calls": 2.5, "money": 0.75}
    assert per_note({"calls": 10}, 0) == {}


def test_ledger_keys_and_estimates() -> None:
    assert call_key(a=1, b="x") == call_key(b="x", a=1) != call_key(a=2, b="x")
    assert prompt_tokens(["abcd", "e"]) == 2


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"not a database, by far, and long enough to be looked at" * 20)
    with pytest.raises(RunError, match="not a ledger"):
        Ledger(tmp_path / "x")
