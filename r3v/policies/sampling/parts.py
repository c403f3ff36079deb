"""Rows of unlike length in few padded blocks: where to cut so that padding and calls together cost least."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def parts_of(sizes: Sequence[int], call: int) -> list[tuple[int, int]]:
    """Neighbours to be taken together, as (first, end): the least sum of padded sizes, `call` more for each part.

    A size of 0 is a gap: it counts as much as its neighbours inside a part, and nothing outside of one.

    >>> parts_of([800, 790, 0, 130, 128], call=100)
    [(0, 2), (3, 5)]
    """
    n = len(sizes)
    cost = [0] * (n + 1)  # of sizes[:end]
    began: list[int | None] = [None] * (n + 1)  # where its last part begins; None for a gap outside of all
    for end in range(1, n + 1):
        least, first = (cost[end - 1], None) if sizes[end - 1] == 0 else (sys.maxsize, None)
        longest = 0
        for begin in range(end - 1, -1, -1):
            size = sizes[begin]
            longest = size if size > longest else longest
            here = cost[begin] + longest * (end - begin) + call
            if here < least:
                least, first = here, begin
        cost[end], began[end] = least, first
    cuts: list[tuple[int, int]] = []
    end = n
    while end:
        begin = began[end]
        if begin is not None:
            cuts.append((begin, end))
        end = end - 1 if begin is None else begin
    return cuts[::-1]
