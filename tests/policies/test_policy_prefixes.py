"""Prompts as blocks of rows: read where they were prefilled, in parts, or copied together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from r3v.policies.sampling.prefixes import Place, Prefixes, ancestor_of, place_of, scattered
from r3v.policies.sampling.shared import Ancestor


@dataclass(frozen=True)
class Filled:
    keys: torch.Tensor
    values: torch.Tensor
    length_R: tuple[int, ...]


def filled(first: float, *lengths: int) -> Filled:
    """A prefill of one layer, head and width 1 whose keys count up from `first`, left-padded with -1."""
    longest = max(lengths)
    keys = torch.full((1, len(lengths), 1, longest, 1), -1.0)
    for row, n in enumerate(lengths):
        keys[0, row, 0, longest - n :, 0] = first + torch.arange(n)
        first += n
    return Filled(keys, -keys, tuple(lengths))


def seen(block: Ancestor, row: int) -> list[float]:
    """The keys that a row sees."""
    at = int(block.at_R[row])
    for part in block.parts:
        g, k = part.rows_GK.shape
        if at < g * k:
            keys = part.keys[0, at // k, 0, :, 0]
            visible = torch.ones_like(keys, dtype=torch.bool) if part.bias_GP is None else part.bias_GP[at // k] == 0
            return keys[visible].tolist()
        at -= g * k
    raise AssertionError(f"row {row} is in no part")


def test_prefixes_are_read_where_they_were_prefilled() -> None:
    """Two prompts of three and two tokens in one prefill, one of one token in another: the first two are one part
    padded to three columns, seen by slots 0 and 1 and by slot 2."""
    one, other = filled(10.0, 3, 2), filled(20.0, 1)
    prefixes = Prefixes(slots=4)
    for slot, (job, start, row) in enumerate([(7, one, 0), (7, one, 0), (8, one, 1), (9, other, 0)]):
        prefixes.join(slot, job, start, row)
    block = prefixes.ancestor()
    assert [seen(block, row) for row in range(4)] == [[10, 11, 12], [10, 11, 12], [13, 14], [20]]
    assert block.parts[0].keys.data_ptr() == one.keys.data_ptr()
    assert block.parts[0].rows_GK.tolist() == [[0, 1], [2, 0]]
    assert prefixes.ancestor() is block


def test_prefixes_are_read_no_more_once_nobody_continues_them() -> None:
    start = filled(0.0, 3, 3, 3)
    prefixes = Prefixes(slots=3)
    for slot in range(3):
        prefixes.join(slot, slot, start, slot)
    prefixes.leave([0])
    block = prefixes.ancestor()
    assert [seen(block, row) for row in (1, 2)] == [[3, 4, 5], [6, 7, 8]]
    assert block.parts[0].keys.shape[1] == 2
    prefixes.leave([1])
    prefixes.join(0, 9, filled(50.0, 2), 0)
    assert [seen(prefixes.ancestor(), row) for row in (0, 2)] == [[50, 51], [6, 7, 8]]
    prefixes.keep([2])
    assert seen(prefixes.ancestor(), 0) == [6, 7, 8]


def test_a_gap_inside_a_part_is_asked_for_by_nobody() -> None:
    """Reading the gap (three columns) costs less than another part (200): one part of three rows."""
    start = filled(0.0, 3, 3, 2)
    places = [place_of(start, 2), place_of(start, 0)]
    block = ancestor_of(places, [1, 0, 0, None])
    assert len(block.parts) == 1
    assert block.parts[0].rows_GK.tolist() == [[0, 0], [0, 0], [1, 2]]
    assert [seen(block, row) for row in range(3)] == [[0, 1, 2], [6, 7], [6, 7]]


def test_beginnings_of_one_prompt_are_places_of_their_own() -> None:
    start = filled(0.0, 4)
    block = ancestor_of([Place(start, 0, 0, 4), Place(start, 0, 0, 2)], [0, 1])
    assert [seen(block, row) for row in range(2)] == [[0, 1, 2, 3], [0, 1]]


def test_scattered_prompts_are_copied_together() -> None:
    """Five prompts in five prefills are five runs: copied, or read in five parts where copies are not wanted. Eight of
    which four lie in a row are as many runs, but of two neighbours on average."""
    starts = [filled(10.0 * i, 1 + i % 2) for i in range(5)]
    places = [place_of(start, 0) for start in starts]
    assert scattered(places)
    expected = [[0], [10, 11], [20], [30, 31], [40]]
    for copies, parts in ((True, 1), (False, 5)):
        block = ancestor_of(places, range(5), copies=copies)
        assert len(block.parts) == parts
        assert [seen(block, row) for row in range(5)] == expected
    whole = filled(0.0, *[2] * 32)
    assert not scattered([*places[:4], *(place_of(whole, row) for row in range(32))])
    assert not scattered(places[:4])
