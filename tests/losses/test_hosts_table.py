"""docs/hosts.md has a line for every host that the tests name, and none that fails; the table says what happened."""

from __future__ import annotations

from collections import Counter

from hosts_table import HOSTS, PROPERTIES, Table, page
from places import ROOT


def rows(text: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines[1:]}


def test_the_page_is_whole() -> None:
    found = rows((ROOT / "docs" / "hosts.md").read_text())
    assert set(found) == {name for name, _ in HOSTS.values()}
    for name, cells in found.items():
        assert len(cells) == 1 + len(PROPERTIES)
        assert not [cell for cell in cells if "FAILS" in cell or cell == "no test"], name


def test_a_failure_and_a_gap_are_said() -> None:
    table = Table()
    table.cells = {
        ("torch", "accumulation"): Counter(passed=6),
        ("torch", "packing"): Counter(passed=1, failed=1),
        ("trl", "packing"): Counter(skipped=2),
    }
    found = rows(page(table))
    assert found["plain loop, DistributedDataParallel"][1:] == ["6 pass", "no test", "FAILS (1)"]
    assert found["TRL SFTTrainer"][1:] == ["no test", "no test", "not installed"]
