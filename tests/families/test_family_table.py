"""The table of families in the documents is what trying them gives."""

from __future__ import annotations

import pytest
from family_kit import FAMILIES
from family_rows import COLUMNS, HEAD, OWN, TESTED, UNKNOWN, WRONG, Cell, Row, made, page, render, tried
from places import ROOT

from r3v.errors import ModelError

PAGE = ROOT / "docs" / "families.md"


def test_equal_reasons_are_one_note() -> None:
    """Two rows of two reasons, one of them shared, are notes 1 and 2."""
    cells = dict.fromkeys(COLUMNS, Cell(TESTED))
    rows = [
        Row("A", {**cells, "nf4": Cell("no", "too small"), "vLLM": Cell(UNKNOWN)}),
        Row("B", {**cells, "load": Cell("refuses", "no such thing"), "nf4": Cell("no", "too small")}),
    ]
    lines = render(rows).splitlines()
    assert lines[2] == "| A | tested | tested | tested | tested | tested | no (1) | unknown |"
    assert lines[3] == "| B | refuses (2) | tested | tested | tested | tested | no (1) | tested |"
    assert lines[5:] == ["1. too small", "2. no such thing"]


def test_only_the_librarys_own_errors_are_refusals() -> None:
    def refuses() -> None:
        raise ModelError("/tmp/r3v-llama4-x1y2 is of no use")

    def breaks() -> None:
        raise KeyError("k")

    assert tried(lambda: None) == Cell(TESTED)
    assert tried(lambda: "0.3 nats off") == Cell(WRONG, "0.3 nats off")
    assert tried(refuses) == Cell("refuses", "MODEL is of no use")
    assert tried(breaks) == Cell(WRONG, "KeyError: 'k'")


def test_the_page_names_every_family_and_no_fault() -> None:
    """What can be told of the page without trying the models."""
    text = PAGE.read_text()
    assert text.startswith(HEAD)
    titles = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert titles == [*OWN.values(), *(family.title for family in FAMILIES.values())]
    assert WRONG not in text


@pytest.mark.slow
def test_the_page_is_what_trying_gives() -> None:
    assert page(made([*OWN, *FAMILIES])) == PAGE.read_text()
